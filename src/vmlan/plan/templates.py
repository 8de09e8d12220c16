"""Templates: machines that have booted once, and from which others go on. Pure.

A template is a machine that was stopped when its guest had nothing left to do: the file that was its memory,
and the state of its devices. A machine made from it maps that memory privately (copy on write), loads the
state, is given its own cards and disks, and is told who it is. All that shaped a template is in its key, so
that whatever changes makes another one. What a template has, and how a guest is told, depends on the guest:
`template_tiny`, `template_installed`.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from vmlan.catalogue import can_be_told, is_installed
from vmlan.model import Disk, Firmware, Lab, Machine
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import qemu_command
from vmlan.plan.layout import MachineFiles
from vmlan.plan.steps import Command, Installed, MakeFolder, MakeTemplate, Space, Step, Told, Warm
from vmlan.plan.template_installed import InstalledKind
from vmlan.plan.template_tiny import DISK_NAMES, TinyKind, device, place_tap
from vmlan.plan.topology import Link, Topology
from vmlan.qemu import cmdline, features, state_files
from vmlan.qemu.cmdline import Hardware, Memory

#: Raised when how a template is made changes in a way that its command line does not show.
_FORM = 4

#: The longest line that QEMU's monitor takes; it cuts off the rest (QEMU, monitor/hmp.c: char buf[1024]).
_LINE = 1000

#: Cards whose drivers a template's guest has loaded (guest/tiny_files/late): of another that is plugged in it
#: would not know what to do with it before its addresses are waited for.
_CARDS = {"virtio-net-pci", "e1000", "e1000-82544gc", "e1000-82545em", "e1000e"}

_CAPABILITY = f"migrate_set_capability {features.IGNORE_SHARED} on"

#: Else QEMU sends five broadcasts for each card that it loads the state of, to tell switches that a machine
#: has moved (QEMU, qapi/migration.json: announce-rounds); a hundred machines wake each other with them fifty
#: thousand times.
_SILENT = "migrate_set_parameter announce-rounds 0"

#: What it takes of QEMU (`features`).
_FEATURES = ("device vmgenid", "way to save a machine without its memory")


class Kind(Protocol):
    """How machines with one sort of guest go on from their templates."""

    @property
    def bound(self) -> bool:
        """Whether a template's guest has drivers for cards that lead to taps."""

    @property
    def without(self) -> str:
        """What a template does not have of its machines."""

    @property
    def further_disks(self) -> tuple[Disk, ...]:
        """The disks that a machine is given when it goes on."""

    def why_not(self) -> str | None:
        """Why there is no template for a machine, besides what is so for all; None: there is."""

    def kept(self, where: MachineFiles, folder: Path) -> Hardware:
        """The machine that a template is made of, in this folder."""

    def disk(self, folder: Path) -> Command | None:
        """What makes the disk of a template, if it has one."""

    def parts(self) -> dict[str, str]:
        """What shaped a template besides what shapes all."""

    def clone(self, memory: Memory) -> Hardware:
        """A machine as it is when it goes on."""

    def state(self, folder: Path) -> Path:
        """The file whose state it loads; `folder`: its template's."""

    def plug(self) -> tuple[str, ...]:
        """What gives it its other devices, as lines of QEMU's monitor."""

    def told(self, lab: Lab, folder: Path) -> Told | Installed:
        """How its guest is told who it is."""


@dataclass(frozen=True)
class Template:
    """The template of a kind of machine: its key, and what that is made of."""

    key: str
    parts: tuple[tuple[str, str], ...]


def _kind(machine: Machine, links: tuple[Link, ...], facts: Facts) -> Kind:
    return (InstalledKind if is_installed(machine) else TinyKind)(machine, links, facts)


def why_not(machine: Machine, links: tuple[Link, ...], facts: Facts) -> str | None:
    """Why a machine cannot go on from a template; None if it can."""
    if not can_be_told(machine):
        return "nobody knows how its guest could be told afterwards who it is"
    if machine.qemu_args:
        return "nobody knows what its qemu-args change"
    if machine.firmware is not Firmware.BIOS:
        return "its firmware keeps variables of its own"
    if machine.cdrom or machine.floppy or machine.usb:
        return "its media cannot be plugged in"
    kind = _kind(machine, links, facts)
    if buses := {str(disk.bus) for disk in kind.further_disks} - DISK_NAMES.keys():
        return f"disks on bus {', '.join(sorted(buses))} cannot be plugged in"
    if cards := {device(link) for link in links} - _CARDS:
        return f"a template has no driver for a card of model {', '.join(sorted(cards))}"
    if machine.boot:
        return "its boot order is of cards and disks that it does not have yet"
    if lacking := [name for name in _FEATURES if not features.FEATURES[name].has(facts.qemu)]:
        return f"QEMU {facts.qemu.full_version} has no {' and no '.join(lacking)}"
    if (reason := kind.why_not()) is not None:
        return reason
    lines, type_ = kind.plug(), features.machine_type(facts.qemu, machine.machine)
    if "q35" in type_ and "device_add" in "".join(lines):
        # Its root bus has no places for that (QEMU, docs/pcie.txt).
        return f"machine type {type_} takes no cards while it runs"
    if facts.templates is not None:
        lines = (*lines, *_load(kind.state(facts.templates / ("0" * _KEY)), facts))
    if any(len(line.encode()) > _LINE for line in lines):
        return "what its cards or disks are is longer than a line of QEMU's monitor may be"
    return None


