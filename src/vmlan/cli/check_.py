"""`vmlan check`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan import labfile, lifecycle
from vmlan.cli import common
from vmlan.errors import RequestError
from vmlan.host import enter, paths
from vmlan.model import PingCheck, ScreenCheck
from vmlan.observe import check
from vmlan.observe.check import Finding


@click.command("check")
@common.file_option
@common.quiet_option
@common.json_option
def command(file: Path | None, quiet: bool, as_json: bool) -> None:
    """Run the lab file's checks, and show for each what was tried and what came of it.

    Ends with 0 if all passed, else with 1.
    """
    path = lifecycle.find_file(file)
    lab, layout = labfile.load(path), paths.layout(path)
    if not lab.checks:
        raise RequestError("this lab file has no checks:", hint="checks: [{ping: vm2, from: vm1}]")
    enter.keeper(layout).close()  # whether it runs is asked before the first check, not by each
    findings: list[Finding] = []
    for finding in check.run_checks(lab, layout, lab.checks):
        findings.append(finding)
        if not as_json and not (quiet and finding.passed):
            _show(finding)
    failed = sum(1 for finding in findings if not finding.passed)
    if as_json:
        common.print_json(
            {"lab": lab.name, "failed": failed, "checks": [_as_json(finding) for finding in findings]}
        )
    elif not quiet or failed:
        print(f"{len(findings) - failed} passed, {failed} failed")
    raise click.exceptions.Exit(1 if failed else 0)


def _show(finding: Finding) -> None:
    what = finding.check
    mark = common.styled("✓", fg="green") if finding.passed else common.styled("✗", fg="red", bold=True)
    if isinstance(what, ScreenCheck):
        print(f"{mark} {what.on} shows '{what.text}': {finding.outcome}")
    else:
        print(f"{mark} {_ping(what, finding)}")
    for attempt in finding.attempts:
        print(common.styled(f"    {attempt.words}", dim=True))
    if finding.why:
        print(common.styled(f"    {finding.why}", dim=True))
    if what.hint:
        print(f"    {what.hint}" if finding.passed else f"    expected because: {what.hint}")


def _ping(what: PingCheck, finding: Finding) -> str:
    tried = ", ".join(attempt.address for attempt in finding.attempts)
    target = f"{what.target} ({tried})" if tried and tried != what.target else what.target
    via = f" via {what.via}" if what.via else ""
    verdict = str(finding.outcome)
    if not finding.passed and finding.outcome != "not tried":
        verdict += f", but {'reachable' if what.reachable else 'unreachable'} was expected"
    return f"{what.source} → {target}{via}: {verdict}"


def _as_json(finding: Finding) -> dict[str, object]:
    what = finding.check
    if isinstance(what, ScreenCheck):
        asked: dict[str, object] = {"screen": what.text, "on": what.on}
    else:
        expect = "reachable" if what.reachable else "unreachable"
        asked = {"ping": what.target, "from": what.source, "via": what.via, "expect": expect}
    return {
        **asked,
        "outcome": finding.outcome,
        "passed": finding.passed,
        "why": finding.why or None,
        "hint": what.hint or None,
        "attempts": [
            {"address": each.address, "command": each.command, "answered": each.answered, "words": each.words}
            for each in finding.attempts
        ],
    }
