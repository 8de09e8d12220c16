"""`vmlan down`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan import lifecycle, single
from vmlan.cli import common
from vmlan.cli.progress import open_progress


@click.command("down")
@common.file_option
@click.option("--disks", is_flag=True, help="Remove the disks that vmlan made, with all that is on them.")
@click.option("--now", is_flag=True, help="Switch machines off, without letting guests shut down.")
@click.option(
    "--force",
    is_flag=True,
    help="Undo what the journal says at once; what cannot be undone is told, and forgotten.",
)
@common.quiet_option
@common.json_option
def command(file: Path | None, disks: bool, now: bool, force: bool, quiet: bool, as_json: bool) -> None:
    """End the lab. Guests with disks shut down first; the disks are kept."""
    path = lifecycle.file_of(file)
    with open_progress(quiet=quiet or as_json) as progress:
        report = lifecycle.down(path, disks=disks, now=now, force=force, progress=progress)
    single.forget(path)
    if not report.ended and not report.removed:
        lifecycle.find_file(file)  # nothing to end, and no lab file either: then the request was wrong
    if as_json:
        common.print_json(
            {
                "ended": report.ended,
                "kept": report.kept,
                "removed": report.removed,
                "snapshots": report.snapshots,
                "notes": report.notes,
            }
        )
    elif not quiet:
        print(_summary(report))


def _summary(report: lifecycle.DownReport) -> str:
    if not report.ended:
        return (
            f"this lab was not running; {_count(report.removed)} removed"
            if report.removed
            else "this lab is not running"
        )
    snapshots = f"its snapshot{'s' * (len(report.snapshots) > 1)} {', '.join(report.snapshots)}"
    if report.kept:
        also = f", and {snapshots}" if report.snapshots else ""
        return f"the lab has ended; {_count(report.kept)} kept, in {report.kept[0].parents[1]}{also}"
    if report.snapshots:
        return f"the lab has ended; {snapshots} can bring it back (vmlan snapshot restore)"
    if report.residue:
        return "the lab has ended; what could not be undone is told above"
    return "the lab has ended; nothing of it is left"


def _count(disks: tuple[Path, ...]) -> str:
    return "its disk is" if len(disks) == 1 else f"its {len(disks)} disks are"
