"""`machines:` → the model's machines, with their disks and NICs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any, Literal, TypeVar

from vmlan.catalogue import CATALOGUE
from vmlan.labfile import shapes, values
from vmlan.labfile.draft import Placed, PlacedMachine
from vmlan.labfile.located import Entry, Located, Mark, Problems
from vmlan.labfile.section import Section, described
from vmlan.labfile.words import plain, quote
from vmlan.model import (
    MIB,
    Accel,
    Disk,
    FileDisk,
    Firmware,
    Machine,
    Medium,
    Named,
    NewDisk,
    Nic,
    OverlayDisk,
)

T = TypeVar("T")

RESERVED = frozenset({"host", "outside", "localhost"})

#: For anything but the tiny guest: QEMU's own 128M is too little for most systems with a desktop.
MEMORY_OF_OTHERS = 512 * MIB

#: What makes a machine with no `image` something else than a tiny one.
_MEDIA = ("disks", "cdrom", "floppy", "usb", "kernel")


#: Which key brings what the boot order names.
_BOOT_SOURCES = {"disk": "disks", "cdrom": "cdrom", "floppy": "floppy", "usb": "usb", "network": "nics"}


def read_machine(name: str, entry: Entry, folder: Path, problems: Problems) -> PlacedMachine | None:
    """One machine, or None (with a problem noted) when there are no keys to read."""
    node = entry.value
    if node.entries is None and not node.empty:
        what = f"machine {quote(name)} cannot be {described(node)}"
        problems.add(entry.at, what, f"write {plain(name)}: {{image: tiny}}, or nothing after {plain(name)}:")
        return None
    section = Section(node, shapes.Machine, problems)
    section.only()
    nics = tuple(
        nic for item in section.items("nics") if (nic := _read_nic(item, section.problems)) is not None
    )
    machine = _machine(name, section, folder, tuple(nic.value for nic in nics))
    _check_boot(machine, section)
    return PlacedMachine(machine, entry.at, section.marks, nics)


def _machine(name: str, section: Section, folder: Path, nics: tuple[Nic, ...]) -> Machine:
    as_medium = values.medium(folder)
    image: Medium | Literal["tiny"] | None = section.parsed("image", values.image(folder))
    if not section.has("image"):
        image = None if any(section.has(key) for key in _MEDIA) else "tiny"
    memory = section.parsed("memory", values.size("1M"))
    fallback = Machine.memory if image == "tiny" else MEMORY_OF_OTHERS
    return Machine(
        name=name,
        image=image,
        memory=fallback if memory is None else memory,
        disks=_disks(section, folder),
        floppy=_values(section.each("floppy", as_medium, alone=True)),
        cdrom=_values(section.each("cdrom", as_medium, alone=True)),
        usb=_values(section.each("usb", as_medium, alone=True)),
        boot=_boot(section),
        kernel=section.parsed("kernel", as_medium),
        initrd=section.parsed("initrd", as_medium),
        nics=nics,
        qemu_args=_values(section.each("qemu-args", str)),
        **_given(
            cpus=section.get("cpus"),
            cpu=section.parsed("cpu", values.word),
            accel=section.parsed("accel", Accel),
            machine=section.parsed("machine", values.word),
            firmware=section.parsed("firmware", Firmware),
            append=section.parsed("append", values.line),
        ),
    )


def _given(**found: Any) -> dict[str, Any]:
    """What is written; the rest keeps the model's defaults."""
    return {key: value for key, value in found.items() if value is not None}


def _values(found: tuple[tuple[T, Mark], ...]) -> tuple[T, ...]:
    return tuple(value for value, _ in found)


def _boot(section: Section) -> tuple[str, ...]:
    words: list[str] = []
    image = section.node("image")
    has_medium = image is not None and image.value != "tiny"  # of any kind: what it is, is seen later
    for word, at in section.each("boot", str, alone=True):
        source = _BOOT_SOURCES[word]
        if word in words:
            section.problems.add(at, f"boot has {word} twice", "name each once, in order")
        elif not section.has(source) and (word == "network" or not has_medium):
            what = f"boot names {word}, and the machine has none"
            section.problems.add(at, what, f"add {source}:, or leave {word} out")
        words.append(word)
    return tuple(words)


def _check_boot(machine: Machine, section: Section) -> None:
    """What direct boot and the boot order need to be there."""
    if machine.firmware is Firmware.UEFI and machine.image == "tiny" and machine.kernel is None:
        what = "the tiny guest is a kernel that is booted directly, which UEFI cannot"
        section.problems.add(section.marks["firmware"], what, "leave firmware out, or write another image")
    if section.has("initrd") and not section.has("kernel"):
        section.problems.add(section.marks["initrd"], "an initrd is loaded with a kernel", "add kernel:")
    if section.has("append") and not section.has("kernel") and not _is_kernel(machine.image):
        section.problems.add(section.marks["append"], "append is the command line of a kernel", "add kernel:")


def _is_kernel(image: Literal["tiny"] | Medium | None) -> bool:
    """Whether an image is a kernel itself, with an initramfs: tiny is, and some of the catalogue are."""
    if isinstance(image, Named):
        return "kernel" in CATALOGUE[image.name].files
    return image == "tiny"


