"""A machine as QEMU's argument list. Pure: what is decided here depends on its arguments alone.

Every backend, device and drive is named by us and every default switched off (`-nodefaults`), so
that the same lab makes the same machine on any QEMU. A raw image's format is always given: QEMU
would otherwise guess it from bytes that the guest can write.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmlan.model import MIB, Machine


@dataclass(frozen=True)
class Drive:
    """A medium of a machine; `index` counts within its kind."""

    kind: Literal["disk", "cdrom", "floppy", "usb"]
    path: Path
    format: str
    index: int = 0
    read_only: bool = False

    @property
    def id(self) -> str:
        """The drive's and its device's id."""
        return f"{self.kind}{self.index}"


@dataclass(frozen=True)
class Netdev:
    """A NIC's backend: QEMU's words for it (without the id), and QEMU's device for the NIC itself."""

    backend: str
    device: str
    mac: str
    index: int

    @property
    def id(self) -> str:
        """The backend's id; the NIC's is `nicN`."""
        return f"net{self.index}"


@dataclass(frozen=True)
class Hardware:
    """Everything of a machine, decided: what is left is to write it down."""

    machine: Machine
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
    screen: bool = True


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
        *("-machine", f"{quote(machine.machine)},accel={hardware.accel}", "-cpu", hardware.cpu),
        *("-m", size(machine.memory), "-smp", str(machine.cpus)),
        *("-display", "none", *(("-vga", "std") if hardware.screen else ())),
        *_control(hardware),
        *_boot(hardware),
        *(word for drive in hardware.drives for word in _drive(hardware, drive)),
        *(word for netdev in hardware.netdevs for word in _nic(hardware, netdev)),
        *machine.qemu_args,
    )


def _control(hardware: Hardware) -> Iterator[str]:
    """QMP, the serial console (logged, and never waited for), the guest agent, and randomness."""
    yield from ("-qmp", f"unix:{quote(hardware.qmp)},server=on,wait=off")
    yield from (
        "-chardev",
        f"socket,id=serial0,path={quote(hardware.serial)},server=on,wait=off,logfile={quote(hardware.serial_log)}",
    )
    yield from ("-serial", "chardev:serial0")
    yield from ("-device", "virtio-serial-pci")
    yield from ("-chardev", f"socket,id=agent0,path={quote(hardware.agent)},server=on,wait=off")
    yield from ("-device", "virtserialport,chardev=agent0,name=org.qemu.guest_agent.0")
    yield from ("-device", "virtio-rng-pci")


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


def _drive(hardware: Hardware, drive: Drive) -> Iterator[str]:
    source = f"if=none,id={drive.id},file={quote(drive.path)},format={drive.format}"
    order = _bootindex(hardware, drive.kind, drive.index)
    if drive.kind == "cdrom":
        yield from ("-drive", f"{source},media=cdrom,readonly=on")
        yield from ("-device", f"ide-cd,drive={drive.id}{order}")
    elif drive.kind == "floppy":
        yield from ("-drive", f"{source},readonly=on" if drive.read_only else source)
        if drive.index == 0:
            yield from ("-device", "isa-fdc,id=fdc0") if _lacks_floppy_controller(hardware) else ()
        yield from ("-device", f"floppy,drive={drive.id}{order}")
    elif drive.kind == "usb":
        yield from ("-drive", source)
        if drive.index == 0:
            yield "-usb"
        yield from ("-device", f"usb-storage,drive={drive.id}{order}")
    else:
        yield from ("-drive", f"{source},discard=unmap")
        yield from ("-device", f"virtio-blk-pci,drive={drive.id}{order}")


def _lacks_floppy_controller(hardware: Hardware) -> bool:
    """`pc` has one built in; q35 has had none since 2.4 (QEMU ChangeLog/2.4)."""
    return "q35" in hardware.machine.machine


def _nic(hardware: Hardware, netdev: Netdev) -> Iterator[str]:
    kind, _, rest = netdev.backend.partition(",")
    yield from ("-netdev", f"{kind},id={netdev.id}{',' + rest if rest else ''}")
    order = _bootindex(hardware, "network", netdev.index)
    # A machine that boots a kernel directly needs no boot ROM on its NIC, and each costs start-up time.
    rom = ",romfile=" if hardware.kernel and not order else ""
    yield from (
        "-device",
        f"{netdev.device},id=nic{netdev.index},netdev={netdev.id},mac={netdev.mac}{rom}{order}",
    )
