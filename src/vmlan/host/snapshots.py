"""The snapshots of a lab on the disk, and stopping its machines together to make one.

    STATE/.snapshots/NAME/MACHINE.state   the machine's memory, and the state of its devices
                          about.json      what each machine was, its disks, and how the network was set

What its disks held then is in the disks themselves, as qcow2's own snapshots of the name `vmlan-NAME`
(qemu-img(1), snapshot). A snapshot gets its name when all of it is there.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from vmlan.errors import HostError, RequestError, UnknownName
from vmlan.host import identity
from vmlan.host.run import run
from vmlan.plan.layout import Layout, MachineFiles
from vmlan.plan.states import Form
from vmlan.qemu.monitor import Monitor, Refused

#: How long QEMU may take for an answer, and for writing a machine's memory to a disk that may be slow (s).
_ANSWER_TIMEOUT, _SAVE_TIMEOUT = 30.0, 300.0


class SavedDisk(msgspec.Struct, frozen=True):
    """A disk of a machine: QEMU's name for it, and its file."""

    device: str
    file: Path


class SavedMachine(msgspec.Struct, frozen=True):
    """A machine as it was. `argv`: the command line with which it goes on, from then on."""

    name: str
    form: Form
    argv: tuple[str, ...]
    disks: tuple[SavedDisk, ...] = ()


class About(msgspec.Struct, frozen=True):
    """A whole snapshot. `saved`: Unix time. `clones`: machines that no lab file has, and whose copies."""

    saved: float
    qemu: str
    machines: tuple[SavedMachine, ...]
    settings: Mapping[str, str]
    shapes: Mapping[str, Any]
    clones: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Kept:
    """A snapshot that is there, and what its files take on the disk (bytes)."""

    name: str
    folder: Path
    about: About
    size: int


_ENCODER = msgspec.json.Encoder(enc_hook=str)  # a Path is its text
_DECODER = msgspec.json.Decoder(About, dec_hook=lambda type_, text: type_(text))


def tag(name: str) -> str:
    """What the disks' own snapshots are called."""
    return f"vmlan-{name}"


def state_file(folder: Path, machine: str) -> Path:
    """The file of one machine's state."""
    return folder / f"{machine}.state"


def kept(layout: Layout) -> list[Kept]:
    """The lab's snapshots, the latest first; what is not whole is none."""
    found = []
    for folder in layout.snapshots.iterdir() if layout.snapshots.is_dir() else ():
        with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
            if folder.suffix == _UNFINISHED:
                continue
            about = _DECODER.decode((folder / "about.json").read_bytes())
            size = sum(file.stat().st_blocks * 512 for file in folder.iterdir())
            found.append(Kept(folder.name, folder, about, size))
    return sorted(found, key=lambda each: -each.about.saved)


def one(layout: Layout, name: str) -> Kept:
    """The snapshot of that name. Raises `UnknownName`."""
    found = kept(layout)
    for each in found:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in found)
    hint = f"there is {names}" if names else "vmlan snapshot save NAME makes one"
    raise UnknownName(f"this lab has no snapshot '{name}'", hint=hint)


_UNFINISHED = ".new"


@contextlib.contextmanager
def unfinished(layout: Layout, name: str) -> Iterator[tuple[Path, Callable[[About], None]]]:
    """The folder of a snapshot while it is made, and what finishes it. Unfinished it is removed.

    So is what those have left who were killed meanwhile: the caller holds the lab's lock.
    """
    folder = layout.snapshots / name
    if folder.exists():
        raise RequestError(f"this lab has a snapshot '{name}' already", hint=f"vmlan snapshot rm {name}")
    new = layout.snapshots / f"{name}{_UNFINISHED}"
    for left in layout.snapshots.glob(f"*{_UNFINISHED}"):
        shutil.rmtree(left, ignore_errors=True)
    with identity.acting(identity.invoker() if layout.on_host else None):  # QEMU writes there
        new.mkdir(parents=True, mode=0o700)

    def finish(about: About) -> None:
        (new / "about.json").write_bytes(msgspec.json.format(_ENCODER.encode(about)))
        new.rename(folder)

    try:
        yield new, finish
    finally:
        shutil.rmtree(new, ignore_errors=True)
        with contextlib.suppress(OSError):
            layout.snapshots.rmdir()
            layout.state.rmdir()


