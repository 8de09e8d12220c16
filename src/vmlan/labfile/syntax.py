"""What the YAML reader objects to, in plain words."""

from __future__ import annotations

import re

from ruamel.yaml.error import MarkedYAMLError

from vmlan.labfile.located import START, Mark
from vmlan.labfile.words import plain

_ALIGN = "keys of one group, and items of one list, begin in the same column"
_QUOTE = "text with special characters in it goes in quotes"

#: (what the reader says, what is wrong, what would be right); {0} is the first group, {opened} the
#: beginning of what was being read. A problem is where the reader gave up; for those that
#: `_AT_OPENING` has, that is lines below the mistake.
_WORDS: tuple[tuple[str, str, str], ...] = (
    (r"found character '\\t'", "a tab where only spaces may stand", "indent with spaces"),
    (r"found character '(.)' that cannot", "a value cannot begin with '{0}'", "put it in quotes"),
    (r"mapping values are not allowed", "a ':' that does not belong here", f"{_QUOTE}; {_ALIGN}"),
    (r"sequence entries are not allowed", "a '-' that does not belong here", "begin the list on a new line"),
    (r"could not find expected ':'", "this is neither a key nor a list item", "a key ends with ':'"),
    (r"expected ',' or '(.)', but", "what opens at {opened} is not closed", "close it with '{0}'"),
    (
        r"but found '<stream end>'",
        "the file ends in the middle of a value",
        "finish it; close every [ and {{",
    ),
    (r"node content, but found '(.*)'", "'{0}' where a value should be", "write the value, or remove it"),
    (r"expected <block end>, but found '<(?:scalar|alias)>'", "text after the end of a value", _QUOTE),
    (r"expected <block end>", "this does not line up with what begins at {opened}", _ALIGN),
    (r"unexpected end of stream", "the quote that opens here is not closed", "close it"),
    (r"unexpected document separator", "the quote that opens here is not closed", "close it"),
    (r"undefined alias '(.*)'", "there is no &{0} above", "an alias (*) repeats what has that anchor (&)"),
    (r"found another document", "a second document begins here", "a file is one lab: remove the '---'"),
    (
        r"unknown escape character '(.*)'",
        "\\{0} means nothing in double quotes",
        "write \\\\ for a backslash",
    ),
    (r"expected '<document start>'", "this does not belong to what is above", _ALIGN),
    (r"undefined tag handle '(.*)'", "the tag '{0}' means nothing here", "remove it"),
    (r"incompatible YAML document", "this YAML version is not known", "remove the %YAML line"),
)

_AT_OPENING = re.compile("could not find expected ':'|unexpected end of stream|unexpected document separator")


def explained(error: MarkedYAMLError) -> tuple[Mark, str, str]:
    """Where a syntax error is, what is wrong and what would be right."""
    problem = str(error.problem or error.context or "")
    at, opened = _mark(error.problem_mark), _mark(error.context_mark)
    place = opened if _AT_OPENING.search(problem) else at
    for pattern, what, hint in _WORDS:
        found = re.search(pattern, problem, re.DOTALL)
        if found:
            groups = [plain(group) for group in found.groups()]
            return place or START, what.format(*groups, opened=opened), hint.format(*groups)
    return place or START, f"this is not YAML: {plain(problem)}", _QUOTE


def _mark(mark: object) -> Mark | None:
    """A mark of the reader's, which counts from 0, as ours."""
    line, column = getattr(mark, "line", None), getattr(mark, "column", None)
    return Mark(line + 1, column + 1) if isinstance(line, int) and isinstance(column, int) else None
