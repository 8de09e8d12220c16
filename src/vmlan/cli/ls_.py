"""`vmlan ls`."""

from __future__ import annotations

import click

from vmlan.cli import common
from vmlan.observe import status


@click.command("ls")
@common.json_option
def command(as_json: bool) -> None:
    """The labs of yours that run on this machine, and those that crashed and want a `vmlan down`."""
    import msgspec

    found = status.labs()
    if as_json:
        common.print_json(msgspec.to_builtins(found))
    elif not found:
        print("no lab is running")
    else:
        rows = [(lab.name, lab.state, f"{lab.running}/{lab.machines}", lab.file) for lab in found]
        common.print_table(("LAB", "STATE", "MACHINES", "FILE"), rows)