def remove(layout: Layout, snapshot: Kept, running: Sequence[str]) -> None:
    """Remove a snapshot, and what its disks hold of it. `running`: machines whose disks QEMU has open."""
    for machine in snapshot.about.machines:
        for disk in machine.disks:
            if machine.name in running:
                with Monitor(layout.machine(machine.name).qmp, _ANSWER_TIMEOUT) as monitor:
                    _drop(monitor, disk, snapshot.name)
            elif disk.file.exists():
                run(["qemu-img", "snapshot", "-d", tag(snapshot.name), str(disk.file)], check=False)
    shutil.rmtree(snapshot.folder)
    with contextlib.suppress(OSError):
        layout.snapshots.rmdir()


def _drop(monitor: Monitor, disk: SavedDisk, name: str) -> None:
    with contextlib.suppress(Refused):  # gone already
        monitor.call("blockdev-snapshot-delete-internal-sync", device=disk.device, name=tag(name))


def bring_back_disks(snapshot: Kept) -> None:
    """Let the disks hold what they held then. Their machines do not run. Raises `HostError`."""
    for machine in snapshot.about.machines:
        for disk in machine.disks:
            if not disk.file.exists():
                raise HostError(f"machine {machine.name}: its disk {disk.file} is gone, so it cannot go on")
            run(["qemu-img", "snapshot", "-a", tag(snapshot.name), str(disk.file)])


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
        for row in self._monitors[name].call("query-block"):
            medium = row.get("inserted")
            if medium is None or medium["ro"]:
                continue
            file = Path(medium["image"]["filename"])
            if medium["drv"] != "qcow2" or not file.is_relative_to(self._state):
                raise RequestError(
                    f"machine {name} writes to {file}, not a disk of the lab's own: what it held could not be"
                    " brought back",
                    hint="give it as {base: …}: then the machine writes to a copy-on-write disk over it",
                )
            found.append(SavedDisk(row["device"], file))
        return tuple(found)

    def stop(self) -> None:
        """Stop them all, as nearly at once as can be."""
        self._all(lambda name, monitor: monitor.call("stop"))

    def go_on(self) -> None:
        """Let them all go on, as nearly at once as can be."""
        self._all(lambda name, monitor: monitor.call("cont"))

    def save(self, lines: Mapping[str, Sequence[str]]) -> None:
        """Save each machine's state with these lines for its monitor. Raises `HostError`."""

        def save_one(name: str, monitor: Monitor) -> None:
            try:
                monitor.do(lines[name])
                monitor.migrated(_SAVE_TIMEOUT)
            except (Refused, OSError) as error:
                raise HostError(f"machine {name}: its state cannot be saved: {error}") from None

        self._all(save_one)

    @contextlib.contextmanager
    def disks_snapshot(self, disks: Mapping[str, Sequence[SavedDisk]], name: str) -> Iterator[None]:
        """What the disks hold is kept under that name; if what follows fails, it is forgotten again."""
        done: list[tuple[Monitor, SavedDisk]] = []
        try:
            for machine, own in disks.items():
                for disk in own:
                    monitor = self._monitors[machine]
                    monitor.call("blockdev-snapshot-internal-sync", device=disk.device, name=tag(name))
                    done.append((monitor, disk))
            yield
        except BaseException:
            for monitor, disk in done:
                with contextlib.suppress(OSError, HostError):
                    _drop(monitor, disk, name)
            raise

    def _all(self, work: Callable[[str, Monitor], object]) -> None:
        """Do it for each machine, in a thread each; raises the first error when all have ended."""
        errors: list[BaseException] = []

        def one_of_them(name: str, monitor: Monitor) -> None:
            try:
                work(name, monitor)
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=one_of_them, args=pair, daemon=True) for pair in self._monitors.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]


def links_off(files: MachineFiles, count: int, *, off: bool) -> None:
    """Take the carrier from every card of a machine, or give it back."""
    with Monitor(files.qmp, _ANSWER_TIMEOUT) as monitor:
        for index in range(count):
            monitor.call("set_link", name=f"nic{index}", up=not off)