#: How long a template's key is (hexadecimal digits).
_KEY = 16


def template(machine: Machine, links: tuple[Link, ...], facts: Facts) -> Template:
    """The template from which a machine goes on. All machines of a kind have the same."""
    where, kind = Path("/template"), _kind(machine, links, facts)
    bare = kind.kept(MachineFiles(where, where), where)
    argv = cmdline.command(facts.qemu.path, bare)
    files = [facts.qemu.path, *(each for each in (bare.kernel, bare.initrd) if each)]
    parts = {
        "form": str(_FORM),
        "QEMU": f"{facts.qemu.full_version}, {facts.files.get(facts.qemu.path, '')}",
        "machine type": bare.type,
        "accelerator": bare.accel,
        "processor": f"{bare.cpu}, {facts.processor}" if bare.accel == "kvm" else bare.cpu,
        "memory": cmdline.size(machine.memory),
        "cpus": str(machine.cpus),
        "virtio cards": str(len(bare.netdevs)),
        "guest": "; ".join(facts.files.get(file, str(file)) for file in files[1:]),
        "append": bare.append,
        **kind.parts(),
        "command line": shlex.join(argv[1:]),
    }
    digest = hashlib.sha256("\0".join(f"{name}={value}" for name, value in parts.items()).encode())
    return Template(digest.hexdigest()[:_KEY], tuple(parts.items()))


def steps(lab: Lab, links: Topology, facts: Facts) -> Iterator[Step]:
    """The making of each template that the lab's machines go on from; one that is there is not made again."""
    if facts.templates is None:
        return
    kinds: dict[str, list[Machine]] = {}
    found: dict[str, Template] = {}
    for machine in lab.machines:
        own = links.of(machine.name)
        if why_not(machine, own, facts) is None:
            one = template(machine, own, facts)
            found[one.key] = one
            kinds.setdefault(one.key, []).append(machine)
    for key, machines in kinds.items():
        yield from _make(found[key], machines, links.of(machines[0].name), facts)


def warm(lab: Lab, machine: Machine, links: tuple[Link, ...], facts: Facts) -> Warm | None:
    """How a machine goes on from its template; None: it boots."""
    if facts.templates is None or why_not(machine, links, facts) is not None:
        return None
    kind, key = _kind(machine, links, facts), template(machine, links, facts).key
    folder = facts.templates / key
    clone = replace(kind.clone(Memory(folder / "memory", written=False)), incoming=True)
    return Warm(
        template=key,
        folder=folder,
        command=qemu_command(cmdline.command(facts.qemu.path, clone), machine, links, facts),
        load=_load(kind.state(folder), facts),
        plug=kind.plug(),
        told=kind.told(lab, folder),
    )


def _load(state: Path, facts: Facts) -> tuple[str, ...]:
    return (_CAPABILITY, _SILENT, state_files.load(state, facts.qemu))


def notes(lab: Lab, links: Topology, facts: Facts) -> Iterator[str]:
    """Which machines boot although templates are wanted, and why."""
    if facts.templates is None:
        return
    reasons: dict[str, list[str]] = {}
    for machine in lab.machines:
        if (reason := why_not(machine, links.of(machine.name), facts)) is not None:
            reasons.setdefault(reason, []).append(machine.name)
    for reason, names in reasons.items():
        yield f"{', '.join(names)}: no template: {reason}"


def _make(one: Template, machines: list[Machine], links: tuple[Link, ...], facts: Facts) -> Iterator[Step]:
    assert facts.templates is not None
    key, folder = one.key, facts.templates / one.key
    run = facts.layout.template(key)
    kind = _kind(machines[0], links, facts)
    bare = kind.kept(run, _unfinished(folder))
    names = tuple(machine.name for machine in machines)
    yield MakeFolder(
        f"template-folder {key}",
        "the sockets of a template while it is made",
        run.run,
        owner=facts.user,
        pipes=run.pipes,
    )
    state = _unfinished(folder) / "state"
    yield MakeTemplate(
        f"template {key}",
        f"a template for {', '.join(names)}, unless it is there already: a machine like them is booted once,"
        f" without {kind.without}, and stopped; they go on from there",
        key=key,
        name=f"template-{key}",
        command=Command(
            cmdline.command(facts.qemu.path, bare),
            user=facts.user,
            space=Space.LAB,
            taps=tuple(place_tap(number) for number in range(len(bare.netdevs))) if kind.bound else (),
            batch=bare.accel == "tcg",
        ),
        log=run.log,
        qmp=run.qmp,
        agent=run.agent,
        identity=run.identity,
        save=("stop", _CAPABILITY, state_files.save(state, facts.qemu)),
        folder=folder,
        parts=one.parts,
        macs=tuple(netdev.mac for netdev in bare.netdevs),
        bound=kind.bound,
        machines=names,
        disk=kind.disk(_unfinished(folder)),
    )


def _unfinished(folder: Path) -> Path:
    """Where a template is made: it gets its name when it is whole."""
    return folder.with_name(f"{folder.name}.new")
