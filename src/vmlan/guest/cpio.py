"""Write a newc cpio archive, the form in which Linux takes an initramfs.

The format is described in Linux Documentation/driver-api/early-userspace/buffer-format.rst. Written
here rather than by `cpio`, because that needs root to make device nodes, and because the same
entries must always give the same bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

_ALIGN = 4
_BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """One file of an archive. `path` is relative to the root; `mode` has type and permission bits."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)  #: major and minor, of a device node


def directory(path: str, mode: int = 0o755) -> Entry:
    """A folder."""
    return Entry(path, stat.S_IFDIR | mode)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(path, stat.S_IFREG | mode, data)


def symlink(path: str, target: str) -> Entry:
    """A symbolic link, whose target is taken as it is."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """A character device node."""
    return Entry(path, stat.S_IFCHR | mode, device=(major, minor))


def pack(entries: Iterable[Entry]) -> bytes:
    """The archive of the entries, owned by root, dated 1970; missing parent folders are added.

    The order of the entries does not matter. Raises `ValueError` when two have the same path.
    """
    by_path: dict[str, Entry] = {}
    for entry in entries:
        if entry.path in by_path:
            raise ValueError(f"two entries of an archive have the path {entry.path}")
        by_path[entry.path] = entry
    for path in tuple(by_path):
        for parent in _parents(path):
            by_path.setdefault(parent, directory(parent))
    # The kernel unpacks in order and makes no parents of its own. The sorted order has every
    # folder before what is in it.
    ordered = sorted(by_path.values(), key=lambda entry: PurePosixPath(entry.path).parts)
    records = [_record(number, entry) for number, entry in enumerate(ordered, start=1)]
    whole = b"".join([*records, _record(0, Entry("TRAILER!!!", 0))])
    return whole + bytes(-len(whole) % _BLOCK)


def _parents(path: str) -> Iterator[str]:
    for parent in PurePosixPath(path).parents:
        if parent.name:
            yield str(parent)


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    major, minor = entry.device
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, major, minor, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)
