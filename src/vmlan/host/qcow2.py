"""The header of a qcow2 image, read by ourselves: what QEMU would open besides the file itself.

Nothing in a header is believed: an image may come from anybody, and a guest writes the bytes of its
raw disk, header or not. (Source: QEMU, docs/interop/qcow2.txt.)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"QFI\xfb"

#: Header extensions: the format of the backing file, and the name of the file that has the data.
_BACKING_FORMAT, _DATA_FILE = 0xE2792ACA, 0x44415441

#: Incompatible feature bit 2: the data is in another file.
_EXTERNAL_DATA = 1 << 2

#: How long a backing file's name can be.
NAME_MAX = 1023

#: Clusters have 512 bytes to 2 MiB (docs/interop/qcow2.txt; block/qcow2.h, MAX_CLUSTER_BITS).
_CLUSTER_BITS = range(9, 22)


class Broken(ValueError):
    """A header that contradicts itself."""


#: Where a table or a cluster is, in a table's entry; the other bits are flags (docs/interop/qcow2.txt).
_OFFSET = 0x00FF_FFFF_FFFF_FE00

#: An L2 entry whose cluster is compressed: not aligned, and found otherwise.
_COMPRESSED = 1 << 62


@dataclass(frozen=True)
class Header:
    """What a header says.

    `backing`: the backing file's name, as it is written there; `backing_format`: None where it is not
    recorded. `external_data`: the file that has the data; "" where it is not named, None without one.
    """

    version: int
    virtual_size: int
    backing: str | None = None
    backing_format: str | None = None
    external_data: str | None = None
    encrypted: bool = False


def read(path: Path) -> Header | None:
    """The header of the image at `path`; None if the file does not begin as a qcow2 does.

    Raises `Broken` if it begins so and makes no sense, and `OSError`. Version 1 is given back with
    its version alone: it is another format, which vmlan does not take.
    """
    with path.open("rb") as file:
        head = file.read(512)
        if not head.startswith(MAGIC):
            return None
        if len(head) < 72:
            raise Broken("it ends within its header")
        bits = int.from_bytes(head[20:24], "big")
        if int.from_bytes(head[4:8], "big") != 1 and bits in _CLUSTER_BITS:
            head += file.read((1 << bits) - len(head))  # the rest of the header is in the first cluster
    return parse(head)


def parse(head: bytes) -> Header:
    """A header from an image's first cluster. Raises `Broken`."""
    version, name_at, name_size, bits, virtual_size, crypt = struct.unpack_from(">4xIQIIQI", head)
    if version == 1:
        return Header(version, 0)
    if version not in (2, 3) or bits not in _CLUSTER_BITS:
        raise Broken(f"its version is {version} and its clusters have 2^{bits} bytes")
    features, length = 0, 72
    if version == 3:
        if len(head) < 104:
            raise Broken("it ends within its header")
        (features,) = struct.unpack_from(">Q", head, 72)
        (length,) = struct.unpack_from(">I", head, 100)
    extensions = dict(_extensions(head, length, name_at or len(head)))
    backing = None
    if name_at:
        if not 0 < name_size <= NAME_MAX or name_at + name_size > len(head):
            raise Broken("the name of its backing file is not in its first cluster")
        backing = os.fsdecode(head[name_at : name_at + name_size].partition(b"\0")[0])
    return Header(
        version=version,
        virtual_size=virtual_size,
        backing=backing,
        backing_format=_text(extensions.get(_BACKING_FORMAT)) if backing else None,
        external_data=(_text(extensions.get(_DATA_FILE)) or "") if features & _EXTERNAL_DATA else None,
        encrypted=crypt != 0,
    )


def _extensions(head: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Header extensions: a type, a length, and data up to the next multiple of eight.

    Type 0 ends them, or the backing file's name, which can follow at once in images of old.
    """
    while at + 8 <= end:
        kind, size = struct.unpack_from(">II", head, at)
        at += 8
        if kind == 0:
            return
        if at + size > len(head):
            raise Broken("a header extension is longer than the header")
        yield kind, head[at : at + size]
        at += (size + 7) // 8 * 8


def _text(data: bytes | None) -> str | None:
    return os.fsdecode(data.partition(b"\0")[0]) if data else None


def cut_at(path: Path) -> int | None:
    """Where a file ends, if its tables name clusters behind that, as in half a copy; None if it is whole.

    The data of a cluster may itself be cut short, as the last one of a file is by right.
    """
    with path.open("rb") as file:
        head = file.read(104)
        size = os.fstat(file.fileno()).st_size
        version = int.from_bytes(head[4:8], "big")
        if not head.startswith(MAGIC) or len(head) < 72 or version not in (2, 3) or not path.is_file():
            return None
        (bits,) = struct.unpack_from(">I", head, 20)
        tables, l1_at, refcounts_at, refcounts = struct.unpack_from(">IQQI", head, 36)
        if bits not in _CLUSTER_BITS or tables > 1 << 22:
            return size
        if max(l1_at + 8 * tables, refcounts_at + (refcounts << bits)) > size:
            return size
        for l2_at in _entries(file, l1_at, tables):
            if l2_at & _OFFSET and (l2_at & _OFFSET) + (1 << bits) > size:
                return size
            if l2_at & _OFFSET:
                compressed = (1 << 62 - (bits - 8)) - 1  # where the offset is in such an entry
                entries = _entries(file, l2_at & _OFFSET, 1 << bits - 3)
                if any(entry & (compressed if entry & _COMPRESSED else _OFFSET) >= size for entry in entries):
                    return size
    return None


def _entries(file: BinaryIO, at: int, count: int) -> tuple[int, ...]:
    file.seek(at)
    data = file.read(8 * count)
    return struct.unpack(f">{len(data) // 8}Q", data[: len(data) // 8 * 8])
