"""Why a line is no lab: it is for another architecture, asks QEMU something, or would run a program here.

What runs a program on this machine is no lab unless the user trusts the line. (QEMU, qapi/net.json and
net/slirp.c: scripts and helpers, guestfwd and smb; migration/exec.c; plugins.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from vmlan.notes.draft import Draft
from vmlan.notes.options import Kind, Option
from vmlan.notes.params import Params
from vmlan.notes.result import Refused, Why
from vmlan.notes.shell import PLACEHOLDER, shown

_SYSTEM = re.compile(r"qemu-system-([A-Za-z0-9_]+?)w?(?:\.(?:exe|lnk|bat))?$")


def other_architecture(program: str) -> Refused | None:
    """The program emulates something else than a PC."""
    base = re.split(r"[/\\]", program)[-1]
    found = _SYSTEM.search(base)
    if found is None or found[1] in {"x86_64", "i386", "x86", "amd64"} or PLACEHOLDER.search(base):
        return None
    return Refused(Why.ARCHITECTURE, f"vmlan runs x86 machines; this line is for {found[1]} ({shown(base)})")


def asks(options: Sequence[Option]) -> Refused | None:
    """An option that QEMU answers instead of starting a machine."""
    for option in options:
        asked = option.row.kind is Kind.ASK or option.value in {"help", "?"} or option.value.endswith(",help")
        if asked and option.name not in {"", "append", "name"}:
            return Refused(Why.NO_MACHINE, f"{option.words} asks QEMU something: it starts no machine")
    return None


#: PCs' machine types; everything else that -M can name is another architecture's.
_PC = re.compile(r"(pc|q35|ubuntu|isapc|microvm|xenpv|xenfv|nitro|x-remote|rhel|centos)([-.\d].*)?")


def other_machine(draft: Draft) -> Refused | None:
    """A machine type that no PC is: the line is for another architecture."""
    asked = draft.asked_machine
    if asked == "none":
        return Refused(Why.NO_MACHINE, "-machine none has no processor and no memory: it is no machine")
    if _PC.fullmatch(asked) or (draft.facts and asked in {each.name for each in draft.facts.machines}):
        return None
    return Refused(Why.ARCHITECTURE, f"vmlan runs x86 machines, and '{shown(asked)}' is not one of them")


#: Keys of network backends whose value is run; "no" and "" are how QEMU is told to run nothing.
_RUN = {"script", "downscript", "helper", "smb", "guestfwd"}


def runs_programs(options: Iterable[Option]) -> Refused | None:
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
