"""QEMU command lines in any text: one line, a script, a Makefile, or a page of notes with prose around.

Pure: nothing is run, no file is looked at, and no text makes it fail. What a command has is a word or a
remark; nothing of it is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vmlan.notes.page import Found, Page, clean
from vmlan.notes.prefixes import peel
from vmlan.notes.programs import is_program, looks_like_qemu
from vmlan.notes.tokens import PLACEHOLDER, placeholder, short, shown

__all__ = ["PLACEHOLDER", "CommandLine", "command_lines", "from_words", "placeholder", "shown"]


@dataclass(frozen=True)
class CommandLine:
    """One command as QEMU would get it.

    `words`: the program as it was written, then its arguments, without quotes; a value that the text does
    not tell is a placeholder. `line`: where it begins, from 1. `remarks`: one sentence each on what of the
    text around or in it was left out or changed.
    """

    words: tuple[str, ...]
    line: int
    remarks: tuple[str, ...]


def command_lines(text: str) -> tuple[CommandLine, ...]:
    """Every QEMU command in a text, in the text's order; () when there is none.

    Commands that are commented out, or in a here-document, count only where there are no others. A text of
    one line is read with more good will: its program need not be known, if the options are QEMU's.
    """
    page = Page(clean(text))
    found = page.active() or page.asleep() or page.alone()
    return tuple(_command_line(each) for each in sorted(found, key=lambda each: each.line))


def from_words(words: Sequence[str]) -> CommandLine:
    """The command of an argument list, which the user's own shell has already split and expanded.

    No words at all give a command line without words, and a remark.
    """
    cleaned = tuple(clean(word) for word in words)
    if len(cleaned) == 1 and len(cleaned[0].split()) > 1:
        inside = command_lines(cleaned[0])
        if inside:
            return inside[0]
    peeled = peel(cleaned)
    remarks = list(peeled.remarks)
    if peeled.nested is not None:
        inside = command_lines(peeled.nested)
        if inside:
            return replace(inside[0], line=1, remarks=(*remarks, *inside[0].remarks))
    kept = peeled.words or cleaned
    if not kept:
        return CommandLine((), 1, ("there is no command",))
    if not peeled.words:
        remarks = []
    if not is_program(kept[0]):
        remarks.append(unknown_program(kept[0]))
    return CommandLine(kept, 1, tuple(dict.fromkeys(remarks)))


def unknown_program(word: str) -> str:
    """What is said where the program is none that is known to be QEMU."""
    return f"the program '{short(word)}' is not known to be QEMU; it is read as if it were"


def _command_line(found: Found) -> CommandLine:
    words, remarks = found.words, found.remarks
    if not is_program(words[0]) and looks_like_qemu(words):
        remarks = (*remarks, unknown_program(words[0]))
    return CommandLine(words, found.line, tuple(dict.fromkeys(shown(remark) for remark in remarks)))
