"""What `vmlan ls` prints. Nothing here loads click (`cli.main` says why)."""

from __future__ import annotations

import sys

from vmlan.cli import output
from vmlan.host import identity, paths
from vmlan.observe import status


def show(*, every: bool, as_json: bool) -> None:
    """The labs that run here, and those that crashed; `every`: also those that are root's."""
    import msgspec

    found = status.labs()
    if every and not identity.is_root() and (ids := paths.host_ids()):
        print(f"also of host placement: {', '.join(ids)} (sudo vmlan ls --all says more)", file=sys.stderr)
    if as_json:
        output.print_json(msgspec.to_builtins(found))
    elif not found:
        print("no lab is running")
    else:
        placed = any(lab.place == "host" for lab in found)
        titles = ("LAB", "STATE", "MACHINES", *(("PLACE",) if placed else ()), "FILE")
        rows = [
            (each.name, each.state, f"{each.running}/{each.machines}", *((each.place,) * placed), each.file)
            for each in found
        ]
        output.print_table(titles, rows)
