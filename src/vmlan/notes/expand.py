"""Words as they are written into words as a program gets them: what variables of the text are worth.

Nothing is run and nothing of this machine is looked at: a value that the text does not tell stays a
placeholder.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from vmlan.notes.dollars import Source
from vmlan.notes.lexer import Line
from vmlan.notes.tokens import Piece, Word, placeholder, short

#: A value may not be longer: in a script it is not, and doubling (`A=$A$A`) would never end.
_LONGEST = 16 * 1024
_MOST_WORDS = 2000
_DEEPEST = 8

_BRACE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*])(\[[^\]]*\])?(.*)\Z", re.DOTALL)
_DEFAULT = re.compile(r"(:?[-=?+])(.*)\Z", re.DOTALL)
_WHICH = re.compile(
    r"\s*(?:which|command\s+-v|type\s+-p|whereis\s+-b)\s+([\w./+-]+)\s*(?:2>\s*/dev/null)?\s*\Z"
)
_SUM = re.compile(r"[0-9\s+*/%()-]{1,64}\Z")
_SUM_NAME = re.compile(r"\$?\{?([A-Za-z_][A-Za-z0-9_]*)\}?")

_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: int(a / b) if abs(a) < 2**53 else a // b,
    ast.Mod: lambda a, b: a - b * int(a / b) if abs(a) < 2**53 else a % b,
}


@dataclass(frozen=True)
class Value:
    """What a variable holds.

    "text": one string, split at blanks where it is used unquoted. "array": of bash, the first word unless
    asked for all. "list": of fish, always all. "source": of make and cmd.exe, text that is read as part
    of the line it is used in. "unknown": `words` is why, for a remark, or empty.
    """

    kind: Literal["text", "array", "list", "source", "unknown"]
    words: tuple[str, ...]
    doubt: str = ""  # what to say where it is used: the text may set it to something else


def name_of(command: str) -> str:
    """A placeholder's name for what a command prints: of letters, digits and `_`."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", re.sub(r"^\s*shell\s", "", command[:200])).strip("_")
    return name[:24].strip("_") or "command"


