"""`vmlan host`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vmlan.cli import common
from vmlan.host import enter, lab_file, paths
from vmlan.host.run import need
from vmlan.plan.steps import Space


@click.command("host", context_settings=common.HANDED_ON)
@common.file_option
@click.option("--outside", is_flag=True, help="Run it on the simulated outside instead.")
@common.argv_argument()
def command(file: Path | None, outside: bool, argv: tuple[str, ...]) -> None:
    """Run a command on the lab's host side: ip, tcpdump, ping …; without one, a shell.

    Machines' names resolve there. You are root there, and only there.
    """
    layout = paths.layout(lab_file.find_file(file))
    if not argv:
        os.environ["PS1"] = "[the lab's host side] # "
    words = argv or ("bash", "--norc")
    need(words[0])
    enter.become(layout, words, Space.OUTSIDE if outside else Space.HOST)
