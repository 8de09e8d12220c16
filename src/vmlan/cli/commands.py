"""Commands that were run, as -v shows them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from vmlan.plan.steps import Command


def lines(commands: Sequence[Command]) -> list[str]:
    """Each as one would type it; a batch of `ip` or `tc` as the commands that it stands for."""
    shown: list[str] = []
    for command in commands:
        if "-batch" in command.argv:
            shown += [f"{command.argv[0]} {line}" for line in command.stdin.splitlines()]
        else:
            given = "".join(f"\n    {line}" for line in command.stdin.splitlines())
            shown.append(f"{shlex.join(command.argv)}{' <<END' if given else ''}{given}")
    return shown


def tell(shown: Sequence[str]) -> None:
    """Print them where they do not mix with a result."""
    for line in shown:
        print(f"+ {line}", file=sys.stderr)
