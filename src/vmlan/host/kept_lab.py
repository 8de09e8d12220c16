"""What the lab file of a running lab says, kept by `up`, so that asking the lab need not read the file again.

What reads YAML, and knows all that can be wrong with it, takes longer to load than a lab takes to answer.
What is kept counts only for the very same text, read by the very same program; else the file is read. It is
in the lab's RUN folder, and goes with it.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from vmlan import model
from vmlan.host import clones
from vmlan.model import Lab
from vmlan.plan.layout import Layout

#: Below the vmlan package: what makes a `Lab` of a text.
_READER = (".", "labfile")


def keep(layout: Layout, file: Path, text: bytes, lab: Lab) -> None:
    """Keep what this text of the lab file says. What cannot be kept is not: that is no error."""
    plain = _plain(lab)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        if _value(plain) == lab:
            new = layout.lab.with_suffix(".new")
            new.write_text(json.dumps([_key(file, text), plain]))
            new.replace(layout.lab)


def load(file: Path, layout: Layout) -> Lab:
    """The lab that runs, or would: what its file says, and its clones. Raises as `labfile.load`."""
    return clones.added(_load(file, layout), clones.read(layout))


def _load(file: Path, layout: Layout) -> Lab:
    try:
        key, plain = json.loads(layout.lab.read_bytes())
        if key == _key(file, file.read_bytes()):
            lab = _value(plain)
            assert isinstance(lab, Lab)
            return lab
    except (OSError, ValueError, TypeError, KeyError):
        pass  # there is none, or another version's
    from vmlan import labfile

    return labfile.load(file)


def _key(file: Path, text: bytes) -> list[Any]:
    """What a `Lab` follows from: the text, where it is, what `~` stands for, the program that reads it."""
    package = Path(model.__file__).parent
    sources = [
        [entry.path, entry.stat().st_size, entry.stat().st_mtime_ns]
        for folder in _READER
        for entry in os.scandir(package / folder)
        if entry.name.endswith(".py")
    ]
    return [str(file), os.environ.get("HOME"), text.decode(errors="surrogateescape"), sorted(sources)]


def _plain(value: Any) -> Any:
    """A value of the model as JSON has it: what is not plain is a type's name, and what makes it."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return {"type": type(value).__name__, "given": [value.value]}
    if is_dataclass(value):
        given = [_plain(getattr(value, field.name)) for field in fields(value)]
        return {"type": type(value).__name__, "given": given}
    if value is None or isinstance(value, str | int | float):
        return value
    name = "Path" if isinstance(value, Path) else type(value).__name__
    return {"type": name, "given": [str(value)]}


def _value(plain: Any) -> Any:
    """The reverse. Only types that the model names are made. Raises `KeyError`, `TypeError`, `ValueError`."""
    if isinstance(plain, list):
        return tuple(_value(each) for each in plain)
    if isinstance(plain, dict):
        return vars(model)[plain["type"]](*(_value(each) for each in plain["given"]))
    return plain
