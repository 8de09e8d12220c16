"""Labs and facts for tests: planned for hosts that are not here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vmlan import labfile
from vmlan.catalogue import CATALOGUE, Role
from vmlan.model import Lab, Named
from vmlan.plan.facts import Facts, ImageFacts, TinyFacts, UefiFacts
from vmlan.plan.layout import Layout
from vmlan.qemu.facts import KvmVerdict, MachineType, QemuFacts

GIB = 1024**3

LAN = """
name: lan
host: {forwarding: true, uplink: simulated}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  wire: {kind: tap, host: 10.1.1.1/24}
machines:
  vm1: {nics: [lan, {network: wire, address: 10.1.1.2/24}]}
  vm2: {nics: [{network: lan, model: e1000}], disks: [{size: 1G}]}
"""

LAN_AND_ONE_MORE = LAN + "  vm3: {nics: [lan], disks: [{size: 1G}]}\n"


#: A QEMU that has what labs use.
QEMU = QemuFacts(
    path=Path("/usr/bin/qemu-system-x86_64"),
    version=(7, 2, 22),
    full_version="7.2.22",
    machines=(MachineType("pc-i440fx-7.2", "pc", default=True), MachineType("pc-q35-7.2", "q35")),
    accelerators=frozenset({"kvm", "tcg"}),
    netdevs=frozenset({"user", "tap", "socket", "hubport"}),
    migration=frozenset({"x-ignore-shared"}),
    devices=frozenset(
        [
            "virtio-serial-pci",
            "virtserialport",
            "virtio-rng-pci",
            "vmgenid",
            "virtio-blk-pci",
            "virtio-net-pci",
            "e1000",
            "e1000e",
            "rtl8139",
            "ne2k_isa",
            "usb-net",
            "ide-cd",
            "isa-fdc",
            "floppy",
            "qemu-xhci",
            "usb-storage",
            "ide-hd",
            "ich9-ahci",
            "virtio-scsi-pci",
            "scsi-hd",
            "nvme",
        ]
    ),
)


def lab(text: str, folder: Path = Path("/labs/here")) -> Lab:
    return labfile.loads(text, file="lab.yaml", folder=folder)


def facts(
    run: Path = Path("/run/user/1000/vmlan/here-123456"), state: Path | None = None, **changes: object
) -> Facts:
    """A host with everything, KVM not working, and a few images."""
    state = state or Path("/home/user/.local/state/vmlan/here-123456")
    known = [
        ImageFacts(Path("/labs/here/debian.qcow2"), "qcow2", "disk", 8 * GIB),
        ImageFacts(Path("/labs/here/data.img"), "raw", "disk", GIB),
        ImageFacts(Path("/labs/here/a,b:c.img"), "raw", "disk", GIB),
        ImageFacts(Path("/labs/here/live.iso"), "raw", "cdrom", GIB),
        ImageFacts(Path("/labs/here/boot.img"), "raw", "floppy", 1440 * 1024),
        ImageFacts(Path("/labs/here/stick.img"), "raw", "disk", GIB),
    ]
    image: tuple[Role, ...] = ("image",)
    named: dict[str, dict[Role, Path]] = {
        entry.name: {role: Path(f"/cache/media/{entry.name}/{role}") for role in tuple(entry.files) or image}
        for entry in CATALOGUE.values()
    }
    for name, files in named.items():
        if "image" in files:
            built = not CATALOGUE[name].files
            medium = "disk" if built else CATALOGUE[name].medium or "cdrom"
            format_: Literal["qcow2", "raw"] = "raw" if CATALOGUE[name].files else "qcow2"
            known.append(ImageFacts(files["image"], format_, medium, GIB))
    values: dict[str, object] = {
        "layout": Layout(run=run, state=state),
        "qemu": QEMU,
        "kvm": KvmVerdict(False, "/dev/kvm is not there"),
        "keeper": ("/usr/bin/python3", "-I", "-S", "-B", "/opt/vmlan/keeper.py"),
        "tiny": TinyFacts(Path("/cache/tiny/vmlinux"), Path("/cache/tiny/initrd")),
        "images": {image.path: image for image in known}
        | {Named(image.path.parent.name): image for image in known if "media" in image.path.parts},
        "named": named,
        "internet": "pasta",
        "uefi": UefiFacts(Path("/fw/CODE.fd"), "raw", Path("/fw/VARS.fd"), "raw"),
    }
    return Facts(**{**values, **changes})  # type: ignore[arg-type]
