"""Templates of the tiny guest. Pure.

Of cards such a template has places: as many virtio devices as its machines have cards of that model, which
lead nowhere. By its own command line a machine has its own cards there, and in the state that it loads, its
own MACs stand where the template's stood: in its devices, and, where its guest has drivers for them already,
in its memory. Where it has none, since that depends on what a card leads to (`bound`), it is told to look.
To plug a card in while it runs takes longer (ACPI, and a look at the whole bus): that is for other cards.
"""

from __future__ import annotations

import string
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path

from vmlan import addressing
from vmlan.model import BridgeNetwork, Disk, Lab, Machine, TapNetwork
from vmlan.plan import tiny_cmdline
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import all_disks, hardware, needs_lines, static
from vmlan.plan.layout import MachineFiles
from vmlan.plan.steps import Card, Command, Told
from vmlan.plan.topology import Link
from vmlan.qemu import cmdline, features
from vmlan.qemu.cmdline import Hardware, Memory, Netdev

#: What a card of a template is: QEMU's device of a NIC of model virtio.
_PLACE = "virtio-net-pci"

#: How the MACs of these cards begin: as nothing else in a template's state does.
_NOBODYS = "52:54:00:76:6d"

#: How a guest calls disks that can be plugged in, by their bus; those on others cannot.
DISK_NAMES = {"virtio": "vd", "scsi": "sd"}

#: How long a machine that is told who it is puts off what nobody waits for (seconds): its own part, and for
#: each machine of its lab, so that the last of many has started before the first asks for its leases.
_LATER, _LATER_EACH = 30, 1


def place_tap(number: int) -> str:
    """The interface that a template's card leads to, where it is on a tap."""
    return f"place{number}"


@dataclass(frozen=True)
class TinyKind:
    """What a machine has in common with the template that it goes on from, and what is its own."""

    machine: Machine
    links: tuple[Link, ...]
    facts: Facts

    without = "disks, its cards leading nowhere"

    @cached_property
    def bound(self) -> bool:
        """Whether a template's guest can have drivers for its cards already.

        What a driver agrees on with a card depends on what that leads to: a tap takes packets without a
        checksum, and large ones. And no card may come from elsewhere, since those come first in a machine
        that boots.
        """
        return bool(self.links) and all(
            device(link) == _PLACE and isinstance(link.network, TapNetwork | BridgeNetwork)
            for link in self.links
        )

    @property
    def further_disks(self) -> tuple[Disk, ...]:
        """The disks that it is given when it goes on."""
        return tuple(disk for _, disk in all_disks(self.machine, self.facts))

    def why_not(self) -> str | None:
        """Why there is no template for it, besides what is so for all: nothing is."""
        return None

    def kept(self, where: MachineFiles, folder: Path) -> Hardware:
        """The machine that a template is made of: its memory is a file in this folder."""
        lines = needs_lines(self.machine, self.links, self.facts)
        append = tiny_cmdline.template(self.machine.append, bound=self.bound, lines=lines)
        found = self._bare(self._places(), where, Memory(folder / "memory", written=True), append)
        return replace(found, machine=replace(found.machine, name="template"))

    def disk(self, folder: Path) -> Command | None:
        """What makes the disk of a template: it has none."""
        return None

    def parts(self) -> dict[str, str]:
        """What shaped such a template besides what shapes all: nothing."""
        return {}

    def clone(self, memory: Memory | None) -> Hardware:
        """The machine as it is when it goes on, with the cards that it has in places.

        When its guest boots anew, it boots as any other: not as a template.
        """
        where = self.facts.layout.machine(self.machine.name)
        return self._bare(self._in_places(), where, memory, self._full.append)

    def state(self, folder: Path) -> Path:
        """The file whose state it loads: its own, since its MACs are in it."""
        return self.facts.layout.machine(self.machine.name).loaded

    def plug(self) -> tuple[str, ...]:
        """What gives it its own other cards and disks, as lines of QEMU's monitor; then it goes on."""
        return (*cmdline.plugging(self._full, self._in_places()), "cont")

    def told(self, lab: Lab, folder: Path) -> Told:
        """What its guest is told: who it is, and what its cards will be leased."""
        there = tuple(link for link in self.links if device(link) == _PLACE)
        elsewhere = len(self.links) - len(there)
        where = self.facts.layout.machine(self.machine.name)
        return Told(
            state=where.loaded,
            macs=tuple(netdev.mac for netdev in self._in_places()),
            identity=where.identity,
            name=self.machine.name,
            words=tiny_cmdline.identity(self.machine.name, static(self.links)),
            cards=tuple(_card(link) for link in there),
            bound=self.bound,
            elsewhere=elsewhere,
            disks=_disk_files(self.machine),
            domain=topo.domain(lab),
            later=_LATER + _LATER_EACH * len(lab.machines),
        )

    def resumed(self) -> tuple[str, ...]:
        """The command line for a state of its own, when it began from a template.

        It has the same devices in the same places; what was plugged in is there from the beginning.
        """
        argv = cmdline.command(self.facts.qemu.path, replace(self.clone(None), incoming=True))
        return (*argv, *cmdline.plugged(self._full, self._in_places()))

    @cached_property
    def _full(self) -> Hardware:
        return hardware(self.machine, self.links, self.facts)

    def _in_places(self) -> tuple[Netdev, ...]:
        """The cards that it has in its template's places."""
        return tuple(netdev for netdev in self._full.netdevs if netdev.device == _PLACE)

    def _places(self) -> tuple[Netdev, ...]:
        """The cards of a template, which lead nowhere: a tap or a hub each, which nothing else is on."""
        return tuple(
            Netdev(
                f"tap,ifname={place_tap(number)},script=no,downscript=no"
                if self.bound
                else f"hubport,hubid={number}",
                _PLACE,
                f"{_NOBODYS}:{number:02x}",
                number,
            )
            for number in range(sum(device(link) == _PLACE for link in self.links))
        )

    def _bare(
        self, netdevs: tuple[Netdev, ...], where: MachineFiles, memory: Memory | None, append: str
    ) -> Hardware:
        """The machine without what is its own, but for these cards and this command line."""
        alone = replace(self.machine, nics=(), disks=())
        return replace(
            hardware(alone, (), self.facts),
            netdevs=netdevs,
            append=append,
            memory=memory,
            qmp=where.qmp,
            agent=where.agent,
            identity=where.identity,
            serial=where.serial,
            serial_log=where.serial_log,
        )


def device(link: Link) -> str:
    """QEMU's device for a card."""
    return features.NIC_DEVICES.get(link.nic.model, link.nic.model)


def _disk_files(machine: Machine) -> tuple[str, ...]:
    """What a guest calls its disks: by their bus, in their order (Linux, admin-guide/devices.txt)."""
    counts = Counter(DISK_NAMES[str(disk.bus)] for disk in machine.disks)
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
