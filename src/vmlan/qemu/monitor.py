"""A session of QEMU's control channel (QMP), without QEMU's library, which takes longer to load.

For what is done in milliseconds, and many times; `qemu.qmp` is for the rest.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vmlan.errors import HostError
from vmlan.qemu.qmp_words import request


class Refused(HostError):
    """QEMU's own words on a command that it did not carry out."""


class Monitor:
    """A session. Raises `OSError` where QEMU does not answer in time, or has ended; `Refused`.

    `timeout`: how long QEMU may take for each answer (seconds).
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._timeout = timeout
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._deadline = time.monotonic() + timeout
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
            self._line()
            self.call("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, command: str, **arguments: Any) -> Any:
        """One command, and its answer (QEMU, docs/interop/qemu-qmp-ref)."""
        self._deadline = time.monotonic() + self._timeout
        self._socket.sendall(request(command, **arguments).encode())
        while True:
            reply = json.loads(self._line())
            if "error" in reply:
                raise Refused(f"QEMU refuses {command}: {reply['error'].get('desc')}")
            if "return" in reply:  # else an event
                return reply["return"]

    def say(self, line: str) -> str:
        """One line of QEMU's monitor for people, and its words (QEMU, docs/system/monitor)."""
        return str(self.call("human-monitor-command", **{"command-line": line}))

    def do(self, lines: Iterable[str]) -> None:
        """Lines of that monitor that say nothing when all is well, or OK.

        (QEMU, block/monitor/block-hmp-cmds.c: hmp_drive_add().)
        """
        for line in lines:
            if (words := self.say(line).strip()) not in {"", "OK"}:
                raise Refused(f"QEMU refuses {line.partition(' ')[0]}: {words}")

    def migrated(self, timeout: float, given_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until a machine's state has been saved, or loaded.

        `given_up`: whether to have QEMU let that be; then it raises `Refused`, unless it was done already.
        """
        deadline = time.monotonic() + timeout
        pause, cancelled = 0.001, False
        while (found := self.call("query-migrate")).get("status") != "completed":
            if not cancelled and given_up():
                self.call("migrate_cancel")
                cancelled = True
            if found.get("status") in {"failed", "cancelled"}:
                why = found.get("error-desc", "it says no reason")
                raise Refused(f"QEMU could not move the machine's state: {why}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"the machine's state was not moved within {timeout:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("QEMU did not answer")
            self._socket.settimeout(left)
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionResetError("QEMU has ended")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
