"""`vmlan ls`."""

from __future__ import annotations

import sys

import click

from vmlan.cli import common
from vmlan.host import identity, paths
from vmlan.observe import status


@click.command("ls")
@click.option("--all", "every", is_flag=True, help="Those of host placement too, which are root's.")
@common.json_option
def command(every: bool, as_json: bool) -> None:
    """The labs of yours that run on this machine, and those that crashed and want a `vmlan down`.

    Root sees those of host placement (`place: host`) in any case, also those that a reboot ended.
    """
    import msgspec

    found = status.labs()
    if every and not identity.is_root() and (ids := paths.host_ids()):
        print(f"also of host placement: {', '.join(ids)} (sudo vmlan ls --all says more)", file=sys.stderr)
    if as_json:
        common.print_json(msgspec.to_builtins(found))
    elif not found:
        print("no lab is running")
    else:
        placed = any(lab.place == "host" for lab in found)
        titles = ("LAB", "STATE", "MACHINES", *(("PLACE",) if placed else ()), "FILE")
        rows = [
            (each.name, each.state, f"{each.running}/{each.machines}", *((each.place,) * placed), each.file)
            for each in found
        ]
        common.print_table(titles, rows)
