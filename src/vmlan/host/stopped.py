"""Running machines, stopped together to save them, and how they go on whatever becomes of this process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from vmlan import together
from vmlan.errors import HostError, RequestError
from vmlan.host.interrupts import deferred
from vmlan.plan.layout import Layout, MachineFiles
from vmlan.plan.states import Form
from vmlan.qemu.monitor import Monitor, Refused

#: How long QEMU may take for an answer, and for writing a machine's memory to a disk that may be slow (s).
_ANSWER_TIMEOUT, _SAVE_TIMEOUT = 30.0, 300.0

#: A machine of which a save was cut short is one of these; the other states are the guest's own affair
#: (QEMU, qapi/run-state.json: RunState).
_LEFT_STANDING = {"paused", "finish-migrate", "postmigrate"}

#: While it is one of these a state is still being saved (QEMU, qapi/migration.json: MigrationStatus).
_SAVING = {"setup", "active", "pre-switchover", "device", "cancelling"}


class SavedDisk(msgspec.Struct, frozen=True):
    """A disk of a machine: QEMU's name for it, and its file."""

    device: str
    file: Path


_TAG = "vmlan-"


def tag(name: str) -> str:
    """What the disks' own snapshots are called."""
    return f"{_TAG}{name}"


class Stopped:
    """Running machines, each with a session of its control channel, that can be stopped together."""

    def __init__(self, layout: Layout, machines: Sequence[str]) -> None:
        self._files = {name: layout.machine(name) for name in machines}
        self._monitors: dict[str, Monitor] = {}
        self._state = layout.state
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Stopped:
        for name, files in self._files.items():
            try:
                monitor = Monitor(files.qmp, _ANSWER_TIMEOUT)
            except OSError as error:
                self._stack.close()
                raise HostError(f"machine {name}: its QEMU does not answer: {error}") from None
            self._monitors[name] = self._stack.enter_context(monitor)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def form(self, name: str) -> Form:
        """How a machine began: only one of a template has the port by which it is told who it is."""
        labels = {row["label"] for row in self._monitors[name].call("query-chardev")}
        return "warm" if "identity0" in labels else "booted"

    def disks(self, name: str) -> tuple[SavedDisk, ...]:
        """What a machine writes to. Raises `RequestError` for what has no place for a snapshot in itself."""
        found = []
        for row in self._written(name):
            medium = row["inserted"]
            file = Path(medium["image"]["filename"])
            if medium["drv"] != "qcow2" or not file.is_relative_to(self._state):
                raise RequestError(
                    f"machine {name} writes to {file}, not a disk of the lab's own: what it held could not be"
                    " brought back",
                    hint="give it as {base: …}: then the machine writes to a copy-on-write disk over it",
                )
            found.append(SavedDisk(row["device"], file))
        return tuple(found)

    def drop_others(self, names: Sequence[str]) -> None:
        """Forget what the disks hold of snapshots other than these: it is of a save that was cut short."""
        wanted = {tag(name) for name in names}
        for machine, monitor in self._monitors.items():
            for row in self._written(machine):
                for each in row["inserted"]["image"].get("snapshots", ()):
                    if each["name"].startswith(_TAG) and each["name"] not in wanted:
                        drop(monitor, row["device"], each["name"].removeprefix(_TAG))

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[Callable[[], bool]]:
        """They stand still, as nearly at once as can be; then they go on, even if this process is killed.

        A Ctrl-C is heard when they do; what is given says whether there was one.
        """
        with deferred() as asked, _guarded(tuple(self._files.values()), self._stack) as not_needed:
            try:
                self._all(_wake)
                self._all(lambda _, monitor: monitor.call("stop"))
                yield asked
            finally:
                self.go_on()
                not_needed()

    def go_on(self) -> None:
        """Let them all go on, as nearly at once as can be; what is still being saved is let be."""

        def go_on_with(_name: str, monitor: Monitor) -> None:
            _save_no_more(monitor)
            monitor.call("cont")

        self._all(go_on_with)

    def save(self, lines: Mapping[str, Sequence[str]], given_up: Callable[[], bool]) -> None:
        """Save each machine's state with these lines for its monitor, unless somebody gives up.

        Raises `HostError`, then too.
        """

        def save_one(name: str, monitor: Monitor) -> None:
            try:
                monitor.do(lines[name])
                monitor.migrated(_SAVE_TIMEOUT, given_up)
            except (Refused, OSError) as error:
                raise HostError(f"machine {name}: its state cannot be saved: {error}") from None

        self._all(save_one)

    def keep_disks(self, disks: Mapping[str, Sequence[SavedDisk]], name: str) -> None:
        """What the disks of stopped machines hold is kept under that name."""
        for machine, own in disks.items():
            for disk in own:
                call = self._monitors[machine].call
                call("blockdev-snapshot-internal-sync", device=disk.device, name=tag(name))

    def forget_disks(self, disks: Mapping[str, Sequence[SavedDisk]], name: str) -> None:
        """Forget it again. They have gone on: QEMU fails at the disks of one whose state has been saved."""
        for machine, own in disks.items():
            for disk in own:
                with contextlib.suppress(OSError, HostError):
                    drop(self._monitors[machine], disk.device, name)

    def _written(self, name: str) -> list[dict[str, Any]]:
        """QEMU's words on each medium of a machine that it may write to (BlockInfo)."""
        rows = self._monitors[name].call("query-block")
        return [row for row in rows if row.get("inserted") is not None and not row["inserted"]["ro"]]

    def _all(self, work: Callable[[str, Monitor], object]) -> None:
        """Do it for each machine, in a thread each; raises the first error when all have ended."""
        pairs = self._monitors.items()
        together.do([partial(work, *pair) for pair in pairs], at_once=len(pairs))


