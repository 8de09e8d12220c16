"""A machine with its disks and NICs: one Struct each, whose fields are its keys."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from vmlan.labfile.describe import (
    ADDRESS,
    ADDRESS6,
    CIDR,
    CIDR6,
    MAC,
    QUOTED,
    SIZE,
    WITHOUT_UNIT,
    WORD,
    File,
    Text,
    key,
)


class Disk(Struct, forbid_unknown_fields=True, rename="kebab"):
    """A disk: an empty one (`size`), a copy-on-write one over an image (`base`), or a `file` as it is."""

    size: (
        Annotated[
            str,
            key(
                "How large the guest sees it, with a unit (of 1024).",
                "a size with a unit, such as 8G",
                "8G",
                number=WITHOUT_UNIT,
                pattern=SIZE,
            ),
        ]
        | UnsetType
    ) = UNSET
    base: (
        Annotated[
            str,
            key(
                "The image that it starts from, which is never written: a path, or a name that "
                "`vmlan image ls` shows.",
                "a path, such as debian.qcow2",
                "debian.qcow2",
                "debian-12",
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = UNSET
    file: (
        Annotated[
            str,
            key(
                "An image that is used as it is, and written to. With `base`, the image that it says it is "
                "over: then that one may be in another folder.",
                "a path, such as data.qcow2",
                "data.qcow2",
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = UNSET
    bus: Annotated[
        Literal["virtio", "ide", "sata", "scsi", "nvme"],
        key("The controller that the guest sees; ide for systems without virtio drivers."),
    ] = "virtio"
    read_only: Annotated[bool, key("Whether the guest may only read it; with `file`.", "true or false")] = (
        False
    )


class Nic(Struct, forbid_unknown_fields=True):
    """One network card of a machine."""

    network: Annotated[str, key("The network that the card is on.", "a network's name", "lan")]
    model: Annotated[
        Literal[
            "virtio",
            "e1000",
            "e1000e",
            "e1000-82544gc",
            "e1000-82545em",
            "rtl8139",
            "ne2k_pci",
            "ne2k_isa",
            "pcnet",
            "vmxnet3",
            "i82551",
            "i82557b",
            "i82559er",
            "tulip",
            "usb-net",
        ],
        key("The card that the guest sees; e1000 or rtl8139 for systems without virtio drivers."),
    ] = "virtio"
    mac: (
        Annotated[
            str,
            key(
                "The card's hardware address; made from the names of lab and machine when left out.",
                "six pairs of hexadecimal digits, such as 52:54:00:12:34:56",
                "52:54:00:12:34:56",
                number=(
                    "{0} is not a MAC address",
                    "six pairs of hexadecimal digits, such as 52:54:00:12:34:56",
                ),
                pattern=MAC,
            ),
        ]
        | UnsetType
    ) = UNSET
    address: (
        Annotated[
            str,
            key(
                "A fixed address for the guest, with its prefix length.",
                "an address with its prefix length, such as 10.2.0.9/24",
                "10.2.0.9/24",
                pattern=CIDR,
            ),
        ]
        | UnsetType
    ) = UNSET
    gateway: (
        Annotated[
            str,
            key(
                "The guest's way out of the network; needs `address`.",
                "an address, such as 10.2.0.1",
                "10.2.0.1",
                pattern=ADDRESS,
            ),
        ]
        | UnsetType
    ) = UNSET
    address6: (
        Annotated[
            str,
            key(
                "A fixed IPv6 address for the guest, with its prefix length.",
                "an IPv6 address with its prefix length, such as fd00:1::9/64",
                "fd00:1::9/64",
                pattern=CIDR6,
            ),
        ]
        | UnsetType
    ) = UNSET
    gateway6: (
        Annotated[
            str,
            key(
                "The guest's way out of the network for IPv6; needs `address6`.",
                "an IPv6 address, such as fd00:1::1",
                "fd00:1::1",
                pattern=ADDRESS6,
            ),
        ]
        | UnsetType
    ) = UNSET
    vlan: (
        Annotated[
            int,
            key(
                "The VLAN of the card's port on a bridge, without tags; 1 when left out.",
                "a VLAN's number, from 1 to 4094",
                10,
                least=1,
                most=4094,
            ),
        ]
        | UnsetType
    ) = UNSET
    trunk: Annotated[
        list[Annotated[int, key("", "a VLAN's number, from 1 to 4094", least=1, most=4094)]],
        key(
            "VLANs that the card's port on a bridge carries with their tags.",
            "a list of VLANs' numbers, such as [10, 20]",
            [10, 20],
        ),
    ] = []


_BootWord: TypeAlias = Annotated[
    Literal["disk", "cdrom", "floppy", "usb", "network"],
    key("", "disk, cdrom, floppy, usb or network"),
]


class Machine(Struct, forbid_unknown_fields=True, rename="kebab"):
    """One machine. With nothing at all it is a `tiny` one."""

    image: (
        Annotated[
            str,
            key(
                "What it boots: tiny (the embedded guest), a name that `vmlan image ls` shows, or a path to "
                "a qcow2, raw, ISO or floppy image. tiny when left out, unless there are media or a kernel.",
                "tiny or a path, such as debian.qcow2",
                "tiny",
                "debian-12",
                "debian.qcow2",
            ),
        ]
        | UnsetType
    ) = UNSET
    memory: (
        Annotated[
            str,
            key(
                "How much memory, with a unit (of 1024). 256M for tiny; 512M otherwise, since QEMU's own "
                "default of 128M is too little for most systems with a desktop.",
                "a size with a unit, such as 512M",
                "512M",
                "2G",
                number=WITHOUT_UNIT,
                pattern=SIZE,
            ),
        ]
        | UnsetType
    ) = UNSET
    cpus: Annotated[
        int,
        key("How many processors.", "a whole number from 1, such as 2", 2, least=1),
    ] = 1
    cpu: Annotated[
        str,
        key(
            "The processor: host, max, or any model of QEMU's.",
            "one word, such as max",
            "host",
            "max",
            number=QUOTED,
            pattern=WORD,
        ),
    ] = "max"
    accel: Annotated[
        Literal["auto", "kvm", "tcg"],
        key("How the processor is run: auto tries KVM and falls back to emulation (tcg)."),
    ] = "auto"
    machine: Annotated[
        str, key("QEMU's machine type.", "one word, such as pc", "pc", "q35", number=QUOTED, pattern=WORD)
    ] = "pc"
    firmware: Annotated[
        Literal["bios", "uefi"],
        key("What it starts with: the PC's old BIOS (SeaBIOS), or UEFI (OVMF), with variables of its own."),
    ] = "bios"
    floppy: (
        Annotated[
            list[File] | File,
            key("A floppy image, or a list of two; written to.", "a path, such as boot.img", "boot.img"),
        ]
        | UnsetType
    ) = UNSET
    cdrom: (
        Annotated[
            list[File] | File,
            key("A CD or DVD image, or a list of them.", "a path, such as live.iso", "live.iso"),
        ]
        | UnsetType
    ) = UNSET
    usb: Annotated[
        list[File] | File,
        key("Images of USB sticks; written to.", "a list of paths, such as [stick.img]", ["stick.img"]),
    ] = []
    disks: Annotated[
        list[str | Disk],
        key(
            "Disks: {size: 8G} is an empty one, {base: FILE} a copy-on-write one over a file, and a path "
            "alone a file that is used as it is and written to.",
            "a list, such as [{size: 8G}]",
            [{"size": "8G"}, {"base": "debian.qcow2"}, "data.qcow2"],
        ),
    ] = []
    boot: (
        Annotated[
            list[_BootWord] | _BootWord,
            key(
                "What it boots from, in order; the natural order when left out.",
                "a list, such as [cdrom, disk]",
                ["cdrom", "disk"],
            ),
        ]
        | UnsetType
    ) = UNSET
    kernel: (
        Annotated[
            str, key("A Linux kernel to boot directly.", "a path, such as vmlinuz", "vmlinuz", number=QUOTED)
        ]
        | UnsetType
    ) = UNSET
    initrd: (
        Annotated[
            str,
            key(
                "The kernel's initramfs; needs `kernel`.",
                "a path, such as initrd.img",
                "initrd.img",
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = UNSET
    append: Annotated[
        str,
        key(
            "The kernel's command line.",
            "one line of text, such as console=ttyS0",
            "console=ttyS0",
            number=QUOTED,
        ),
    ] = ""
    nics: Annotated[
        list[str | Nic],
        key(
            "Network cards, in the order in which the guest sees them; a network's name alone is enough.",
            "a list of networks, such as [lan]",
            ["lan", {"network": "lan", "model": "e1000"}],
        ),
    ] = []
    qemu_args: Annotated[
        list[Text],
        key(
            "Last resort: arguments that are passed to QEMU as they are.",
            "a list of texts, such as [-device, edu]",
            ["-device", "edu"],
        ),
    ] = []
