"""What a QEMU binary can do, as values. Pure: `qemu.probe` and `qemu.kvm` find them out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MachineType:
    """A machine type; `alias` is its short name ("pc" for the newest i440FX) or ""."""

    name: str
    alias: str = ""
    default: bool = False


@dataclass(frozen=True)
class QemuFacts:
    """What one binary says of itself. What it does not say, it does not have."""

    path: Path
    version: tuple[int, int, int]
    full_version: str  #: with the packager's own words, e.g. "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"
    machines: tuple[MachineType, ...]  #: by name
    accelerators: frozenset[str]  #: built in, e.g. "tcg", "kvm"; whether KVM runs here is `KvmVerdict`
    netdevs: frozenset[str]  #: the backends that `-netdev` takes, e.g. "user", "tap"
    migration: frozenset[str]  #: how a machine's state can be saved and loaded, e.g. "x-ignore-shared"
    devices: frozenset[str]  #: every concrete device's QOM name, e.g. "e1000", "virtio-net-pci"


@dataclass(frozen=True)
class KvmVerdict:
    """Whether KVM really runs a guest here; `reason` is one plain sentence for users.

    `mend` is the command that would change it, or "" where none is known.
    """

    works: bool
    reason: str
    mend: str = ""
