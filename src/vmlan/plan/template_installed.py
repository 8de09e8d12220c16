"""Templates of machines whose system is on their first disk, and whose agent we know. Pure.

Such a template has a disk besides: as it was when the template was stopped, over the same image. Whoever
goes on from it gets a copy; so only a machine whose disk nobody has written to yet can. It has the very
devices that it would have if it had booted, in the same places, but for its cards and further disks: these
are plugged in when its agent has told it who it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from vmlan.model import Disk, Lab, Machine, OverlayDisk
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import all_disks, hardware, image_facts
from vmlan.plan.layout import MachineFiles
from vmlan.plan.machine_disks import create
from vmlan.plan.steps import Command, Installed
from vmlan.plan.topology import Link
from vmlan.qemu import cmdline
from vmlan.qemu.cmdline import Hardware, Memory

#: The template's disk, in its folder.
_DISK = "disk0.qcow2"


@dataclass(frozen=True)
class InstalledKind:
    """What a machine has in common with the template that it goes on from, and what is its own."""

    machine: Machine
    links: tuple[Link, ...]
    facts: Facts

    bound = False
    without = "cards"

    @property
    def further_disks(self) -> tuple[Disk, ...]:
        """The disks that it is given when it goes on."""
        return tuple(disk for _, disk in all_disks(self.machine, self.facts)[1:])

    def why_not(self) -> str | None:
        """Why there is no template for it, besides what is so for all."""
        if self.facts.layout.machine(self.machine.name).disk(0) in self.facts.disks:
            return "its disk is there already, and what that holds goes with no other memory"
        bus = self._first.bus
        if bus == "scsi" and any(disk.bus == bus for disk in self.further_disks):
            # Their controller is the template's.
            return "another disk on its first one's bus cannot be plugged in"
        return None

    def kept(self, where: MachineFiles, folder: Path) -> Hardware:
        """The machine that a template is made of, in this folder."""
        found = self.clone(Memory(folder / "memory", written=True))
        return replace(
            found,
            machine=replace(found.machine, name="template"),
            drives=(replace(found.drives[0], path=folder / _DISK), *found.drives[1:]),
            qmp=where.qmp,
            agent=where.agent,
            serial=where.serial,
            serial_log=where.serial_log,
        )

    def disk(self, folder: Path) -> Command | None:
        """What makes the disk of a template."""
        return create(folder / _DISK, self._first, self.facts)

    def parts(self) -> dict[str, str]:
        """What shaped such a template besides what shapes all."""
        base = image_facts(self.facts, self._first.base)
        files = [base.path, *(link.path for link in base.chain)]
        said = "; ".join(self.facts.files.get(file, str(file)) for file in files)
        return {"disk": f"{said}, {self._first.size or 'as large'}, on {self._first.bus}"}

    def clone(self, memory: Memory) -> Hardware:
        """The machine as it is when it goes on: with its first disk, and without what else is its own."""
        disks = () if self.machine.image is not None else self.machine.disks[:1]
        alone = replace(self.machine, nics=(), disks=disks)
        return replace(hardware(alone, (), self.facts), memory=memory)

    def state(self, folder: Path) -> Path:
        """The file whose state it loads: the template's own."""
        return folder / "state"

    def plug(self) -> tuple[str, ...]:
        """What gives it its own cards and disks, as lines of QEMU's monitor."""
        full = hardware(self.machine, self.links, self.facts)
        return cmdline.plugging(replace(full, drives=full.drives[1:]))

    def told(self, lab: Lab, folder: Path) -> Installed:
        """What it is given, and how it is told who it is."""
        where = self.facts.layout.machine(self.machine.name)
        return Installed(folder / _DISK, where.disk(0), where.agent)

    @property
    def _first(self) -> OverlayDisk:
        _, first = all_disks(self.machine, self.facts)[0]
        assert isinstance(first, OverlayDisk), self.machine.name
        return first
