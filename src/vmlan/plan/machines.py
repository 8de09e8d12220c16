"""The machines of a lab: their disks, and how each is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vmlan.errors import RequestError
from vmlan.model import (
    Accel,
    Disk,
    FileDisk,
    Lab,
    Machine,
    NewDisk,
    NoNetwork,
    OverlayDisk,
    SocketNetwork,
    UserNetwork,
)
from vmlan.plan import tiny_cmdline
from vmlan.plan.facts import Facts, ImageFacts
from vmlan.plan.layout import SOCKET_PATH_MAX, process_name
from vmlan.plan.steps import Command, MakeFolder, Run, Space, Start, Step, WriteFile
from vmlan.plan.topology import Link, Topology, domain
from vmlan.qemu import cmdline, features
from vmlan.qemu.cmdline import Drive, Hardware, Netdev

_MULTICAST_GROUP = "230.0.0.1"


def files(lab: Lab, machine: Machine, links: Topology, facts: Facts) -> Iterator[Step]:
    """A machine's folders and disks, and its entries in the networks' books."""
    where = facts.layout.machine(machine.name)
    yield MakeFolder(f"machine-folder {machine.name}", f"{machine.name}'s sockets and logs", where.run)
    if _made(machine, facts):
        yield MakeFolder(
            f"state {machine.name}",
            f"{machine.name}'s disks, kept until `down --disks`",
            where.state,
            keep=True,
        )
    for index, disk in _made(machine, facts):
        yield _make_disk(machine, index, disk, facts)
    names = [
        f"{link.address.ip} {machine.name} {machine.name}.{domain(lab)}"
        for link in links.of(machine.name)
        if link.address
    ]
    if names and links.leases:
        text = "\n".join(names) + "\n"
        path = facts.layout.names / machine.name
        yield WriteFile(f"names {machine.name}", f"{machine.name}'s name, for DNS", path, text)
    for link in links.of(machine.name):
        if link.network.name in links.leases and link.nic.address is None and link.address:
            folder = facts.layout.network(link.network.name) / "reservations"
            text = f"{link.mac},{link.address.ip},{machine.name}\n"
            reason = f"{machine.name}'s reserved address on {link.network.name}"
            yield WriteFile(
                f"reservation {machine.name}.{link.index}",
                reason,
                folder / f"{machine.name}.{link.index}",
                text,
            )


def start(machine: Machine, links: Topology, facts: Facts) -> Step:
    """The machine itself."""
    where = facts.layout.machine(machine.name)
    for path in (where.qmp, where.agent, where.serial, facts.layout.keeper):
        _fits(machine, path)
    needed = hardware(machine, links.of(machine.name), facts)
    features.machine_type(facts.qemu, machine.machine)
    features.require(facts.qemu, _features(needed))
    argv = cmdline.command(facts.qemu.path, needed)
    nics = (
        ", ".join(f"{link.nic.model} on {link.network.name}" for link in links.of(machine.name)) or "no NIC"
    )
    return Start(
        f"machine {machine.name}",
        f"{machine.name}: {_runs(machine)}, {cmdline.size(machine.memory)}, {nics}",
        process_name(machine.name),
        Command(argv),
        where.log,
        ready=where.qmp,
        machine=machine.name,
    )


def notes(lab: Lab, facts: Facts) -> Iterator[str]:
    """What the user asked for and will not get as asked: one line for all machines that it is true of."""
    emulated = [
        machine
        for machine in lab.machines
        if machine.accel is not Accel.TCG and accelerator(machine, facts)[0] == "tcg"
    ]
    if emulated:
        yield f"{_and(emulated, lab)} on emulation: {accelerator(emulated[0], facts)[1]}"
    if hosts := [machine.name for machine in emulated if machine.cpu == "host"]:
        yield f"cpu: host needs KVM; {', '.join(hosts)} will have 'max', the richest that is emulated"


def _and(some: list[Machine], lab: Lab) -> str:
    if len(some) == 1:
        return f"{some[0].name} runs"
    return (
        "all machines run"
        if len(some) == len(lab.machines)
        else f"{', '.join(each.name for each in some)} run"
    )


def accelerator(machine: Machine, facts: Facts) -> tuple[Literal["kvm", "tcg"], str]:
    """Which accelerator a machine gets, and why. KVM that is asked for but does not work is emulation."""
    if machine.accel is Accel.TCG:
        return "tcg", "asked for"
    return ("kvm" if facts.kvm.works else "tcg"), facts.kvm.reason


def hardware(machine: Machine, links: tuple[Link, ...], facts: Facts) -> Hardware:
    """Decide everything about a machine that its file leaves open."""
    where = facts.layout.machine(machine.name)
    accel, _ = accelerator(machine, facts)
    kernel, initrd, append = machine.kernel, machine.initrd, machine.append
    if machine.image == "tiny" and kernel is None:
        assert facts.tiny is not None, "facts: tiny is needed and was not gathered"
        kernel, initrd = facts.tiny.kernel, facts.tiny.initrd
        static = [
            (link.mac, str(link.address), str(link.gateway) if link.gateway else None)
            for link in links
            if link.nic.address is not None
        ]
        append = tiny_cmdline.append(machine.name, static, machine.append)
    return Hardware(
        machine=machine,
        accel=accel,
        cpu="max" if machine.cpu == "host" and accel == "tcg" else machine.cpu,
        drives=tuple(drives(machine, facts)),
        netdevs=tuple(_netdev(link, facts) for link in links),
        qmp=where.qmp,
        agent=where.agent,
        serial=where.serial,
        serial_log=where.serial_log,
        kernel=kernel,
        initrd=initrd,
        append=append,
        screen=machine.image != "tiny",
    )


def drives(machine: Machine, facts: Facts) -> Iterator[Drive]:
    """Every medium of a machine. Its image comes first; what is written goes to a copy-on-write disk."""
    where = facts.layout.machine(machine.name)
    for index, disk in all_disks(machine, facts):
        if isinstance(disk, FileDisk):
            yield Drive("disk", disk.path, _image(facts, disk.path).format, index)
        else:
            yield Drive("disk", where.disk(index), "qcow2", index)
    image = machine.image if isinstance(machine.image, Path) else None
    medium = _image(facts, image).medium if image else "disk"
    cdroms = [path for path in (image if medium == "cdrom" else None, machine.cdrom) if path]
    floppies = [path for path in (image if medium == "floppy" else None, machine.floppy) if path]
    for number, path in enumerate(cdroms):
        yield Drive("cdrom", path, _image(facts, path).format, number)
    for number, path in enumerate(floppies):
        # A floppy given as `image:` is not written, like any image; one given as `floppy:` is.
        yield Drive("floppy", path, _image(facts, path).format, number, read_only=path == image)
    for number, path in enumerate(machine.usb):
        yield Drive("usb", path, _image(facts, path).format, number)


def all_disks(machine: Machine, facts: Facts) -> tuple[tuple[int, Disk], ...]:
    """A machine's disks, numbered; a disk image given as `image:` is the base of the first."""
    disks = machine.disks
    if isinstance(machine.image, Path) and _image(facts, machine.image).medium == "disk":
        disks = (OverlayDisk(machine.image), *disks)
    return tuple(enumerate(disks))


