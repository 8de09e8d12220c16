"""A line of a script, or of notes, cut into words as a shell does; and as people mean it when it is broken.

Four dialects are read at once, as their signs hardly collide: sh, make (`$(NAME)`, `$$NAME`), cmd.exe
(`%NAME%`, `^`, `\\` as itself) and hand-written places to fill in (`<disk image>`).
"""

from __future__ import annotations

import re

from vmlan.notes.dollars import HAND, Source, expansion, inside_quotes
from vmlan.notes.programs import PROGRAM_TEXT, is_qemu_option
from vmlan.notes.tokens import BLANKS, Piece, Token, short

_PLAIN = re.compile(r"[^ \t\r\f\v\xa0\n\\'\"$`%^<>&;|()#]+")
_BLANKS = re.compile(rf"[{BLANKS}]+")
_EMPTY_LINE = re.compile(rf"\n[{BLANKS}]*\n")
_FENCE = re.compile(rf"[{BLANKS}>]*(?:```|~~~)")
_CONTINUATION = re.compile(rf"(\\{{1,4}}|\^|`)([{BLANKS}]*)(?:\n|\Z)")
_STRAY = re.compile(rf"\\{{1,4}}[{BLANKS}]+")
_TAG = re.compile(r"</?(?:pre|code|kbd|tt|samp|p|li|br ?/?)>")
_INPUT_AND_DESCRIPTOR = re.compile(r"\s\d*\Z")
_REDIRECT = re.compile(r"(?:&>>?|<<<|<<-?|<>|>>|>\||>&|<&|<|>)")
_OPERATOR = re.compile(r"&&|\|\||\|&|;;|[|;&()]")
_ASSIGN_ARRAY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=\Z")
_NEXT_WORD = re.compile(rf"[{BLANKS}]*([^{BLANKS}\n]+)")
_PROMPT_AGAIN = re.compile(rf"[{BLANKS}]*>[{BLANKS}]+(?=-{{1,2}}[A-Za-z])")
_COMMENT_LINE = re.compile(rf"[{BLANKS}]*#[^\n]*")
_WINDOWS = re.compile(
    rf"\.(?:exe|lnk|bat|cmd)\b|(?<![\w])[A-Za-z]:\\|[{BLANKS}]\^[{BLANKS}]*$|%[A-Za-z_]\w*%", re.I
)

#: A QEMU program with an option after it, or options that only QEMU has: the line is a command, not prose.
_HOT = re.compile(
    rf"(?:{PROGRAM_TEXT.pattern}|\$[{{(]?\w{{0,40}}(?:QEMU|KVM)\w{{0,40}}[)}}]?)[\"']?"
    rf"(?:[{BLANKS}]+[\"']?[-$%<]|[{BLANKS}]*[\\^][{BLANKS}]*\n)"
    r"|(?<=[ \t])--?(?:hd[a-d]|cdrom|fda|drive|kernel|netdev|device|nographic|enable-kvm|smp|boot|net)(?=\s)",
    re.ASCII,
)
_COMMAND = re.compile(rf"[{BLANKS}$]*(?:sudo )?{PROGRAM_TEXT.pattern}[{BLANKS}]+-", re.ASCII)


