"""`vmlan disk`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmlan.cli import common

if TYPE_CHECKING:
    from vmlan.host.disks import Made, Row


@click.group("disk")
def command() -> None:
    """Disk images: make them, copy them, describe them, remove them."""


@command.command("create")
@common.quiet_option
@common.json_option
@click.argument("file")
@click.argument("size", callback=common.size_given)
def create(quiet: bool, as_json: bool, file: str, size: int) -> None:
    """Make FILE, an empty qcow2 disk of SIZE (8G), which takes room as it is written.

    Nothing is ever written over: there must be no FILE yet.
    """
    from vmlan.host import disks

    _show([disks.create(_target(file), size)], quiet, as_json)


@command.command("clone")
@click.option(
    "--size", callback=common.size_given, help="More than BASE has; the system in it must be told to use it."
)
@click.option("--full", is_flag=True, help="A copy that does not need BASE any more.")
@common.quiet_option
@common.json_option
@click.argument("base")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def clone(
    size: int | None, full: bool, quiet: bool, as_json: bool, base: str, files: tuple[str, ...]
) -> None:
    """Make each FILE a copy-on-write disk over BASE: a file, or a name of `vmlan image ls`.

    BASE itself is never written, and vmlan keeps it from being written or removed while it knows of
    copies. There must be no FILE yet.
    """
    from vmlan.host import disks

    source = disks.resolve(base, _say(quiet))
    _show(disks.clone(source, [_target(file) for file in files], size, full=full), quiet, as_json)


@command.command("info")
@common.json_option
@click.argument("file")
def info(as_json: bool, file: str) -> None:
    """What FILE is, what it is over, what is over it, and who has it open."""
    from vmlan.host import disks

    found = disks.info(disks.resolve(file, _say(as_json)))
    if as_json:
        common.print_json(dataclasses.asdict(found))
        return
    rows = [
        ("file", _path(found.path)),
        ("format", f"{found.format}, {found.medium}"),
        ("size", common.size(found.virtual_size)),
        ("on disk", common.size(found.allocated)),
        *(("over", f"{_path(link.path)} ({link.format})") for link in found.chain),
        *(("overlay", _path(path)) for path in found.overlays),
        *(("in use", user) for user in found.users),
    ]
    if found.lab:
        rows.append(("belongs to", f"machine {found.machine} of lab {found.lab}"))
    for title, value in rows:
        print(f"{title:<11}{value}")


@command.command("ls")
@common.json_option
@click.argument("folder", required=False)
def ls(as_json: bool, folder: str | None) -> None:
    """The disks that vmlan knows: those of labs, clones, and their bases; or all images in FOLDER."""
    from vmlan.host import disks

    rows = disks.folder(disks.resolve(f"{folder}/")) if folder else disks.known()
    if as_json:
        common.print_json([dataclasses.asdict(row) for row in rows])
    elif not rows:
        print("there is no image in this folder" if folder else "no lab has a disk, and there is no clone")
    else:
        common.print_table(("DISK", "WHAT", "SIZE", "ON DISK", "OVER"), [_row(row) for row in rows])
        for row in rows:
            if row.problem:
                print(f"\n{_path(row.path)}: {row.problem}")


@command.command("rm")
@common.quiet_option
@common.json_option
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def rm(quiet: bool, as_json: bool, files: tuple[str, ...]) -> None:
    """Remove each FILE, which must be an image that nobody uses and no copy is known of."""
    from vmlan.host import disks

    removed = disks.remove([_target(file) for file in files])
    if as_json:
        common.print_json({"removed": removed})
    elif not quiet:
        for path in removed:
            print(f"removed {_path(path)}")


def _show(made: list[Made], quiet: bool, as_json: bool) -> None:
    if as_json:
        common.print_json([dataclasses.asdict(one) for one in made])
    elif not quiet:
        for one in made:
            over = f", over {_path(one.base)}" if one.base else ""
            print(f"{_path(one.path)}: {common.size(one.virtual_size)}{over} ({one.milliseconds:.0f} ms)")


def _row(row: Row) -> tuple[str, ...]:
    what = f"{row.machine} of {row.lab}" if row.lab else row.kind
    size = common.size(row.virtual_size) if row.virtual_size is not None else "?"
    return _path(row.path), what, size, common.size(row.allocated), _path(row.base) if row.base else "-"


def _target(name: str) -> Path:
    """A file to make or remove: never a name of the catalogue."""
    from vmlan.host import disks

    return disks.resolve(name if "/" in name else f"./{name}")


def _say(quiet: bool) -> Callable[[str], None]:
    return lambda text: None if quiet else click.echo(text, err=True)


def _path(path: Path) -> str:
    """A path on one line, as short as it is from here, with nothing that a terminal obeys."""
    here = Path.cwd()
    text = str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
