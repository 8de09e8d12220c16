"""The simple commands of a line, and what is said about the things around their words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vmlan.notes.expand import Scope
from vmlan.notes.tokens import Piece, Token, Word, short

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_KEYWORDS = frozenset(
    ["if", "then", "else", "elif", "while", "until", "do", "!", "{", "begin", "and", "or", "not"]
)

#: More comments than this are counted rather than quoted.
_QUOTED = 3


@dataclass
class Simple:
    """One command of a line: its tokens, the operators around it, and the raw text on a pipe's other ends."""

    tokens: list[Token] = field(default_factory=list)
    before: str = ""
    after: str = ""
    source: str = ""  # what is piped into it
    sink: str = ""  # what it is piped into

    def words(self) -> list[Token]:
        """Its words and arrays, without the shell's keywords before them."""
        found = [token for token in self.tokens if token.kind in ("word", "array")]
        while found and found[0].kind == "word":
            word = literal(found[0].word)
            if word == "function":
                found = found[2:]
            elif word in _KEYWORDS or (word.endswith(")") and "(" not in word):  # a label of `case`
                found = found[1:]
            else:
                break
        return found


def simple_commands(text: str, tokens: Sequence[Token]) -> Iterator[Simple]:
    """The commands of a line; the comment that ends the line is the first one's."""
    commands = [Simple()]
    for token in tokens:
        if token.kind == "operator":
            commands[-1].after = token.text
            commands.append(Simple(before=token.text))
        elif token.kind == "comment" and len(commands) > 1 and not commands[-1].tokens:
            commands[0].tokens.append(token)
        else:
            commands[-1].tokens.append(token)
    for one, other in pairwise(commands):
        if one.after in ("|", "|&"):
            one.sink, other.source = _raw(text, other), _raw(text, one)
    yield from commands


def _raw(text: str, command: Simple) -> str:
    if not command.tokens:
        return "a program"
    start = command.tokens[0].start
    return short(text[start : min(command.tokens[-1].end, start + 200)])


def literal(word: Word) -> str:
    """The word where it is plain, unquoted text; '' else."""
    return "".join(p.text for p in word) if all(p.kind == "text" and not p.quoted for p in word) else ""


def assignment(word: Word) -> tuple[str, str, Word]:
    """Name, `+` or nothing, and value of a word that is an assignment; '' for the name where it is none."""
    match = (
        _ASSIGNMENT.match(word[0].text) if word and word[0].kind == "text" and not word[0].quoted else None
    )
    if match is None:
        return "", "", ()
    rest = word[0].text[match.end() :]
    first = (Piece("text", rest),) if rest else ()
    return match.group(1), match.group(2), (*first, *word[1:])


def inside(tokens: Sequence[Token]) -> list[str]:
    """The remarks on comments and oddities among the tokens."""
    said = list(dict.fromkeys(token.text for token in tokens if token.kind == "remark"))
    comments = [token.text for token in tokens if token.kind == "comment"]
    if len(comments) > _QUOTED:
        said.append(f"{len(comments)} comments in it are left out")
    else:
        said += [f"the comment '{short(comment)}' is left out" for comment in comments]
    return said


def around(command: Simple, scope: Scope) -> list[str]:
    """The remarks on redirections, pipes and `&`, and on what stands among the words."""
    said = inside(command.tokens)
    redirects = [
        f"{token.text}{'' if token.text.endswith('&') else ' '}{scope.text(token.word)}".strip()
        for token in command.tokens
        if token.kind == "redirect"
    ]
    if redirects:
        written = short(" ".join(redirects))
        writes = any(token.kind == "redirect" and token.text[-1:] == ">" for token in command.tokens)
        shows = ": `vmlan console` shows what the machine writes" if writes and "<>" not in written else ""
        said.append(f"the redirection {written} is left out{shows}")
    if command.source:
        said.append(f"'{command.source}' was piped into it, and is left out")
    if command.sink:
        said.append(f"it was piped into '{command.sink}', which is left out")
    if command.after == "&":
        said.append("the & after it is left out: a lab always runs in the background")
    return said
