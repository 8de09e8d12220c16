"""A finding in words and as data: the same for the terminal, for JSON and for JUnit."""

from __future__ import annotations

import shlex

from vmlan.model import ArpCheck, Check, DhcpCheck, DnsCheck, PingCheck, ScreenCheck, TcpCheck
from vmlan.observe.checks.base import Finding


def title(check: Check) -> str:
    """What a check asks, in a line; without what came of it."""
    if isinstance(check, ScreenCheck):
        return f"{check.on} shows '{check.text}'"
    if isinstance(check, DhcpCheck):
        return f"{check.source} → dhcp on {check.network}"
    via = f" via {check.via}" if check.via else ""
    if isinstance(check, DnsCheck):
        return f"{check.source} → dns {check.name}{via}"
    if isinstance(check, TcpCheck):
        return f"{check.source} → tcp {check.target}:{check.port}{via}"
    kind = "arp " if isinstance(check, ArpCheck) else ""
    return f"{check.source} → {kind}{check.target}{via}"


def heading(finding: Finding) -> str:
    """What was asked, of which addresses, and what came of it."""
    check = finding.check
    if isinstance(check, ScreenCheck):
        return f"{title(check)}: {finding.outcome}"
    tried = ", ".join(dict.fromkeys(attempt.address for attempt in finding.attempts))
    asked = title(check)
    shown = f"{asked} ({tried})" if tried and tried not in asked else asked
    verdict = str(finding.outcome)
    if not finding.passed and finding.outcome in {"reachable", "unreachable"}:
        verdict += f", but {'reachable' if check.reachable else 'unreachable'} was expected"
    return f"{shown}: {verdict}"


def evidence(finding: Finding) -> list[str]:
    """What was said at each attempt; of a failed check also how it was asked, and how often."""
    lines: list[str] = []
    before: tuple[str, ...] = ()
    for attempt in finding.attempts:
        if not finding.passed and attempt.command != before:
            lines.append(f"$ {shlex.join(attempt.command)}")
            before = attempt.command
        times = f" ({attempt.times} times)" if attempt.times > 1 and not finding.passed else ""
        lines.append(f"{attempt.words}{times}")
    if finding.why:
        lines.append(finding.why)
    return lines


def as_data(finding: Finding) -> dict[str, object]:
    """A finding for programs."""
    check = finding.check
    return {
        **_asked(check),
        "outcome": finding.outcome,
        "passed": finding.passed,
        "seconds": round(finding.seconds, 3),
        "why": finding.why or None,
        "hint": check.hint or None,
        "attempts": [
            {
                "address": each.address,
                "command": each.command,
                "answered": each.answered,
                "words": each.words,
                "times": each.times,
            }
            for each in finding.attempts
        ],
    }


def _asked(check: Check) -> dict[str, object]:
    """What was asked, by the keys of the lab file."""
    if isinstance(check, ScreenCheck):
        return {"screen": check.text, "on": check.on}
    common = {"from": check.source, "expect": "reachable" if check.reachable else "unreachable"}
    if isinstance(check, DhcpCheck):
        return {"dhcp": check.network, **common, "is": check.answer}
    if isinstance(check, DnsCheck):
        return {"dns": check.name, **common, "via": check.via, "is": check.answer}
    if isinstance(check, ArpCheck):
        return {"arp": check.target, **common, "via": check.via, "is": check.answer}
    if isinstance(check, TcpCheck):
        return {"tcp": f"{check.target}:{check.port}", **common, "via": check.via}
    assert isinstance(check, PingCheck)
    return {"ping": check.target, **common, "via": check.via}
