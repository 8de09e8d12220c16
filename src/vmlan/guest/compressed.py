"""Decompress what a kernel package holds, whatever it was compressed with.

Python's own modules where they can; the `zstd` and `lz4` programs else. What follows the end of
the compressed data is ignored where the format says where that is: a kernel's payload has the
size it unpacks to appended.
"""

from __future__ import annotations

import bz2
import lzma
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vmlan.host.run import run


class NotCompressed(ValueError):
    """These bytes are in none of the forms that are known here, or damaged."""


class _Stream(Protocol):
    """What Python's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _by_module(make: Callable[[], _Stream]) -> Callable[[bytes], bytes]:
    def expand(data: bytes) -> bytes:
        stream = make()
        try:
            plain = stream.decompress(data)
        except (OSError, lzma.LZMAError, zlib.error) as error:
            raise NotCompressed(f"the compressed data is damaged: {error}") from error
        if not stream.eof:
            raise NotCompressed("the compressed data is cut short")
        return plain

    return expand


def _by_program(suffix: str, *argv: str) -> Callable[[bytes], bytes]:
    def expand(data: bytes) -> bytes:
        # Through files: the door for running programs carries text only.
        with tempfile.TemporaryDirectory(prefix="vmlan-") as folder:
            packed = Path(folder, f"data{suffix}")
            packed.write_bytes(data)
            run([*argv, str(packed)])
            return packed.with_suffix("").read_bytes()

    return expand


#: How each form begins (Linux lib/decompress.c has the same list), and how it is undone.
_FORMS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", _by_module(lambda: zlib.decompressobj(wbits=31))),
    (b"\xfd7zXZ\0", _by_module(lzma.LZMADecompressor)),
    (b"\x5d\0\0", _by_module(lzma.LZMADecompressor)),
    (b"BZh", _by_module(bz2.BZ2Decompressor)),
    (b"\x28\xb5\x2f\xfd", _by_program(".zst", "zstd", "-d", "-q")),
    (b"\x02\x21\x4c\x18", _by_program(".lz4", "lz4", "-d", "-q", "-m")),
)


def expand(data: bytes) -> bytes:
    """The plain bytes. Raises `NotCompressed`; `MissingProgram`; `CommandFailed` on damaged data."""
    for magic, undo in _FORMS:
        if data.startswith(magic):
            return undo(data)
    raise NotCompressed(f"unknown compression, data begins with {data[:6].hex(' ')}")
