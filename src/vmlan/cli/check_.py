"""`vmlan check`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.errors import HostError, RequestError
from vmlan.host import enter, kept_lab, paths
from vmlan.model import Check, Lab
from vmlan.observe import check
from vmlan.observe.check import Finding
from vmlan.observe.checks import junit, words
from vmlan.plan.layout import Layout


@click.command("check")
@common.file_option
@common.quiet_option
@common.json_option
@click.option(
    "--matrix", "as_matrix", is_flag=True, help="Show who reaches whom by ping instead, of all there are."
)
@click.option(
    "--junit",
    "report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the results to FILE too, as JUnit XML.",
)
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[NUMBER]...")
def command(
    file: Path | None,
    quiet: bool,
    as_json: bool,
    as_matrix: bool,
    report: Path | None,
    numbers: tuple[int, ...],
) -> None:
    """Run the lab file's checks, and show for each what was tried and what came of it.

    NUMBER chooses some, counted from 1. Ends with 0 if all passed, else with 1.
    """
    path = lifecycle.find_file(file)
    lab, layout = kept_lab.load(path, paths.layout(path)), paths.layout(path)
    if as_matrix and (numbers or report):
        raise click.UsageError("--matrix runs no checks: give it neither NUMBER nor --junit")
    if not as_matrix:
        chosen = _chosen(lab, numbers)
    enter.keeper(layout).close()  # whether it runs is asked before the first check, not by each
    if as_matrix:
        _matrix(lab, layout, as_json=as_json)
        return
    began = datetime.now(UTC)
    findings: list[Finding] = []
    for finding in check.run_checks(lab, layout, chosen):
        findings.append(finding)
        if not as_json and not (quiet and finding.passed):
            _show(finding)
    failed = sum(1 for finding in findings if not finding.passed)
    if as_json:
        rows = [words.as_data(finding) for finding in findings]
        common.print_json({"lab": lab.name, "failed": failed, "checks": rows})
    elif not quiet or failed:
        print(f"{len(findings) - failed} passed, {failed} failed")
    if report is not None:
        _write(report, junit.document(lab.name, findings, began))
    raise click.exceptions.Exit(1 if failed else 0)


def _chosen(lab: Lab, numbers: tuple[int, ...]) -> tuple[Check, ...]:
    if not lab.checks:
        raise RequestError("this lab file has no checks:", hint="checks: [{ping: vm2, from: vm1}]")
    if not numbers:
        return lab.checks
    if max(numbers) > len(lab.checks):
        raise RequestError(f"there is no check {max(numbers)}: this lab file has {len(lab.checks)}")
    return tuple(lab.checks[number - 1] for number in numbers)


def _write(report: Path, text: str) -> None:
    try:
        report.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HostError(f"{report} could not be written: {error.strerror}") from None


def _show(finding: Finding) -> None:
    mark = common.styled("✓", fg="green") if finding.passed else common.styled("✗", fg="red", bold=True)
    print(f"{mark} {words.heading(finding)}")
    for line in words.evidence(finding):
        print(common.styled(f"    {line}", dim=True))
    hint = finding.check.hint
    if hint:
        print(f"    {hint}" if finding.passed else f"    expected because: {hint}")


_MARKS = {"reachable": "✓", "unreachable": "✗", "itself": "·", "no address": "-", "not tried": "?"}


def _matrix(lab: Lab, layout: Layout, *, as_json: bool) -> None:
    import msgspec

    from vmlan.observe.checks import matrix

    cells = matrix.matrix(lab, layout)
    if as_json:
        common.print_json({"lab": lab.name, "matrix": msgspec.to_builtins(cells)})
        return
    names = matrix.stations(lab)
    marks = {(cell.source, cell.target): _MARKS[cell.verdict] for cell in cells}
    rows = [(source, *(marks[source, target] for target in names)) for source in names]
    common.print_table(("FROM \\ TO", *names), rows)
    print()
    print("✓ answers  ✗ does not  - has no address  ? cannot be asked")
    for why in dict.fromkeys(cell.why for cell in cells if cell.why):
        print(common.styled(f"  {why}", dim=True))
