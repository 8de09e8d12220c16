"""A machine as QEMU's argument list. Pure: what is decided here depends on its arguments alone.

Every backend, device and drive is named by us and every default switched off (`-nodefaults`), so
that the same lab makes the same machine on any QEMU. A raw image's format is always given: QEMU
would otherwise guess it from bytes that the guest can write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmlan.errors import RequestError
from vmlan.model import MIB, Bus, Machine


@dataclass(frozen=True)
class Drive:
    """A medium of a machine; `index` counts within its kind.

    `backing`: the formats of the images that it is over, nearest first.
    """

    kind: Literal["disk", "cdrom", "floppy", "usb"]
    path: Path
    format: str
    index: int = 0
    read_only: bool = False
    bus: Bus = "virtio"  #: a disk's
    backing: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The drive's id; its device's is `dev-` and this."""
        return f"{self.kind}{self.index}"


@dataclass(frozen=True)
class Netdev:
    """A NIC's backend: QEMU's words for it (without the id), and QEMU's device for the NIC itself.

    `behind`: other backends that this one needs, each whole, with its id.
    """

    backend: str
    device: str
    mac: str
    index: int
    behind: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The backend's id; the NIC's is `nicN`."""
        return f"net{self.index}"


@dataclass(frozen=True)
class Flash:
    """A flash chip of the machine: UEFI's program (`read_only`), or the variables that it keeps."""

    path: Path
    format: str
    read_only: bool


@dataclass(frozen=True)
class Memory:
    """A file as a machine's memory: a template's own (`written`), or what a machine begins with.

    What the latter writes is its own, and not in the file.
    """

    path: Path
    written: bool


@dataclass(frozen=True)
class Hardware:
    """Everything of a machine, decided: what is left is to write it down."""

    machine: Machine
    type: str  #: the machine type
    accel: Literal["kvm", "tcg"]
    cpu: str
    drives: tuple[Drive, ...]
    netdevs: tuple[Netdev, ...]
    qmp: Path
    agent: Path
    serial: Path
    serial_log: Path
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    firmware: tuple[Flash, ...] = ()
    screen: bool = True
    memory: Memory | None = None
    generation: bool = False  #: whether the guest is told when it goes on as another one (`_generation`)
    identity: Path | None = None  #: the pipes by which its guest is told who it is, if it waits for that
    incoming: bool = False  #: whether it waits to be told the state of its devices, instead of booting


def quote(value: object) -> str:
    """A value in one of QEMU's `key=value` lists: commas are doubled, nothing else is special.

    (QEMU, docs/system/qemu-manpage: "use two commas"; it holds for -chardev, -drive, -netdev, -device.)
    """
    return str(value).replace(",", ",,")


def size(bytes_: int) -> str:
    """A memory size as people write it for `-m`."""
    return f"{bytes_ // MIB}M" if bytes_ % MIB == 0 else f"{bytes_}B"


def command(binary: Path, hardware: Hardware) -> tuple[str, ...]:
    """The whole argument list."""
    machine = hardware.machine
    return (
        str(binary),
        *("-name", machine.name, "-nodefaults", "-no-user-config"),
        *("-machine", f"{quote(hardware.type)},accel={hardware.accel}{_backend(hardware)}"),
        *("-cpu", hardware.cpu, "-m", size(machine.memory), "-smp", str(machine.cpus)),
        *_memory(hardware),
        *("-display", "none", *(("-vga", "std") if hardware.screen else ())),
        *_control(hardware),
        *_generation(hardware),
        *_firmware(hardware),
        *_boot(hardware),
        *_drives(hardware),
        *(word for netdev in hardware.netdevs for word in _nic(hardware, netdev)),
        *machine.qemu_args,
    )


#: What QEMU calls a PC's memory by itself: a state that was saved with one kind of it is loaded with another.
_RAM = "pc.ram"


def _backend(hardware: Hardware) -> str:
    return f",memory-backend={_RAM}" if hardware.memory else ""


def _memory(hardware: Hardware) -> Iterator[str]:
    if hardware.memory is not None:
        share = "on" if hardware.memory.written else "off"
        yield "-object"
        yield (
            f"memory-backend-file,id={_RAM},size={size(hardware.machine.memory)},share={share},"
            f"mem-path={quote(hardware.memory.path)}"
        )
    if hardware.incoming:
        yield from ("-incoming", "defer")


def _generation(hardware: Hardware) -> Iterator[str]:
    """A number that is another one whenever the machine goes on from a state that others went on from too.

    The guest then makes its randomness anew (QEMU, docs/specs/vmgenid; Linux since 5.18).
    """
    if hardware.generation:
        yield from ("-device", "vmgenid,guid=auto")


