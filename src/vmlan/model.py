"""What a lab is: machines, and the networks between them.

Frozen values with no behaviour beyond their own invariants. Everything here is already
parsed and checked (`labfile` does that); a size is bytes, an address is an `ipaddress` value,
a path is absolute. Network kinds are a union, so that what makes no sense cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Literal, TypeAlias

from vmlan.reasons import Reason


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
class HostNic:
    """A NIC of the real host as the way out; with `place: host` only."""

    name: str

    @property
    def value(self) -> str:
        """What the lab file says, as with `Uplink`."""
        return self.name


@dataclass(frozen=True)
class HostSide:
    """The lab's own side of its networks: what guests see as "the host"."""

    place: Place = Place.PRIVATE
    forwarding: bool = False
    uplink: Uplink | HostNic = Uplink.NONE


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
    host6: IPv6Interface | None = None

    kind = "tap"


@dataclass(frozen=True)
class BridgeNetwork:
    """A Linux bridge: a switch with a port for each guest and, if addressed, for the host side.

    `uplink`: the host side's NIC is a port of it too, so that its guests are stations of the outside.
    `nic`: with `uplink` and `place: host`, the real NIC that becomes a port.
    `vlan`: the VLAN of the host side's own port, where that is not the ordinary one (`ORDINARY_VLAN`).
    """

    name: str
    host: IPv4Interface | None = None
    dhcp: bool = False
    nat: bool = False
    host6: IPv6Interface | None = None
    uplink: bool = False
    vlan: int | None = None
    nic: str | None = None

    kind = "bridge"


@dataclass(frozen=True)
class MacvtapNetwork:
    """Guests on the network of a real NIC, each with a MAC of its own there; the NIC stays as it is.

    The kernel hands a frame for a guest's MAC to the guest. Guests reach each other and the outside; the host
    and its own guests do not reach each other (ip-link(8), macvtap, mode bridge). With `place: host` only.
    """

    name: str
    parent: str = ""  #: the NIC; empty only until the whole file is read

    kind = "macvtap"


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
class HubNetwork:
    """QEMU's emulated hub with its user-mode stack on it: what QEMU makes when nobody says anything.

    Like a `user` network it is a separate one for each machine; all of a machine's NICs on it share
    its hub.
    """

    name: str
    forward: tuple[Forward, ...] = ()

    kind = "hub"


@dataclass(frozen=True)
class NoNetwork:
    """A network that leads nowhere: its NICs have no peer."""

    name: str

    kind = "none"


Network: TypeAlias = (
    TapNetwork | BridgeNetwork | MacvtapNetwork | UserNetwork | SocketNetwork | HubNetwork | NoNetwork
)


#: The VLAN of every port of a VLAN-aware bridge that is given no other: the kernel's own default.
ORDINARY_VLAN = 1


@dataclass(frozen=True)
class Nic:
    """One network card of a machine. `mac` None: derived from the lab's and the machine's name.

    On a bridge, `vlan` is the VLAN that its untagged frames belong to, and `trunk` are those whose
    frames it sends and gets with their tags. A card with a trunk and no `vlan` has no untagged frames.
    """

    network: str
    model: str = "virtio"
    mac: str | None = None
    address: IPv4Interface | None = None
    gateway: IPv4Address | None = None
    address6: IPv6Interface | None = None
    gateway6: IPv6Address | None = None
    vlan: int | None = None
    trunk: tuple[int, ...] = ()


@dataclass(frozen=True)
class Named:
    """An image that vmlan knows by name (`vmlan.catalogue`); what file it is, is found out later."""

    name: str

    def __str__(self) -> str:
        return self.name


#: What a machine can be given: a file of the user's, or an image of the catalogue.
Medium: TypeAlias = Path | Named


#: How a disk is attached: the guest sees a controller of this kind. Old systems know only `ide`.
Bus: TypeAlias = Literal["virtio", "ide", "sata", "scsi", "nvme"]


@dataclass(frozen=True)
class NewDisk:
    """An empty qcow2 disk of `size` bytes, made when the lab first comes up and kept after."""

    size: int
    bus: Bus = "virtio"


@dataclass(frozen=True)
class OverlayDisk:
    """A copy-on-write disk over `base`, which is never written. `size` None: the base's."""

    base: Medium
    size: int | None = None
    bus: Bus = "virtio"


@dataclass(frozen=True)
class FileDisk:
    """A disk image of the user's, used as it is and written to, unless `read_only`.

    `base`: the image that the user says it is over; it then may be over one in another folder.
    """

    path: Path
    bus: Bus = "virtio"
    read_only: bool = False
    base: Medium | None = None


