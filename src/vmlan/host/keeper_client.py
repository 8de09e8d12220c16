"""Talking to a lab's keeper: start a program in the lab, wait for one, end it all."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmlan.errors import HostError, KeeperGone, MissingProgram
from vmlan.host.keeper import PACKET
from vmlan.host.run import PACKAGES, Result

ENOENT = 2


@dataclass(frozen=True)
class Kept:
    """A named program in the lab. `pid` is its number inside; `exit` None: it runs."""

    name: str
    pid: int
    exit: int | None


class KeeperClient:
    """One connection to a keeper. Raises `KeeperGone` when the lab ends meanwhile."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.connect(str(path))
        except PermissionError:
            self._socket.close()
            raise HostError(
                "this lab is in this machine's own network (place: host): only root may ask what runs in it",
                hint="the same with sudo before it",
            ) from None
        except OSError as error:
            self._socket.close()
            raise KeeperGone(f"no lab answers at {path}: {error.strerror}") from error
        #: The keeper's number outside of the lab, as the kernel tells it (unix(7), SO_PEERCRED).
        self.pid = struct.unpack("3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def close(self) -> None:
        """Hang up; programs go on."""
        self._socket.close()

    def __enter__(self) -> KeeperClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, argv: Sequence[str], stdin: str = "") -> Result:
        """Run a program in the lab to its end, and return what it said."""
        with _memory(stdin) as given, _memory() as out, _memory() as err:
            pid = self._start(argv, None, (given, out, err))
            while True:
                message = self._receive()
                if message.get("pid") == pid and "exit" in message:
                    return Result(tuple(argv), int(str(message["exit"])), _read(out), _read(err))

    def start(self, argv: Sequence[str], name: str, log: Path) -> int:
        """Start a program that stays, under a name, with its words going to `log`; its pid inside."""
        null = os.open(os.devnull, os.O_RDONLY)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            return self._start(argv, name, (null, out, out))
        finally:
            os.close(null)
            os.close(out)

    def processes(self) -> dict[str, Kept]:
        """Every named program, by name, those that have ended included."""
        self._send({"op": "list"})
        while "processes" not in (message := self._receive()):
            pass
        rows = message["processes"]
        assert isinstance(rows, list)
        return {row["name"]: Kept(row["name"], row["pid"], row["exit"]) for row in rows}

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until what a vmlan that was killed had begun in the lab has ended: it goes on without it."""
        deadline = time.monotonic() + timeout
        while self._orphans() and time.monotonic() < deadline:
            time.sleep(0.01)

    def _orphans(self) -> bool:
        self._send({"op": "orphans"})
        while not {"orphans", "error"} & (message := self._receive()).keys():
            pass
        return bool(message.get("orphans"))

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a named program. One that is not there has ended: that is no error."""
        self._send({"op": "signal", "name": name, "signal": number})
        while not {"ok", "error"} & self._receive().keys():
            pass

    def end(self, timeout: float = 10.0) -> None:
        """End the lab, and return once the kernel has ended everything in it.

        A pidfd of PID 1 becomes readable only after every process of its namespace is gone
        (zap_pid_ns_processes in Linux, kernel/pid_namespace.c).
        """
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            with contextlib.suppress(KeeperGone):
                self._send({"op": "end"})
            if not _readable(pidfd, timeout):
                os.kill(self.pid, 9)  # the pidfd shows that the number still means this process
                if not _readable(pidfd, timeout):
                    raise HostError(
                        f"the lab's first process ({self.pid}) does not end, not even when killed"
                    )
        finally:
            os.close(pidfd)

    def _start(self, argv: Sequence[str], name: str | None, fds: tuple[int, int, int]) -> int:
        self._send({"op": "start", "argv": list(argv), "name": name}, fds)
        while True:
            message = self._receive()
            if message.get("errno") == ENOENT:
                raise MissingProgram(argv[0], PACKAGES.get(argv[0]))
            if "error" in message:
                raise HostError(f"the keeper could not start {argv[0]}: {message['error']}")
            if "pid" in message and "exit" not in message:
                return int(str(message["pid"]))

    def _send(self, message: dict[str, object], fds: tuple[int, ...] = ()) -> None:
        data = json.dumps(message).encode()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * PACKET)
            socket.send_fds(self._socket, [data], fds, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise KeeperGone("the lab has ended") from error

    def _receive(self) -> dict[str, object]:
        try:
            data = self._socket.recv(PACKET)
        except OSError as error:
            raise KeeperGone("the lab has ended") from error
        if not data:
            raise KeeperGone("the lab has ended")
        message: dict[str, object] = json.loads(data)
        return message


@contextmanager
def _memory(text: str = "") -> Iterator[int]:
    """A file in memory: unlike a pipe, it never makes anybody wait."""
    fd = os.memfd_create("vmlan")
    try:
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _read(fd: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0).decode(errors="replace")


def _readable(fd: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
