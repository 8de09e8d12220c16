"""Telling people what happens while it happens: moving lines on a terminal, plain ones elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmlan.cli import common
from vmlan.plan.steps import Interfaces, Start, Step
from vmlan.progress import Progress

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table


@contextmanager
def open_progress(*, quiet: bool, verbose: bool = False) -> Iterator[Progress]:
    """The fitting `Progress`. All of it goes to standard error: standard output is for results."""
    if quiet:
        yield Progress()
    elif common.is_terminal(sys.stderr) and not verbose:
        with Moving() as moving:
            yield moving
    else:
        yield Plain(verbose=verbose)


class Plain(Progress):
    """A line for each event."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._lock = threading.Lock()

    def _say(self, text: str) -> None:
        with self._lock:
            print(text, file=sys.stderr, flush=True)

    def preparing(self, what: str) -> None:
        """A line, since it takes time."""
        self._say(f"… {what}")

    def step(self, steps: tuple[Step, ...]) -> None:
        """With -v: the reason of each step, and its command."""
        if self._verbose:
            for step in steps:
                self._say(f"+ {step.reason}")
                for line in _commands(step):
                    self._say(f"    {line}")

    def machine(self, name: str, state: str) -> None:
        """A line for each state."""
        self._say(f"{name}: {state}")

    def detail(self, text: str) -> None:
        """A line with -v."""
        if self._verbose:
            self._say(f"({text})")

    def note(self, text: str) -> None:
        """A line that stands out."""
        self._say(f"note: {text}")


def _commands(step: Step) -> list[str]:
    import shlex

    if isinstance(step, Interfaces):
        return [f"ip {line}" for line in step.lines]
    if isinstance(step, Start) and step.warm is not None:
        return [shlex.join(step.warm.command.argv), *step.warm.load, *step.warm.plug]
    command = getattr(step, "command", None)
    return [shlex.join(command.argv)] if command else []


def _is_final(state: str) -> bool:
    return state.startswith(("ready", "runs", "ran", "not ready"))


class Moving(Progress):
    """One line a machine, each with its state and its time; notes and steps scroll above."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, float, float | None]] = {}
        self._lock = threading.Lock()
        self._doing = ""
        self._live: Live | None = None

    def __enter__(self) -> Moving:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, highlight=False)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=10)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._live is not None
        self._doing = ""
        with self._lock:  # what was still under way is over, one way or the other
            self._states = {name: state for name, state in self._states.items() if _is_final(state[0])}
        self._live.transient = not self._states
        self._live.stop()

    def _render(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        spinner = Spinner("dots", style="cyan")
        with self._lock:
            for name, (state, began, ended) in self._states.items():
                done, bad = _is_final(state) and state != "not ready", state == "not ready"
                mark = Text("✓", "green") if done else Text("✗", "red") if bad else spinner
                clock = "" if done else f"{(ended or time.monotonic()) - began:.1f} s"
                table.add_row(mark, Text(name, "bold"), Text(state), Text(clock, "dim"))
            if self._doing:
                table.add_row(Spinner("dots"), "", Text(self._doing, "dim"), "")
        return table

    def preparing(self, what: str) -> None:
        """The line at the bottom."""
        self._doing = what

    def step(self, steps: tuple[Step, ...]) -> None:
        """The line at the bottom."""
        self._doing = steps[0].reason if isinstance(steps[0], Start) else steps[-1].reason

    def machine(self, name: str, state: str) -> None:
        """The machine's line."""
        with self._lock:
            _, began, _ = self._states.get(name, ("", time.monotonic(), None))
            ended = time.monotonic() if _is_final(state) else None
            self._states[name] = (state, began, ended)
            self._doing = ""

    def note(self, text: str) -> None:
        """Above the moving lines."""
        assert self._live is not None
        self._live.console.print(f"[yellow]note:[/] {text}", soft_wrap=True)
