"""Whether what is to be started fits into this host's memory. Pure.

A lab that does not fit is not noticed when it starts: Linux gives a guest its memory page by page, as it
writes to it, and some machine is killed in the middle of its work. So it is looked at before. This counts:

- A machine that boots may come to use all that its `memory:` says, and QEMU's own besides (`_QEMU`), and with
  emulation the code that it makes of the guest's (`_TRANSLATED`).
- A machine that goes on from a template shares its pages, but for those that it writes (`_CLONE`). What it
  may grow to is not counted: a hundred clones that do little are what templates are for.
- A template that is to be made is a machine that boots, and ends before the others start.
- Against that stands what can be had: MemAvailable, which is without swapping (proc(5)), the free swap, and
  what a control group leaves, if that is less (`host.memory`). Swap counts whole: most guests have pages that
  they never look at again.

Where the sum is more than can be had, nothing is started. That is not always right: a guest that is given 4G
may never use them. Only who made it knows, and can say so (`vmlan up --overcommit`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vmlan.errors import DoesNotFit
from vmlan.model import MIB, Lab, Machine
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import accelerator
from vmlan.plan.steps import MakeTemplate, Start, Step, Told

#: QEMU's own pages (measured: PSS of QEMU 7.2 with a tiny guest, without the guest's and its kernel's file).
_QEMU = 35 * MIB
#: The translated code of a guest that has booted (measured: PSS of QEMU's code buffer, tiny guest).
_TRANSLATED = 60 * MIB
#: All of a clone that has done little yet (measured: a tiny guest after 20 s, PSS: 22 M QEMU's, 26 M code).
_CLONE = 57 * MIB

#: So many names are said, of machines that ask for the same.
_NAMES = 4


@dataclass(frozen=True)
class Room:
    """The memory that can be had (bytes), and who says so, in words."""

    bytes: int
    of: str


@dataclass(frozen=True)
class _Row:
    """Machines that ask for the same."""

    names: tuple[str, ...]
    each: int

    @property
    def sum(self) -> int:
        return self.each * len(self.names)


def _asks(lab: Lab, step: Start, machine: str, facts: Facts) -> int:
    """What a machine may come to use; an installed system does much at once, also when it has not booted."""
    is_clone = step.warm is not None and isinstance(step.warm.told, Told)
    return _CLONE if is_clone else _boots(lab, machine, facts)


def refuse(lab: Lab, steps: Iterable[Step], facts: Facts, room: Room) -> None:
    """Raise `DoesNotFit` where the steps that are to be done, or some of them, ask for more than there is."""
    todo = list(steps)
    templates = _grouped(
        (f"template of {step.machines[0]}", _boots(lab, step.machines[0], facts))
        for step in todo
        if isinstance(step, MakeTemplate)
    )
    machines = _grouped(
        (step.machine, _asks(lab, step, step.machine, facts))
        for step in todo
        if isinstance(step, Start) and step.machine
    )
    for rows in (templates, machines):
        if sum(row.sum for row in rows) > room.bytes:
            raise DoesNotFit(
                f"this lab does not fit into memory: what is to be started asks for"
                f" {size(sum(row.sum for row in rows))}, and {size(room.bytes)} can be had\n"
                + "\n".join(f"    {line}" for line in _table(rows, room)),
                hint="give machines less (memory:), or start only some of them (vmlan up MACHINE…);"
                " --overcommit starts them all the same, where they will not use it all",
            )


def _boots(lab: Lab, name: str, facts: Facts) -> int:
    machine = lab.machine(name)
    assert machine is not None, name
    return machine.memory + _own(machine, facts)


def _own(machine: Machine, facts: Facts) -> int:
    """What QEMU takes besides the guest's memory."""
    return _QEMU + (_TRANSLATED if accelerator(machine, facts)[0] == "tcg" else 0)


def _grouped(asked: Iterable[tuple[str, int]]) -> list[_Row]:
    """Those who ask for most first; of those who ask for the same, in the lab file's order."""
    groups: dict[int, list[str]] = {}
    for name, each in asked:
        groups.setdefault(each, []).append(name)
    rows = [_Row(tuple(names), each) for each, names in groups.items()]
    return sorted(rows, key=lambda row: -row.sum)


def _table(rows: list[_Row], room: Room) -> Iterator[str]:
    cells = [("MACHINES", "EACH", "SUM"), *((_names(row), size(row.each), size(row.sum)) for row in rows)]
    if len(rows) > 1:
        cells.append(("", "", size(sum(row.sum for row in rows))))
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    for name, each, total in cells:
        yield f"{name:{widths[0]}}  {each:>{widths[1]}}  {total:>{widths[2]}}"
    yield "(EACH is what it may use, and what QEMU itself takes)"
    yield f"can be had: {size(room.bytes)} ({room.of})"


def _names(row: _Row) -> str:
    more = len(row.names) - _NAMES
    shown = row.names if more <= 1 else (*row.names[:_NAMES], f"{more} more")
    return ", ".join(shown) + (" (of a template)" if row.each == _CLONE else "")


def size(bytes_: int) -> str:
    """Bytes as people write them, to one decimal from a gigabyte on."""
    if bytes_ < 1024 * MIB:
        return f"{bytes_ // MIB}M"
    number, unit = bytes_ / (1024 * MIB), "G"
    return f"{number:.1f}{unit}" if number < 1024 else f"{number / 1024:.1f}T"
