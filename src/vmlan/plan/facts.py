"""What planning must know of this host, read once by `host.facts`; a plan is a function of Lab and Facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vmlan.catalogue import Role
from vmlan.model import Medium
from vmlan.plan.layout import Layout
from vmlan.qemu.facts import KvmVerdict, QemuFacts


@dataclass(frozen=True)
class Backing:
    """A file that an overlay is over, and the format in which QEMU is told to read it."""

    path: Path
    format: Literal["qcow2", "raw"]


@dataclass(frozen=True)
class ImageFacts:
    """An image file: its format, told by its own first bytes, never by QEMU's guess."""

    path: Path
    format: Literal["qcow2", "raw"]
    medium: Literal["disk", "cdrom", "floppy"]  #: what it is an image of
    virtual_size: int  #: bytes
    chain: tuple[Backing, ...] = ()  #: what it is over, what that is over, and so on

    @property
    def backing(self) -> tuple[str, ...]:
        """The formats of the chain, as `qemu.cmdline.Drive.backing` wants them."""
        return tuple(link.format for link in self.chain)


@dataclass(frozen=True)
class TinyFacts:
    """The embedded guest's files."""

    kernel: Path
    initrd: Path


@dataclass(frozen=True)
class UefiFacts:
    """UEFI's program for the flash of a machine, and the variables that it begins with."""

    code: Path
    code_format: str
    variables: Path
    variables_format: str


@dataclass(frozen=True)
class Facts:
    """This host, as far as a plan depends on it."""

    layout: Layout
    qemu: QemuFacts
    kvm: KvmVerdict
    keeper: tuple[str, ...]  #: the command that starts the keeper's program
    tiny: TinyFacts | None = None
    images: dict[Medium, ImageFacts] = field(default_factory=dict)
    named: dict[str, dict[Role, Path]] = field(default_factory=dict)  #: files of the catalogue's images
    uefi: UefiFacts | None = None
    internet: Literal["pasta", "slirp4netns"] | None = None  #: which user-mode uplink is installed
    bridge_vlans: bool = True  #: whether this kernel's bridges can keep VLANs apart
    etc: frozenset[str] = frozenset({"hosts", "resolv.conf"})  #: files of /etc that ours can be put over
