"""The snapshots of a lab on the disk.

    STATE/.snapshots/NAME/MACHINE.state   the machine's memory, and the state of its devices
                          about.json      what each machine was, its disks, and how the network was set

What its disks held then is in the disks themselves, as qcow2's own snapshots of the name `vmlan-NAME`
(qemu-img(1), snapshot). A snapshot gets its name when all of it is there.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from vmlan.errors import HostError, RequestError, UnknownName
from vmlan.host import identity
from vmlan.host.run import run
from vmlan.host.stopped import SavedDisk, drop_running, tag
from vmlan.plan.layout import Layout
from vmlan.plan.states import Form


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
    """The folder of a snapshot while it is made, and what finishes it. What fails leaves nothing of it.

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
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        with contextlib.suppress(OSError):
            layout.snapshots.rmdir()
            layout.state.rmdir()


def remove(layout: Layout, snapshot: Kept, running: Sequence[str]) -> None:
    """Remove a snapshot, and what its disks hold of it. `running`: machines whose disks QEMU has open."""
    for machine in snapshot.about.machines:
        if machine.name in running:
            drop_running(layout.machine(machine.name), machine.disks, snapshot.name)
            continue
        for disk in machine.disks:
            if disk.file.exists():
                run(["qemu-img", "snapshot", "-d", tag(snapshot.name), str(disk.file)], check=False)
    shutil.rmtree(snapshot.folder)
    with contextlib.suppress(OSError):
        layout.snapshots.rmdir()


def bring_back_disks(snapshot: Kept) -> None:
    """Let the disks hold what they held then. Their machines do not run. Raises `HostError`."""
    for machine in snapshot.about.machines:
        for disk in machine.disks:
            if not disk.file.exists():
                raise HostError(f"machine {machine.name}: its disk {disk.file} is gone, so it cannot go on")
            run(["qemu-img", "snapshot", "-a", tag(snapshot.name), str(disk.file)])
