"""The commands that make a machine's own disks. Pure."""

from __future__ import annotations

from pathlib import Path

from vmlan.model import NewDisk, OverlayDisk
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import image_facts
from vmlan.plan.steps import Command, Space


def create(path: Path, disk: NewDisk | OverlayDisk, facts: Facts) -> Command:
    """`qemu-img create`; the backing format is always given, which is mandatory since 6.1."""
    argv: tuple[str, ...] = ("qemu-img", "create", "-q", "-f", "qcow2")
    if isinstance(disk, OverlayDisk):
        base = image_facts(facts, disk.base)
        argv += ("-b", str(base.path), "-F", base.format)
    argv += (str(path), *((str(disk.size),) if disk.size else ()))
    return Command(argv, space=Space.HERE, user=facts.user)
