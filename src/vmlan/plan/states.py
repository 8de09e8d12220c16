"""A running machine's state in a file: how QEMU saves it, and how a machine goes on from it. Pure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from vmlan.model import Lab, Machine
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import hardware, qemu_command
from vmlan.plan.steps import Saved
from vmlan.plan.template_tiny import TinyKind
from vmlan.plan.topology import Link
from vmlan.qemu import cmdline, state_files
from vmlan.qemu.facts import QemuFacts

#: How a machine began: that decides in which places its devices are.
Form: TypeAlias = Literal["booted", "warm"]

#: By itself QEMU sends no more than 128 MB a second, for the sake of a network that there is none of here.
_FAST = "migrate_set_parameter max-bandwidth 100G"

#: A machine that began from a template has this on, and its memory is to be saved as well.
_ALL = "migrate_set_capability x-ignore-shared off"


def save(file: Path, qemu: QemuFacts) -> tuple[str, ...]:
    """Lines for QEMU's monitor: the state of a stopped machine, its memory too, goes into a file."""
    return (_ALL, _FAST, state_files.save(file, qemu))


def saved(lab: Lab, machine: Machine, links: tuple[Link, ...], form: Form, file: Path, facts: Facts) -> Saved:
    """How a machine goes on from its saved state."""
    if form == "warm":
        argv = TinyKind(machine, links, facts).resumed()
    else:
        argv = cmdline.command(facts.qemu.path, replace(hardware(machine, links, facts), incoming=True))
    if machine.qemu_args:
        argv = ("env", f"--chdir={lab.folder}", *argv)
    return Saved(qemu_command(argv, machine, links, facts), (state_files.load(file, facts.qemu),))
