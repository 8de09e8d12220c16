"""What planning must know of this host, read once by `host.facts`; a plan is a function of Lab and Facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vmlan.catalogue import Role
from vmlan.model import Medium
from vmlan.plan.layout import Layout
from vmlan.qemu.facts import KvmVerdict, QemuFacts

if TYPE_CHECKING:
    from vmlan.plan.lan_facts import NicFacts
    from vmlan.plan.lan_snapshot import Snapshot


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
class RunAs:
    """The ordinary user on whose behalf root acts: whoever called sudo."""

    uid: int
    gid: int
    name: str
    group: str
    home: Path

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


@dataclass(frozen=True)
class Existing:
    """An interface that a host has. `master`: the bridge or bond that it is a port of."""

    name: str
    altnames: frozenset[str] = frozenset()
    master: str | None = None
    wireless: bool = False


@dataclass(frozen=True)
class Reach:
    """A range of addresses that a host reaches by itself, and by which interface."""

    network: IPv4Network | IPv6Network
    interface: str


@dataclass(frozen=True)
class LanFacts:
    """What is known of the NIC that is to be a port of a bridge, and of the network around it."""

    snapshot: Snapshot
    nic: NicFacts


@dataclass(frozen=True)
class HostFacts:
    """A real host's own network, as far as a lab of host placement depends on it."""

    interfaces: tuple[Existing, ...] = ()
    reaches: tuple[Reach, ...] = ()
    tables: frozenset[tuple[str, str]] = frozenset()  #: of nftables: family and name
    switches: Mapping[str, str] = field(default_factory=dict)  #: sysctls as they were before any lab
    rules: tuple[Mapping[str, Any], ...] | None = None  #: nftables' own JSON; None: only root may see them
    legacy: str = ""  #: what iptables-legacy-save says, where that is in use
    hosts: str = ""  #: its own /etc/hosts
    user: RunAs | None = None  #: what QEMU runs as; None: root
    lan: LanFacts | None = None  #: for a bridge with the NIC


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
    host: HostFacts | None = None  #: with `place: host`
    etc: frozenset[str] = frozenset({"hosts", "resolv.conf"})  #: files of /etc that ours can be put over
    templates: Path | None = None  #: the folder of templates; None: every machine boots
    files: Mapping[Path, str] = field(default_factory=dict)  #: what tells each from an earlier one there
    disks: frozenset[Path] = frozenset()  #: disks of the lab's own that are there already
    processor: str = ""  #: what tells this host's processor from others

    @property
    def user(self) -> str:
        """Whom QEMU and its files belong to, where that is not who runs vmlan (`Command.user`)."""
        return str(self.host.user) if self.host is not None and self.host.user is not None else ""
