"""`vmlan snapshot save|restore|ls|rm`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from vmlan.cli import common
from vmlan.cli.progress import open_progress
from vmlan.errors import RequestError
from vmlan.host import lab_file, paths
from vmlan.host import snapshots as on_disk


@click.group("snapshot")
def command() -> None:
    """The whole running lab at one instant: memory, disks, and how its network is set."""


def _checked(name: str) -> str:
    """A snapshot's name, which becomes that of a folder, and of what its disks keep."""
    from vmlan.labfile import values

    try:
        return values.name("snapshot", frozenset())(name)
    except values.Wrong as wrong:
        raise RequestError(wrong.what, hint=wrong.hint) from None


@command.command("save")
@click.argument("name")
@common.file_option
@common.quiet_option
@common.json_option
def save(name: str, file: Path | None, quiet: bool, as_json: bool) -> None:
    """Save the lab as it is now, under NAME; its machines stand still meanwhile, and go on."""
    from vmlan import snapshots
    from vmlan.host.interrupts import no_more

    found = lab_file.find_file(file)
    with open_progress(quiet=quiet or as_json) as progress:
        report = snapshots.save(found, _checked(name), progress, done=no_more)
    if as_json:
        rows = {"name": name, "machines": report.machines, "stood_still": round(report.seconds, 3)}
        common.print_json({**rows, "bytes": report.size})
    elif not quiet:
        print(
            f"{name}: {_count(len(report.machines))} saved, {common.size(report.size)};"
            f" they stood still for {report.seconds:.1f} s"
        )


@command.command("restore")
@click.argument("name")
@common.file_option
@common.quiet_option
@common.json_option
def restore(name: str, file: Path | None, quiet: bool, as_json: bool) -> None:
    """Bring the lab back to where it was when NAME was saved. What it has done since is lost."""
    from vmlan import snapshots

    found = lab_file.find_file(file)
    with open_progress(quiet=quiet or as_json) as progress:
        report = snapshots.restore(found, _checked(name), progress)
    if as_json:
        rows = {"name": name, "machines": report.machines, "seconds": round(report.seconds, 3)}
        common.print_json(rows)
    elif not quiet:
        print(f"{name}: {_count(len(report.machines))} where they were, in {report.seconds:.1f} s")


@command.command("ls")
@common.file_option
@common.json_option
def ls(file: Path | None, as_json: bool) -> None:
    """The lab's snapshots, the latest first."""
    found = on_disk.kept(paths.layout(lab_file.file_of(file)))
    if as_json:
        common.print_json(
            [
                {
                    "name": each.name,
                    "saved": round(each.about.saved, 3),
                    "machines": [machine.name for machine in each.about.machines],
                    "bytes": each.size,
                }
                for each in found
            ]
        )
    elif not found:
        print("this lab has no snapshot")
    else:
        rows = [
            (
                each.name,
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.about.saved)),
                ", ".join(machine.name for machine in each.about.machines),
                common.size(each.size),
            )
            for each in found
        ]
        common.print_table(("SNAPSHOT", "SAVED", "MACHINES", "SIZE"), rows)


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@common.file_option
@common.quiet_option
def rm(names: tuple[str, ...], file: Path | None, quiet: bool) -> None:
    """Remove snapshots, and what the disks hold of them."""
    from vmlan.host.lock import exclusive
    from vmlan.snapshots import running_at_all

    layout = paths.layout(lab_file.file_of(file))
    with exclusive(layout.run, wait=5.0):
        found = [on_disk.one(layout, name) for name in dict.fromkeys(names)]  # all of them, before any goes
        running = running_at_all(layout)
        for each in found:
            on_disk.remove(layout, each, running)
            if not quiet:
                print(f"{each.name}: removed")


def _count(number: int) -> str:
    return f"{number} machine{'' if number == 1 else 's'}"
