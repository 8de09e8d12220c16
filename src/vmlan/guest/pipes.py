"""The two named pipes to a guest's agent, `PATH.in` and `PATH.out` (qemu(1), `-chardev pipe`).

To the guest, a port whose other side is a pipe is always connected. With a socket it is not, between two
sessions, and qemu-ga then looks for a client ten times a second, and keeps the next one waiting for as long
(QEMU, qga/main.c, channel_event_cb). QEMU has both pipes open for reading and writing as long as it runs, so
that what one session leaves in them, the next one finds.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path

#: How often a session that another one keeps waiting looks whether that has ended (seconds).
_LOOK = 0.005


class Busy(TimeoutError):
    """Another session had the pipes all the time."""


class Pipes:
    """Both pipes, open, and nobody else's until they are closed.

    `deadline` is always of `time.monotonic`. Raises `TimeoutError` there, `Busy` while another session has
    them; `FileNotFoundError` where there are none, and another `OSError` where no QEMU has them open.
    """

    def __init__(self, path: Path, deadline: float) -> None:
        self._fds: list[int] = []
        try:
            # ENXIO: nobody has it open for reading, so there is no QEMU (fifo(7)).
            self._in = self._open(f"{path}.in", os.O_WRONLY)
            self._out = self._open(f"{path}.out", os.O_RDONLY)
            self._take_turn(deadline)
        except BaseException:
            self.close()
            raise

    def _open(self, name: str, how: int) -> int:
        """Open one. Its folder may be another user's, who must not lead root to something else."""
        fd = os.open(name, how | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._fds.append(fd)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise OSError(errno.ENXIO, "not a named pipe", name)
        return fd

    def _take_turn(self, deadline: float) -> None:
        """Lock the one pipe. Who waits for that has a share in the other; who comes later sees it, and waits.

        Else one who comes again and again would always find it free, and those who look now and then never.
        """
        if not _locked(self._out, fcntl.LOCK_EX):
            time.sleep(2 * _LOOK)
        _locked(self._out, fcntl.LOCK_SH)
        while not _locked(self._in, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise Busy
            time.sleep(_LOOK)
        fcntl.flock(self._out, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of them."""
        while self._fds:
            os.close(self._fds.pop())

    def send(self, data: bytes, deadline: float) -> None:
        """Write all of this. Raises `BrokenPipeError` when QEMU has ended."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._in, rest) :]
            except BlockingIOError:
                _wait(self._in, select.POLLOUT, deadline)

    def receive(self, deadline: float) -> bytes:
        """Some of what was said; empty once QEMU has ended."""
        while True:
            _wait(self._out, select.POLLIN, deadline)
            try:
                return os.read(self._out, 65536)
            except BlockingIOError:
                continue

    def receive_until(self, is_all: Callable[[bytes], bool], deadline: float) -> bytes:
        """What was said, when that is all of it. Raises `BrokenPipeError` when QEMU has ended."""
        said = b""
        while not is_all(said):
            more = self.receive(deadline)
            if not more:
                raise BrokenPipeError("QEMU has ended")
            said += more
        return said


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(fd: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(fd, event)
    if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
        raise TimeoutError