def drop(monitor: Monitor, device: str, name: str) -> None:
    """Forget what a disk holds of a snapshot; one that it does not hold is no error."""
    with contextlib.suppress(Refused):
        monitor.call("blockdev-snapshot-delete-internal-sync", device=device, name=tag(name))


def drop_running(files: MachineFiles, disks: Sequence[SavedDisk], name: str) -> None:
    """The same, for the disks of a machine that runs."""
    with Monitor(files.qmp, _ANSWER_TIMEOUT) as monitor:
        for disk in disks:
            drop(monitor, disk.device, name)


def links_off(files: MachineFiles, count: int, *, off: bool) -> None:
    """Take the carrier from every card of a machine, or give it back."""
    with Monitor(files.qmp, _ANSWER_TIMEOUT) as monitor:
        for index in range(count):
            monitor.call("set_link", name=f"nic{index}", up=not off)


def _wake(_name: str, monitor: Monitor) -> None:
    """Let one go on that was left standing still: until then QEMU takes no snapshot of its disks."""
    if monitor.call("query-status")["status"] in _LEFT_STANDING:
        _save_no_more(monitor)
        monitor.call("cont")


def _save_no_more(monitor: Monitor) -> None:
    """Have QEMU let be what it still saves, and wait until it does."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT
    while monitor.call("query-migrate").get("status") in _SAVING and time.monotonic() < deadline:
        monitor.call("migrate_cancel")
        time.sleep(0.01)


@contextlib.contextmanager
def _guarded(
    machines: Sequence[MachineFiles], sessions: contextlib.ExitStack
) -> Iterator[Callable[[], None]]:
    """A process of its own lets the machines go on when this one ends within, unless it said: not needed.

    SIGKILL tells nobody: it learns of that from a pipe's end (pipe(7)). It has the lab's lock too, which is
    of this process's open file (flock(2)): whoever wants the lab next waits until they go on.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.close(theirs)
            os.setsid()  # what is sent to this process's group is not for it
            null = os.open(os.devnull, os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            sessions.close()  # QEMU talks with one at a time
            if not os.read(ours, 1):
                for files in machines:
                    _let_go_on(files)
        os._exit(0)
    os.close(ours)
    needed = True

    def not_needed() -> None:
        nonlocal needed
        needed = False
        with contextlib.suppress(BrokenPipeError):  # it may have been killed itself
            os.write(theirs, b".")

    try:
        yield not_needed
    finally:
        if needed:
            sessions.close()
        os.close(theirs)
        os.waitpid(child, 0)


def _let_go_on(files: MachineFiles) -> None:
    with contextlib.suppress(OSError, HostError), Monitor(files.qmp, _ANSWER_TIMEOUT) as monitor:
        _wake("", monitor)
