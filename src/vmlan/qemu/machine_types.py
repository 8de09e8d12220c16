"""Machine types that the installed QEMU does not have, and the nearest that it has. Pure.

A versioned type (`pc-q35-2.5`) is that release's PC for ever; QEMU drops old ones, and distributions
have versions of their own. A guest that ran on one runs on its family's next newer: only a saved
state cannot move.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from vmlan.qemu.facts import MachineType

Version = tuple[int, int]

#: Ubuntu names its types after its releases; each had this QEMU (Ubuntu's package history).
UBUNTU: dict[str, Version] = {
    "trusty": (2, 0),
    "utopic": (2, 1),
    "vivid": (2, 2),
    "wily": (2, 3),
    "xenial": (2, 5),
    "yakkety": (2, 6),
    "zesty": (2, 8),
    "artful": (2, 10),
    "bionic": (2, 11),
    "cosmic": (2, 12),
    "disco": (3, 1),
    "eoan": (4, 0),
    "focal": (4, 2),
    "groovy": (5, 0),
    "hirsute": (5, 2),
    "impish": (6, 0),
    "jammy": (6, 2),
    "kinetic": (7, 0),
    "lunar": (7, 2),
    "mantic": (8, 0),
    "noble": (8, 2),
    "oracular": (9, 0),
    "plucky": (9, 2),
}

_OWN = re.compile(r"pc-(?:(?:i440fx|q35)-)?(\d+)\.(\d+)")
_OF_DISTRIBUTION = re.compile(r"(?:pc-(?:(?:i440fx|q35)-)?)?(?:rhel|centos)?[a-z]*-?[\d.]*(?:-[a-z]+)*")


def nearest(asked: str, known: Iterable[MachineType]) -> str | None:
    """The name of the machine type that serves for one that is not there; None if there is none.

    Of the same family (i440FX or Q35), the oldest release that is not older; else the newest.
    """
    family = _family(asked)
    there = sorted(
        (found, machine.name)
        for machine in known
        if _family(machine.name) == family and (found := version(machine.name))
    )
    if family is None or not there:
        return None
    wanted = version(asked) or _release(asked)
    if wanted is None:
        return there[-1][1] if _OF_DISTRIBUTION.fullmatch(asked) and "rhel" in asked else None
    return next((name for release, name in there if release >= wanted), there[-1][1])


def _family(name: str) -> str | None:
    """Of PCs there are two: q35 and i440fx. Before 1.4 there was no Q35, and names had no family."""
    if "q35" in name:
        return "q35"
    return "i440fx" if re.match(r"pc-(i440fx|\d|[a-z]+)", name) or name.startswith("rhel") else None


def version(name: str) -> Version | None:
    """The release that a PC's versioned type is of; None for `pc` and the like, and for a distribution's."""
    found = _OWN.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def _release(name: str) -> Version | None:
    """Of Ubuntu's: the release's name is one of the words."""
    return next((UBUNTU[word] for word in name.split("-") if word in UBUNTU), None)
