"""What stands before QEMU in a command: programs that merely start another one, taken off one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vmlan.notes.programs import PREFIXES, Prefix, basename, is_program, plausible
from vmlan.notes.tokens import PLACEHOLDER, short

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_SWITCH = re.compile(r"/[A-Za-z]+\Z")
_PLAIN = frozenset(["exec", "command", "builtin"])  # they change nothing about the command
_MOST = 12  # more programs before a command than anybody writes


@dataclass(frozen=True)
class Peeled:
    """The command without what starts it, and what is to be said about that.

    `nested`: the command is this one text instead (`sh -c TEXT`), still to be read.
    """

    words: tuple[str, ...]
    remarks: tuple[str, ...]
    nested: str | None = None


def peel(words: Sequence[str]) -> Peeled:
    """Take off everything that only starts the command after it."""
    rest, nested = tuple(words), None
    remarks: list[str] = []
    for _ in range(_MOST):
        if not rest or is_program(rest[0]):
            break
        found = _assignment(rest) or _variables(rest) or _windows_path(rest) or _prefix(rest)
        if found is None:
            break
        rest, nested = found.words, found.nested
        remarks += found.remarks
        if nested is not None:
            break
    return Peeled(rest, tuple(remarks), nested)


#: What is said about an environment variable that was set for the command, after its name.
SET_FOR_IT = " was set for it, and is left out"


def assignment_remark(word: str) -> str:
    """What is said about an environment variable that was set for the command."""
    return f"{short(word)}{SET_FOR_IT}"


def _assignment(words: tuple[str, ...]) -> Peeled | None:
    if _ASSIGNMENT.match(words[0]):
        return Peeled(words[1:], (assignment_remark(words[0]),))
    return None


def _variables(words: tuple[str, ...]) -> Peeled | None:
    """Unknown variables right before a known program: `$SUDO qemu-system-x86_64 …`."""
    count = 0
    while count < len(words) and PLACEHOLDER.fullmatch(words[count]):
        count += 1
    if count and plausible(words[count:]) and is_program(words[count]):
        return Peeled(words[count:], (f"{short(' '.join(words[:count]))} before the program is left out",))
    return None


def _windows_path(words: tuple[str, ...]) -> Peeled | None:
    """A path with blanks that nobody quoted: `C:\\Program Files\\qemu\\qemu.exe`."""
    if re.match(r"[A-Za-z]:\\", words[0]):
        for count in range(2, min(len(words), 6) + 1):
            if "\\" in words[count - 1] and is_program(words[count - 1]):
                return Peeled((" ".join(words[:count]), *words[count:]), ())
    return None


def _prefix(words: tuple[str, ...]) -> Peeled | None:
    for count in (3, 2, 1):
        name = " ".join([re.sub(r"\.exe\Z", "", basename(words[0])), *words[1:count]])
        if name in PREFIXES and len(words) >= count:
            break
    else:
        return None
    prefix = PREFIXES[name]
    if name == "eval":
        return Peeled((), (), " ".join(words[1:]))
    if name in ("start", "call", "cmd"):
        return _of_windows(words)
    if name == "ssh":
        end, _ = _options(words, count, prefix)
        return _said(words, end + 1, prefix, nested=" ".join(words[end + 1 :]))
    end, nested = _options(words, count, prefix)
    if name == "sg" and nested is None:
        end, nested = _options(words, end + 1, prefix)
    if name == "su" and nested is None and len(words) > end:  # su - USER -c TEXT
        end, nested = _options(words, end + 1 + (words[end] == "-"), prefix)
    if nested is not None and re.search(r"\s", nested):
        return _said(words, end, prefix, nested=nested)
    if nested is not None:  # `script -c qemu -m 1`: the quotes were forgotten
        return _said(words, end - 1, prefix)
    end += prefix.operands
    if len(words) == end + 1 and re.search(r"\s", words[end]):  # tmux new 'qemu …'
        return _said(words, end, prefix, nested=words[end])
    while end < len(words) and _ASSIGNMENT.match(words[end]):
        end += 1
    return _said(words, end, prefix)


def _options(words: tuple[str, ...], at: int, prefix: Prefix) -> tuple[int, str | None]:
    """Where the options from `at` on end, and the value of the one that holds the whole command."""
    letters, _, names = prefix.values.partition(" ")
    long = names.split()
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        at += 1
        if word == "--":
            break
        name = word.lstrip("-")
        if name in long:
            at += 1
        elif not word.startswith("--"):
            if prefix.nested and prefix.nested in name and at < len(words):
                return at + 1, words[at]
            if name and name[-1] in letters and not any(letter in letters for letter in name[:-1]):
                at += 1
    return at, None


def _of_windows(words: tuple[str, ...]) -> Peeled:
    """`start "title" /B PROGRAM`: switches, and a title that only quotes told from the program."""
    end = 1
    while end < len(words) and (_SWITCH.match(words[end]) or words[end] == ""):
        end += 2 if words[end].lower() == "/d" else 1
    if end + 1 < len(words) and not is_program(words[end]) and is_program(words[end + 1]):
        end += 1
    return _said(words, end, PREFIXES["start"])


def _said(words: tuple[str, ...], end: int, prefix: Prefix, nested: str | None = None) -> Peeled:
    if end == 1 and words[0] in _PLAIN:
        return Peeled(words[end:], (), nested)
    what = short(" ".join(words[: min(end, len(words))]))
    why = f": {prefix.why}" if prefix.why else ""
    return Peeled(words[end:], (f"{what} is left out{why}",), nested)
