"""`vmlan down`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.cli.progress import open_progress


@click.command("down")
@common.file_option
@click.option("--disks", is_flag=True, help="Remove the disks that vmlan made, with all that is on them.")
@click.option("--now", is_flag=True, help="Switch machines off, without letting guests shut down.")
@common.quiet_option
@common.json_option
def command(file: Path | None, disks: bool, now: bool, quiet: bool, as_json: bool) -> None:
    """End the lab. Guests with disks shut down first; the disks are kept."""
    path = (file or Path("lab.yaml")).absolute()
    if path.is_dir():
        path = path / "lab.yaml"
    with open_progress(quiet=quiet or as_json) as progress:
        ended = lifecycle.down(path, disks=disks, now=now, progress=progress)
    if not ended:
        lifecycle.find_file(file)  # nothing to end, and no lab file either: then the request was wrong
    if as_json:
        common.print_json({"ended": ended})
    elif not quiet:
        print("the lab has ended; nothing of it is left" if ended else "this lab is not running")
