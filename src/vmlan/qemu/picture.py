"""A machine's screen as pixels: from QEMU's PPM to PNG. Pure.

QEMU writes PNG itself since 7.1, where it was built with libpng (qapi/ui.json, `screendump`); PPM it has
always written, and the pixels are needed as well, to tell what a text screen shows (`qemu.textmode`).
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

#: QEMU's header: magic, width, height, largest value of a colour; one white space after each.
_HEADER = re.compile(rb"P6\s(\d+)\s(\d+)\s255\s")

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """Pixels, row by row from the top left, three bytes (red, green, blue) each."""

    width: int
    height: int
    pixels: bytes


def from_ppm(data: bytes) -> Picture | None:
    """The picture in a PPM file of QEMU's; None if this is not one, or not all of it."""
    header = _HEADER.match(data)
    if header is None:
        return None
    width, height = int(header[1]), int(header[2])
    pixels = data[header.end() :]
    return Picture(width, height, pixels) if len(pixels) == width * height * 3 else None


def to_png(picture: Picture) -> bytes:
    """The picture as a PNG file: 8 bits a colour, no filter (PNG specification, sections 5, 9 and 11)."""
    row = picture.width * 3
    lines = b"".join(b"\0" + picture.pixels[at : at + row] for at in range(0, len(picture.pixels), row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
