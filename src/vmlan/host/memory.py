"""How much memory can be had here: what the kernel says of the host, and of the control groups we are in.

A lab's processes are in the control group of whoever started it, and each group above that one has a limit of
its own (Linux, admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/memory.rst). A group's page cache is given
up before its limit hurts, and so counts as free; but not what is in a tmpfs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from vmlan.plan.admission import Room, size

#: Larger numbers are version 1's way to say that there is no limit.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Mount:
    """A hierarchy of control groups: the group `root` and what is below it is seen at `at`."""

    version: Literal[1, 2]
    root: str
    at: str


def room(root: Path = Path("/")) -> Room | None:
    """What can be had now, by the strictest who has a say; None where that is not known.

    `root`: where /proc and the control groups are looked for.
    """
    try:
        host = meminfo((root / "proc/meminfo").read_text())
        free, swap = host["MemAvailable"], host.get("SwapFree", 0)
    except (OSError, ValueError, KeyError):  # MemAvailable is there since Linux 3.14
        return None
    found = [Room(free + swap, f"MemAvailable {size(free)} and SwapFree {size(swap)} in /proc/meminfo")]
    with contextlib.suppress(OSError, ValueError):
        mounted = list(mounts((root / "proc/self/mountinfo").read_text()))
        own = groups((root / "proc/self/cgroup").read_text())
        for mount in mounted:
            found += _rooms(root, mount, own.get(mount.version, "/"), swap)
    return min(found, key=lambda each: each.bytes)


def meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo (proc(5)): its rows in kB, as bytes."""
    rows = (re.fullmatch(r"(\w+):\s+(\d+) kB", line.strip()) for line in text.splitlines())
    return {row[1]: int(row[2]) * 1024 for row in rows if row}


def groups(text: str) -> dict[int, str]:
    """/proc/self/cgroup (cgroups(7)): the group that has a say in memory, by the hierarchy's version."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            found[2] = path
        elif "memory" in controllers.split(","):
            found[1] = path
    return found


def mounts(text: str) -> Iterator[Mount]:
    """/proc/self/mountinfo (proc(5)): where the hierarchies that have a say in memory are mounted."""
    for line in text.splitlines():
        place, _, kind = line.partition(" - ")
        words, told = place.split(" "), kind.split(" ")
        if told[0] == "cgroup2" or (told[0] == "cgroup" and "memory" in told[-1].split(",")):
            yield Mount(2 if told[0] == "cgroup2" else 1, _plain(words[3]), _plain(words[4]))


def _plain(word: str) -> str:
    """A path there has its blanks as octal numbers."""
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), word)


def folders(mount: Mount, group: str) -> Iterator[str]:
    """The folders of a group and of those above it, as far as they are seen here."""
    path, top = PurePosixPath(group), PurePosixPath(mount.root)
    below = path.relative_to(top) if path.is_relative_to(top) and ".." not in path.parts else PurePosixPath()
    at = PurePosixPath(mount.at)
    yield from (str(at / each) for each in (below, *below.parents))


def _rooms(root: Path, mount: Mount, group: str, swap: int) -> Iterator[Room]:
    for name in folders(mount, group):
        folder = root / name.lstrip("/")
        with contextlib.suppress(OSError, ValueError):  # a group without a limit has no such files
            yield _of_1(folder, name, swap) if mount.version == 1 else _of_2(folder, name, swap)


def _of_2(folder: Path, name: str, swap: int) -> Room:
    limit = _limit(folder / "memory.max")
    told = _stat(folder)
    cache = max(told.get("file", 0) - told.get("shmem", 0), 0) + told.get("slab_reclaimable", 0)
    free = max(limit - int((folder / "memory.current").read_text()) + cache, 0)
    with contextlib.suppress(OSError, ValueError):  # there is no file where swap is not counted
        used = int((folder / "memory.swap.current").read_text())
        swap = min(swap, max(_limit(folder / "memory.swap.max") - used, 0))
    return Room(free + swap, f"{name}/memory.max is {size(limit)}")


def _of_1(folder: Path, name: str, swap: int) -> Room:
    limit = _limit(folder / "memory.limit_in_bytes")
    told = _stat(folder)
    cache = max(told.get("total_cache", 0) - told.get("total_shmem", 0), 0)
    free = max(limit - int((folder / "memory.usage_in_bytes").read_text()) + cache, 0) + swap
    with contextlib.suppress(OSError, ValueError):  # memory and swap together, where both are counted
        both = _limit(folder / "memory.memsw.limit_in_bytes")
        used = int((folder / "memory.memsw.usage_in_bytes").read_text())
        free = min(free, max(both - used + cache, 0))
    return Room(free, f"{name}/memory.limit_in_bytes is {size(limit)}")


def _limit(file: Path) -> int:
    """A limit in bytes. Raises `ValueError` where there is none ("max")."""
    limit = int(file.read_text())
    if limit >= _NO_LIMIT:
        raise ValueError(limit)
    return limit


def _stat(folder: Path) -> dict[str, int]:
    lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}