Disk: TypeAlias = NewDisk | OverlayDisk | FileDisk


class Accel(Enum):
    """How a guest's processor is run."""

    AUTO = "auto"  #: KVM where it works (it is tried), else emulation
    KVM = "kvm"
    TCG = "tcg"


class Firmware(Enum):
    """What a machine starts with, before anything that it boots."""

    BIOS = "bios"  #: SeaBIOS
    UEFI = "uefi"  #: OVMF


MIB = 1024 * 1024


@dataclass(frozen=True)
class Machine:
    """One machine. `image` "tiny" is the embedded guest; otherwise what it boots from."""

    name: str
    image: Literal["tiny"] | Medium | None = "tiny"
    memory: int = 256 * MIB
    cpus: int = 1
    cpu: str = "max"
    accel: Accel = Accel.AUTO
    machine: str = "pc"
    firmware: Firmware = Firmware.BIOS
    disks: tuple[Disk, ...] = ()
    floppy: tuple[Medium, ...] = ()
    cdrom: tuple[Medium, ...] = ()
    usb: tuple[Medium, ...] = ()
    boot: tuple[str, ...] = ()
    kernel: Medium | None = None
    initrd: Medium | None = None
    append: str = ""
    nics: tuple[Nic, ...] = ()
    qemu_args: tuple[str, ...] = ()


#: The name by which checks and commands mean the lab's host side; no machine may have it.
HOST_SIDE = "host"


@dataclass(frozen=True)
class PingCheck:
    """`source` pings `target` (a machine's name or an address); the result must be as expected.

    What all checks between two ends have: `via` names the network whose address of a target machine is
    meant, where it has several; `within` is how many seconds the result may take to be as expected
    (None: `vmlan.observe.checks.judge` says).

    `seen_on` and `not_seen_on` are links, by the names that `vmlan capture` knows, on which what the check
    sends must be seen, or must not. `reason` is why nobody may answer (None: whatever the reason).
    """

    target: str
    source: str
    reachable: bool = True
    via: str | None = None
    hint: str = ""
    within: float | None = None
    seen_on: tuple[str, ...] = ()
    not_seen_on: tuple[str, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True)
class TcpCheck:
    """`source` connects to the TCP port `port` of `target`."""

    target: str
    port: int
    source: str
    reachable: bool = True
    via: str | None = None
    hint: str = ""
    within: float | None = None
    seen_on: tuple[str, ...] = ()
    not_seen_on: tuple[str, ...] = ()
    reason: Reason | None = None


@dataclass(frozen=True)
class ArpCheck:
    """`source` asks for `target` by ARP: a machine's name, an address, or a MAC (who has it?).

    `answer`: whose MAC must answer (a machine's name or a MAC), or which address a MAC must have.
    """

    target: str
    source: str
    reachable: bool = True
    via: str | None = None
    hint: str = ""
    within: float | None = None
    answer: str | None = None
    seen_on: tuple[str, ...] = ()
    not_seen_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class DhcpCheck:
    """The machine `source` (or the host side) asks for an address on `network`; `answer`: the server's."""

    network: str
    source: str
    reachable: bool = True
    hint: str = ""
    within: float | None = None
    answer: str | None = None
    seen_on: tuple[str, ...] = ()
    not_seen_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class DnsCheck:
    """`source` looks `name` up; `answer`: the address it must have, or the machine whose it must be.

    `via` names the network whose DNS is asked, instead of the one that `source` would ask by itself.
    """

    name: str
    source: str
    reachable: bool = True
    via: str | None = None
    hint: str = ""
    within: float | None = None
    answer: str | None = None


@dataclass(frozen=True)
class ScreenCheck:
    """The machine `on` shows `text`, on its text screen or on its serial console."""

    text: str
    on: str
    hint: str = ""
    within: float | None = None


#: Checks whose frames can be told from all others, wherever they pass.
SeenCheck: TypeAlias = PingCheck | TcpCheck | ArpCheck | DhcpCheck

#: Checks of who reaches whom: they have a source, and an expectation.
ReachCheck: TypeAlias = PingCheck | TcpCheck | ArpCheck | DhcpCheck | DnsCheck

Check: TypeAlias = ReachCheck | ScreenCheck


@dataclass(frozen=True)
class Lab:
    """A whole lab. `file` is where it was described; `folder` is what its paths were relative to."""

    name: str
    folder: Path
    machines: tuple[Machine, ...] = ()
    networks: tuple[Network, ...] = ()
    host: HostSide = field(default_factory=HostSide)
    checks: tuple[Check, ...] = ()
    qemu: str | None = None  #: the QEMU to use: a program's name or path; None: whichever is installed

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
