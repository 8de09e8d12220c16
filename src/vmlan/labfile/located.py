"""Values that know where they stand in the file, and the list of what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from vmlan.errors import Problem

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in the file: line and column, both from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


#: Where a file begins; the place of what is missing altogether.
START = Mark(1, 1)


def position(text: str) -> Mark:
    """The place right after `text`, when the file begins with it."""
    return Mark(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """A value and its place: a scalar, or keys with values (`entries`), or a list (`items`).

    A value that is used by several aliases is one object, at the place of its anchor.
    `written` is a scalar as the file has it: `0x10` is the value 16.
    """

    at: Mark
    value: Scalar = None
    written: str = ""
    entries: Mapping[str, Entry] | None = None
    items: tuple[Located, ...] | None = None

    @property
    def plain(self) -> object:
        """The scalar itself; for a collection an empty one, since only its type is of interest."""
        if self.entries is not None:
            return {}
        return [] if self.items is not None else self.value

    @property
    def empty(self) -> bool:
        """Whether nothing (or `null`) is written there."""
        return self.value is None and self.entries is None and self.items is None


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One key of a mapping, at its own place, with its value."""

    at: Mark
    value: Located


@dataclass
class Problems:
    """What is wrong with a file, collected. The same thing at the same place counts once."""

    found: set[Problem] = field(default_factory=set)

    def add(self, at: Mark, what: str, hint: str = "") -> None:
        """Note a problem: what is wrong, and what would be right."""
        self.found.add(Problem(at.line, at.column, what, hint))
