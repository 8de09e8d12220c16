"""`vmlan ls`."""

from __future__ import annotations

import click

from vmlan.cli import common, ls_shown


@click.command("ls")
@click.option("--all", "every", is_flag=True, help="Those of host placement too, which are root's.")
@common.json_option
def command(every: bool, as_json: bool) -> None:
    """The labs of yours that run on this machine, and those that crashed and want a `vmlan down`.

    Root sees those of host placement (`place: host`) in any case, also those that a reboot ended.
    """
    ls_shown.show(every=every, as_json=as_json)
