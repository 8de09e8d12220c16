"""What `$` and `%` begin, in quotes too: variables, arguments, commands, sums; in sh, make and cmd.exe."""

from __future__ import annotations

import re
from bisect import bisect_left

from vmlan.notes.tokens import BLANKS, Piece

_IN_QUOTES = re.compile(r"[$`\\%<]")
#: A place to fill in, as people write it by hand; group 1 is what they call it.
HAND = re.compile(r"<([A-Za-z][^<>|&;\"'`$\n]{0,60})>")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_MAKE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_PERCENT = re.compile(r"%([A-Za-z_][A-Za-z0-9_]*)%")
_HERE = re.compile(r"%~dp0\\?", re.IGNORECASE)
_PERCENT_ARGUMENT = re.compile(r"%(?:~[a-z]*)?([0-9*])")
_ANSI = re.compile(r"\$'((?:[^'\\]|\\.)*+)'")
_ESCAPES = re.compile(r"\\(?:([abefnrtv\\'\"?])|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|([0-7]{1,3}))")
_CONTROLS = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

#: Parameters of sh, and automatic variables of make, by the name that their placeholder gets.
_SPECIAL = {"?": "status", "#": "argument_count", "!": "last_pid", "-": "flags"}
_AUTOMATIC = {"<": "first_prerequisite", "^": "prerequisites", "+": "prerequisites"}


class Source:
    """A text, and where each of its brackets closes: found once, so that reading stays linear."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.closing: dict[int, int] = {}
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        stacks: dict[str, list[int]] = {")": [], "}": []}
        for match in re.finditer(rf"[(){{}}]|\n[{BLANKS}]*(?=\n)", text):
            sign = match.group()
            if sign in "({":
                stacks[")" if sign == "(" else "}"].append(match.start())
            elif sign in stacks:
                if stacks[sign]:
                    self.closing[stacks[sign].pop()] = match.start()
            else:  # nothing reaches beyond an empty line
                for stack in stacks.values():
                    stack.clear()

    def line_of(self, position: int) -> int:
        """The line, from 1, that the position is on."""
        return bisect_left(self._newlines, position) + 1

    def end_of_line(self, position: int) -> int:
        """Where the line of the position ends: at its newline, or at the end of the text."""
        index = bisect_left(self._newlines, position)
        return self._newlines[index] if index < len(self._newlines) else len(self.text)


def expansion(source: Source, at: int, end: int, *, quoted: bool, windows: bool) -> tuple[Piece, int]:
    """What `$` or `%` at `at` begins, and where that ends; the sign itself where it begins nothing."""
    text = source.text
    if text[at] == "%":
        return _percent(text, at, end, quoted=quoted, windows=windows)
    if text.startswith("$$", at):
        if at + 2 >= end or (text[at + 2] not in "{(" and not _NAME.match(text, at + 2, end)):
            return Piece("name", "pid", quoted), at + 2
        at += 1
    follows = text[at + 1 : min(at + 2, end)]
    if follows and follows in "({":
        return _bracketed(source, at, end, quoted)
    if follows == "'" and not quoted:
        return _ansi(source, at, end)
    if follows == '"' and not quoted:
        return Piece("text", "", quoted), at + 1
    env = _ENV.match(text, at + 1, end)
    name = _NAME.match(text, at + 1, end)
    if env or name:
        match = env or name
        assert match is not None
        return Piece("name", match.group(env is not None), quoted), match.end()
    if follows.isascii() and follows.isdigit():
        return Piece("argument", follows, quoted), at + 2
    if follows and follows in "@*":
        return Piece("all", f"${follows}", quoted), at + 2
    special = _SPECIAL.get(follows) or _AUTOMATIC.get(follows)
    if special:
        return Piece("name", special, quoted), at + 2
    return Piece("text", "$", quoted), at + 1


def inside_quotes(source: Source, position: int, end: int, *, windows: bool) -> list[Piece]:
    """The pieces between two double quotes."""
    pieces: list[Piece] = []
    while position < end:
        special = _IN_QUOTES.search(source.text, position, end)
        stop = special.start() if special else end
        if stop > position:
            pieces.append(Piece("text", source.text[position:stop], quoted=True))
        if special is None:
            break
        piece, position = _special_in_quotes(source, stop, end, windows=windows)
        pieces.append(piece)
    return pieces


def _special_in_quotes(source: Source, at: int, end: int, *, windows: bool) -> tuple[Piece, int]:
    text = source.text
    sign, follows = text[at], text[at + 1 : min(at + 2, end)]
    if sign == "\\":
        if follows == "\n":
            return Piece("text", "", quoted=True), at + 2
        if follows and follows in ('$`"' if windows else '$`"\\'):
            return Piece("text", follows, quoted=True), at + 2
    elif sign == "`":
        close = text.find("`", at + 1, end)
        if close > 0:
            return Piece("run", text[at + 1 : close], quoted=True), close + 1
    elif sign == "<":
        hand = HAND.match(text, at, end)
        if hand:
            return Piece("hand", hand.group(1), quoted=True), hand.end()
    else:
        return expansion(source, at, end, quoted=True, windows=windows)
    return Piece("text", sign, quoted=True), at + 1


def _percent(text: str, at: int, end: int, *, quoted: bool, windows: bool) -> tuple[Piece, int]:
    here = _HERE.match(text, at, end)
    if here:  # the folder of the script
        return Piece("text", "", quoted), here.end()
    named = _PERCENT.match(text, at, end)
    if named:
        return Piece("name", named.group(1), quoted), named.end()
    argument = _PERCENT_ARGUMENT.match(text, at, end) if windows else None
    if argument:
        which = argument.group(1)
        piece = Piece("all", "%*", quoted) if which == "*" else Piece("argument", which, quoted)
        return piece, argument.end()
    return Piece("text", "%", quoted), at + 1


def _bracketed(source: Source, at: int, end: int, quoted: bool) -> tuple[Piece, int]:
    text = source.text
    close = source.closing.get(at + 1, -1)
    if not 0 <= close < end:
        return Piece("text", "$", quoted), at + 1
    body = text[at + 2 : close]
    if text[at + 1] == "{":
        return Piece("name" if _NAME.fullmatch(body) else "brace", body, quoted), close + 1
    if body[:1] == "(" and body[-1:] == ")":
        return Piece("sum", body[1:-1], quoted), close + 1
    if _MAKE_NAME.match(body):
        return Piece("make", body, quoted), close + 1
    if body in ("@", "<", "^"):
        return Piece("name", {"@": "target"}.get(body) or _AUTOMATIC[body], quoted), close + 1
    return Piece("run", body, quoted), close + 1


def _ansi(source: Source, at: int, end: int) -> tuple[Piece, int]:
    line_end = min(end, source.end_of_line(at))
    match = _ANSI.match(source.text, at, line_end)
    if match is None:
        return Piece("text", "$"), at + 1
    return Piece("text", _ESCAPES.sub(_unescape, match.group(1)), quoted=True), match.end()


def _unescape(match: re.Match[str]) -> str:
    letter, hexadecimal, code, octal = match.groups()
    if letter:
        return _CONTROLS.get(letter, letter)
    number = int(octal, 8) & 0xFF if octal else int(hexadecimal or code, 16)
    return chr(number) if number and not 0xD800 <= number <= 0xE001 else "\ufffd"
