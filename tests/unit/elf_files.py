"""Small ELF files made by hand, for tests of what reads them."""

from __future__ import annotations

import struct

_LOAD, _DYNAMIC, _INTERP, _NOTE = 1, 2, 3, 4
_BASE = 0x400000  #: where the one loaded segment goes: the whole file


def note(name: bytes, kind: int, value: bytes) -> bytes:
    """One ELF note, padded."""
    head = struct.pack("<III", len(name), len(value), kind)
    return head + name + bytes(-len(name) % 4) + value + bytes(-len(value) % 4)


PVH_NOTE = note(b"GNU\0", 3, b"id of build") + note(b"Xen\0", 18, struct.pack("<I", 0x1000370))


def make(
    *,
    needed: tuple[str, ...] = (),
    interpreter: str | None = None,
    notes: bytes = b"",
    sections: dict[str, bytes] | None = None,
) -> bytes:
    """An ELF64 file that has just these."""
    blobs: list[tuple[int, bytes]] = []
    if needed:
        strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
        blobs.append((0, strings))
        blobs.append((_DYNAMIC, b""))  # filled in below: it points to the strings
    if interpreter:
        blobs.append((_INTERP, interpreter.encode() + b"\0"))
    if notes:
        blobs.append((_NOTE, notes))
    count = 1 + sum(1 for kind, _ in blobs if kind)
    body, headers, place = b"", [], 64 + 56 * count
    strings_at = place
    for kind, blob in blobs:
        if kind == _DYNAMIC:
            offsets = [1 + sum(len(name) + 1 for name in needed[:n]) for n in range(len(needed))]
            tags = [(1, offset) for offset in offsets] + [(5, _BASE + strings_at), (0, 0)]
            blob = b"".join(struct.pack("<QQ", *tag) for tag in tags)
        if kind:
            at = place + len(body)
            headers.append(struct.pack("<IIQQQQQQ", kind, 4, at, _BASE + at, 0, len(blob), len(blob), 4))
        body += blob + bytes(-len(blob) % 4)
    table, section_body = _sections(place + len(body), sections or {})
    body += section_body
    size = place + len(body)
    headers.insert(0, struct.pack("<IIQQQQQQ", _LOAD, 5, 0, _BASE, 0, size, size, 4096))
    names = len(sections or {}) + 1 if sections else 0
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQ", 3, 62, 1, 0, 64, size if sections else 0)
    head += struct.pack("<IHHHHHH", 0, 64, 56, count, 64, len(table) // 64, names)
    return head + b"".join(headers) + body + table


def _sections(start: int, sections: dict[str, bytes]) -> tuple[bytes, bytes]:
    if not sections:
        return b"", b""
    names, body, table = b"\0", b"", bytes(64)
    for name, data in sections.items():
        table += struct.pack("<IIQQQQIIQQ", len(names), 1, 0, 0, start + len(body), len(data), 0, 0, 1, 0)
        names += name.encode() + b"\0"
        body += data
    table += struct.pack("<IIQQQQIIQQ", len(names), 3, 0, 0, start + len(body), len(names) + 10, 0, 0, 1, 0)
    return table, body + names + b".shstrtab\0"
