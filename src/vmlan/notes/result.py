"""What an import gives: a lab with its notes, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vmlan.model import Lab


class Fate(Enum):
    """What became of an option."""

    KEY = "key"  #: a key of the lab file says it
    ARGS = "qemu-args"  #: it is among the machine's qemu-args
    OURS = "vmlan"  #: vmlan does it in its own way
    OUT = "left out"  #: it has no effect in the lab; the note says why


class Why(Enum):
    """Why a line is no lab: the classes that docs/import.md counts."""

    ARCHITECTURE = "for another architecture"
    RUNS_CODE = "would run a program on this machine (`--trust` imports it)"
    NO_SUCH_OPTION = "has an option that QEMU never had"
    NO_ARGUMENT = "has an option without its argument"
    NO_MACHINE = "asks QEMU something, and starts no machine"


@dataclass(frozen=True)
class Note:
    """What became of some words of the line. `text` is one sentence, or "" where nothing changed."""

    words: str
    fate: Fate
    text: str = ""
    machine: str = ""

    def __str__(self) -> str:
        return f"{self.words}: {self.text}" if self.text else self.words


@dataclass(frozen=True)
class Blank:
    """A `$NAME` of the notes whose value is not known; `place` is where the user has to write it."""

    name: str
    place: str


@dataclass(frozen=True)
class Needed:
    """A file (or folder) of the user's that the lab uses, as the line names it."""

    path: str
    folder: bool = False


@dataclass(frozen=True)
class Refused:
    """A line that gives no machine, and the reason in one sentence."""

    why: Why
    reason: str
    line: int = 0


@dataclass(frozen=True)
class Imported:
    """What lines became: a lab (None if none of them could be one), and everything to say about it."""

    lab: Lab | None
    notes: tuple[Note, ...] = ()
    blanks: tuple[Blank, ...] = ()
    files: tuple[Needed, ...] = ()
    refused: tuple[Refused, ...] = ()

    @property
    def changes(self) -> tuple[Note, ...]:
        """The notes that say something: what became of the rest, the lab file itself shows."""
        return tuple(note for note in self.notes if note.text)
