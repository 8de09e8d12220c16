"""One section of the file (a machine, a network, …), read key by key against its shape.

Every key is converted on its own, so that one wrong value hides no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from vmlan.labfile.located import Located, Mark, Problems
from vmlan.labfile.values import Wrong
from vmlan.labfile.words import listed, plain, quote, shown, suggestion

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """What may stand under a key: its type, in words, and (for a list) the same of its items."""

    type: Any
    takes: str
    choices: tuple[str, ...]
    item: Key | None
    required: bool
    number: tuple[str, str] | None  #: what is wrong and what would be right when a number stands for a text


@cache
def keys_of(shape: type[msgspec.Struct]) -> Mapping[str, Key]:
    """The keys of a shape, as they are written in the file."""
    return {
        field.encode_name: _key(field.type, required=field.required)
        for field in msgspec.structs.fields(shape)
    }


def _key(type_: Any, *, required: bool = False) -> Key:
    extra: dict[str, Any] = {}
    bare = type_
    if get_origin(type_) is Annotated:
        bare = type_.__origin__
        extra = next((meta.extra for meta in type_.__metadata__ if meta.extra), extra)
    parts = [part for part in _members(bare) if part is not msgspec.UnsetType]
    if not extra and len(parts) == 1 and parts[0] is not type_:
        return _key(parts[0], required=required)
    lists = [part for part in parts if get_origin(part) is list]
    return Key(
        type=type_,
        takes=extra.get("takes") or "",
        choices=get_args(bare) if get_origin(bare) is Literal else (),
        item=_key(get_args(lists[0])[0]) if lists else None,
        required=required,
        number=extra.get("number"),
    )


def _members(type_: Any) -> tuple[Any, ...]:
    return get_args(type_) if get_origin(type_) in {Union, UnionType} else (type_,)


class Section:
    """The keys of one mapping of the file; each getter notes what is wrong and then gives None."""

    def __init__(self, node: Located, shape: type[msgspec.Struct], problems: Problems) -> None:
        self.at = node.at
        self.problems = problems
        self._entries = node.entries or {}
        self._keys = keys_of(shape)

    @property
    def marks(self) -> dict[str, Mark]:
        """Where the value of each key that is there stands, right or wrong."""
        return {name: entry.value.at for name, entry in self._entries.items()}

    def has(self, key: str) -> bool:
        """Whether the key is written, whatever its value."""
        return key in self._entries

    def node(self, key: str) -> Located | None:
        """What stands under a key, unread; None when it is not there or empty."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.value.empty:
            self._empty(entry.at, key)
            return None
        return entry.value

    def only(
        self, *, also: Sequence[str] = (), own: str = "", known: Mapping[str, str] | None = None
    ) -> None:
        """Refuse keys that the shape does not have, except `also` and those that begin with `own`.

        `known`: keys that are right elsewhere or later, and what to say of them (`what; hint`).
        """
        allowed = [*also, *self._keys]
        for name, entry in self._entries.items():
            if name in allowed or (own and name.startswith(own)):
                continue
            what, _, hint = (known or {}).get(name, "").partition("; ")
            if what:
                self.problems.add(entry.at, what, hint)
            else:
                self.problems.add(entry.at, f"unknown key {quote(name)}", suggestion(name, allowed))

    def get(self, key: str) -> Any:
        """The value of a scalar key, of the shape's type."""
        node = self.node(key)
        return None if node is None else self._converted(node, key, self._keys[key])

    def parsed(self, key: str, parser: Callable[[Any], T]) -> T | None:
        """The value of a scalar key as `parser` understands it."""
        node = self.node(key)
        return None if node is None else self._parsed(node, key, self._keys[key], parser)

    def group(self, key: str, *, may_be_empty: bool = False) -> Located | None:
        """What stands under a key that takes keys and values itself."""
        node = None if may_be_empty and self._is_empty(key) else self.node(key)
        if node is not None and node.entries is None:
            self._mismatch(node, f"'{key}'", self._keys[key])
            return None
        return node

    def items(self, key: str, *, may_be_empty: bool = False, alone: bool = False) -> tuple[Located, ...]:
        """The items of a list, unread; `alone`: a single text may stand for a list of one."""
        node = None if may_be_empty and self._is_empty(key) else self.node(key)
        if node is None:
            return ()
        if alone and isinstance(node.value, str):
            return (node,)
        if node.items is None:
            self._mismatch(node, f"'{key}'", self._keys[key])
            return ()
        return node.items

    def _is_empty(self, key: str) -> bool:
        return key in self._entries and self._entries[key].value.empty

    def each(
        self, key: str, parser: Callable[[Any], T], *, alone: bool = False
    ) -> tuple[tuple[T, Mark], ...]:
        """The items of a list of scalars as `parser` understands them, and where they stand."""
        wanted = self._keys[key].item
        assert wanted is not None, f"{key} is not a list"
        found = []
        for node in self.items(key, alone=alone):
            value = self._parsed(node, key, wanted, parser)
            if value is not None:
                found.append((value, node.at))
        return tuple(found)

    def _parsed(self, node: Located, key: str, wanted: Key, parser: Callable[[Any], T]) -> T | None:
        value = self._converted(node, key, wanted)
        if value is None:
            return None
        try:
            return parser(value)
        except Wrong as wrong:
            self.problems.add(node.at, wrong.what, wrong.hint)
            return None

    def _converted(self, node: Located, key: str, wanted: Key) -> Any:
        if node.empty:
            self.problems.add(node.at, f"an item of '{key}' is empty", f"it takes {wanted.takes}")
            return None
        try:
            return msgspec.convert(node.plain, wanted.type)
        except msgspec.ValidationError:
            one = self._keys[key].item is wanted
            self._mismatch(node, f"an item of '{key}'" if one else f"'{key}'", wanted, key)
            return None

    def _mismatch(self, node: Located, name: str, wanted: Key, key: str = "") -> None:
        value = node.plain
        if wanted.choices and isinstance(value, str):
            self.problems.add(node.at, f"unknown {key} {quote(value)}", suggestion(value, wanted.choices))
            return
        if wanted.number and type(value) in {int, float}:
            what, hint = (part.format(plain(node.written), name=name) for part in wanted.number)
            self.problems.add(node.at, what, hint)
            return
        self.problems.add(node.at, f"{name} cannot be {described(node)}", f"it takes {_takes(wanted)}")

    def _empty(self, at: Mark, key: str) -> None:
        wanted = self._keys[key]
        instead = "write" if wanted.required else "leave it out, or write"
        self.problems.add(at, f"'{key}' is empty", f"{instead} {_takes(wanted)}")


def _takes(wanted: Key) -> str:
    return wanted.takes or listed(wanted.choices)


def described(node: Located) -> str:
    """What stands there, in words."""
    if node.entries is not None:
        return "a group of keys"
    if node.items is not None:
        return "a list"
    return plain(node.written) if type(node.value) in {int, float} else shown(node.value)
