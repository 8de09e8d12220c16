"""Templates: machines that have booted once, and from which others go on. Pure.

(Those of installed systems differ: `plan.installed`.)

A template is a machine without disks, stopped when its guest had nothing left to do: the file that was its
memory, and the state of its devices. A machine made from it maps that memory privately (copy on write), loads
the state, is given its own cards and disks, and is told who it is. All that shaped a template is in its key,
so that whatever changes makes another one.

Of cards a template has places: as many virtio devices as its machines have cards of that model, which lead
nowhere. By its own command line a machine has its own cards there, and in the state that it loads, its own
MACs stand where the template's stood: in its devices, and, where its guest has drivers for them already, in
its memory. Where it has none, since that depends on what a card leads to (`_are_bound`), it is told to look.
To plug a card in while it runs takes longer (ACPI, and a look at the whole bus): that is for other cards.
"""

from __future__ import annotations

import hashlib
import shlex
import string
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from vmlan import addressing
from vmlan.catalogue import can_be_told, is_installed
from vmlan.model import BridgeNetwork, Firmware, Lab, Machine, TapNetwork
from vmlan.plan import installed, tiny_cmdline
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import all_disks, hardware, needs_lines, qemu_command, static
from vmlan.plan.layout import MachineFiles
from vmlan.plan.steps import Card, Command, MakeFolder, MakeTemplate, Space, Step, Told, Warm
from vmlan.plan.topology import Link, Topology
from vmlan.qemu import cmdline, features, state_files
from vmlan.qemu.cmdline import Hardware, Memory, Netdev

#: Raised when how a template is made changes in a way that its command line does not show.
_FORM = 4

#: The longest line that QEMU's monitor takes; it cuts off the rest (QEMU, monitor/hmp.c: char buf[1024]).
_LINE = 1000

#: How a guest calls disks that can be plugged in, by their bus; those on others cannot.
_DISK_NAMES = {"virtio": "vd", "scsi": "sd"}

#: Cards whose drivers a template's guest has loaded (guest/tiny_files/late): of another that is plugged in it
#: would not know what to do with it before its addresses are waited for.
_CARDS = {"virtio-net-pci", "e1000", "e1000-82544gc", "e1000-82545em", "e1000e"}

#: What a card of a template is: QEMU's device of a NIC of model virtio.
_PLACE = "virtio-net-pci"

#: How the MACs of these cards begin: as nothing else in a template's state does.
_NOBODYS = "52:54:00:76:6d"

_CAPABILITY = f"migrate_set_capability {features.IGNORE_SHARED} on"

#: Else QEMU sends five broadcasts for each card that it loads the state of, to tell switches that a machine
#: has moved (QEMU, qapi/migration.json: announce-rounds); a hundred machines wake each other with them fifty
#: thousand times.
_SILENT = "migrate_set_parameter announce-rounds 0"

#: What it takes of QEMU (`features`).
_FEATURES = ("device vmgenid", "way to save a machine without its memory")


@dataclass(frozen=True)
class Template:
    """The template of a kind of machine: its key, and what that is made of."""

    key: str
    parts: tuple[tuple[str, str], ...]


def why_not(machine: Machine, links: tuple[Link, ...], facts: Facts) -> str | None:
    """Why a machine cannot go on from a template; None if it can."""
    has_system = is_installed(machine)
    if not can_be_told(machine):
        return "nobody knows how its guest could be told afterwards who it is"
    if machine.qemu_args:
        return "nobody knows what its qemu-args change"
    if machine.firmware is not Firmware.BIOS:
        return "its firmware keeps variables of its own"
    type_ = features.machine_type(facts.qemu, machine.machine)
    if "q35" in type_:  # its root bus has no places for that (QEMU, docs/pcie.txt)
        return f"machine type {type_} takes no cards while it runs"
    if machine.cdrom or machine.floppy or machine.usb:
        return "its media cannot be plugged in"
    plugged = [str(disk.bus) for _, disk in all_disks(machine, facts)[has_system:]]
    if buses := set(plugged) - _DISK_NAMES.keys():
        return f"disks on bus {', '.join(sorted(buses))} cannot be plugged in"
    if cards := {_device(link) for link in links} - _CARDS:
        return f"a template has no driver for a card of model {', '.join(sorted(cards))}"
    if machine.boot:
        return "its boot order is of cards and disks that it does not have yet"
    if lacking := [name for name in _FEATURES if not features.FEATURES[name].has(facts.qemu)]:
        return f"QEMU {facts.qemu.full_version} has no {' and no '.join(lacking)}"
    if has_system and (reason := installed.why_not(machine, facts)) is not None:
        return reason
    lines = cmdline.plugging(_further(hardware(machine, links, facts), has_system))
    if facts.templates is not None:
        lines = (*lines, *_load(facts.layout.machine(machine.name).loaded, facts))
    if any(len(line.encode()) > _LINE for line in lines):
        return "what its cards or disks are is longer than a line of QEMU's monitor may be"
    return None


