"""Which frames are a check's own, on whatever link they turn up. Pure.

What a check sends is made so that nobody else's can be taken for it:

- a ping has a size and a filling drawn by lot;
- a connection comes from a port drawn by lot (of a guest whose tools cannot choose one: from its MAC), and is
  then known by TCP's sequence number, which NAT leaves alone;
- a DHCP request has an option for private use (RFC 3942);
- an ARP request of our own program has bytes behind it, where Ethernet has padding; a guest's is known by
  the guest's MAC.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from vmlan.observe.packets import Kind, Packet

#: What ICMP has before a ping's data (bytes; RFC 792), and how much of the end of the data is looked at.
_ECHO_HEAD, _LOOKED_AT = 8, 64
#: A ping's data: enough for what `ping` itself puts at its beginning, and for the smallest MTU (bytes).
_SIZES = range(128, 1024)
#: Linux takes the ports of connections above these (ip(7), ip_local_port_range).
_PORTS = range(20000, 32000)
#: More than a SYN or an ARP request has, Ethernet's head, VLAN tags and all IP options included (bytes).
_SMALL = 200
#: The first of DHCP's options for private use.
DHCP_OPTION = 224


class Sight(NamedTuple):
    """A packet on a link, at a time (ns since 1970)."""

    time: int
    link: int
    packet: Packet


@dataclass(frozen=True)
class Sign:
    """What everything that one check sends is known by."""

    size: int = field(default_factory=lambda: random.choice(_SIZES))
    filling: int = field(default_factory=lambda: random.randrange(0x80, 0x100))
    token: bytes = field(default_factory=lambda: random.randbytes(8))

    @property
    def ping_options(self) -> tuple[str, ...]:
        """What makes `ping` send it: the same for busybox and iputils (ping(8))."""
        return ("-s", str(self.size), "-p", f"{self.filling:02x}")


def any_port() -> int:
    """A port for a connection to come from."""
    return random.choice(_PORTS)


class Sought(Protocol):
    """Something that was sent. `may_be` is quick, for links on which much passes."""

    def may_be(self, data: bytes) -> bool:
        """Whether a frame is worth taking apart."""

    def fits(self, data: bytes, packet: Packet) -> bool:
        """Whether a frame may be it."""


@dataclass(frozen=True)
class Echo:
    """A ping to an address, whoever sends it on: NAT gives it another source."""

    address: str
    sign: Sign

    def may_be(self, data: bytes) -> bool:
        """Whether a frame ends with the filling."""
        return data.endswith(bytes([self.sign.filling]) * _LOOKED_AT)

    def fits(self, data: bytes, packet: Packet) -> bool:
        """Whether a frame is such a ping."""
        return (
            packet.kind is Kind.ECHO
            and packet.target == self.address
            and packet.size == self.sign.size + _ECHO_HEAD
            and self.may_be(data)
        )


@dataclass(frozen=True)
class Syn:
    """A connection to a port of an address, from one of `macs` (None: the host side itself).

    `own_port` None: whoever sends it lets no port be chosen.
    """

    address: str
    port: int
    own_port: int | None
    macs: frozenset[str] | None

    def may_be(self, data: bytes) -> bool:
        """Whether a frame is small enough: a SYN carries little but its head and options."""
        return len(data) <= _SMALL

    def fits(self, data: bytes, packet: Packet) -> bool:
        """Whether a frame begins a connection there; whose it is, `own` says."""
        return (
            packet.kind is Kind.SYN
            and packet.target == self.address
            and packet.ports is not None
            and packet.ports[1] == self.port
        )

    def begins(self, packet: Packet) -> bool:
        """Whether it is ours without a doubt, as its source itself has sent it."""
        if packet.ports is None or packet.ports[1] != self.port or packet.target != self.address:
            return False
        mine = self.own_port in (None, packet.ports[0])
        return mine and (self.macs is None or packet.source_mac in self.macs)


@dataclass(frozen=True)
class WhoHas:
    """An ARP request for one of some addresses, by the bytes behind it, or by who sends it."""

    addresses: frozenset[str]
    token: bytes = b""
    macs: frozenset[str] = frozenset()

    def may_be(self, data: bytes) -> bool:
        """Whether a frame is small enough, and has what our own program puts behind it."""
        return len(data) <= _SMALL and self.token in data

    def fits(self, data: bytes, packet: Packet) -> bool:
        """Whether a frame is such a request."""
        ours = self.may_be(data) if self.token else packet.source_mac in self.macs
        return packet.kind is Kind.WHO_HAS and packet.target in self.addresses and ours


@dataclass(frozen=True)
class DhcpAsk:
    """A DHCPDISCOVER or DHCPREQUEST with our option in it."""

    token: bytes

    def may_be(self, data: bytes) -> bool:
        """Whether a frame has the option."""
        return bytes([DHCP_OPTION, len(self.token)]) + self.token in data

    def fits(self, data: bytes, packet: Packet) -> bool:
        """Whether a frame is such a request."""
        return packet.kind is Kind.DHCP_ASK and self.may_be(data)


def own(sights: Iterable[Sight], sought: Collection[Sought]) -> list[Sight]:
    """Those that are the check's own, in order. Connections are known by one that its source has sent."""
    every = sorted(sights, key=lambda each: each.time)
    begun = [each for each in sought if isinstance(each, Syn)]
    numbers = {
        sight.packet.mark[0]
        for sight in every
        if sight.packet.kind is Kind.SYN and any(each.begins(sight.packet) for each in begun)
    }
    return [sight for sight in every if sight.packet.kind is not Kind.SYN or sight.packet.mark[0] in numbers]


def words(packet: Packet) -> str:
    """What a packet is, for people."""
    if packet.kind is Kind.WHO_HAS:
        asker = packet.source or packet.source_mac
        return f"ARP: who has {packet.target}? tell {asker}"
    if packet.kind is Kind.DHCP_ASK:
        return f"DHCP request of {packet.owner}"
    if packet.kind is Kind.SYN and packet.ports is not None:
        target = f"[{packet.target}]" if ":" in packet.target else packet.target
        return f"{packet.kind.value} {packet.source} → {target}:{packet.ports[1]}"
    return f"{packet.kind.value} {packet.source} → {packet.target}"
