"""The guard's journal: what was there, what is done to it, and how far it has come.

    FOLDER/nic.journal   the record, then one state a line; each is on disk before what it announces happens
    FOLDER/nic.room      room on the disk, given up for the last lines of the journal where there is no other
    FOLDER/guard.sock    the guard listens here while it waits
    FOLDER/guard.log     what `ip` and the guard said
    FOLDER/report.txt    the last rollback, in words, with what it could not put back

Nothing else is written anywhere: after a reboot the NIC is as the host's own configuration makes it, and the
record, which knows its boot, is void. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import syslog
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vmlan.plan.lan_snapshot import Snapshot

JOURNAL, SOCKET, LOG, REPORT = "nic.journal", "guard.sock", "guard.log", "report.txt"

#: Else a change could begin on a disk that has no room to say that it was undone. The size is in bytes.
_ROOM, _ROOM_SIZE = "nic.room", 3 * 4096
_LAST = ("undoing", "undone")

#: The states in which nothing is under way any more.
SETTLED = ("kept", "undone")


@dataclass(frozen=True)
class Record:
    """One change of a NIC: what it was, what is run, and who asked for it."""

    lab: str
    nic: str
    bridge: str
    snapshot: Snapshot
    commands: tuple[tuple[tuple[str, ...], str], ...]  #: argument lists, and what they read
    confirm_within: float  #: seconds; 0: kept without being confirmed
    ssh: str | None = None  #: the $SSH_CONNECTION of whoever asked
    then: tuple[str, ...] = ()  #: run after a rollback that nobody asked for
    boot: str = ""  #: /proc/sys/kernel/random/boot_id
    namespace: str = ""  #: the network namespace, as /proc/PID/ns/net has it
    starter: int = 0  #: vmlan's process

    def to_json(self) -> dict[str, Any]:
        """For the journal."""
        return {**asdict(self), "snapshot": self.snapshot.to_json()}

    @staticmethod
    def from_json(given: dict[str, Any]) -> Record:
        """The other way round. Raises `ValueError`, `TypeError`, `KeyError` for what is no record."""
        return Record(
            **{
                **given,
                "snapshot": Snapshot.from_json(given["snapshot"]),
                "commands": tuple((tuple(argv), stdin) for argv, stdin in given["commands"]),
                "then": tuple(given["then"]),
            }
        )


@dataclass(frozen=True)
class Story:
    """What a journal says: the record, and the states since, the last one last."""

    record: Record
    states: tuple[dict[str, Any], ...] = field(default=())

    @property
    def state(self) -> str:
        """The last state: armed, changing, changed, waiting, kept, undoing or undone."""
        return str(self.states[-1]["state"]) if self.states else "armed"

    @property
    def changed_anything(self) -> bool:
        """Whether a command of the change may have run."""
        return any(one["state"] == "changing" for one in self.states)

    @property
    def released(self) -> bool:
        """Whether vmlan has let go of the guard."""
        return any(one.get("released") for one in self.states)

    def is_void(self) -> bool:
        """Whether it is of another boot: then nothing of the change is left."""
        return self.record.boot != boot_id()


def boot_id() -> str:
    """What tells this boot from others (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def network_namespace() -> str:
    """The network namespace of this process."""
    return str(Path("/proc/self/ns/net").readlink())


def begin(folder: Path, record: Record) -> None:
    """Write the record, alone in a new journal, and have it on disk; with room for what is to come."""
    with (folder / _ROOM).open("wb") as room:
        room.write(bytes(_ROOM_SIZE))
        room.flush()
        os.fsync(room.fileno())
    fresh = folder / f"{JOURNAL}.new"
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write(fd, json.dumps(record.to_json()).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(folder / JOURNAL)
    _sync_folder(folder)


def add(folder: Path, state: str, **more: Any) -> None:
    """Write a state, and have it on disk. It is a line of its own, also where the last one was cut short."""
    if state in _LAST:
        _in_the_end(folder, lambda: _add(folder, {"state": state, **more}))
    else:
        _add(folder, {"state": state, **more})


def _in_the_end(folder: Path, write: Callable[[], object]) -> None:
    """Write what there must be room for: where there is none, that is given up which was kept for it."""
    try:
        write()
    except OSError:
        (folder / _ROOM).unlink()  # raises in turn where that is given up already
        write()


def _add(folder: Path, line: dict[str, Any]) -> None:
    fd = os.open(folder / JOURNAL, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        cut = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        _write(fd, b"\n" * cut + json.dumps(line).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    """Write all of it, or raise `OSError`: where a disk fills up, write(2) first says that it wrote some."""
    while data:
        data = data[os.write(fd, data) :]


def read(folder: Path) -> Story | None:
    """What the journal says; None where there is none. A last line that was cut short counts for nothing."""
    try:
        lines = (folder / JOURNAL).read_bytes().split(b"\n")[:-1]
    except OSError:
        return None
    try:
        record = Record.from_json(json.loads(lines[0]))
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    states = []
    for line in lines[1:]:
        with contextlib.suppress(ValueError):
            states.append(json.loads(line))
    return Story(record, tuple(states))


def report(folder: Path, record: Record, reason: str, left: Sequence[str], seconds: float) -> None:
    """Write what a rollback came to."""
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    lines = [f"{when}: {record.nic} was put back after {seconds:.2f} s, since {reason}"]
    lines += [f"  not as it was: {one}" for one in left] or ["  everything is as it was"]
    _in_the_end(folder, lambda: (folder / REPORT).write_text("\n".join(lines) + "\n"))


def tell_system(record: Record, reason: str, left: Sequence[str]) -> None:
    """Tell the system's log (syslog(3)) of a rollback that nobody asked for: whoever was cut off looks there,
    and the report goes with the lab. Where there is no such log, nobody is told.
    """
    syslog.openlog("vmlan", 0, syslog.LOG_DAEMON)
    head = f"{record.nic} was put back, and the lab {record.lab} ends: {reason}"
    syslog.syslog(syslog.LOG_WARNING, head)
    for one in left or ["everything is as it was"]:
        syslog.syslog(syslog.LOG_WARNING, f"not as it was: {one}" if left else one)
    syslog.closelog()


def forget(folder: Path) -> None:
    """Remove the journal and what belongs to it; the report and the log stay."""
    for name in (JOURNAL, f"{JOURNAL}.new", _ROOM, SOCKET):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
    with contextlib.suppress(OSError):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