def _further(full: Hardware, has_system: bool) -> Hardware:
    """A machine without the disk that its template has too."""
    return replace(full, drives=full.drives[1:]) if has_system else full


def template(machine: Machine, links: tuple[Link, ...], facts: Facts) -> Template:
    """The template from which a machine goes on. All machines of a kind have the same."""
    where = Path("/template")
    bare = _to_be_kept(machine, links, MachineFiles(where, where), where, facts)
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
        **(installed.parts(machine, facts) if is_installed(machine) else {}),
        "command line": shlex.join(argv[1:]),
    }
    digest = hashlib.sha256("\0".join(f"{name}={value}" for name, value in parts.items()).encode())
    return Template(digest.hexdigest()[:16], tuple(parts.items()))


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
    key = template(machine, links, facts).key
    folder = facts.templates / key
    where = facts.layout.machine(machine.name)
    memory = Memory(folder / "memory", written=False)
    full = hardware(machine, links, facts)
    if is_installed(machine):
        bare = installed.bare(machine, memory, facts)
        argv = cmdline.command(facts.qemu.path, replace(bare, incoming=True))
        return Warm(
            template=key,
            folder=folder,
            command=qemu_command(argv, machine, links, facts),
            load=_load(folder / "state", facts),
            plug=cmdline.plugging(_further(full, True)),
            state=where.loaded,
            macs=(),
            identity=where.identity,
            told=installed.told(machine, folder, facts),
        )
    there = _in_places(full)
    # When its guest boots anew, it boots as any other: not as a template.
    clone = _bare(machine, there, where, memory, full.append, facts)
    argv = cmdline.command(facts.qemu.path, replace(clone, incoming=True))
    return Warm(
        template=key,
        folder=folder,
        command=qemu_command(argv, machine, links, facts),
        load=_load(where.loaded, facts),
        plug=(*cmdline.plugging(full, there), "cont"),
        state=where.loaded,
        macs=tuple(netdev.mac for netdev in there),
        identity=where.identity,
        told=_who(lab, machine, links),
    )


def _load(state: Path, facts: Facts) -> tuple[str, ...]:
    return (_CAPABILITY, _SILENT, state_files.load(state, facts.qemu))


#: How long a machine that is told who it is puts off what nobody waits for (seconds): its own part, and for
#: each machine of its lab, so that the last of many has started before the first asks for its leases.
_LATER, _LATER_EACH = 30, 1


def _who(lab: Lab, machine: Machine, links: tuple[Link, ...]) -> Told:
    """What the guest is told: who it is, and what its cards will be leased."""
    there = tuple(link for link in links if _device(link) == _PLACE)
    elsewhere = len(links) - len(there)
    leased = [lessor for link in there if (lessor := _lessor(link)) is not None]
    resolver = [f"search {topo.domain(lab)}", *(f"nameserver {ip}" for ip in leased)] if leased else []
    return Told(
        name=machine.name,
        words=tiny_cmdline.identity(machine.name, static(links)),
        cards=tuple(_card(link) for link in there),
        bound=_are_bound(links),
        elsewhere=elsewhere,
        disks=_disk_files(machine),
        # Of those that are plugged in nobody knows yet whether they are the first.
        resolver="".join(f"{line}\n" for line in resolver) if not elsewhere else "",
        later=_LATER + _LATER_EACH * len(lab.machines),
    )


def _disk_files(machine: Machine) -> tuple[str, ...]:
    """What a guest calls its disks: by their bus, in their order (Linux, admin-guide/devices.txt)."""
    counts = Counter(_DISK_NAMES[str(disk.bus)] for disk in machine.disks)
    letters = string.ascii_lowercase
    return tuple(
        f"/dev/{name}{letters[n]}" for name, count in counts.items() for n in range(min(count, len(letters)))
    )


def _lessor(link: Link) -> IPv4Address | None:
    """Who leases a card an address that is known before: nobody else is leased what is reserved for it."""
    network = link.network
    if not isinstance(network, BridgeNetwork) or not network.dhcp or network.host is None:
        return None
    return network.host.ip if link.address is not None and link.nic.address is None else None


