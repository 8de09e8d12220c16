"""What would run a program on this machine: such a line is no lab unless the user trusts it.

(QEMU, qapi/net.json and net/slirp.c: scripts and helpers, guestfwd and smb; migration/exec.c; plugins.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Refused, Why
from vmlan.notes.shell import shown

#: Keys of network backends whose value is run; "no" and "" are how QEMU is told to run nothing.
_RUN = {"script", "downscript", "helper", "smb", "guestfwd"}


def refuse(options: Iterable[Option]) -> Refused | None:
    """Why the line is refused without `--trust`; None if nothing in it runs a program."""
    found = [what for option in options for what in _programs(option)]
    if not found:
        return None
    rest = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    what = f"{found[0]}{rest} would run a program on this machine; --trust imports the line all the same"
    return Refused(Why.RUNS_CODE, what)


def _programs(option: Option) -> Iterator[str]:
    """The parts of an option that name a program."""
    name, value = option.name, option.value
    if name in {"netdev", "net", "nic", "set"}:
        if name == "set":
            value = re.sub(r"^[\w-]+\.[^=.]+\.", "", value)
        for key, text in Params(value, "type").rest:
            if _runs(key, text):
                yield f"{option.name_of} {key}={shown(text)}"
    elif name in {"smb", "plugin"} or (name == "incoming" and re.match(r'exec:|.*"exec"', value, re.DOTALL)):
        yield option.words


def _runs(key: str, value: str) -> bool:
    base = key.split(".")[0]
    if base == "path":  # of passt: the program
        return True
    if base == "guestfwd":
        return re.search(r"(^|-)(cmd|exec):", value) is not None
    return base in _RUN and value not in {"no", ""}
