"""What a page of notes is cut into: pieces of words, words, and what stands between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

#: Around the name of a value that the text does not tell. Private-use characters: no text has them.
OPEN, CLOSE = "\ue000", "\ue001"

#: Finds the placeholders in a word; group 1 is the name.
PLACEHOLDER = re.compile(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}")

#: Blanks as people have them: a no-break space comes with text that was copied from a web page.
BLANKS = " \t\r\f\v\xa0"

PieceKind: TypeAlias = Literal[
    "text",  # literal
    "name",  # $NAME, %NAME%: the name
    "make",  # $(NAME): a variable of make, or a command without arguments
    "brace",  # ${…}: what is between the braces
    "argument",  # $1: the number
    "all",  # $@, $*, %*
    "run",  # $(…) and `…`: the command
    "sum",  # $((…)): the expression
    "hand",  # <like-this>: the words
]


@dataclass(frozen=True)
class Piece:
    """A part of a word; an expansion in it is split at blanks unless it was `quoted`."""

    kind: PieceKind
    text: str
    quoted: bool = False


#: A word as it is written. () is no word; the empty word has one empty, quoted piece.
Word: TypeAlias = tuple[Piece, ...]


@dataclass(frozen=True)
class Token:
    """One thing of a line, from `start` to `end` of the text.

    "redirect": `text` is the operator, `word` the file. "array": `text` is `NAME=` or `NAME+=`, `items`
    the tokens between the brackets. "remark": `text` says what was odd about the text here.
    """

    kind: Literal["word", "operator", "redirect", "array", "comment", "remark"]
    start: int
    end: int
    text: str = ""
    word: Word = ()
    items: tuple[Token, ...] = ()


def placeholder(name: str) -> str:
    """The text that stands for the unknown value `name` inside a word."""
    return f"{OPEN}{name}{CLOSE}"


def shown(word: str) -> str:
    """The word as people see it: every placeholder as <NAME>."""
    return PLACEHOLDER.sub(r"<\1>", word)


def short(text: str, most: int = 48) -> str:
    """A piece of text for a remark: on one line, and not too long."""
    line = " ".join(shown(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
