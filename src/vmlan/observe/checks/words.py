"""A finding in words and as data: the same for the terminal, for JSON and for JUnit."""

from __future__ import annotations

import shlex
from collections import Counter

from vmlan.model import ArpCheck, Check, DhcpCheck, DnsCheck, PingCheck, ScreenCheck, TcpCheck
from vmlan.observe.checks.base import Finding, Seen


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
    expected = "reachable" if check.reachable else "unreachable"
    but = list(finding.unmet)
    if not finding.passed and finding.outcome in {"reachable", "unreachable"} - {expected}:
        but.insert(0, f"{expected} was expected")
    return f"{shown}: {', but '.join([finding.outcome, *([' and '.join(but)] if but else [])])}"


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
    for seen in finding.seen:
        lines += _sightings(seen)
    return lines + _trace(finding)


#: So many different frames are shown of what must be seen on one link.
_SHOWN = 4


def _sightings(seen: Seen) -> list[str]:
    """Where a check's frames were seen: the first of each kind on each link, and how many."""
    first: dict[tuple[str, str], float] = {}
    times: Counter[tuple[str, str]] = Counter()
    for each in seen.sightings:
        first.setdefault((each.link, each.words), each.seconds)
        times[each.link, each.words] += 1
    lines = [
        f"seen on {link} at +{seconds * 1000:.1f} ms: {what}"
        + (f" ({times[link, what]} times)" if times[link, what] > 1 else "")
        for (link, what), seconds in first.items()
    ]
    # Who looks for a MAC asks for many addresses.
    more = [f"and {len(lines) - _SHOWN} more like these"] if len(lines) > _SHOWN + 1 else []
    return [*lines[: _SHOWN if more else None], *more] or [f"not seen on {seen.link}"]


def _trace(finding: Finding) -> list[str]:
    """Of a trace, everything where the check has failed, else its verdict."""
    if finding.no_trace:
        return [f"no trace: {finding.no_trace}"]
    if finding.trace is None:
        return []
    if finding.passed:
        verdict = finding.trace.verdict
        return [f"{verdict.reason.value}: {verdict.why}"]
    from vmlan.observe.trace.words import lines

    return lines(finding.trace)


def _trace_data(finding: Finding) -> dict[str, object] | None:
    if finding.trace is None:
        return None
    from vmlan.observe.trace.words import as_data

    return as_data(finding.trace)


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
        "seen": [
            {
                "link": seen.link,
                "wanted": seen.wanted,
                "frames": [
                    {"link": each.link, "seconds": round(each.seconds, 6), "what": each.words}
                    for each in seen.sightings
                ],
            }
            for seen in finding.seen
        ],
        "unmet": finding.unmet,
        "trace": _trace_data(finding),
        "no_trace": finding.no_trace or None,
    }


def _asked(check: Check) -> dict[str, object]:
    """What was asked, by the keys of the lab file."""
    if isinstance(check, ScreenCheck):
        return {"screen": check.text, "on": check.on}
    common: dict[str, object] = {
        "from": check.source,
        "expect": "reachable" if check.reachable else "unreachable",
    }
    if not isinstance(check, DnsCheck):
        common |= {"seen-on": check.seen_on, "not-seen-on": check.not_seen_on}
    if isinstance(check, PingCheck | TcpCheck):
        common |= {"reason": check.reason.value if check.reason else None}
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
