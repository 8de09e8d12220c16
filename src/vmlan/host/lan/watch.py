"""The watcher's part of the guard: to see that the worker is gone or hangs, and to end what is left of it.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from pathlib import Path


def wait_for_end(worker: socket.socket, within: float) -> bool:
    """The watcher's life: true if the worker says that it is done, false if it dies or hangs."""
    limit, words = time.monotonic() + within, b""
    while True:
        ready = select.select([worker], [], [], max(limit - time.monotonic(), 0))[0]
        data = worker.recv(4096) if ready else b""
        if not data:
            return False
        words += data
        *lines, words = words.split(b"\n")
        if b"end" in lines:
            return True
        limit = float(lines[-1]) if lines else limit


def end_group(leader: int) -> None:
    """End the worker and all that it started, and wait until they have gone: two must not change a NIC."""
    end = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < end:
            os.killpg(leader, signal.SIGKILL)
            if not _lives(leader):
                return
            time.sleep(0.005)


def _lives(group: int) -> bool:
    """Whether a process of the group is alive; one that only waits to be reaped is not (proc(5), stat)."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state not in {"Z", "X"}:
                    return True
    return False
