"""The journal: what was done to bring a lab up, in order, so that it can be undone by anybody later.

One JSON object a line. A step is written (and on disk) before its effect, and marked done after;
so after a crash at any instant, what was begun is known. A last line cut short by a crash is
a step whose effect never began: it is ignored, and removed when the journal is continued. Any other
line that cannot be read (another version's, a damaged disk's) makes the story `damaged`.

    {"lab": NAME, "file": PATH}        the first line; of host placement with "world": in which network
    {"begin": STEP}   {"done": ID}   {"undone": ID}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from vmlan.plan.steps import Step


class _Line(msgspec.Struct, omit_defaults=True):
    lab: str | None = None
    file: str | None = None
    world: str | None = None
    begin: Step | None = None
    done: str | None = None
    undone: str | None = None


_ENCODER = msgspec.json.Encoder(enc_hook=str)  # a Path is its text
_DECODER = msgspec.json.Decoder(_Line, dec_hook=lambda type_, text: type_(text))


@dataclass(frozen=True)
class Entry:
    """A step that was begun and has not been undone."""

    step: Step
    done: bool


@dataclass(frozen=True)
class Story:
    """What a journal says: whose lab it is, and what was done for it."""

    lab: str
    file: str
    entries: tuple[Entry, ...]
    damaged: bool = False  #: some of it cannot be read: what it says may not be all
    world: str = (
        ""  #: the real host's network in which it was done (`vmlan.host.world`); empty: the lab's own
    )


class Journal:
    """A journal on disk, open for writing more of it."""

    def __init__(self, path: Path, lab: str, file: Path, world: str = "") -> None:
        self.path = path
        new = not path.exists() or not path.stat().st_size
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if new:
            self._write([_Line(lab=lab, file=str(file), world=world or None)])
        else:
            self._mend()

    def begin(self, steps: Sequence[Step]) -> None:
        """These steps' effects may happen from now on."""
        self._write([_Line(begin=step) for step in steps])

    def done(self, steps: Sequence[Step]) -> None:
        """These steps' effects have happened. A crash may lose this: they are then undone and done again."""
        self._write([_Line(done=step.id) for step in steps], sync=False)

    def undone(self, step: Step) -> None:
        """This step's effects are gone."""
        self._write([_Line(undone=step.id)])

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _write(self, lines: list[_Line], *, sync: bool = True) -> None:
        data = b"".join(_ENCODER.encode(line) + b"\n" for line in lines)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            error.filename = str(self.path)  # which disk is full is worth knowing
            raise

    def _mend(self) -> None:
        """Remove a line that a crash cut short."""
        whole = self.path.read_bytes()
        os.truncate(self.path, whole.rfind(b"\n") + 1)


def read(path: Path) -> Story | None:
    """What a journal says; None where there is none, or nothing was begun."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    lab, file, world, damaged = "", "", "", False
    entries: dict[str, Entry] = {}
    for line in raw.split(b"\n")[:-1]:
        try:
            entry = _DECODER.decode(line)
        except msgspec.MsgspecError:
            damaged = True
            continue
        if entry.lab is not None:
            lab, file, world = entry.lab, entry.file or "", entry.world or ""
        elif entry.begin is not None:
            entries.pop(entry.begin.id, None)
            entries[entry.begin.id] = Entry(entry.begin, done=False)
        elif entry.done is not None and entry.done in entries:
            entries[entry.done] = Entry(entries[entry.done].step, done=True)
        elif entry.undone is not None:
            entries.pop(entry.undone, None)
    return Story(lab, file, tuple(entries.values()), damaged, world)
