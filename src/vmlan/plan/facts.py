"""What planning must know of this host, read once by `host.facts`; a plan is a function of Lab and Facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vmlan.plan.layout import Layout
from vmlan.qemu.facts import KvmVerdict, QemuFacts


@dataclass(frozen=True)
class ImageFacts:
    """An image file: its format, told by its own first bytes, never by QEMU's guess."""

    path: Path
    format: Literal["qcow2", "raw"]
    medium: Literal["disk", "cdrom", "floppy"]  #: what it is an image of
    virtual_size: int  #: bytes


@dataclass(frozen=True)
class TinyFacts:
    """The embedded guest's files."""

    kernel: Path
    initrd: Path


@dataclass(frozen=True)
class Facts:
    """This host, as far as a plan depends on it."""

    layout: Layout
    qemu: QemuFacts
    kvm: KvmVerdict
    keeper: tuple[str, ...]  #: the command that starts the keeper's program
    tiny: TinyFacts | None = None
    images: dict[Path, ImageFacts] = field(default_factory=dict)
    internet: Literal["pasta", "slirp4netns"] | None = None  #: which user-mode uplink is installed
    etc: frozenset[str] = frozenset({"hosts", "resolv.conf"})  #: files of /etc that ours can be put over