def _made(machine: Machine, facts: Facts) -> list[tuple[int, NewDisk | OverlayDisk]]:
    return [(index, disk) for index, disk in all_disks(machine, facts) if not isinstance(disk, FileDisk)]


def _make_disk(machine: Machine, index: int, disk: NewDisk | OverlayDisk, facts: Facts) -> Step:
    """`qemu-img create`; the backing format is always given, which is mandatory since 6.1."""
    path = facts.layout.machine(machine.name).disk(index)
    argv: tuple[str, ...] = ("qemu-img", "create", "-q", "-f", "qcow2")
    if isinstance(disk, OverlayDisk):
        argv += ("-b", str(disk.base), "-F", _image(facts, disk.base).format)
        reason = f"{machine.name}'s disk {index}: its own writes, over {disk.base.name}, which stays as it is"
    else:
        reason = f"{machine.name}'s disk {index}: empty, and as large as it is written"
    argv += (str(path), *((str(disk.size),) if disk.size else ()))
    return Run(f"disk {machine.name}.{index}", reason, Command(argv, space=Space.HERE), creates=path)


def _image(facts: Facts, path: Path) -> ImageFacts:
    return facts.images[path]


def _netdev(link: Link, facts: Facts) -> Netdev:
    """A link as QEMU's backend. The interfaces are made by `ip`, so no script of QEMU's ever runs."""
    network = link.network
    if isinstance(network, UserNetwork):
        forwards = "".join(
            f",hostfwd={forward.protocol}:127.0.0.1:{forward.host_port}-:{forward.guest_port}"
            for forward in network.forward
        )
        backend = f"user{forwards}"
    elif isinstance(network, SocketNetwork):
        backend = _socket(link.ports)
    elif isinstance(network, NoNetwork):
        backend = f"hubport,hubid={link.index}"
    else:
        backend = f"tap,ifname={link.interface},script=no,downscript=no"
    return Netdev(backend, features.nic_device(facts.qemu, link.nic.model), link.mac, link.index)


#: What each kind of drive needs of QEMU.
_DRIVE_DEVICES = {
    "disk": ("virtio-blk-pci",),
    "cdrom": ("ide-cd",),
    "floppy": ("isa-fdc", "floppy"),
    "usb": ("usb-storage",),
}


def _features(hardware: Hardware) -> Iterator[str]:
    """The features (`qemu.features`) that a machine's command line relies on."""
    yield from ("device virtio-serial-pci", "device virtserialport", "device virtio-rng-pci")
    for netdev in hardware.netdevs:
        yield f"backend {netdev.backend.partition(',')[0]}"
    for drive in hardware.drives:
        yield from (f"device {device}" for device in _DRIVE_DEVICES[drive.kind])


def _socket(ports: tuple[int, ...]) -> str:
    if len(ports) == 1:
        return f"socket,mcast={_MULTICAST_GROUP}:{ports[0]},localaddr=127.0.0.1"
    mine, theirs = ports
    return f"socket,udp=127.0.0.1:{theirs},localaddr=127.0.0.1:{mine}"


def _runs(machine: Machine) -> str:
    if machine.image == "tiny":
        return "the embedded guest"
    if machine.kernel:
        return f"the kernel {machine.kernel.name}"
    return machine.image.name if isinstance(machine.image, Path) else "what its disks and media hold"


def _fits(machine: Machine, socket: Path) -> None:
    if len(str(socket).encode()) > SOCKET_PATH_MAX:
        raise RequestError(
            f"machine {machine.name}: the path of its socket would be {len(str(socket).encode())} bytes long,"
            f" and Linux takes {SOCKET_PATH_MAX} (unix(7)): {socket}",
            hint="give the machine a shorter name, or set XDG_RUNTIME_DIR to a shorter folder",
        )
