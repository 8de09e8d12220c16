"""QEMU's comma-separated lists, `name,key=value,flag`, as QEMU reads them (util/qemu-option.c)."""

from __future__ import annotations

import json
from collections.abc import Iterator

_ON = {"on", "yes", "true", "y", "1"}


class Params:
    """The pairs of a list, in order. What is taken is gone, so what remains was not understood."""

    def __init__(self, text: str, implied: str | None = None) -> None:
        self._pairs = list(_pairs(text, implied))

    def take(self, *keys: str) -> str | None:
        """The last value of these keys, which are all taken; None if there is none."""
        found = self.take_all(*keys)
        return found[-1] if found else None

    def take_all(self, *keys: str) -> list[str]:
        """Every value of these keys, in order; they are taken."""
        found = [value for key, value in self._pairs if key in keys]
        self._pairs = [(key, value) for key, value in self._pairs if key not in keys]
        return found

    def take_first(self, key: str) -> str | None:
        """The first value, as QEMU does it for `id` alone (of all other keys the last one counts)."""
        found = self.take_all(key)
        return found[0] if found else None

    def take_on(self, key: str) -> bool | None:
        """Whether a switch is on; None if it is not there."""
        value = self.take(key)
        return None if value is None else value.lower() in _ON

    def peek(self, key: str) -> str | None:
        """The last value of a key, which stays."""
        found = [value for name, value in self._pairs if name == key]
        return found[-1] if found else None

    def put(self, key: str, value: str) -> None:
        """Say it too, or instead."""
        self.take(key)
        self._pairs.append((key, value))

    def add(self, key: str, value: str) -> None:
        """Say it once more."""
        self._pairs.append((key, value))

    @property
    def rest(self) -> list[tuple[str, str]]:
        """What has not been taken."""
        return list(self._pairs)

    def __str__(self) -> str:
        return joined(self._pairs)


def joined(pairs: list[tuple[str, str]]) -> str:
    """Pairs as QEMU reads them: a comma in a value is doubled."""
    return ",".join(f"{key}={value.replace(',', ',,')}" for key, value in pairs)


def _pairs(text: str, implied: str | None) -> Iterator[tuple[str, str]]:
    if text.lstrip().startswith("{"):
        yield from _json(text, implied)
        return
    for index, item in enumerate(_items(text)):
        key, equals, value = item.partition("=")
        key = key.strip()
        if equals:
            yield key, value
        elif index == 0 and implied is not None:
            yield implied, item
        elif key.startswith("no") and key[2:] in _NEGATED:
            yield key[2:], "off"
        elif key:
            yield key, "on"


#: Switches that were also written with "no" before them, until QEMU 6.0 deprecated it.
_NEGATED = {"wait", "delay", "vhost", "readonly", "snapshot", "share"}


def _items(text: str) -> Iterator[str]:
    item = ""
    position = 0
    while position < len(text):
        if text[position] == ",":
            if text[position : position + 2] == ",,":
                item += ","
                position += 2
                continue
            yield item
            item = ""
        else:
            item += text[position]
        position += 1
    yield item


def _json(text: str, implied: str | None) -> Iterator[tuple[str, str]]:
    """A JSON list of -device, -object, -netdev or -blockdev, flattened with dots as QEMU does."""
    try:
        data = json.loads(text)
    except ValueError:
        yield implied or "", text
        return
    if isinstance(data, dict):
        yield from _flat("", data)


def _flat(before: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{before}.{key}" if before else str(key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(f"{before}.{index}", inner)
    else:
        words = {"True": "on", "False": "off", "None": ""}
        yield before, words.get(str(value), str(value))