class Line:
    """One logical line from `start`: its tokens, where it ends, and the words that end its here-documents."""

    def __init__(self, source: Source, start: int, *, brackets: bool = False, value: bool = False) -> None:
        self._source, self._text, self._start = source, source.text, start
        self.end = start
        self.tokens: list[Token] = []
        self.heredocs: list[str] = []
        self._brackets = brackets  # reading an array: newlines are blanks, and `)` ends it
        self._value = value  # reading a variable's value: newlines are blanks
        self._pieces: list[Piece] | None = None
        self._word_start = start
        self._redirect: tuple[int, str] | None = None
        self._depth = self._inner = 0
        self._stray = False
        self._hot, self._looked = brackets, start
        self._command = start  # where the current simple command begins
        self._done = False
        first = self._text[start : source.end_of_line(start)]
        self._windows = bool(_WINDOWS.search(first))
        size = len(self._text)
        while self.end < size and not self._done:
            self._step(self._text[self.end])
        self._flush()
        if self._redirect:
            self._end_redirect(())

    # -- words ---------------------------------------------------------------------------------

    def _add(self, piece: Piece, end: int) -> None:
        if self._pieces is None:
            self._pieces, self._word_start = [], self.end
        self._pieces.append(piece)
        self.end = end

    def _so_far(self) -> str:
        """The word so far, where it is plain text."""
        pieces = self._pieces or ()
        return pieces[0].text if len(pieces) == 1 and pieces[0].kind == "text" else ""

    def _flush(self) -> None:
        if self._pieces is None:
            return
        word, self._pieces, self._inner = tuple(self._pieces), None, 0
        if self._redirect:
            self._end_redirect(word)
        else:
            self.tokens.append(Token("word", self._word_start, self.end, word=word))

    def _end_redirect(self, word: tuple[Piece, ...]) -> None:
        assert self._redirect is not None
        start, operator = self._redirect
        self._redirect = None
        self.tokens.append(Token("redirect", start, self.end, operator, word))
        if operator.lstrip("0123456789") in ("<<", "<<-") and word:
            self.heredocs.append("".join(piece.text for piece in word))

    def _remark(self, what: str) -> None:
        self.tokens.append(Token("remark", self.end, self.end, what))

    def _has_words(self) -> bool:
        return bool(self.tokens) and self.tokens[-1].start >= self._command

    def _is_hot(self) -> bool:
        """Whether what was read so far is a QEMU command: only then may it go on where a shell would stop."""
        if not self._hot and _HOT.search(self._text, max(self._start, self._looked - 128), self.end + 1):
            self._hot = True
        self._looked = self.end
        return self._hot

    # -- one sign --------------------------------------------------------------------------------

    def _step(self, sign: str) -> None:
        plain = _PLAIN.match(self._text, self.end)
        if plain:
            self._add(Piece("text", plain.group()), plain.end())
        elif sign in BLANKS:
            self._flush()
            self.end = self._after(_BLANKS)
        elif sign == "\n":
            self._newline()
        elif sign == "#":
            self._comment()
        elif sign in "\\^`":
            self._escape(sign)
        elif sign in "'\"":
            self._quote(sign)
        elif sign in "$%":
            self._add(*self._expansion(self.end, len(self._text), quoted=False))
        elif sign in "<>" or self._text.startswith("&>", self.end):
            self._redirection()
        else:
            self._operator(sign)

    def _after(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self.end)
        return match.end() if match else self.end

    def _comment(self) -> None:
        if self._pieces is not None:
            self._add(Piece("text", "#"), self.end + 1)
            return
        end = self._source.end_of_line(self.end)
        self.tokens.append(Token("comment", self.end, end, self._text[self.end : end]))
        self.end = end

    def _next_word(self, position: int) -> str:
        match = _NEXT_WORD.match(self._text, position)
        return match.group(1) if match else ""

    def _newline(self) -> None:
        """The end of the line, unless it goes on: in brackets, after a broken `\\`, or for want of one."""
        self._flush()
        after = self.end + 1
        following = self._next_word(after)
        if self._value:
            self.end = after
        elif self._brackets:
            if _FENCE.match(self._text, after) or re.match(r"[A-Za-z_]\w*\+?=\(", following):
                self._remark("the bracket of the array is not closed")
                self._done = True
            else:
                self.end = after
        elif self._stray and following and not _FENCE.match(self._text, after):
            self._stray = False
            self.end = after
        elif is_qemu_option(following) and self._is_hot():
            self._remark(f"a '\\' is missing before the line of {short(following)}: the lines were joined")
            self.end = after
        else:
            self._done = True

    # -- escapes and continuations -----------------------------------------------------------------

    def _escape(self, sign: str) -> None:
        going_on = _CONTINUATION.match(self._text, self.end)
        if going_on and (sign == "\\" or self._pieces is None):
            self._continue(going_on)
        elif sign == "`":
            self._backtick()
        elif sign == "^":
            follows = self._text[self.end + 1 : self.end + 2]
            escaped = self._windows and follows and follows in "&|<>^"
            self._add(Piece("text", follows if escaped else "^"), self.end + (2 if escaped else 1))
        else:
            self._backslash()

    def _backslash(self) -> None:
        stray = _STRAY.match(self._text, self.end) if self._pieces is None else None
        follows = self._text[self.end + 1 : self.end + 2]
        if stray and self._has_words():
            self._remark("a '\\' in the middle of a line is left out")
            self._stray = self._text[stray.end() : stray.end() + 1] in ("(", "#")
            self.end = stray.end()
        elif self._windows and follows not in ("'", '"'):
            self._add(Piece("text", "\\", quoted=True), self.end + 1)
        else:
            self._add(Piece("text", follows, quoted=True), self.end + 2)

    def _continue(self, match: re.Match[str]) -> None:
        """Go on after a `\\` at the end of a line, and over the comment lines that follow it."""
        if match.group(2) and match.end() < len(self._text) and match.group(1) != "^":
            self._remark("blanks after a '\\' at the end of a line are ignored")
        after = match.end()
        if self._pieces is not None and self._next_word(after)[:1] == "-" and self._text[after] == "-":
            self._flush()
        if self._pieces is not None and not self._text[after : after + 1].strip(BLANKS):
            self._flush()
        self.end = after
        while True:
            comment = _COMMENT_LINE.match(self._text, self.end)
            if comment is None or self._pieces is not None:
                break
            self._flush()
            written = comment.group().strip()
            self.tokens.append(Token("comment", self.end, comment.end(), written.rstrip("\\ ")))
            self.end = comment.end()
            following = self._next_word(comment.end() + 1)
            if not (
                is_qemu_option(following) or following[:1] == "#" or (written.endswith("\\") and following)
            ):
                return  # at the newline: the command ends here
            self.end += 1
        if self._text.startswith("\n", self.end) or not self._next_word(self.end):
            following = self._next_word(self.end + 1)
            if self._text.startswith("\n", self.end) and is_qemu_option(following) and self._is_hot():
                self._remark("an empty line in the middle of it is left out")
                self.end += 1
        elif _FENCE.match(self._text, self.end) or (_COMMAND.match(self._text, self.end) and self._is_hot()):
            self.end -= 1
            self._done = True
        else:
            again = _PROMPT_AGAIN.match(self._text, self.end)
            self.end = again.end() if again else self.end

    # -- quotes --------------------------------------------------------------------------------------

    def _closing_quote(self, sign: str) -> int:
        """Where the quote at the current place closes; -1 where it does not, or should not."""
        line_end = self._source.end_of_line(self.end)
        close = self._text.find(sign, self.end + 1)
        while sign == '"' and close > 0 and self._escaped(close):
            close = self._text.find(sign, close + 1)
        if close <= line_end:
            return close
        word = self._so_far()
        asked = _ASSIGN_ARRAY.match(word) or self._text[self.end - 3 : self.end] in ("-c ", "al ")
        hot = self._is_hot()
        across = self._text[self.end : close]
        if (
            not (hot or asked)
            or re.search(rf"\n[{BLANKS}]*\n", across)
            or (hot and PROGRAM_TEXT.search(across))
        ):
            return -1
        return close

    def _escaped(self, position: int) -> bool:
        before = position
        while before > self.end + 1 and self._text[before - 1] == "\\":
            before -= 1
        return (position - before) % 2 == 1

    def _quote(self, sign: str) -> None:
        close = self._closing_quote(sign)
        if close >= 0:
            self._quoted(sign, self.end + 1, close, close + 1)
            return
        line_end = self._source.end_of_line(self.end)
        rest = self._text[self.end + 1 : line_end]
        if self._pieces is None and not self._has_words() and PROGRAM_TEXT.search(rest):
            self._remark(f"the quote ({sign}) that it begins with is not closed, and is left out")
            self.end += 1
            return
        tail = re.search(rf"[{BLANKS}]*(?:\\|[{BLANKS}]\^)?[{BLANKS}]*\Z", rest[-256:])
        end = line_end - (len(tail.group()) if tail else 0)
        self._remark(f"a quote ({sign}) is not closed: it was taken to end with its line")
        self._quoted(sign, self.end + 1, end, end)

    def _quoted(self, sign: str, start: int, close: int, end: int) -> None:
        if sign == "'":
            self._add(Piece("text", self._text[start:close], quoted=True), end)
            return
        pieces = inside_quotes(self._source, start, close, windows=self._windows)
        for piece in pieces or [Piece("text", "", quoted=True)]:
            self._add(piece, end)

    def _expansion(self, at: int, end: int, *, quoted: bool) -> tuple[Piece, int]:
        return expansion(self._source, at, end, quoted=quoted, windows=self._windows)

    def _backtick(self) -> None:
        close = self._text.find("`", self.end + 1, self._source.end_of_line(self.end))
        if close < 0:
            self._add(Piece("text", "`"), self.end + 1)
        else:
            self._add(Piece("run", self._text[self.end + 1 : close]), close + 1)

    # -- operators -----------------------------------------------------------------------------------------

    def _redirection(self) -> None:
        tag = _TAG.match(self._text, self.end)
        if tag:
            self._flush()
            self.end = tag.end()
            return
        hand = HAND.match(self._text, self.end)
        if hand and not _INPUT_AND_DESCRIPTOR.search(hand.group(1)):
            self._add(Piece("hand", hand.group(1)), hand.end())
            return
        if self._text[self.end + 1 : self.end + 2] == "(" and self._source.closing.get(self.end + 1):
            close = self._source.closing[self.end + 1]
            self._add(Piece("run", self._text[self.end + 2 : close]), close + 1)
            return
        match = _REDIRECT.match(self._text, self.end)
        assert match is not None
        start, operator = self.end, match.group()
        pieces = self._pieces or []
        if pieces and all(
            piece.kind == "text" and piece.text.isdigit() and not piece.quoted for piece in pieces
        ):
            start, operator = self._word_start, "".join(piece.text for piece in pieces) + operator
            self._pieces = None
        self._flush()
        if self._redirect:
            self._end_redirect(())
        self._redirect = (start, operator)
        self.end = match.end()
        self.end = self._after(_BLANKS)
        if operator.endswith("&") and self._text.startswith("-", self.end):
            self.end += 1
            self._end_redirect((Piece("text", "-"),))

    def _operator(self, sign: str) -> None:
        if sign == "(" and self._open():
            return
        if sign == ")" and self._inner and self._pieces is not None:
            self._inner -= 1
            self._add(Piece("text", ")"), self.end + 1)
            return
        if sign == ")" and self._brackets:
            self._flush()
            self._done = True
            return
        if sign == ")" and not self._depth and self._pieces is not None:
            self._add(Piece("text", ")"), self.end + 1)
            return
        self._depth += {"(": 1, ")": -1 if self._depth else 0}.get(sign, 0)
        match = _OPERATOR.match(self._text, self.end)
        assert match is not None
        self._flush()
        if self._redirect:
            self._end_redirect(())
        self.tokens.append(Token("operator", self.end, match.end(), match.group()))
        self.end = self._command = match.end()

    def _open(self) -> bool:
        """Read what `(` begins, if that is no subshell: an array, a word's own bracket, or an aside."""
        word = self._so_far()
        if not (self._brackets or self._value) and _ASSIGN_ARRAY.match(word):
            inner = Line(self._source, self.end + 1, brackets=True)
            end = min(inner.end + 1, len(self._text)) if self._text.startswith(")", inner.end) else inner.end
            self._pieces = None
            self.tokens.append(Token("array", self._word_start, end, word, items=tuple(inner.tokens)))
            self.end = end
            return True
        if self._pieces is not None:
            if self._text.startswith("()", self.end):  # a function: what follows is at a command's place
                self._flush()
                return False
            self._inner += 1
            self._add(Piece("text", "("), self.end + 1)
            return True
        close = self._source.closing.get(self.end, -1)
        if self._has_words() and 0 <= close <= self._source.end_of_line(self.end) and self._is_hot():
            self._remark(
                f"'{short(self._text[self.end : close + 1])}' is left out: it is no part of a command"
            )
            self.end = close + 1
            return True
        return False