def _disks(section: Section, folder: Path) -> tuple[Disk, ...]:
    found = (_disk(node, folder, section.problems) for node in section.items("disks"))
    return tuple(disk for disk in found if disk is not None)


def _disk(node: Located, folder: Path, problems: Problems) -> Disk | None:
    if isinstance(node.value, str):
        return _file_alone(node, node.value, values.medium(folder), problems)
    if node.entries is None:
        what = f"a disk cannot be {described(node)}"
        problems.add(node.at, what, "write {size: 8G}, {base: debian.qcow2} or a path")
        return None
    section = Section(node, shapes.Disk, problems)
    section.only(
        known={"path": "'path' is not a key of a disk; write the path alone, or file: with other keys"}
    )
    size = section.parsed("size", values.size("1K"))
    base = section.parsed("base", values.medium(folder))
    file = section.parsed("file", values.path(folder))
    bus = _given(bus=section.get("bus"))
    read_only = section.get("read-only") or False
    if not any(section.has(key) for key in ("size", "base", "file")):
        if set(node.entries) <= {"bus", "read-only"}:
            what = "the disk has no size, no base and no file"
            problems.add(node.at, what, "write {size: 8G}, {base: debian.qcow2} or {file: data.qcow2}")
        return None
    if section.has("file"):
        if section.has("size"):
            hint = "a new disk has only a size, a file its own"
            problems.add(section.marks["size"], "the disk has a size and a file", hint)
        return None if file is None else FileDisk(file, read_only=read_only, base=base, **bus)
    if read_only:
        what = "read-only is for an image of yours, which needs file"
        problems.add(section.marks["read-only"], what, "write file: instead, or leave it out")
    if base is not None:
        return OverlayDisk(base, size, **bus)
    return None if size is None or section.has("base") else NewDisk(size, **bus)


def _file_alone(
    node: Located, text: str, as_medium: Callable[[str], Medium], problems: Problems
) -> FileDisk | None:
    try:
        found = as_medium(text)
    except values.Wrong as wrong:
        problems.add(node.at, wrong.what, wrong.hint)
        return None
    if isinstance(found, Named):
        what = f"{found} is an image of vmlan's, which no machine writes to"
        problems.add(node.at, what, f"write {{base: {found}}} for a copy-on-write disk, or ./{found}")
        return None
    return FileDisk(found)


def _read_nic(node: Located, problems: Problems) -> Placed[Nic] | None:
    if isinstance(node.value, str):
        return Placed(Nic(node.value), node.at, {"network": node.at})
    if node.entries is None:
        problems.add(
            node.at, f"a NIC cannot be {described(node)}", "write a network's name, or {network: lan}"
        )
        return None
    section = Section(node, shapes.Nic, problems)
    section.only()
    network = section.get("network")
    if not section.has("network"):
        problems.add(node.at, "the NIC has no network", "add one, such as network: lan")
    trunk = section.each("trunk", int)
    nic = Nic(
        # No network has the empty name; the problem is noted.
        network=network or "",
        mac=section.parsed("mac", values.mac),
        address=section.parsed("address", values.interface),
        gateway=section.parsed("gateway", values.address),
        address6=section.parsed("address6", values.interface6),
        gateway6=section.parsed("gateway6", values.address6),
        vlan=section.get("vlan"),
        trunk=_values(trunk),
        **_given(model=section.get("model")),
    )
    _check_gateway("", nic.address, nic.gateway, section.marks, problems)
    _check_gateway("6", nic.address6, nic.gateway6, section.marks, problems)
    _check_trunk(nic, trunk, problems)
    return Placed(nic, node.at, section.marks)


def _check_gateway(
    family: Literal["", "6"],
    address: IPv4Interface | IPv6Interface | None,
    gateway: IPv4Address | IPv6Address | None,
    marks: Mapping[str, Mark],
    problems: Problems,
) -> None:
    if gateway is None:
        return
    at = marks[f"gateway{family}"]
    if address is None:
        if f"address{family}" not in marks:
            key = f"address{family}"
            instead = f"add {key}:, or leave both to dhcp"
            problems.add(at, f"a gateway is written, and no {'IPv6 ' * bool(family)}address", instead)
    elif gateway == address.ip:
        problems.add(
            at, f"{gateway} is the machine's own address", "the gateway is another machine or the host"
        )
    elif gateway not in address.network and not (gateway.version == 6 and gateway.is_link_local):
        problems.add(at, f"{gateway} is not in {address.network}", "the gateway is in the address's network")


def _check_trunk(nic: Nic, trunk: tuple[tuple[int, Mark], ...], problems: Problems) -> None:
    """A VLAN's frames leave a port with their tags, or without, and not both."""
    seen = set() if nic.vlan is None else {nic.vlan}
    for vlan, at in trunk:
        if vlan in seen:
            what = f"VLAN {vlan} is the card's vlan" if vlan == nic.vlan else f"trunk has {vlan} twice"
            problems.add(at, what, "name each once: in vlan without tags, or in trunk with them")
        seen.add(vlan)
