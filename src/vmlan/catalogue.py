"""The images that vmlan knows by name: what each is, and where it comes from. Pure.

A lab file may write such a name wherever it could write a path (`image: ipxe`, `cdrom: grub-cd`);
a file of that name is written `./ipxe`. `guest.media` fetches them, `guest.debian` builds one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from vmlan.errors import UnknownName
from vmlan.model import Machine, Named, OverlayDisk
from vmlan.spelling import nearest

#: What a file of an entry is for. "image": a medium that boots by itself.
Role: TypeAlias = Literal["image", "kernel", "initrd"]


@dataclass(frozen=True)
class Entry:
    """One name of the catalogue.

    `packages`: the Debian packages that have it, best first; none: it is built here. `files`: for each
    role, where in the package it is, as a glob from the package's root. `medium`: what `image: NAME`
    attaches it as, where that cannot be told from its bytes. `append`: the kernel's command line for a
    machine that says none. `agent`: whether a guest agent answers in it.
    """

    name: str
    what: str
    packages: tuple[str, ...] = ()
    files: dict[Role, str] = field(default_factory=dict)
    medium: Literal["disk", "cdrom", "floppy"] | None = None
    append: str = ""
    agent: bool = False


_GRUB = "usr/lib/grub-rescue/grub-rescue"
_INSTALLER = "usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64"

_ENTRIES = (
    Entry(
        name="debian-12",
        what="Debian 12 with systemd, an SSH server and the guest agent",
        agent=True,
    ),
    Entry(
        name="debian-installer",
        what="Debian's installer, on the serial console: a kernel and its initramfs",
        packages=("debian-installer-13-netboot-amd64", "debian-installer-12-netboot-amd64"),
        files={"kernel": f"{_INSTALLER}/linux", "initrd": f"{_INSTALLER}/initrd.gz"},
        append="console=ttyS0",
    ),
    Entry(
        name="grub-cd",
        what="GRUB's rescue CD: a menu, and a shell that looks into disks",
        packages=("grub-rescue-pc",),
        files={"image": f"{_GRUB}-cdrom.iso"},
    ),
    Entry(
        name="grub-floppy",
        what="GRUB's rescue system as a floppy",
        packages=("grub-rescue-pc",),
        files={"image": f"{_GRUB}-floppy.img"},
        medium="floppy",  # its size is no floppy's: it ends where its contents do
    ),
    Entry(
        name="grub-usb",
        what="GRUB's rescue system as a USB stick, or a disk",
        packages=("grub-rescue-pc",),
        files={"image": f"{_GRUB}-usb.img"},
        medium="disk",  # its bytes are a CD's too: one image for both
    ),
    Entry(
        name="ipxe",
        what="iPXE, a CD that asks for an address by DHCP and boots over the network",
        packages=("ipxe",),
        files={"image": "usr/lib/ipxe/ipxe.iso"},
    ),
    Entry(
        name="memtest86+",
        what="a CD that tests the machine's memory, and never stops",
        packages=("memtest86+",),
        files={"image": "usr/lib/memtest86+/memtest86+x64.iso"},
    ),
)

#: Every entry by name.
CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def entry(name: str) -> Entry:
    """The entry of that name. Raises `UnknownName`, with the nearest that there is."""
    if name not in CATALOGUE:
        near = nearest(name, CATALOGUE)
        question = f"did you mean {near}? " if near else ""
        raise UnknownName(f"there is no image '{name}'", hint=f"{question}there are: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def is_tiny(machine: Machine) -> bool:
    """Whether a machine boots the embedded guest."""
    return machine.image == "tiny" and machine.kernel is None


def is_installed(machine: Machine) -> bool:
    """Whether a machine's system is on its first disk, and brings an agent that we know."""
    return machine.image != "tiny" and has_agent(machine)


def can_be_told(machine: Machine) -> bool:
    """Whether it is known how to tell a guest that runs already who it is."""
    return is_tiny(machine) or is_installed(machine)


def has_agent(machine: Machine) -> bool:
    """Whether we know that the guest brings an agent: then `up` waits for it."""
    if machine.image == "tiny":
        return True
    bases = [disk.base for disk in machine.disks[:1] if isinstance(disk, OverlayDisk)]
    first = machine.image or (bases[0] if bases else None)
    return isinstance(first, Named) and CATALOGUE[first.name].agent and machine.kernel is None
