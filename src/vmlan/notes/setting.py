"""`-set GROUP.ID.KEY=VALUE`: a property of something that the line names elsewhere."""

from __future__ import annotations

import re

from vmlan.notes.draft import Draft
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate

_SET = re.compile(r"([\w-]+)\.([^.=]+)\.([^=]+)=(.*)", re.DOTALL)


def apply(draft: Draft) -> None:
    """Say it where it belongs: as if the -drive or -device had it."""
    for option in draft.options:
        if option.name != "set":
            continue
        found = _SET.fullmatch(option.value)
        target = _target(draft, found[1], found[2]) if found else None
        if found is None or target is None:
            continue
        target.put(found[3], found[4])
        draft.became(option, Fate.KEY)


def _target(draft: Draft, group: str, id_: str) -> Params | None:
    if group == "drive":
        return next((drive.params for drive in draft.drives if drive.id == id_), None)
    if group == "device":
        return next((each.params for each in draft.devices if each.params.peek("id") == id_), None)
    if group == "chardev" and id_ in draft.chardevs:
        return draft.chardevs[id_][1]
    return next((params for _, _, params in draft.objects if params.peek("id") == id_), None)


def of_netdev(draft: Draft, id_: str) -> list[tuple[Option, str, str]]:
    """What -set says of a netdev: the option, the key and the value."""
    return [
        (option, found[3], found[4])
        for option in draft.options
        if option.name == "set"
        and (found := _SET.fullmatch(option.value))
        and (found[1], found[2]) == ("netdev", id_)
    ]


def rest(draft: Draft) -> None:
    """-set of something that the line does not have."""
    for option in draft.options:
        if option.name == "set" and id(option) not in draft.seen:
            draft.out(option, "nothing on the line has this name, and QEMU refuses it")
