"""Capturing inside QEMU, where a network has no interface: a `filter-dump` object on a NIC's backend.

QEMU writes each frame to a file at once, in the old pcap format (QEMU, net/dump.c); we read it as it grows,
and give back what we have read, so that the file holds no more than we are behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from vmlan.errors import NotRunning, VmlanError
from vmlan.observe import bpf
from vmlan.observe.links import Tapped
from vmlan.observe.ring import BROADCAST, FOR_US, MULTICAST, OUTGOING, Frame
from vmlan.plan.layout import Layout
from vmlan.qemu import qmp

#: The file's own head, and each frame's: seconds, microseconds, kept, length (tcpdump.org, pcap-savefile).
_FILE_HEAD, _FRAME_HEAD = 24, struct.Struct("=IIII")

#: How much is read at once, and after how much its place in the file is given back (bytes).
_PIECE, _GIVE_BACK = 1 << 20, 1 << 22
#: fallocate(2): a hole where nothing is kept; the size stays.
_KEEP_SIZE, _PUNCH_HOLE = 1, 2

#: How far QEMU's clock may drift from ours before we set it anew: a paused machine's stands still (ns).
_DRIFT = 100_000_000

_OBJECT = "vmlan-capture"


class Dump:
    """The frames of one backend in one machine's QEMU, from `start` to `stop`."""

    def __init__(self, number: int, link: Tapped, layout: Layout, program: bpf.Program) -> None:
        assert link.machine is not None and link.mac is not None
        self._number = number
        self._machine = link.machine
        self._backend = link.interface
        self._mac = bytes.fromhex(link.mac.replace(":", ""))
        self._program = program
        self._files = layout.machine(link.machine)
        self._id = f"{_OBJECT}-{os.getpid()}-{link.interface}"
        self._path = self._files.run / f"{self._id}.pcap"
        self._fd = -1
        self._read = _FILE_HEAD
        self._given_back = 0
        self._rest = b""
        self._offset: int | None = None
        #: How many frames there were; QEMU drops none.
        self.received = 0

    def start(self) -> None:
        """Have QEMU write. Raises `NotRunning` if the machine does not run."""
        self._tidy()
        arguments = {
            "qom-type": "filter-dump",
            "id": self._id,
            "netdev": self._backend,
            "file": str(self._path),
        }
        self._ask("object-add", **arguments)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def read(self) -> list[Frame]:
        """What has come since the last time."""
        if self._fd < 0:
            return []
        frames: list[Frame] = []
        while True:
            # QEMU writes a frame at a time: the last one that we see was written when the file was.
            state = os.fstat(self._fd)
            more = os.pread(self._fd, max(min(_PIECE, state.st_size - self._read), 0), self._read)
            if not more:
                break
            self._read += len(more)
            frames += self._frames(self._rest + more, state.st_mtime_ns)
        self._give_back()
        self.received += len(frames)
        return frames

    def stop(self) -> None:
        """Have QEMU stop; what it has written can still be read."""
        if self._fd >= 0:
            with contextlib.suppress(VmlanError):
                self._ask("object-del", id=self._id)

    def close(self) -> None:
        """Remove the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._path.unlink(missing_ok=True)

    def _ask(self, command: str, **arguments: str) -> object:
        return qmp.command(self._files.qmp, self._machine, command, 5.0, **arguments)

    def _tidy(self) -> None:
        """Take away what a capture that was killed has left: its writer would go on for ever."""
        answer = self._ask("qom-list", path="/objects")
        assert isinstance(answer, list)
        for row in answer:
            name = str(row["name"])
            if name.startswith(f"{_OBJECT}-") and not Path(f"/proc/{name.split('-')[2]}").exists():
                with contextlib.suppress(VmlanError):
                    self._ask("object-del", id=name)
                (self._files.run / f"{name}.pcap").unlink(missing_ok=True)

    def _frames(self, data: bytes, written: int) -> list[Frame]:
        raw = list(self._records(data))
        if raw:
            self._set_clock(written - raw[-1][0])
        offset = self._offset or 0
        return [
            Frame(stamp + offset, self._number, self._kind(frame), length, frame)
            for stamp, length, frame in raw
            if not self._program or bpf.accepts(self._program, frame)
        ]

    def _records(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        at, size = 0, _FRAME_HEAD.size
        while at + size <= len(data):
            seconds, micros, kept, length = _FRAME_HEAD.unpack_from(data, at)
            if at + size + kept > len(data):
                break
            at += size + kept
            yield seconds * 1_000_000_000 + micros * 1000, length, data[at - kept : at]
        self._rest = data[at:]

    def _set_clock(self, offset: int) -> None:
        """QEMU stamps frames with the time that the guest has run, and counts it from now on.

        (net/dump.c: QEMU_CLOCK_VIRTUAL on top of the time at which the object was made.) The distance to
        our clock is what we see it to be at the first frame.
        """
        if self._offset is None or abs(offset - self._offset) > _DRIFT:
            self._offset = offset

    def _kind(self, frame: bytes) -> int:
        """Direction and kind, as the host side of a tap would see them: the guest's own come in."""
        if frame[6:12] != self._mac:
            return OUTGOING
        if frame[:6] == b"\xff" * 6:
            return BROADCAST
        return MULTICAST if frame[:1] and frame[0] & 1 else FOR_US

    def _give_back(self) -> None:
        if self._read - self._given_back < _GIVE_BACK:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        size = ctypes.c_int64(self._read - self._given_back)
        # A file system that cannot keeps the file whole, which does no harm.
        libc.fallocate(self._fd, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_int64(self._given_back), size)
        self._given_back = self._read


def runs(dump: Dump) -> bool:
    """Start a dump; False if its machine does not run."""
    try:
        dump.start()
    except NotRunning:
        return False
    return True
