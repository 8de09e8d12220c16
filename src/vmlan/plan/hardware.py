"""Deciding what a machine is made of: all that its file leaves open, as `qemu.cmdline` needs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vmlan.catalogue import CATALOGUE, Role, can_be_told, is_tiny
from vmlan.errors import RequestError
from vmlan.model import (
    LOOPBACK,
    Accel,
    Disk,
    FileDisk,
    Firmware,
    HubNetwork,
    Machine,
    MacvtapNetwork,
    Medium,
    Named,
    NoNetwork,
    OverlayDisk,
    SocketNetwork,
    UserNetwork,
)
from vmlan.plan import tiny_cmdline
from vmlan.plan.facts import Facts, ImageFacts
from vmlan.plan.macvtaps import devices
from vmlan.plan.steps import FIRST_DEVICE, Command
from vmlan.plan.topology import Link
from vmlan.qemu import features, machine_types
from vmlan.qemu.cmdline import Drive, Flash, Hardware, Netdev

_MULTICAST_GROUP = "230.0.0.1"

#: Machine types before this cannot boot an ELF kernel directly (QEMU, hw/i386/pc.c: `pvh_enabled`).
_PVH_SINCE = (4, 0)

#: The processor of the guest tiny under emulation: the richest, but for what costs time there and gives it
#: nothing. With erms and fsrm the kernel fills and copies pages byte by byte, since processors are quick at
#: that; emulation is not. With la57 there is one more level of page tables, with pku a register to switch.
_TINY_CPU = "max,la57=off,erms=off,fsrm=off,pku=off"

#: Cards that send messages (MSI-X), and have no use for a line for their interrupts.
_MESSAGES = {"virtio-net-pci", "e1000e", "vmxnet3"}


def accelerator(machine: Machine, facts: Facts) -> tuple[Literal["kvm", "tcg"], str]:
    """Which accelerator a machine gets, and why. KVM that is asked for but does not work is emulation."""
    if machine.accel is Accel.TCG:
        return "tcg", "asked for"
    return ("kvm" if facts.kvm.works else "tcg"), facts.kvm.reason


def hardware(machine: Machine, links: tuple[Link, ...], facts: Facts) -> Hardware:
    """Decide everything about a machine that its file leaves open."""
    where = facts.layout.machine(machine.name)
    accel, _ = accelerator(machine, facts)
    kernel, initrd, append = _kernel(machine, facts)
    type_ = features.machine_type(facts.qemu, machine.machine)
    if is_tiny(machine):
        kernel, initrd = _tiny(machine, type_, facts)
        lines = needs_lines(machine, links, facts)
        append = tiny_cmdline.append(machine.name, static(links), machine.append, lines=lines)
    return Hardware(
        machine=machine,
        type=type_,
        accel=accel,
        cpu=_cpu(machine, accel),
        drives=tuple(drives(machine, facts)),
        netdevs=tuple(_netdev(link, links, facts) for link in links),
        qmp=where.qmp,
        agent=where.agent,
        serial=where.serial,
        serial_log=where.serial_log,
        kernel=kernel,
        initrd=initrd,
        append=append,
        firmware=tuple(_flash(machine, facts)),
        screen=machine.image != "tiny",
        generation=can_be_told(machine) and "vmgenid" in facts.qemu.devices,
    )


def _cpu(machine: Machine, accel: str) -> str:
    """QEMU's word for a machine's processor; what only KVM can give is the richest that is emulated."""
    if accel == "tcg" and machine.cpu in {"host", "max"}:
        return _TINY_CPU if is_tiny(machine) else "max"
    return machine.cpu


def needs_lines(machine: Machine, links: tuple[Link, ...], facts: Facts) -> bool:
    """Whether the guest tiny has to know which line the interrupts of a card that is plugged in come by.

    Where it is no trouble to know, or nobody but ACPI knows it, it does.
    """
    type_ = features.machine_type(facts.qemu, machine.machine)
    if accelerator(machine, facts)[0] == "kvm" or machine.firmware is not Firmware.BIOS:
        return True
    if type_ != "pc" and not type_.startswith("pc-i440fx-"):
        return True
    return any(features.nic_device(facts.qemu, link.nic.model) not in _MESSAGES for link in links)


def qemu_command(argv: tuple[str, ...], machine: Machine, links: tuple[Link, ...], facts: Facts) -> Command:
    """The command that starts a machine, with what its QEMU finds open, as whom, and with what manners."""
    emulated = accelerator(machine, facts)[0] == "tcg"
    return Command(argv, user=facts.user, devices=devices(links), batch=emulated)


def _tiny(machine: Machine, type_: str, facts: Facts) -> tuple[Path, Path]:
    """The embedded guest's kernel and its initramfs."""
    assert facts.tiny is not None, "facts: tiny is needed and was not gathered"
    if (version := machine_types.version(type_)) and version < _PVH_SINCE:
        raise RequestError(
            f"machine {machine.name}: the tiny guest does not start on machine type {type_}: that has no"
            " PVH boot, which there is since 4.0",
            hint="leave machine: out, or write a newer one",
        )
    return facts.tiny.kernel, facts.tiny.initrd


