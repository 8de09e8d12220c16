"""What a lab is: machines, and the networks between them.

Frozen values with no behaviour beyond their own invariants. Everything here is already
parsed and checked (`labfile` does that); a size is bytes, an address is an `ipaddress` value,
a path is absolute. Network kinds are a union, so that what makes no sense cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Literal, TypeAlias


class Place(Enum):
    """Where a lab's host side is."""

    PRIVATE = "private"  #: its own network namespace; no root
    HOST = "host"  #: the real host's; root


class Uplink(Enum):
    """What the host side's way out leads to."""

    NONE = "none"
    INTERNET = "internet"  #: the real network, through user-mode sockets
    SIMULATED = "simulated"  #: a network namespace that plays the outside (documentation addresses)


@dataclass(frozen=True)
class HostSide:
    """The lab's own side of its networks: what guests see as "the host"."""

    place: Place = Place.PRIVATE
    forwarding: bool = False
    uplink: Uplink = Uplink.NONE


LOOPBACK = IPv4Address("127.0.0.1")


@dataclass(frozen=True)
class Forward:
    """A port published on the real host, led to a guest's port on a `user` network."""

    host_port: int
    guest_port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    bind: IPv4Address = LOOPBACK


@dataclass(frozen=True)
class TapNetwork:
    """One tap interface: the host side and one guest, as with a crossover cable."""

    name: str
    host: IPv4Interface | None = None

    kind = "tap"


@dataclass(frozen=True)
class BridgeNetwork:
    """A Linux bridge: a switch with a port for each guest and, if addressed, for the host side."""

    name: str
    host: IPv4Interface | None = None
    dhcp: bool = False
    nat: bool = False

    kind = "bridge"


@dataclass(frozen=True)
class UserNetwork:
    """QEMU's own user-mode stack, a separate one for each machine (10.0.2.0/24)."""

    name: str
    forward: tuple[Forward, ...] = ()

    kind = "user"


@dataclass(frozen=True)
class SocketNetwork:
    """Machine to machine through QEMU's sockets; nothing of it on the host side."""

    name: str

    kind = "socket"


@dataclass(frozen=True)
class NoNetwork:
    """A network that leads nowhere: its NICs have no peer."""

    name: str

    kind = "none"


Network: TypeAlias = TapNetwork | BridgeNetwork | UserNetwork | SocketNetwork | NoNetwork


@dataclass(frozen=True)
class Nic:
    """One network card of a machine. `mac` None: derived from the lab's and the machine's name."""

    network: str
    model: str = "virtio"
    mac: str | None = None
    address: IPv4Interface | None = None
    gateway: IPv4Address | None = None


@dataclass(frozen=True)
class NewDisk:
    """An empty qcow2 disk of `size` bytes, made when the lab first comes up and kept after."""

    size: int


@dataclass(frozen=True)
class OverlayDisk:
    """A copy-on-write disk over `base`, which is never written."""

    base: Path
    size: int | None = None


@dataclass(frozen=True)
class FileDisk:
    """A disk image of the user's, used as it is and written to."""

    path: Path


Disk: TypeAlias = NewDisk | OverlayDisk | FileDisk


class Accel(Enum):
    """How a guest's processor is run."""

    AUTO = "auto"  #: KVM where it works (it is tried), else emulation
    KVM = "kvm"
    TCG = "tcg"


MIB = 1024 * 1024


@dataclass(frozen=True)
class Machine:
    """One machine. `image` "tiny" is the embedded guest; otherwise a path to what it boots from."""

    name: str
    image: Literal["tiny"] | Path | None = "tiny"
    memory: int = 256 * MIB
    cpus: int = 1
    cpu: str = "max"
    accel: Accel = Accel.AUTO
    machine: str = "pc"
    disks: tuple[Disk, ...] = ()
    floppy: Path | None = None
    cdrom: Path | None = None
    usb: tuple[Path, ...] = ()
    boot: tuple[str, ...] = ()
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    nics: tuple[Nic, ...] = ()
    qemu_args: tuple[str, ...] = ()


#: The name by which checks and commands mean the lab's host side; no machine may have it.
HOST_SIDE = "host"


@dataclass(frozen=True)
class PingCheck:
    """`source` pings `target` (a machine's name or an address); the result must be as expected.

    `via` names the network whose address of a target machine is meant, where it has several.
    """

    target: str
    source: str
    reachable: bool = True
    via: str | None = None
    hint: str = ""


Check: TypeAlias = PingCheck


@dataclass(frozen=True)
class Lab:
    """A whole lab. `file` is where it was described; `folder` is what its paths were relative to."""

    name: str
    folder: Path
    machines: tuple[Machine, ...] = ()
    networks: tuple[Network, ...] = ()
    host: HostSide = field(default_factory=HostSide)
    checks: tuple[Check, ...] = ()

    def machine(self, name: str) -> Machine | None:
        """The machine of that name, or None."""
        return next((machine for machine in self.machines if machine.name == name), None)

    def network(self, name: str) -> Network | None:
        """The network of that name, or None."""
        return next((network for network in self.networks if network.name == name), None)

    def nics_on(self, network: str) -> tuple[tuple[Machine, int, Nic], ...]:
        """Every NIC on a network, in file order: its machine, its index there, and itself."""
        return tuple(
            (machine, index, nic)
            for machine in self.machines
            for index, nic in enumerate(machine.nics)
            if nic.network == network
        )