def _card(link: Link) -> Card:
    if link.nic.address6 is not None:
        return Card(link.mac)
    if link.nic.address is not None:
        return Card(link.mac, str(link.nic.address), None if link.gateway is None else str(link.gateway))
    if (lessor := _lessor(link)) is not None:
        bridge = addressing.interface_name(link.network.name)
        return Card(link.mac, str(link.address), str(lessor), lessor=bridge)
    return Card(link.mac)


def resumed(machine: Machine, links: tuple[Link, ...], facts: Facts) -> tuple[str, ...]:
    """The command line for a state of its own of a machine that began from a template.

    It has the same devices in the same places; what was plugged in is there from the beginning.
    """
    full = hardware(machine, links, facts)
    there = _in_places(full)
    bare = _bare(machine, there, facts.layout.machine(machine.name), None, full.append, facts)
    argv = cmdline.command(facts.qemu.path, replace(bare, incoming=True))
    return (*argv, *cmdline.plugged(full, there))


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


def _device(link: Link) -> str:
    return features.NIC_DEVICES.get(link.nic.model, link.nic.model)


def _places(links: tuple[Link, ...]) -> tuple[Netdev, ...]:
    """The cards of a template, which lead nowhere: a tap or a hub each, which nothing else is on."""
    count, bound = sum(_device(link) == _PLACE for link in links), _are_bound(links)
    return tuple(
        Netdev(
            f"tap,ifname={_tap(number)},script=no,downscript=no" if bound else f"hubport,hubid={number}",
            _PLACE,
            f"{_NOBODYS}:{number:02x}",
            number,
        )
        for number in range(count)
    )


def _tap(number: int) -> str:
    return f"place{number}"


def _are_bound(links: tuple[Link, ...]) -> bool:
    """Whether a template's guest can have drivers for its cards already.

    What a driver agrees on with a card depends on what that leads to: a tap takes packets without a checksum,
    and large ones. And no card may come from elsewhere, since those come first in a machine that boots.
    """
    return bool(links) and all(
        _device(link) == _PLACE and isinstance(link.network, TapNetwork | BridgeNetwork) for link in links
    )


def _in_places(full: Hardware) -> tuple[Netdev, ...]:
    """The cards that a machine has in its template's places."""
    return tuple(netdev for netdev in full.netdevs if netdev.device == _PLACE)


def _bare(
    machine: Machine,
    netdevs: tuple[Netdev, ...],
    where: MachineFiles,
    memory: Memory | None,
    append: str,
    facts: Facts,
) -> Hardware:
    """A machine as its template is: without what is its own, but for these cards and this command line."""
    alone = replace(machine, nics=(), disks=())
    return replace(
        hardware(alone, (), facts),
        netdevs=netdevs,
        append=append,
        memory=memory,
        machine=replace(alone, name="template") if memory is not None and memory.written else alone,
        qmp=where.qmp,
        agent=where.agent,
        identity=where.identity,
        serial=where.serial,
        serial_log=where.serial_log,
    )


def _to_be_kept(
    machine: Machine, links: tuple[Link, ...], where: MachineFiles, folder: Path, facts: Facts
) -> Hardware:
    """The machine that a template is made of: its cards lead nowhere, and its memory is a file in there."""
    if is_installed(machine):
        return installed.kept(machine, where, folder, facts)
    lines = needs_lines(machine, links, facts)
    append = tiny_cmdline.template(machine.append, bound=_are_bound(links), lines=lines)
    return _bare(machine, _places(links), where, Memory(folder / "memory", written=True), append, facts)


def _make(one: Template, machines: list[Machine], links: tuple[Link, ...], facts: Facts) -> Iterator[Step]:
    assert facts.templates is not None
    key, folder = one.key, facts.templates / one.key
    run = facts.layout.template(key)
    bare = _to_be_kept(machines[0], links, run, _unfinished(folder), facts)
    has_system = is_installed(machines[0])
    bound = _are_bound(links) and not has_system
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
        f" {'without cards' if has_system else 'without disks, its cards leading nowhere'},"
        " and stopped; they go on from there",
        key=key,
        name=f"template-{key}",
        command=Command(
            cmdline.command(facts.qemu.path, bare),
            user=facts.user,
            space=Space.LAB,
            taps=tuple(_tap(number) for number in range(len(bare.netdevs))) if bound else (),
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
        bound=bound,
        machines=names,
        disk=installed.disk(machines[0], _unfinished(folder), facts) if has_system else None,
    )


def _unfinished(folder: Path) -> Path:
    """Where a template is made: it gets its name when it is whole."""
    return folder.with_name(f"{folder.name}.new")
