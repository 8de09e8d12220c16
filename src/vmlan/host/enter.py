"""Going into a running lab: the namespaces of its host side, as `nsenter` takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from vmlan.errors import KeeperGone, NotRunning, RequestError
from vmlan.host import one_user
from vmlan.host.keeper_client import KeeperClient, Kept
from vmlan.host.run import SEARCH_PATH, Result, need
from vmlan.plan.layout import Layout, process_name
from vmlan.plan.steps import Command, Space, spaced


def keeper(layout: Layout) -> KeeperClient:
    """A connection to the lab's keeper. Raises `NotRunning`."""
    try:
        return KeeperClient(layout.keeper)
    except KeeperGone:
        raise NotRunning("this lab is not running", hint="vmlan up") from None


def machine_process(layout: Layout, machine: str) -> Kept | None:
    """A machine's QEMU, running or ended; None if it was never started. Raises `NotRunning` without a lab."""
    with keeper(layout) as client:
        return client.processes().get(process_name(machine))


def run_on_host_side(layout: Layout, argv: Sequence[str], space: Space = Space.HOST) -> Result:
    """Run a program on the lab's host side (or outside of it) to its end, and return what it said."""
    with keeper(layout) as client:
        return client.run(spaced(Command(tuple(argv), space=space), layout.net))


def nsenter(layout: Layout, argv: Sequence[str], space: Space = Space.HOST) -> list[str]:
    """The command line that runs `argv` inside the lab from outside of it, in the current folder.

    The network namespace is a file that only the lab's own mounts show, so it is reached through
    the keeper's root (proc(5), /proc/PID/root). The user is root there, and nobody outside.
    """
    with keeper(layout) as client:
        pid = client.pid
    inside = f"/proc/{pid}/root{layout.net / space.value}"
    if not Path(inside).exists():
        raise RequestError("this lab has no simulated outside", hint="host: {uplink: simulated} gives it one")
    # nsenter changes to the namespace's root folder: go back to where the user is.
    go_back = ("sh", "-c", 'cd "$1" 2>/dev/null; shift; exec "$@"', "sh", os.getcwd())  # noqa: PTH109
    # A lab of host placement has no users of its own: whoever gets here is root, and stays it.
    own_users = () if layout.on_host else ("--user", "--preserve-credentials")
    options = (*own_users, "--mount", "--pid", f"--net={inside}")
    return ["nsenter", "--target", str(pid), *options, "--", *go_back, *argv]


def become(layout: Layout, argv: Sequence[str], space: Space = Space.HOST) -> NoReturn:
    """Replace this process by `argv` on the lab's host side: terminal, signals and exit code are its own."""
    line = nsenter(layout, argv, space)
    need("nsenter")
    if not layout.on_host:
        one_user.pretend()
    os.environ["PATH"] = SEARCH_PATH
    os.execvp(line[0], line)
