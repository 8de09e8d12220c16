"""What stands before a command on its line in notes: prompts, bullets, labels, comment signs."""

from __future__ import annotations

import re

from vmlan.notes.programs import PROGRAM_BODY
from vmlan.notes.tokens import BLANKS

_B = f"[{BLANKS}]"
_PROG = rf"(?=(?:\S{{0,200}}[/\\])?{PROGRAM_BODY})"
#: The sign of a comment at the beginning of a line, as several languages have it.
COMMENT = re.compile(rf"{_B}*(?:#+|//+|::|(?i:rem)(?={_B})|<!--){_B}*")
#: What stands before a command on its line: prompts, bullets, labels, make's signs.
_LEAD = re.compile(
    rf"{_B}+"
    rf"|>+{_B}+"
    rf"|[$%❯➜λ]{_B}+"
    rf"|\(?\[?[\w.-]{{1,64}}@[\w.-]{{1,64}}(?:[: ][^$#%>\n]{{0,120}})?\]?\)?[$#%>]{_B}+"
    rf"|(?:PS )?[A-Za-z]:\\[^<>|\n]{{0,120}}>{_B}*"
    rf"|PS>{_B}+"
    rf"|[\w.~/-]{{1,40}}[$#]{_B}+"
    rf"|(?:[-*+•]|\d{{1,4}}[.)]){_B}+"
    rf"|\d{{1,6}}{_B}+{_PROG}"
    r"|[-@+]{1,3}(?=[$(]|sudo\b|timeout\b)"
    rf"|[-@+]+{_PROG}"
    rf"|[A-Za-z][\w -]{{0,40}}:{_B}+{_PROG}"
    rf"|Exec\w*=[-@:+!]*{_PROG}"
    r"|</?(?:pre|code|p|kbd|tt|samp|li)(?: [^<>\n]{0,80})?>",
)
#: A line of a Markdown fence, which holds nothing else.
FENCE = re.compile(rf"{_B}*(?:>{_B}*)*(?:```|~~~)[^`\n]*(?=\n|\Z)")


def lead(text: str, position: int) -> int:
    """Where the command of the line may begin: after its prompt, bullet or label."""
    for _ in range(8):
        match = _LEAD.match(text, position)
        if match is None or match.end() == position:
            break
        position = match.end()
    return position
