"""Starting a program that stays in the lab, and seeing it get ready, or end instead."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from vmlan.errors import CommandFailed, HostError, KeeperGone
from vmlan.host import messages
from vmlan.host.keeper_client import KeeperClient
from vmlan.host.run import need
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Start, spaced

#: How long a program may take to get ready (seconds); on a machine with two cores, a hundred QEMUs are slow.
START_TIMEOUT = 30.0
#: How long a program that is to end may take (seconds).
STOP_TIMEOUT = 5.0
#: How often it is looked whether a program is ready, and whether it has ended (seconds).
_LOOK, _LOOK_WHETHER_IT_RUNS = 0.005, 0.05


class Program:
    """A program in the lab, through a connection to the keeper of its own. Raises `KeeperGone`."""

    def __init__(self, layout: Layout, name: str, command: Command, log: Path, machine: str = "") -> None:
        need(command.argv[0])
        self._name, self._command, self._log, self._machine = name, command, log, machine
        self._argv = spaced(command, layout.net)
        self._keeper = KeeperClient(layout.keeper)
        try:
            self._keeper.start(self._argv, name, log)
        except BaseException:
            self._keeper.close()
            raise

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.close()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it is ready. Raises `CommandFailed` with its own words if it ends instead."""
        deadline = time.monotonic() + START_TIMEOUT
        look = 0.0
        while not ready():
            now = time.monotonic()
            if now >= look:
                self.check()
                look = now + _LOOK_WHETHER_IT_RUNS
            if now > deadline:
                raise HostError(
                    f"{self._name} did not get ready within {START_TIMEOUT:.0f} s; its log: {self._log}"
                )
            time.sleep(_LOOK)

    def check(self) -> None:
        """Raise `CommandFailed` if it has ended."""
        kept = self._keeper.processes()[self._name]
        if kept.exit is None:
            return
        words = self._log.read_text(errors="replace")
        said = messages.explain(self._command.argv, words)
        what = f"{f'machine {self._machine}' if self._machine else self._name} did not start"
        raise CommandFailed(
            self._argv,
            kept.exit,
            words,
            program=self._command.argv[0],
            meaning=f"{what}: {said['meaning']}" if "meaning" in said else what,
            hint=said.get("hint"),
        )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it has."""
        end(self._keeper, self._name, number)


def end(keeper: KeeperClient, name: str, number: signal.Signals = signal.SIGTERM) -> None:
    """End a program; one that does not is killed. One that is gone is fine."""
    with contextlib.suppress(KeeperGone):
        keeper.signal(name, number)
        deadline = time.monotonic() + STOP_TIMEOUT
        while (kept := keeper.processes().get(name)) is not None and kept.exit is None:
            if time.monotonic() > deadline:
                keeper.signal(name, signal.SIGKILL)
            time.sleep(_LOOK)


def start(layout: Layout, step: Start) -> None:
    """Start a program that stays, and wait until it is ready. Raises `CommandFailed`."""
    with Program(layout, step.name, step.command, step.log, step.machine or "") as program:
        program.wait_until(lambda: _is_ready(step))
        if step.ready is None:
            program.check()


def _is_ready(step: Start) -> bool:
    """Whether what a program makes when it is ready is there, and of a machine also answers."""
    if step.ready is None:
        return True
    return qemu_answers(step.ready) if step.machine else step.ready.exists()


def qemu_answers(path: Path) -> bool:
    """Whether a machine is complete.

    QEMU makes its control socket early, and even greets there; it answers a query only once the machine
    is complete (QEMU, docs/interop/qmp-spec). Before that it may still find that it cannot be.
    """
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as monitor:
        monitor.settimeout(5.0)
        try:
            monitor.connect(str(path))
            monitor.sendall(b'{"execute": "qmp_capabilities"}{"execute": "query-status", "id": "vmlan"}')
            said = b""
            while b'"vmlan"' not in said:
                more = monitor.recv(4096)
                if not more:
                    return False
                said += more
        except OSError:
            return False
    return True