#: The port by which a template's guest is told who it is.
IDENTITY_PORT = "vmlan.identity"


def _control(hardware: Hardware) -> Iterator[str]:
    """QMP, the serial console (logged, and never waited for), the guest agent, and randomness."""
    yield from ("-qmp", f"unix:{quote(hardware.qmp)},server=on,wait=off")
    yield from (
        "-chardev",
        f"socket,id=serial0,path={quote(hardware.serial)},server=on,wait=off,logfile={quote(hardware.serial_log)}",
    )
    yield from ("-serial", "chardev:serial0")
    yield from ("-device", "virtio-serial-pci")
    yield from ("-chardev", f"pipe,id=agent0,path={quote(hardware.agent)}")
    yield from ("-device", "virtserialport,chardev=agent0,name=org.qemu.guest_agent.0")
    if hardware.identity is not None:
        yield from ("-chardev", f"pipe,id=identity0,path={quote(hardware.identity)}")
        yield from ("-device", f"virtserialport,chardev=identity0,name={IDENTITY_PORT}")
    yield from ("-device", "virtio-rng-pci")


#: The options whose argument QEMU's monitor takes as it is, and its command.
_PLUGGED = {"-drive": "drive_add 0", "-netdev": "netdev_add", "-device": "device_add"}


def plugged(hardware: Hardware, there: Sequence[Netdev] = ()) -> tuple[str, ...]:
    """The options of a machine's disks and cards, but those cards `there`, in the order of `plugging`."""
    netdevs = [each for each in hardware.netdevs if each not in there]
    return (*_drives(hardware), *(word for each in netdevs for word in _nic(hardware, each)))


def plugging(hardware: Hardware, there: Sequence[Netdev] = ()) -> tuple[str, ...]:
    """The lines of QEMU's monitor that give a machine its disks and cards while it is there already.

    The cards `there` it has.
    """
    words = plugged(hardware, there)
    return tuple(
        f"{_PLUGGED[option]} {monitor_quote(argument)}"
        for option, argument in zip(words[::2], words[1::2], strict=True)
    )


def monitor_quote(argument: str) -> str:
    """One argument of a line of QEMU's monitor (QEMU, monitor/hmp.c: get_str())."""
    if not any(letter.isspace() or letter in "\"'\\" for letter in argument):
        return argument
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _firmware(hardware: Hardware) -> Iterator[str]:
    """Flash chips, in the order in which they are mapped; without any the machine has its own BIOS."""
    for unit, flash in enumerate(hardware.firmware):
        only = ",readonly=on" if flash.read_only else ""
        yield from (
            "-drive",
            f"if=pflash,unit={unit},format={flash.format}{only},file={quote(flash.path)}",
        )


def _boot(hardware: Hardware) -> Iterator[str]:
    """A kernel to boot directly. Its options take their argument as it is, commas and all."""
    if hardware.kernel:
        yield from ("-kernel", str(hardware.kernel))
        if hardware.initrd:
            yield from ("-initrd", str(hardware.initrd))
        if hardware.append:
            yield from ("-append", hardware.append)


def _bootindex(hardware: Hardware, medium: str, index: int) -> str:
    """`,bootindex=N` for what `boot:` names; nothing leaves the firmware its natural order."""
    if medium not in hardware.machine.boot:
        return ""
    return f",bootindex={hardware.machine.boot.index(medium) * 100 + index}"


def _drives(hardware: Hardware) -> Iterator[str]:
    """Every medium, each after the controller that the machine does not have by itself."""
    there: set[tuple[str, ...]] = {()}
    for drive in hardware.drives:
        controller = _controller(hardware, drive)
        if controller not in there:
            there.add(controller)
            yield from controller
        yield from ("-drive", _source(drive))
        if drive.kind == "floppy" and drive.index > 1:
            raise RequestError(
                f"machine {hardware.machine.name} has more than two floppies",
                hint="a PC's controller has the drives A and B; leave one out",
            )
        order = _bootindex(hardware, drive.kind, drive.index)
        if order and drive.kind == "floppy":  # a property of the controller, for its drives A and B
            yield from ("-global", f"isa-fdc.{order[1:].replace('=', 'AB'[drive.index] + '=')}")
            order = ""
        yield from ("-device", f"{_device(hardware, drive)},id=dev-{drive.id},drive={drive.id}{order}")