def static(links: tuple[Link, ...]) -> list[tuple[str, str, str | None]]:
    """The fixed addresses of a machine's cards, as `tiny_cmdline.identity` wants them."""
    return [
        (link.mac, str(address), None if gateway is None else str(gateway))
        for link in links
        for address, gateway in ((link.nic.address, link.gateway), (link.nic.address6, link.gateway6))
        if address is not None
    ]


def _kernel(machine: Machine, facts: Facts) -> tuple[Path | None, Path | None, str]:
    """The kernel that is booted directly, its initramfs and its command line, if any."""
    named = machine.image.name if isinstance(machine.image, Named) else None
    if named is not None and machine.kernel is None and "kernel" in facts.named[named]:
        files = facts.named[named]
        return files["kernel"], files.get("initrd"), machine.append or CATALOGUE[named].append
    return _file(machine.kernel, "kernel", facts), _file(machine.initrd, "initrd", facts), machine.append


def _file(medium: Medium | None, role: Role, facts: Facts) -> Path | None:
    return facts.named[medium.name][role] if isinstance(medium, Named) else medium


def _flash(machine: Machine, facts: Facts) -> Iterator[Flash]:
    if machine.firmware is Firmware.UEFI:
        assert facts.uefi is not None, "facts: uefi is needed and was not gathered"
        yield Flash(facts.uefi.code, facts.uefi.code_format, read_only=True)
        yield Flash(facts.layout.machine(machine.name).variables, "qcow2", read_only=False)


def drives(machine: Machine, facts: Facts) -> Iterator[Drive]:
    """Every medium of a machine. Its image comes first; what is written goes to a copy-on-write disk."""
    where = facts.layout.machine(machine.name)
    for index, disk in all_disks(machine, facts):
        if isinstance(disk, FileDisk):
            what = image_facts(facts, disk.path)
            only = disk.read_only
            yield Drive("disk", what.path, what.format, index, only, bus=disk.bus, backing=what.backing)
        elif isinstance(disk, OverlayDisk):
            base = image_facts(facts, disk.base)
            below = (base.format, *base.backing)
            yield Drive("disk", where.disk(index), "qcow2", index, bus=disk.bus, backing=below)
        else:
            yield Drive("disk", where.disk(index), "qcow2", index, bus=disk.bus)
    kind = image_facts(facts, machine.image).medium if _is_medium(machine, facts) else "disk"
    own = (machine.image,) if isinstance(machine.image, Path | Named) else ()
    cdroms = (*(own if kind == "cdrom" else ()), *machine.cdrom)
    floppies = (*(own if kind == "floppy" else ()), *machine.floppy)
    for number, medium in enumerate(cdroms):
        what = image_facts(facts, medium)
        yield Drive("cdrom", what.path, what.format, number, backing=what.backing)
    kinds: tuple[tuple[Literal["floppy", "usb"], tuple[Medium, ...]], ...]
    kinds = (("floppy", floppies), ("usb", machine.usb))
    for word, media in kinds:
        for number, medium in enumerate(media):
            what = image_facts(facts, medium)
            # What is given as `image:`, or is vmlan's, is not written; what is given as `floppy:` is.
            only = isinstance(medium, Named) or medium is machine.image
            yield Drive(word, what.path, what.format, number, read_only=only, backing=what.backing)


