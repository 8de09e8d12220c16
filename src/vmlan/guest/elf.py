"""Read the few things that we need to know of an ELF file: no tool for it need be installed.

Only 64-bit little-endian files, the only kind on amd64. Layouts: the System V gABI, chapters 4
and 5 (also elf(5)).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE = 1, 2, 3, 4
_DT_NEEDED, _DT_STRTAB = 1, 5
_SHT_NOBITS = 8
#: XEN_ELFNOTE_PHYS32_ENTRY, Xen's public/elfnote.h: where a PVH loader jumps to.
_PVH_ENTRY = 18


class NotElf(ValueError):
    """These bytes are not a 64-bit little-endian ELF file, or it is cut short."""


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def needed(data: bytes) -> tuple[str, ...]:
    """The names of the shared libraries that a program or library asks for, in its order."""
    segments = tuple(_segments(data))
    dynamic = [entry for segment in segments if segment.kind == _PT_DYNAMIC for entry in _tags(data, segment)]
    names = [value for tag, value in dynamic if tag == _DT_NEEDED]
    tables = [value for tag, value in dynamic if tag == _DT_STRTAB]
    if not names or not tables:
        return ()
    table = _file_offset(segments, tables[0])
    return tuple(_string(data, table + name) for name in names)


def interpreter(data: bytes) -> str | None:
    """The path of the dynamic loader that a program asks for, or None for a static one."""
    for segment in _segments(data):
        if segment.kind == _PT_INTERP:
            return _string(data, segment.offset)
    return None


def pvh_entry(data: bytes) -> int | None:
    """The physical address at which a kernel can be entered through PVH, or None.

    Without this note QEMU refuses an ELF kernel (QEMU hw/i386/x86.c, load_elfboot).
    """
    for segment in _segments(data):
        if segment.kind == _PT_NOTE:
            for name, kind, value in _notes(data, segment):
                if name == b"Xen\0" and kind == _PVH_ENTRY:
                    return int.from_bytes(value, "little")
    return None


def modinfo(data: bytes) -> dict[str, tuple[str, ...]]:
    """What a kernel module says of itself: each key with all of its values, in file order."""
    info: dict[str, tuple[str, ...]] = {}
    for item in section(data, ".modinfo").split(b"\0"):
        key, equals, value = item.decode(errors="replace").partition("=")
        if equals:
            info[key] = (*info.get(key, ()), value)
    return info


def section(data: bytes, wanted: str) -> bytes:
    """The contents of the section of that name; empty when there is none."""
    table, size, count, names = _header(data, "<Q", 0x28) + _header(data, "<HHH", 0x3A)
    headers = [_unpack("<IIQQQQ", data, table + index * size) for index in range(count)]
    if not headers:
        return b""
    strings = headers[names][4]
    for name, kind, _flags, _address, offset, length in headers:
        if kind != _SHT_NOBITS and _string(data, strings + name) == wanted:
            return data[offset : offset + length]
    return b""


def _segments(data: bytes) -> Iterator[_Segment]:
    table, size, count = _header(data, "<Q", 0x20) + _header(data, "<HH", 0x36)
    for index in range(count):
        kind, _flags, offset, address, _physical, length = _unpack("<IIQQQQ", data, table + index * size)
        yield _Segment(kind, offset, address, length)


def _tags(data: bytes, dynamic: _Segment) -> Iterator[tuple[int, int]]:
    for offset in range(dynamic.offset, dynamic.offset + dynamic.size, 16):
        tag, value = _unpack("<QQ", data, offset)
        yield tag, value


def _notes(data: bytes, segment: _Segment) -> Iterator[tuple[bytes, int, bytes]]:
    offset, end = segment.offset, segment.offset + segment.size
    while offset + 12 <= end:
        name_size, value_size, kind = _unpack("<III", data, offset)
        name = offset + 12
        value = name + name_size + -name_size % 4
        yield data[name : name + name_size], kind, data[value : value + value_size]
        offset = value + value_size + -value_size % 4


def _file_offset(segments: tuple[_Segment, ...], address: int) -> int:
    for segment in segments:
        if segment.kind == _PT_LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise NotElf(f"no segment holds the address {address:#x}")


def _header(data: bytes, form: str, offset: int) -> tuple[int, ...]:
    if data[:6] != b"\x7fELF\x02\x01":
        raise NotElf("not a 64-bit little-endian ELF file")
    return _unpack(form, data, offset)


def _unpack(form: str, data: bytes, offset: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, offset)
    except struct.error as error:
        raise NotElf(f"the file ends too early: {error}") from error


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    if end < 0:
        raise NotElf("a string of the file has no end")
    return data[offset:end].decode(errors="replace")
