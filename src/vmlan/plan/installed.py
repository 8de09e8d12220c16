"""Templates of machines whose system is on their first disk, and whose agent we know. Pure.

Such a template has a disk besides: as it was when the template was stopped, over the same image. Whoever
goes on from it gets a copy; so only a machine whose disk nobody has written to yet can. It has the very
devices that it would have if it had booted, in the same places, but for its cards and further disks: these
are plugged in when its agent has told it who it is.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vmlan.model import Machine, OverlayDisk
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import all_disks, hardware, image_facts
from vmlan.plan.layout import MachineFiles
from vmlan.plan.machine_disks import create
from vmlan.plan.steps import Command, Installed
from vmlan.qemu.cmdline import Hardware, Memory

#: The template's disk, in its folder.
_DISK = "disk0.qcow2"


def why_not(machine: Machine, facts: Facts) -> str | None:
    """Why a machine of this kind cannot go on from a template, besides what is so for all."""
    if facts.layout.machine(machine.name).disk(0) in facts.disks:
        return "its disk is there already, and what that holds goes with no other memory"
    first, *others = (disk.bus for _, disk in all_disks(machine, facts))
    if first == "scsi" and "scsi" in others:  # whose controller is the template's
        return "another disk on its first one's bus cannot be plugged in"
    return None


def bare(machine: Machine, memory: Memory, facts: Facts) -> Hardware:
    """The machine as its template is: with its first disk, and without what is its own."""
    disks = () if machine.image is not None else machine.disks[:1]
    alone = replace(machine, nics=(), disks=disks)
    return replace(hardware(alone, (), facts), memory=memory)


def kept(machine: Machine, where: MachineFiles, folder: Path, facts: Facts) -> Hardware:
    """The machine that a template is made of, in this folder."""
    found = bare(machine, Memory(folder / "memory", written=True), facts)
    disk = replace(found.drives[0], path=folder / _DISK)
    return replace(
        found,
        machine=replace(found.machine, name="template"),
        drives=(disk, *found.drives[1:]),
        qmp=where.qmp,
        agent=where.agent,
        serial=where.serial,
        serial_log=where.serial_log,
    )


def disk(machine: Machine, folder: Path, facts: Facts) -> Command:
    """What makes the disk of a template."""
    return create(folder / _DISK, _first(machine, facts), facts)


def told(machine: Machine, folder: Path, facts: Facts) -> Installed:
    """What a machine that goes on is given, and how it is told who it is."""
    where = facts.layout.machine(machine.name)
    return Installed(folder / _DISK, where.disk(0), where.agent)


def parts(machine: Machine, facts: Facts) -> dict[str, str]:
    """What shaped such a template besides what shapes all."""
    first = _first(machine, facts)
    base = image_facts(facts, first.base)
    files = [base.path, *(link.path for link in base.chain)]
    said = "; ".join(facts.files.get(file, str(file)) for file in files)
    return {"disk": f"{said}, {first.size or 'as large'}, on {first.bus}"}


def _first(machine: Machine, facts: Facts) -> OverlayDisk:
    _, first = all_disks(machine, facts)[0]
    assert isinstance(first, OverlayDisk), machine.name
    return first