def _source(drive: Drive) -> str:
    source = f"if=none,id={drive.id},file={quote(drive.path)},format={drive.format}{_backing(drive)}"
    if drive.kind == "cdrom":
        return f"{source},media=cdrom,readonly=on"
    if drive.read_only:
        return f"{source},readonly=on"
    return f"{source},discard=unmap" if drive.kind == "disk" else source


def _backing(drive: Drive) -> str:
    """The formats of what a drive is over: QEMU would guess one that the overlay does not record."""
    return "".join(
        f",{'backing.' * depth}driver={format_}" for depth, format_ in enumerate(drive.backing, start=1)
    )


def _controller(hardware: Hardware, drive: Drive) -> tuple[str, ...]:
    """What the machine must be given first: `pc` has IDE and floppies built in, q35 AHCI alone since 2.4.

    (QEMU ChangeLog/2.4.)
    """
    if drive.kind == "usb":
        # USB 3, as Linux has known since 2.6.31. Tried: with the machine's own USB 1 (-usb), a stick is
        # not always read rightly while the host is busy; with USB 2, on QEMU 5.2, not on an idle one either.
        return ("-device", "qemu-xhci,id=xhci0")
    if drive.kind == "floppy" and _is_q35(hardware):
        return ("-device", "isa-fdc,id=fdc0")
    if drive.kind == "disk" and drive.bus == "scsi":
        return ("-device", "virtio-scsi-pci,id=scsi0")
    if drive.kind == "disk" and drive.bus == "sata" and not _is_q35(hardware):
        return ("-device", "ich9-ahci,id=ahci0")
    return ()


def _device(hardware: Hardware, drive: Drive) -> str:
    """The device that the guest sees, without its drive."""
    if drive.kind == "cdrom":
        return f"ide-cd,{ide_places(hardware)[drive.id]}"
    if drive.kind != "disk":
        return {"floppy": "floppy", "usb": "usb-storage,bus=xhci0.0"}[drive.kind]
    if drive.bus == "nvme":  # it refuses to be without a serial number
        return f"nvme,serial={drive.id}"
    if drive.bus in {"ide", "sata"}:
        return f"ide-hd,{ide_places(hardware)[drive.id]}"
    return {"virtio": "virtio-blk-pci", "scsi": "scsi-hd,bus=scsi0.0"}[drive.bus]


def ide_places(hardware: Hardware) -> dict[str, str]:
    """Where on its controller each IDE or SATA drive is, by id, as QEMU's `-hda` and `-cdrom` have it.

    The first CD is the master of the second channel, the disks are around it. Raises `RequestError`
    when there are more than the machine has places for.
    """
    q35 = _is_q35(hardware)
    ide = [f"bus=ide.{n}" for n in range(6)] if q35 else [f"bus=ide.{n // 2},unit={n % 2}" for n in range(4)]
    ahci = ide if q35 else [f"bus=ahci0.{n}" for n in range(6)]
    places: dict[str, str] = {}
    kinds = (("cdrom", ide), ("ide", ide), ("sata", ahci))
    for kind, there in kinds:
        for drive in hardware.drives:
            if kind != (drive.bus if drive.kind == "disk" else drive.kind):
                continue
            # A CD begins at the third place, as `-cdrom` does; a disk at the first.
            order = there[2:] + there[:2] if kind == "cdrom" else there
            free = [place for place in order if place not in places.values()]
            if not free:
                raise RequestError(
                    f"machine {hardware.machine.name}: machine type {hardware.type} has {len(there)} places"
                    f" for IDE disks and CDs, and {drive.id} is one too many",
                    hint="give disks bus: virtio or scsi",
                )
            places[drive.id] = free[0]
    return places


def _is_q35(hardware: Hardware) -> bool:
    return "q35" in hardware.type


#: NICs that are not on PCI, and so have no boot ROM.
_NO_ROM = {"ne2k_isa", "usb-net"}


def _nic(hardware: Hardware, netdev: Netdev) -> Iterator[str]:
    kind, _, rest = netdev.backend.partition(",")
    for backend in netdev.behind:
        yield from ("-netdev", backend)
    yield from ("-netdev", f"{kind},id={netdev.id}{',' + rest if rest else ''}")
    order = _bootindex(hardware, "network", netdev.index)
    # A machine that boots a kernel directly needs no boot ROM on its NIC, and each costs start-up time.
    rom = ",romfile=" if hardware.kernel and not order and netdev.device not in _NO_ROM else ""
    if netdev.device == "usb-net":
        yield "-usb"
    yield from (
        "-device",
        f"{netdev.device},id=nic{netdev.index},netdev={netdev.id},mac={netdev.mac}{rom}{order}",
    )
