"""What a lab may need of QEMU, each fact once: how it is detected, since when, and where that is from.

QEMU is asked wherever it can be; a version is only said to the user. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vmlan.errors import HostError, RequestError
from vmlan.qemu import machine_types
from vmlan.qemu.facts import QemuFacts
from vmlan.spelling import did_you_mean

#: A lab file's word for a NIC → QEMU's device; other models have one name for both.
NIC_DEVICES = {"virtio": "virtio-net-pci"}


#: What QEMU calls that memory which others map too is not saved or loaded with a machine's state.
IGNORE_SHARED = "x-ignore-shared"


@dataclass(frozen=True)
class Feature:
    """Something of QEMU's that a command line of ours uses."""

    name: str
    has: Callable[[QemuFacts], bool]
    since: str  #: the first release that has it
    source: str  #: where that is from
    without: str  #: what to do without it


def _backend(name: str, without: str) -> Feature:
    """A network backend. Any can be left out of a build, so a version proves nothing."""
    return Feature(
        f"backend {name}", lambda facts: name in facts.netdevs, "1.2", "QEMU, qapi/net.json", without
    )


def _device(name: str, without: str = "sudo apt-get install qemu-system-x86") -> Feature:
    """A device. Packagers leave some out (RHEL), or put some into packages of their own."""
    return Feature(
        f"device {name}", lambda facts: name in facts.devices, "5.2 or before", "a QEMU 5.2, asked", without
    )


FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        _backend("user", "this QEMU was built without slirp: use another, or a bridge with uplink: internet"),
        _backend("tap", "use a QEMU that was built for Linux"),
        _backend("socket", "use a bridge instead"),
        _backend("hubport", "leave the NIC out, or put it on a bridge that has no other port"),
        _device("virtio-serial-pci"),
        _device("virtserialport"),
        _device("virtio-rng-pci"),
        _device("vmgenid"),
        _device("virtio-blk-pci"),
        _device("ide-cd"),
        _device("isa-fdc", "this QEMU was built without floppies: give the medium as a cdrom or usb"),
        _device("floppy", "this QEMU was built without floppies: give the medium as a cdrom or usb"),
        _device("qemu-xhci", "this QEMU was built without USB 3: give the medium as a disk"),
        _device("usb-storage", "this QEMU was built without USB disks: give the medium as a disk"),
        _device("ide-hd", "this QEMU was built without IDE disks: leave bus: out"),
        _device("ich9-ahci", "this QEMU was built without AHCI: leave bus: sata out"),
        _device("virtio-scsi-pci", "this QEMU was built without virtio-scsi: leave bus: scsi out"),
        _device("scsi-hd", "this QEMU was built without SCSI disks: leave bus: scsi out"),
        _device("nvme", "this QEMU was built without NVMe: leave bus: nvme out"),
        Feature(
            "way to boot from nvme",
            lambda facts: facts.version >= (6, 0, 0),
            "6.0",
            "QEMU 5.2 and 7.2, tried: 5.2 has no nvme.bootindex, and its BIOS starts nothing from there",
            "give the disk another bus:, or leave disk out of boot:",
        ),
        Feature(
            "way to save a machine without its memory",
            lambda facts: IGNORE_SHARED in facts.migration,
            "4.0",
            "QEMU, qapi/migration.json: x-ignore-shared, which leaves out memory that is a shared file",
            "machines boot: vmlan up --cold",
        ),
        Feature(
            "way to save to a file",
            lambda facts: facts.version >= (8, 2, 0),
            "8.2",
            "QEMU, docs/devel/migration: file:",
            "QEMU runs cat(1)",
        ),
    )
}


def require(facts: QemuFacts, names: Iterable[str]) -> None:
    """Raise `HostError` for the first feature that this QEMU does not have, and say what to do without."""
    for name in names:
        feature = FEATURES[name]
        if not feature.has(facts):
            raise HostError(
                f"{facts.path} (QEMU {facts.full_version}) has no {name},"
                f" which QEMU can have since {feature.since}",
                hint=feature.without,
            )


def machine_type(facts: QemuFacts, asked: str) -> str:
    """The machine type for one that was asked for: itself, or the nearest PC that this QEMU has.

    Raises `RequestError`, with what may be meant, for one that is no PC's.
    """
    names = {machine.name for machine in facts.machines}
    names |= {machine.alias for machine in facts.machines if machine.alias}
    if asked in names:
        return asked
    if (near := machine_types.nearest(asked, facts.machines)) is not None:
        return near
    raise RequestError(
        f"QEMU {facts.full_version} has no machine type '{asked}'",
        hint=did_you_mean(asked, names, "qemu-system-x86_64 -machine help lists what it has"),
    )


def nic_device(facts: QemuFacts, model: str) -> str:
    """QEMU's device for a NIC model of a lab file, "virtio" → "virtio-net-pci".

    Raises `RequestError`, with the nearest that there is, for one that this QEMU does not have.
    """
    device = NIC_DEVICES.get(model, model)
    if device in facts.devices:
        return device
    raise RequestError(
        f"QEMU {facts.full_version} has no NIC '{model}'",
        hint=did_you_mean(
            model, (*NIC_DEVICES, *facts.devices), "qemu-system-x86_64 -nic model=help lists them"
        ),
    )
