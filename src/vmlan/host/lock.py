"""One vmlan at a time changes a lab, or makes what labs share."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmlan.errors import Busy


@contextmanager
def exclusive(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the lab at `folder` for this process; the folder is made if need be, and left if empty.

    The lock is on the folder itself, so nothing is left behind. It ends with the process, however
    that ends (flock(2)). Raises `Busy` if another vmlan has held it for `wait` seconds.
    """
    deadline = time.monotonic() + wait
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if time.monotonic() >= deadline:
                raise Busy(
                    "another vmlan is changing this lab right now",
                    hint="wait until it has finished, and try again",
                ) from None
            time.sleep(0.05)
            continue
        if _is_still(folder, fd):
            break
        os.close(fd)  # its last holder removed it between our two looks: take the new one
    try:
        yield
    finally:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
        os.close(fd)


@contextmanager
def waiting(file: Path) -> Iterator[None]:
    """Hold a lock file, made if need be with its folder, as soon as whoever has it lets go (flock(2)).

    The last holder may have removed the folder: then it is made again, and the new file's lock is taken.
    """
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if _is_still(file, held.fileno()):
                yield
                return


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