def _is_medium(machine: Machine, facts: Facts) -> bool:
    """Whether the machine's image is one that can be attached, rather than a kernel."""
    image = machine.image
    return isinstance(image, Path) or (isinstance(image, Named) and "kernel" not in facts.named[image.name])


def all_disks(machine: Machine, facts: Facts) -> tuple[tuple[int, Disk], ...]:
    """A machine's disks, numbered; a disk image given as `image:` is the base of the first."""
    disks = machine.disks
    if _is_medium(machine, facts) and image_facts(facts, machine.image).medium == "disk":
        assert isinstance(machine.image, Path | Named)
        disks = (OverlayDisk(machine.image), *disks)
    return tuple(enumerate(disks))


def image_facts(facts: Facts, medium: Medium | Literal["tiny"] | None) -> ImageFacts:
    """What was found out about a medium of the lab."""
    assert isinstance(medium, Path | Named)
    return facts.images[medium]


def _netdev(link: Link, links: tuple[Link, ...], facts: Facts) -> Netdev:
    """A link as QEMU's backend. The interfaces are made by `ip`, so no script of QEMU's ever runs."""
    network = link.network
    behind: tuple[str, ...] = ()
    if isinstance(network, UserNetwork):
        backend = _user(network, facts)
    elif isinstance(network, HubNetwork):
        # One user-mode stack and one hub for each of the machine's hub networks; hubport takes a
        # netdev= since 2.12 (QEMU, qapi/net.json).
        backend = f"hubport,hubid={link.hub}"
        stack = f"hub{link.hub}user"
        if link.first_on_hub:
            user = _user(network, facts).replace("user", f"user,id={stack}", 1)
            behind = (user, f"hubport,id=hub{link.hub}port,hubid={link.hub},netdev={stack}")
    elif isinstance(network, SocketNetwork):
        backend = _socket(link.ports)
    elif isinstance(network, NoNetwork):
        backend = f"hubport,hubid={link.hub}"
    elif isinstance(network, MacvtapNetwork):
        backend = f"tap,fd={FIRST_DEVICE + devices(links).index(str(link.interface))}"
    else:
        backend = f"tap,ifname={link.interface},script=no,downscript=no"
    device = features.nic_device(facts.qemu, link.nic.model)
    return Netdev(backend, device, link.mac, link.index, behind)


def _user(network: UserNetwork | HubNetwork, facts: Facts) -> str:
    """A real host's ports QEMU listens at itself; into a lab of its own they are led by others."""
    real = facts.host is not None
    forwards = "".join(
        f",hostfwd={forward.protocol}:{forward.bind if real else LOOPBACK}:{forward.host_port}"
        f"-:{forward.guest_port}"
        for forward in network.forward
    )
    return f"user{forwards}"


def _socket(ports: tuple[int, ...]) -> str:
    if len(ports) == 1:
        return f"socket,mcast={_MULTICAST_GROUP}:{ports[0]},localaddr=127.0.0.1"
    mine, theirs = ports
    return f"socket,udp=127.0.0.1:{theirs},localaddr=127.0.0.1:{mine}"


#: What each kind of drive, or a disk on each kind of bus, needs of QEMU.
_DRIVE_DEVICES = {
    "virtio": ("virtio-blk-pci",),
    "ide": ("ide-hd",),
    "sata": ("ide-hd", "ich9-ahci"),
    "scsi": ("virtio-scsi-pci", "scsi-hd"),
    "nvme": ("nvme",),
    "cdrom": ("ide-cd",),
    "floppy": ("isa-fdc", "floppy"),
    "usb": ("qemu-xhci", "usb-storage"),
}


def features_of(hardware: Hardware) -> Iterator[str]:
    """The features (`qemu.features`) that a machine's command line relies on."""
    yield from ("device virtio-serial-pci", "device virtserialport", "device virtio-rng-pci")
    for netdev in hardware.netdevs:
        yield from (f"backend {words.partition(',')[0]}" for words in (netdev.backend, *netdev.behind))
    for drive in hardware.drives:
        kind = drive.bus if drive.kind == "disk" else drive.kind
        yield from (f"device {device}" for device in _DRIVE_DEVICES[kind])
        if kind == "nvme" and "disk" in hardware.machine.boot:
            yield "way to boot from nvme"
