"""Answers that cost a start of QEMU, kept in a file. A cache can vanish, rot or be read-only: no harm."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from vmlan.errors import HostError

T = TypeVar("T")

#: How many answers a file keeps; a user has one QEMU, somebody who tests against many a handful.
_KEEP = 16


def identity(binary: Path) -> str:
    """What changes whenever the program behind this path does: an upgrade, a rebuild, another link.

    Raises `HostError` if nothing is there.
    """
    try:
        real = binary.resolve(strict=True)
        found = real.stat()
    except OSError as error:
        raise HostError(f"{binary} cannot be looked at: {error.strerror}") from None
    return f"{real} {found.st_ino} {found.st_size} {found.st_ctime_ns}"


def recall(file: Path, key: str, kind: type[T]) -> T | None:
    """The answer kept under this key, if there is one and it is whole."""
    kept = _read(file).get(key)
    if kept is None:
        return None
    try:
        return msgspec.json.decode(kept, type=kind, dec_hook=lambda type_, value: type_(value))
    except msgspec.ValidationError:
        return None


def remember(file: Path, key: str, answer: object) -> None:
    """Keep an answer; the file is replaced in one go, so a reader sees the old one or the new one."""
    entries = {old: value for old, value in _read(file).items() if old != key}
    entries[key] = msgspec.Raw(msgspec.json.encode(answer, enc_hook=str))
    newest = dict(list(entries.items())[-_KEEP:])
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        _replace(file, msgspec.json.encode(newest))


def _read(file: Path) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError):
        return {}


def _replace(file: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=file.name, dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