def calculate(expression: str) -> int | None:
    """What `$((…))` of plain numbers is; None for anything else."""
    if not _SUM.match(expression) or "**" in expression or "//" in expression:
        return None
    try:
        return _calculate(ast.parse(expression.strip(), mode="eval").body)
    except (ArithmeticError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _calculate(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_calculate(node.left), _calculate(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _calculate(node.operand)
        return -number if isinstance(node.op, ast.USub) else number
    raise ValueError


class _Fields:
    """Words in the making."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._open: list[str] | None = None

    def add(self, text: str) -> None:
        if self._open is None:
            self._open = []
        self._open.append(text)

    def end(self) -> None:
        if self._open is not None:
            self.done.append("".join(self._open))
            self._open = None

    def split(self, text: str) -> None:
        if text[:1].isspace():
            self.end()
        self.several(text.split())
        if text[-1:].isspace():
            self.end()

    def several(self, words: Iterable[str]) -> None:
        for index, word in enumerate(words):
            if index:
                self.end()
            self.add(word)


class Scope:
    """The variables that a text has set so far, and what using them gave cause to say."""

    def __init__(self, budget: int) -> None:
        self.values: dict[str, Value] = {}
        self.remarks: list[str] = []
        self.touched: set[str] = set()
        self.conditional = False  # what is set now is set under a condition
        self._budget = budget  # characters that expansions may still make: keeps hostile text linear
        self._active: set[str] = set()

    # -- setting ---------------------------------------------------------------------------------

    def set(self, name: str, value: Value, *, append: bool = False) -> None:
        """Give the variable a value; `append` adds to the one it has."""
        old = self.values.get(name)
        doubt = old.doubt if old is not None else ""
        if self.conditional:
            doubt = f"{name} is set under a condition, which is taken to hold"
        elif old is not None and old.words != value.words and not append:
            grown = old.words and value.words and old.words[0] in value.words[0]
            doubt = (
                doubt if grown else f"{name} is set more than once: its last value before the command is used"
            )
        if append and old is not None and old.kind != "unknown":
            value = _joined(old, value)
        value = replace(value, doubt=doubt)
        if len(value.words) > _MOST_WORDS or sum(map(len, value.words)) > _LONGEST:
            value = Value("unknown", (f"{name} is too long",))
        self._budget -= sum(map(len, value.words)) + 1
        self.values[name] = value

    def set_to_word(self, name: str, word: Word, *, append: bool = False) -> None:
        """Give the variable the value that a shell gives it for `NAME=word`."""
        if len(word) == 1 or (len(word) == 2 and not word[1].text):
            kind, text = word[0].kind, word[0].text
            if kind == "argument":
                return self.set(name, Value("unknown", (f"{name} is argument {text} of the script",)))
            prints = kind == "run" or (kind == "make" and text.islower() and text not in self.values)
            if prints and not _WHICH.match(text):
                return self.set(name, Value("unknown", (f"{name} is what '{short(text)}' prints",)))
        return self.set(name, Value("text", (self.text(word),)), append=append)

    @property
    def exhausted(self) -> bool:
        """Whether the text has expanded to so much that no more is done."""
        return self._budget < 0

    # -- using -----------------------------------------------------------------------------------

    def words(self, word: Word, depth: int = 0) -> list[str]:
        """The words that one written word becomes: none for an empty variable, several for a list."""
        fields = _Fields()
        for piece in word:
            if piece.kind == "text":
                if piece.text or piece.quoted:
                    fields.add(piece.text)
            else:
                self._expand(fields, piece, depth)
        fields.end()
        return fields.done

    def text(self, word: Word, depth: int = 0) -> str:
        """The word as one text, as in an assignment."""
        quoted = tuple(Piece(piece.kind, piece.text, quoted=True) for piece in word)
        return " ".join(self.words(quoted, depth))

    def _say(self, remark: str) -> None:
        if len(self.remarks) < 200:
            self.remarks.append(remark)

    def _expand(self, fields: _Fields, piece: Piece, depth: int) -> None:
        self._budget -= 1
        text = piece.text
        if depth > _DEEPEST or self.exhausted:
            fields.add(placeholder(name_of(text)))
        elif piece.kind in ("name", "make"):
            self._variable(fields, text, piece.quoted, depth)
            if piece.kind == "make" and text not in self.values and text.islower():
                self._say(f"$({text}) is not known: the script was not run")
        elif piece.kind == "hand":
            fields.add(placeholder(re.sub(r"[^\w.-]+", "_", text).strip("_")))
        elif piece.kind == "argument":
            fields.add(placeholder(f"arg{text}"))
        elif piece.kind == "all":
            self._say(f"{text}, the arguments of the script, is left out")
            if piece.quoted:
                return
        elif piece.kind == "run":
            self._run(fields, text)
        elif piece.kind == "sum":
            self._sum(fields, text)
        else:
            self._brace(fields, piece, depth)

    def _run(self, fields: _Fields, command: str) -> None:
        which = _WHICH.match(command)
        if which:
            self._say(f"what '{short(command)}' finds is taken to be {which.group(1)}")
            fields.add(which.group(1))
            return
        self._say(f"what '{short(command)}' prints is not known: no command of the text is run")
        fields.add(placeholder(name_of(command)))

    def _sum(self, fields: _Fields, expression: str) -> None:
        def number(match: re.Match[str]) -> str:
            value = self.values.get(match.group(1))
            return value.words[0] if value and value.kind == "text" else match.group()

        result = calculate(_SUM_NAME.sub(number, expression[:256]))
        if result is None:
            self._say(f"$(({short(expression)})) is not known: the script was not run")
        fields.add(str(result) if result is not None else placeholder(name_of(expression)))

    def _variable(
        self, fields: _Fields, name: str, quoted: bool, depth: int, *, all_of: bool = False
    ) -> None:
        value = self.values.get(name)
        self.touched.add(name)
        if value is None or value.kind == "unknown" or name in self._active:
            for why in value.words if value is not None else ():
                self._say(why)
            fields.add(placeholder(name))
            return
        if value.doubt:
            self._say(value.doubt)
        self._budget -= sum(map(len, value.words))
        self._active.add(name)
        if value.kind == "source" or (
            not quoted and value.kind == "text" and re.search("['\"]", value.words[0])
        ):
            self._source(fields, value.words[0], quoted, depth)
        elif value.kind == "list" or all_of:
            fields.several(value.words)
        elif quoted:
            fields.add(value.words[0] if value.words else "")
        else:
            fields.split(value.words[0] if value.words else "")
        self._active.discard(name)

    def _source(self, fields: _Fields, text: str, quoted: bool, depth: int) -> None:
        """Text that is read as a part of the line: its quotes and variables count."""
        words = [found for word in read_words(text) for found in self.words(word, depth + 1)]
        if quoted:
            fields.add(" ".join(words))
        else:
            fields.several(words)

    def _brace(self, fields: _Fields, piece: Piece, depth: int) -> None:
        parts = _BRACE.match(piece.text)
        if parts is None:
            self._unknown(fields, piece.text)
            return
        name, index, rest = parts.groups()
        if name in ("@", "*"):
            self._say(f"${{{piece.text}}}, the arguments of the script, is left out")
        elif index in ("[@]", "[*]") and not rest:
            self._variable(fields, name, piece.quoted, depth, all_of=True)
        elif not rest and not index:
            self._plain(fields, name, piece.quoted, depth)
        elif rest and not index and (default := _DEFAULT.match(rest)):
            self._defaulted(fields, piece, (name, *default.groups()), depth)
        else:
            self._unknown(fields, piece.text, name)

    def _plain(self, fields: _Fields, name: str, quoted: bool, depth: int) -> None:
        if name.isdigit():
            fields.add(placeholder(f"arg{name}"))
        else:
            self._variable(fields, name, quoted, depth)

    def _unknown(self, fields: _Fields, body: str, name: str = "") -> None:
        self._say(f"${{{short(body)}}} is not known: the script was not run")
        fields.add(placeholder(name_of(name or body)))

    def _defaulted(self, fields: _Fields, piece: Piece, parts: tuple[str, ...], depth: int) -> None:
        """`${NAME:-default}` and its relatives."""
        name, sign, default = parts
        known = self.values.get(name)
        is_known = known is not None and known.kind != "unknown"
        if sign.endswith("+"):
            if is_known:
                self._source(fields, default, piece.quoted, depth)
            else:
                self._say(f"${{{short(piece.text)}}} is left out: {name} is not set in the text")
        elif is_known and not (sign.startswith(":") and known is not None and not any(known.words)):
            self._variable(fields, name, piece.quoted, depth)
        elif sign.endswith("?"):
            self._plain(fields, name, piece.quoted, depth)
        else:
            used = _Fields()
            self._source(used, default, piece.quoted, depth)
            used.end()
            self._say(
                f"{_label(name)} is not set in the text: its default '{short(' '.join(used.done))}' is used"
            )
            fields.several(used.done)
            if sign.endswith("="):
                self.set(name, Value("text", (" ".join(used.done),)))


def _label(name: str) -> str:
    return f"argument {name}" if name.isdigit() else name


def _joined(old: Value, new: Value) -> Value:
    if old.kind in ("array", "list"):
        return Value(old.kind, old.words + new.words)
    gap = " " if "source" in (old.kind, new.kind) else ""
    return Value(old.kind, (f"{''.join(old.words[:1])}{gap}{' '.join(new.words)}",))


def read_words(text: str) -> list[Word]:
    """The words of a text that is no command by itself, such as a variable's value; all else as it stands."""
    return [
        token.word if token.kind == "word" else (Piece("text", text[token.start : token.end]),)
        for token in Line(Source(text), 0, value=True).tokens
        if token.kind != "remark"
    ]
