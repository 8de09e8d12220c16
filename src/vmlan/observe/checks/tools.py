"""Hands in a lab's machines: running commands there, and knowing which tools each guest has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from vmlan.errors import GuestError
from vmlan.guest.agent import NOT_FOUND, Agent, GuestNic
from vmlan.host import enter
from vmlan.model import HOST_SIDE
from vmlan.plan.layout import Layout

#: Whose a tool is: busybox's applets take other options than the programs that they stand for.
Maker: TypeAlias = Literal["busybox", "own"]

_WANTED = ("ping", "nc", "bash", "arping", "udhcpc", "nslookup", "getent", "ip")

#: A busybox that prefers its applets names them without a path.
_LOOK = """
for tool in "$@"; do
  path=$(command -v "$tool") || continue
  case $path in
    /*) link=$(readlink -f "$path" 2>/dev/null) ;;
    *) link=busybox ;;
  esac
  case $link in
    *busybox*) echo "$tool busybox" ;;
    *) echo "$tool own" ;;
  esac
done
"""


@dataclass(frozen=True)
class Said:
    """A command's end: whether it went well, and all that it said."""

    ok: bool
    words: str

    def line(self, *marks: str) -> str:
        """The line that says it: the first that has one of the marks, in their order; else the last."""
        lines = [line.strip() for line in self.words.splitlines() if line.strip()]
        for mark in marks:
            for line in lines:
                if mark in line:
                    return line
        return lines[-1] if lines else "said nothing"


@dataclass(frozen=True)
class Hands:
    """Runs commands on the host side and in guests. What a guest has is asked once."""

    layout: Layout
    _tools: dict[str, dict[str, Maker]] = field(default_factory=dict)

    def run(self, source: str, argv: Sequence[str], timeout: float) -> Said:
        """Run a command to its end, at `source`. Raises `VmlanError` where nothing can be run there."""
        if source == HOST_SIDE:
            result = enter.run_on_host_side(self.layout, argv)
            return Said(result.ok, result.stdout + result.stderr)
        with Agent(self.layout.machine(source).agent, source) as agent:
            done = agent.run(argv, timeout=timeout)
        return Said(done.code == 0, done.stdout + done.stderr)

    def nics(self, machine: str) -> tuple[GuestNic, ...]:
        """A guest's cards, as it says itself."""
        with Agent(self.layout.machine(machine).agent, machine) as agent:
            return agent.nics()

    def tools(self, machine: str) -> dict[str, Maker]:
        """Which tools for checks a guest has; none where it has no shell to ask."""
        if machine not in self._tools:
            with Agent(self.layout.machine(machine).agent, machine) as agent:
                done = agent.run(("sh", "-c", _LOOK, "sh", *_WANTED), timeout=20.0)
            found: dict[str, Maker] = {}
            for line in done.stdout.splitlines() if done.code != NOT_FOUND else ():
                tool, _, maker = line.partition(" ")
                found[tool] = "busybox" if maker == "busybox" else "own"
            self._tools[machine] = found
        return self._tools[machine]


def cannot(machine: str, tools: Collection[str]) -> GuestError:
    """The error for a guest that has none of the tools that could do it."""
    return GuestError(f"cannot check: no {' or '.join(tools)} in {machine}")
