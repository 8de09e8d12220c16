"""Finding the commands of a page: lines, prompts, comments, assignments, here-documents, inline code."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vmlan.notes.commands import Simple, around, assignment, inside, literal, simple_commands
from vmlan.notes.dollars import Source
from vmlan.notes.expand import Scope, Value
from vmlan.notes.leads import COMMENT, FENCE, lead
from vmlan.notes.lexer import Line
from vmlan.notes.prefixes import assignment_remark, peel
from vmlan.notes.programs import (
    PROGRAM_TEXT,
    is_option,
    is_program,
    is_qemu_option,
    looks_like_qemu,
    plausible,
)
from vmlan.notes.tokens import BLANKS, CLOSE, OPEN, Token, short, shown

_TYPOGRAPHY = str.maketrans("“”„‘’", '"""\'\'')
_DASH = re.compile(r"(?<!\S)[–—](?=[A-Za-z])")
_UNUSABLE = str.maketrans({OPEN: "\ufffd", CLOSE: "\ufffd", "\0": "\ufffd"})

_B = f"[{BLANKS}]"
_MAKE = re.compile(
    rf"(?:(?:export|override|local|let|const|var|my){_B}+)?\$?([A-Za-z_][A-Za-z0-9_.-]{{0,100}})"
    rf"(?:{_B}+(=|\+=)(?={_B})|{_B}*(:=|::=|\?=)|{_B}+(\+=)){_B}*"
)
_CMD_SET = re.compile(rf"@?set{_B}+(?:/[aApP]{_B}+)?\"?([A-Za-z_][A-Za-z0-9_]*)=([^\"\n]*)\"?(?=\n|\Z)", re.I)
#: A line without any of these sets nothing, runs nothing of interest, and ends where it ends.
_MATTERS = re.compile(
    r"[=$%\\^`]|<<|qemu|kvm|\b(?:set|setenv|alias|fi|esac|endif|case)\b|\bif\b", re.IGNORECASE
)
_OPENS = re.compile(r"(?:if\s+(?:\[|test\b|!|\(\()|case\s+\S+\s+in\b|ifn?(?:eq|def)\b)")
_CLOSES = re.compile(r"(?:\}?\s*(?:fi|esac|endif)\b|[^\n]*[;\s](?:fi|esac)\s*(?=\n|\Z))")
_PYTHON = re.compile(r"\A[bfru]{1,2}(?=[\"'])")
_CONTINUED = re.compile(rf"\\{_B}*\n")
_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)([^`\n]*(?:\n(?![ \t]*\n)[^`\n]*){0,6})(?<!`)\1(?!`)")

_DECLARE = frozenset(["export", "local", "declare", "readonly", "typeset", "set", "setenv", "alias", "let"])


@dataclass(frozen=True)
class Found:
    """A command, and the line it begins on, from 1."""

    words: tuple[str, ...]
    line: int
    remarks: tuple[str, ...]


