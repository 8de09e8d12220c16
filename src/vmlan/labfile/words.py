"""How values and choices of a lab file are put into words."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vmlan import spelling

#: A message shows this much of a long text.
SHOWN = 60

#: What people call things elsewhere (QEMU's options, other tools), and what it is called here.
OTHER_WORDS = {
    "ram": "memory",
    "vcpus": "cpus",
    "smp": "cpus",
    "cores": "cpus",
    "drive": "disks",
    "drives": "disks",
    "hda": "disks",
    "iso": "cdrom",
    "interfaces": "nics",
    "subnet": "host",
    "ip": "address",
    "hostfwd": "forward",
    "ports": "forward",
    "cmdline": "append",
    "vms": "machines",
    "nodes": "machines",
}


def plain(text: str) -> str:
    """A text of the file on one line, shortened, with nothing that cannot be printed."""
    cut = text[:SHOWN] + "…" if len(text) > SHOWN else text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def quote(text: str) -> str:
    """A text of the file between quotes."""
    return f"'{plain(text)}'"


def shown(value: object) -> str:
    """A plain value as a message names it: texts in quotes, collections by what they are."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "empty"
    return str(value)


def listed(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`; a long list is cut."""
    every = [plain(word) for word in words]
    if len(every) > 16:
        every = [*every[:15], "…"]
    return f" {last} ".join([", ".join(every[:-1]), every[-1]] if len(every) > 1 else every)


def nearest(word: str, allowed: Collection[str]) -> str | None:
    """What was probably meant by `word`, or None."""
    low = word.lower()
    if OTHER_WORDS.get(low) in allowed and low not in {each.lower() for each in allowed}:
        return OTHER_WORDS[low]
    return None if len(word) > SHOWN else spelling.nearest(word, allowed)


def suggestion(word: str, allowed: Collection[str]) -> str:
    """`did you mean 'x'?` where there is something near, else everything that is allowed."""
    near = nearest(word, allowed)
    if near is not None:
        return f"did you mean {quote(near)}?"
    return f"one of {listed(allowed)}" if len(allowed) > 1 else f"only {quote(*allowed)} may stand here"


def unknown(word: str, what: str, known: Collection[str], section: str) -> tuple[str, str]:
    """What to say of a name that the lab does not have, and what would be right."""
    if not known:
        return f"unknown {what} {quote(word)}", f"the lab has none: add it under '{section}:'"
    near = nearest(word, known)
    hint = f"did you mean {quote(near)}?" if near else f"the lab has {listed(known, 'and')}"
    return f"unknown {what} {quote(word)}", hint
