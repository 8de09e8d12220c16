"""`vmlan ps`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan.cli import common, ps_shown


@click.command("ps")
@common.file_option
@common.json_option
def command(file: Path | None, as_json: bool) -> None:
    """This lab's machines, with the addresses that the guests say they have, and its networks."""
    ps_shown.show(file, as_json=as_json)
