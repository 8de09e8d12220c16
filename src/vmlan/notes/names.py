"""Names for machines and networks, from what people call things."""

from __future__ import annotations

import re
from collections.abc import Collection

from vmlan.labfile.machines import RESERVED as MACHINES
from vmlan.labfile.networks import RESERVED as NETWORKS

__all__ = ["MACHINES", "NETWORKS", "unique", "valid"]

_LONGEST = 32


def valid(text: str) -> str:
    """The nearest valid name: a letter, then letters, digits and '-'; "" if nothing is left of it."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    name = re.sub(r"^[0-9-]+", "", name)
    return name[:_LONGEST].rstrip("-")


def unique(wanted: str, taken: Collection[str], reserved: Collection[str]) -> str:
    """`wanted`, with a number if somebody has it (names that differ only in case are the same)."""
    used = {name.lower() for name in (*taken, *reserved)}
    if wanted.lower() not in used:
        return wanted
    number = 2
    while f"{wanted}{number}".lower() in used:
        number += 1
    return f"{wanted}{number}"
