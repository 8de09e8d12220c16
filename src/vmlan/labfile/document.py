"""YAML text → plain values that know where they stand.

Aliases and merges are followed. What a lab file cannot hold (a key twice, tags, text that no path
or command line can carry) is refused at its place, and reading goes on after it.
"""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from vmlan.labfile.located import START, Entry, Located, Mark, Problems, Scalar, position
from vmlan.labfile.syntax import explained
from vmlan.labfile.words import plain, quote

#: How many values a file may unfold to. Aliases of aliases grow without bound; a lab of a thousand
#: machines has some ten thousand.
MAX_VALUES = 100_000

_CORE = "tag:yaml.org,2002:"
_TEXT = {_CORE + "str", _CORE + "timestamp", _CORE + "value", _CORE + "merge"}
_MERGE = _CORE + "merge"


class _TooMany(Exception):
    """The file unfolds to more than `MAX_VALUES`."""


def parse(text: str, problems: Problems) -> Located | None:
    """The file's values, or None (with a problem noted) when it is not YAML at all."""
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False  # a later anchor of the same name is plain YAML
    try:
        node = yaml.compose(text)
        return Located(START) if node is None else _Builder(problems).build(node)
    except ReaderError as error:
        at = position(text[: error.position])
        problems.add(at, f"the character {chr(error.character)!a} cannot stand in a file", "remove it")
    except MarkedYAMLError as error:
        problems.add(*explained(error))
    except AssertionError:  # the reader's own, for a %YAML line with a version that there is not
        problems.add(START, "the version in the line that begins with %YAML is none", "leave that line out")
    except RecursionError:
        problems.add(START, "lists or groups stand too deep in each other", "a lab needs six levels")
    except _TooMany:
        what = f"the file unfolds to more than {MAX_VALUES:,} values"
        problems.add(START, what, "every use of an alias counts: use fewer")
    return None


class _Builder:
    """One pass over the reader's nodes; a node that aliases share is built once, and counted each time."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._built: dict[Node, tuple[Located, int]] = {}
        self._open: set[Node] = set()
        self._values = 0

    def build(self, node: Node) -> Located:
        """The value of a node."""
        known = self._built.get(node)
        if known is not None:
            self._count(known[1])
            return known[0]
        at = _mark(node)
        if node in self._open:
            self._problems.add(at, "this contains itself through an alias", "name the parts one by one")
            return Located(at)
        before = self._values
        self._count(1)
        self._open.add(node)
        if isinstance(node, ScalarNode):
            located = Located(at, self._scalar(node, at), str(node.value))
        elif isinstance(node, SequenceNode):
            self._refuse_tag(node, "seq")
            located = Located(at, items=tuple(self.build(item) for item in node.value))
        else:
            assert isinstance(node, MappingNode)
            self._refuse_tag(node, "map")
            located = Located(at, entries=self._entries(node))
        self._open.discard(node)
        self._built[node] = located, self._values - before
        return located

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _TooMany

    def _refuse_tag(self, node: Node, kind: str) -> None:
        tag = str(node.tag)
        if tag != _CORE + kind:
            name = tag.replace(_CORE, "!!")
            self._problems.add(_mark(node), f"the tag {quote(name)} means nothing here", "remove it")

    def _entries(self, node: MappingNode) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if isinstance(key, ScalarNode) and str(key.tag) == _MERGE:
                merged.append(value)
                continue
            name, at = self._key(key), _mark(key)
            entry = Entry(at, self.build(value))
            if name in entries:
                first = entries[name].at
                what = f"{quote(name)} is there a second time"
                self._problems.add(at, what, f"keep one; the first is at {first}")
            elif name is not None:
                entries[name] = entry
        for value in merged:
            self._merge(entries, value)
        return entries

    def _merge(self, entries: dict[str, Entry], node: Node) -> None:
        """Add what `<<` brings: keys of its own come first, then the merged ones in their order."""
        located = self.build(node)
        for source in (located,) if located.items is None else located.items:
            if source.entries is None:
                self._problems.add(
                    source.at, "'<<' merges keys, and there are none here", "write <<: *anchor"
                )
                continue
            for name, entry in source.entries.items():
                entries.setdefault(name, entry)
            self._count(len(source.entries))

    def _key(self, node: Node) -> str | None:
        if not isinstance(node, ScalarNode):
            self._problems.add(
                _mark(node), "a list or group cannot be a key", "quote text that contains { or ["
            )
            return None
        if str(node.tag) in {_CORE + "null", _CORE + "bool"}:
            written = str(node.value)
            what = f"{quote(written)} as a key is not a text" if written else "a key is empty"
            hint = f'put it in quotes: "{plain(written)}"' if written else "write its name before the ':'"
            self._problems.add(_mark(node), what, hint)
            return None
        # Numbers stay as they are written: what may be a name is for its section to say.
        text = self._scalar(node, _mark(node))
        return text if isinstance(text, str) else str(node.value)

    def _scalar(self, node: ScalarNode, at: Mark) -> Scalar:
        text, tag = str(node.value), str(node.tag)
        if tag == _CORE + "null":
            return None
        if tag == _CORE + "bool":
            return text.lower() in {"true", "yes", "on", "y"}
        if tag in {_CORE + "int", _CORE + "float"}:
            return _number(text, whole=tag == _CORE + "int")
        if tag not in _TEXT:
            self._refuse_tag(node, "str")
        text = _paired(text)
        fit = "".join(char for char in text if char != "\0" and not "\ud800" <= char <= "\udfff")
        if fit != text:
            what = f"{quote(text)} contains a character that no file or program can have"
            self._problems.add(at, what, "remove it")
        return fit


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


def _paired(text: str) -> str:
    """The text with characters that JSON writes as two escapes (\\ud83d\\ude00) made whole."""
    units = text.encode("utf-16-le", "surrogatepass")
    try:
        return units.decode("utf-16-le")
    except UnicodeDecodeError:
        return text


def _number(text: str, *, whole: bool) -> Scalar:
    """A number, or the text where it is none (`!!int abc`, YAML 1.1's 52:54) or no lab's (20 digits)."""
    digits = text.replace("_", "").lower()
    if len(digits) > 18:
        return text
    try:
        if not whole:
            return float(digits.replace(".inf", "inf").replace(".nan", "nan"))
        bare = digits.lstrip("+-")
        return int(digits, {"0x": 16, "0o": 8, "0b": 2}.get(bare[:2], 10))
    except ValueError:
        return text
