"""QEMU command lines in any text: one line, a script, a Makefile, or a page of notes with prose around.

Pure: nothing is run, no file is looked at, and no text makes it fail. What a command has is a word or a
remark; nothing of it is dropped in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vmlan.notes.dollars import Source
from vmlan.notes.page import Found, Page, clean
from vmlan.notes.prefixes import SET_FOR_IT, peel
from vmlan.notes.programs import PROGRAM_BODY, is_program, looks_like_qemu
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
    page = Page(clean(_ENTITY.sub(lambda found: _ENTITIES[found[1]], text)))
    found = page.active() or page.asleep() or page.alone() or _in_code(clean(text))
    return tuple(_command_line(each) for each in sorted(found, key=lambda each: each.line))


#: A string of JSON, Python and the like, and what else an item of a list can be.
_STRING = r"""[bfr]?"(?:[^"\\\n]|\\.)*"|[bfr]?'(?:[^'\\\n]|\\.)*'"""
_ITEM = re.compile(rf"[\s,]*(?:({_STRING})|([A-Za-z_][^\s,\[\]\"']*))\s*(?=[,\]])")
#: Where a list begins whose first item is QEMU, and a string that is a whole command.
_LIST = re.compile(rf"""\[\s*(?=[bfr]?["'][\w./-]{{0,100}}{PROGRAM_BODY}["'])""", re.ASCII)
_WHOLE = re.compile(
    rf"""(?:^|[:=(\[,])[ \t]{{0,20}}(?=[bfr]?["'](?:sudo )?[\w./-]{{0,100}}{PROGRAM_BODY} +-)({_STRING})""",
    re.ASCII | re.MULTILINE,
)


def _in_code(text: str) -> list[Found]:
    """Commands in a program's source: `["qemu-system-x86_64", "-m", "512"]`, or in one string."""
    found = []
    line_of = Source(text).line_of
    for match in _LIST.finditer(text):
        words, position = [], match.end()
        while item := _ITEM.match(text, position):
            position = item.end()
            words.append(placeholder(item[2]) if item[2] else _string(item[1]))
        found.append(Found(tuple(words), line_of(match.start()), ()))
    for match in _WHOLE.finditer(text):
        inside = Page(_string(match[1])).active()
        found += [replace(each, line=line_of(match.start())) for each in inside]
    return [each for each in found if each.words and is_program(each.words[0])]


def _string(text: str) -> str:
    """What a string literal says: JSON's, and Python's as far as that is the same; `{NAME}` is a variable."""
    body = text.lstrip("bfr")[1:-1]
    try:
        said = clean(str(json.loads(f'"{body}"')))
    except ValueError:
        said = clean(body)
    if not text.startswith("f"):
        return said
    return re.sub(r"\{(\w+)[^{}]*\}", lambda found: placeholder(found[1]), said)


#: What stands for a sign in HTML.
_ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "#34": '"', "#39": "'", "nbsp": " ", "apos": "'"}
_ENTITY = re.compile(rf"&({'|'.join(_ENTITIES)});")


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
    return CommandLine(kept, 1, _told(remarks))


def unknown_program(word: str) -> str:
    """What is said where the program is none that is known to be QEMU."""
    return f"the program '{short(word)}' is not known to be QEMU; it is read as if it were"


def _told(remarks: Iterable[str]) -> tuple[str, ...]:
    """Each remark once, and one for all the variables that were set for the command."""
    told = list(dict.fromkeys(remarks))
    names = [each.partition("=")[0] for each in told if each.endswith(SET_FOR_IT)]
    if len(names) > 1:
        first = next(index for index, each in enumerate(told) if each.endswith(SET_FOR_IT))
        told = [each for each in told if not each.endswith(SET_FOR_IT)]
        told.insert(first, f"{', '.join(names[:-1])} and {names[-1]} were set for it, and are left out")
    return tuple(told)


def _command_line(found: Found) -> CommandLine:
    words, remarks = found.words, found.remarks
    if not is_program(words[0]) and looks_like_qemu(words):
        remarks = (*remarks, unknown_program(words[0]))
    return CommandLine(words, found.line, _told(map(shown, remarks)))