def clean(text: str) -> str:
    """The text with newlines of one kind, and without characters that no command line can hold."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_UNUSABLE)


class Page:
    """A text, read once from its beginning to its end; variables are known from where they are set."""

    def __init__(self, text: str, scope: Scope | None = None, first_line: int = 1, depth: int = 0) -> None:
        plain = _DASH.sub("-", text.translate(_TYPOGRAPHY))
        self._source, self._text, self._original = Source(plain), plain, text
        self._scope = scope or Scope(4 * len(text) + 100_000)
        self._first, self._depth = first_line, depth
        self._conditions = 0  # how many `if` and `case` are open
        self._lines = 0  # logical lines that are not empty
        self._found: list[Found] = []
        self._values: list[tuple[str, Found]] = []  # commands that are so far only a variable's value
        self._aliases: dict[str, str] = {}
        self._asleep: list[tuple[int, str, str]] = []  # line, text, and why it is no command by itself
        self._ends: dict[str, list[int]] | None = None
        self._walk()

    # -- what was found --------------------------------------------------------------------------

    def active(self) -> list[Found]:
        """The commands that running the text would run, or that it holds in a variable."""
        return [*self._found, *(found for _, found in self._values)]

    def asleep(self) -> list[Found]:
        """The commands in comments and here-documents."""
        found: list[Found] = []
        for line, text, why in self._asleep if self._depth < 2 else ():
            if PROGRAM_TEXT.search(text):
                inner = Page(text, self._scope, line, self._depth + 1)
                found += (replace(each, remarks=(why, *each.remarks)) for each in inner.active())
        return found

    def alone(self) -> list[Found]:
        """The command of a text of one line, though its program is unknown or not where it should be."""
        if self._lines != 1:
            return []
        for _, text, why in self._asleep or [(1, self._text, "")]:
            start = lead(text, 0)
            line = Line(Source(text), start)
            for command in simple_commands(text, line.tokens):
                found = self._alone(command, [why] if why else [])
                if found:
                    return [found]
        return []

    def _alone(self, command: Simple, why: list[str]) -> Found | None:
        scope = self._scope
        scope.remarks.clear()
        words = [word for token in command.words() for word in scope.words(token.word)]
        said = [*why, *scope.remarks, *around(command, self._scope)]
        for index in range(1, min(len(words), 16)):
            if is_program(words[index]) and len(words) > index + 1 and is_qemu_option(words[index + 1]):
                said.append(f"'{short(' '.join(words[:index]))}' before the program is left out")
                return Found(tuple(words[index:]), 1, tuple(said))
        peeled = peel(words)
        kept = peeled.words
        if kept and (
            (is_program(kept[0]) and any(map(is_option, kept))) or (len(words) == 1 and is_program(kept[0]))
        ):
            return Found(kept, 1, (*said, *peeled.remarks))
        if looks_like_qemu(kept):
            return Found(kept, 1, (*said, *peeled.remarks))
        return None

    # -- lines -------------------------------------------------------------------------------------

    def _walk(self) -> None:
        position, size = 0, len(self._text)
        while position < size:
            if FENCE.match(self._text, position):
                position = self._source.end_of_line(position) + 1
                continue
            start = lead(self._text, position)
            if start >= size or self._text[start] == "\n":
                position = start + 1
                continue
            self._lines += 1
            end = self._source.end_of_line(start)
            comment = self._comments(position, start)
            if comment:
                position = comment
            elif self._aliases or _MATTERS.search(self._text, start, end):
                position = self._line(position, start)
            else:
                position = end + 1

    def _comments(self, position: int, start: int) -> int | None:
        """Keep a block of comment lines for later, without its signs; None where there is no comment."""
        if COMMENT.match(self._text, start) is None:
            return None
        first, kept = position, []
        goes_on = False
        while position < len(self._text):
            end = self._source.end_of_line(position)
            sign = COMMENT.match(self._text, lead(self._text, position))
            if not goes_on and (sign is None or sign.end() > end):
                break
            line = self._text[sign.end() if sign and sign.end() <= end else position : end]
            kept.append(line)
            goes_on = line.rstrip(BLANKS).endswith("\\")
            position = end + 1
        why = "its line begins with '#': a comment or root's prompt; it is read as there is no other command"
        self._asleep.append((self._first + self._source.line_of(first) - 1, "\n".join(kept), why))
        return position

    def _line(self, position: int, start: int) -> int:
        """Read the logical line from `start`, and tell where the next one begins."""
        self._conditions += bool(_OPENS.match(self._text, start))
        self._scope.conditional = self._conditions > 0
        end = self._cmd_set(start) or self._make(start) or self._shell(position, start)
        if self._conditions and _CLOSES.match(self._text, start):
            self._conditions -= 1
        self._scope.conditional = False
        return end

    def _shell(self, position: int, start: int) -> int:
        line = Line(self._source, start)
        before = len(self._found) + len(self._values)
        for command in simple_commands(self._text, line.tokens):
            self._simple(command)
        end = max(line.end, start) + 1
        if len(self._found) + len(self._values) == before:
            self._inline(position, end)
        return self._skip_heredocs(line.heredocs, end)

    def _inline(self, position: int, end: int) -> None:
        """Commands in `inline code`, which may run over a few lines of a paragraph."""
        if "`" not in self._text[position:end] or self._depth > 3:
            return
        # From tick to tick rather than by finditer: that would look for a span in the whole rest of the page.
        while (tick := self._text.find("`", position, end)) >= 0:
            span = _SPAN.match(self._text, tick)
            position = span.end() if span else tick + 1
            code = span.group(2).replace("\n", " ").strip() if span else ""
            if PROGRAM_TEXT.search(code):
                line = self._line_number(tick)
                inner = Page(code, self._scope, line, self._depth + 2)
                self._found += (replace(found, line=line) for found in inner.active())

    def _skip_heredocs(self, words: Sequence[str], position: int) -> int:
        for word in words:
            if self._ends is None:
                self._ends = {}
                for match in re.finditer(r"[^\n]+", self._text):
                    self._ends.setdefault(match.group().strip(), []).append(match.start())
            ends = self._ends.get(word, [])
            index = bisect_right(ends, position - 1)
            if index < len(ends):
                body = self._text[position : ends[index]]
                why = "it stands in a here-document; it is read as there is no other command"
                self._asleep.append((self._first + self._source.line_of(position) - 1, body, why))
                position = self._source.end_of_line(ends[index]) + 1
        return position

    # -- assignments -------------------------------------------------------------------------------------

    def _cmd_set(self, start: int) -> int | None:
        match = _CMD_SET.match(self._text, start)
        if match is None:
            return None
        self._scope.set(match.group(1), Value("source", (match.group(2),)))
        self._remember(match.group(1), match.group(2), start)
        return self._source.end_of_line(start) + 1

    def _make(self, start: int) -> int | None:
        """`NAME = value` with the value as it stands: make's, and some other languages'."""
        match = _MAKE.match(self._text, start)
        if match is None:
            return None
        line = Line(self._source, match.end())
        name, sign = match.group(1), next(group for group in match.groups()[1:] if group)
        raw = _uncommented(self._text, match.end(), line)
        if not (sign == "?=" and name in self._scope.values):
            self._scope.set(name, Value("source", (raw,)), append=sign == "+=")
            self._remember(name, self._text[match.end() : line.end], start)
        return line.end + 1

    def _remember(self, name: str, text: str, start: int) -> None:
        """Keep a value that is a whole QEMU command, until the variable is used as one."""
        if (
            self._depth > 3
            or self._scope.exhausted
            or (not PROGRAM_TEXT.search(shown(text)) and "QEMU" not in text)
        ):
            return
        text = _PYTHON.sub("", text)
        tokens = [token for token in Line(Source(text), 0).tokens if token.kind == "word"]
        if len(tokens) == 1:
            only = self._scope.text(tokens[0].word)
            text = only if " " in only else text
        line = self._first + self._source.line_of(start) - 1
        for found in self._nested(text, line):
            remarks = (*found.remarks, f"it is the value of {name}")
            self._keep(name, replace(found, line=line, remarks=remarks))

    def _keep(self, name: str, found: Found) -> None:
        self._values = [
            (other, old)
            for other, old in self._values
            if other not in self._scope.touched
            and not (other == name and found.words[: len(old.words)] == old.words)
        ]
        self._values.append((name, found))

    def _nested(self, text: str, line: int) -> list[Found]:
        if self._depth > 3:
            return []
        scope = self._scope
        touched, remarks = set(scope.touched), list(scope.remarks)
        found = [replace(each, line=line) for each in Page(text, scope, line, self._depth + 1).active()]
        scope.touched |= touched
        scope.remarks[:] = remarks
        return found

    def _assign(self, token: Token, start: int) -> None:
        """Set the variable of `NAME=value`, `NAME+=value` or `NAME=( … )`."""
        if token.kind == "array":
            name, append = token.text.rstrip("+="), token.text.endswith("+=")
            words = tuple(
                w for item in token.items if item.kind == "word" for w in self._scope.words(item.word)
            )
            self._scope.set(name, Value("array", words), append=append)
            value = self._scope.values[name]
            said = [*self._scope.remarks, *inside(token.items)]
            found = (
                self._judge(list(value.words), said, self._line_number(start))
                if value.kind == "array"
                else []
            )
            for each in found:
                self._keep(name, replace(each, remarks=(*each.remarks, f"it is the value of {name}")))
            return
        name, plus, word = assignment(token.word)
        self._scope.set_to_word(name, word, append=bool(plus))
        value = self._scope.values[name]
        if value.kind == "text" and " " in value.words[0]:
            self._remember(name, value.words[0], start)

    # -- commands ------------------------------------------------------------------------------------------

    def _line_number(self, position: int) -> int:
        return self._first + self._source.line_of(position) - 1

    def _simple(self, command: Simple) -> None:
        """One simple command: it sets variables, or is a QEMU, or is of no interest."""
        words = command.words()
        if not words:
            return
        scope = self._scope
        scope.remarks.clear()
        scope.touched.clear()
        start = words[0].start
        declared = literal(words[0].word)
        if declared in _DECLARE and len(words) > 1:
            self._declare(declared, words[1:], start)
            return
        count = 0
        while count < len(words) and (words[count].kind == "array" or assignment(words[count].word)[0]):
            count += 1
        if count == len(words):
            scope.conditional |= command.before in ("&&", "||")
            for token in words:
                self._assign(token, token.start)
            return
        if count and literal(words[count].word).startswith("-"):  # make: X=qemu -m 1
            name = assignment(words[0].word)[0]
            raw = self._text[words[0].start + len(name) + 1 : words[-1].end]
            self._remember(name, raw, start)
            scope.set(name, Value("source", (raw,)))
            return
        said = [assignment_remark(self._text[token.start : token.end]) for token in words[:count]]
        expanded: list[str] = []
        for token in words[count:]:
            if token.kind == "array":
                expanded.append(token.text)
            else:
                expanded += scope.words(token.word)
        if expanded and expanded[0] in self._aliases:
            scope.touched.add(expanded[0])
            expanded = [*self._aliases[expanded[0]].split(), *expanded[1:]]
        said += around(command, scope)
        if (
            self._original != self._text
            and self._original[start : words[-1].end] != self._text[start : words[-1].end]
        ):
            said.append("typographic quotes and dashes are read as plain ones")
        found = self._judge(
            expanded, [*scope.remarks, *said], self._line_number(start), everything=len(words) - count
        )
        if found:
            touched = set(scope.touched)
            self._values = [(name, old) for name, old in self._values if name not in touched]
            self._found += found

    def _judge(self, words: list[str], said: list[str], line: int, everything: int = 0) -> list[Found]:
        """The command of these words, if it is a QEMU."""
        peeled = peel(words)
        if peeled.nested is not None:
            inner = self._nested(peeled.nested, line)
            return [replace(each, remarks=(*said, *peeled.remarks, *each.remarks)) for each in inner]
        rest = peeled.words
        if not rest or not is_program(rest[0]):
            return []
        only_arguments = len(rest) == 1 and everything > len(words)
        if not (plausible(rest) or only_arguments):
            return []
        return [Found(rest, line, (*said, *peeled.remarks))]

    def _declare(self, how: str, words: list[Token], start: int) -> None:
        """`export A=b`, `alias a='b'`, fish's `set a b`, csh's `setenv a b`."""
        scope = self._scope
        plain = [token for token in words if not literal(token.word).startswith("-") or token.kind == "array"]
        if how in ("set", "setenv") and plain and not assignment(plain[0].word)[0]:
            first = words.index(plain[0])
            name = literal(plain[0].word)
            values = tuple(
                w for token in words[first + 1 :] if token.kind == "word" for w in scope.words(token.word)
            )
            if name and values:
                scope.set(name, Value("list", values))
                for found in self._judge(list(values), list(scope.remarks), self._line_number(start)):
                    self._keep(name, replace(found, remarks=(*found.remarks, f"it is the value of {name}")))
            return
        for token in plain:
            if token.kind != "array" and not assignment(token.word)[0]:
                continue
            self._assign(token, start)
            if how == "alias" and token.kind == "word":
                name = assignment(token.word)[0]
                self._aliases[name] = scope.values[name].words[0] if scope.values[name].words else ""


def _uncommented(text: str, start: int, line: Line) -> str:
    """The text of a line from `start` on, without continuations and comments."""
    parts, position = [], start
    for token in line.tokens:
        if token.kind == "comment":
            parts.append(text[position : token.start])
            position = token.end
    parts.append(text[position : line.end])
    return _CONTINUED.sub(" ", "".join(parts)).strip()
