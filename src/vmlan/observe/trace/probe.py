"""The packet that is sent to be followed, and how it is told from all others. Pure.

A ping has a size that nobody else's has; a connection is known by its sequence number. The first such packet
that the source itself sends is the one; after that, only it (its NAT included) and its answer count.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from vmlan.observe import probes
from vmlan.observe.checks.tools import cannot
from vmlan.observe.packets import Kind, Packet

#: How long an answer is waited for (seconds).
WAIT = 1

#: What an ICMP echo has before its payload (bytes; RFC 792).
_ECHO_HEAD = 8


@dataclass(frozen=True)
class Probe:
    """What is sent to `address`: a ping with `size` bytes of payload, or a TCP connection to `port`."""

    address: str
    port: int | None = None
    size: int = 0

    @property
    def asks(self) -> frozenset[Kind]:
        """What kinds of packet ask."""
        return frozenset({Kind.SYN}) if self.port is not None else frozenset({Kind.ECHO})

    @property
    def answers(self) -> frozenset[Kind]:
        """What kinds of packet answer."""
        tcp = frozenset({Kind.SYN_ACK, Kind.RST})
        return tcp if self.port is not None else frozenset({Kind.ECHO_REPLY})

    @property
    def filter(self) -> str:
        """What must be captured to follow it, as tcpdump has it."""
        tcp = f" or tcp port {self.port}" if self.port is not None else ""
        return f"arp or icmp or icmp6{tcp} or udp port 67"

    def begins(self, packet: Packet) -> bool:
        """Whether this is such a packet as is sent."""
        if packet.kind not in self.asks or packet.target != self.address:
            return False
        if self.port is not None:
            return packet.ports is not None and packet.ports[1] == self.port
        return not self.size or packet.size == self.size + _ECHO_HEAD

    def asked_by(self, first: Packet) -> Callable[[Packet], bool]:
        """Whether a packet is the one that was seen first, wherever it is; NAT may give it another source."""

        def same(packet: Packet) -> bool:
            if not self.begins(packet) or packet.size != first.size:
                return False
            if self.port is not None:
                return packet.mark[0] == first.mark[0]
            # NAT gives it another source, and another id only where two would be alike (RFC 5508, 3.1).
            ours = packet.source == first.source or packet.mark[0] == first.mark[0]
            return ours and packet.mark[1] == first.mark[1]

        return same

    def answered_by(self, first: Packet) -> Callable[[Packet], bool]:
        """Whether a packet is the answer to the one that was seen first."""

        def same(packet: Packet) -> bool:
            if packet.kind not in self.answers or packet.source != self.address:
                return False
            if self.port is not None:
                acknowledges = packet.mark[1] == (first.mark[0] + 1) % 2**32
                return acknowledges and packet.ports is not None and packet.ports[0] == self.port
            return packet.mark[1] == first.mark[1] and packet.size == first.size

        return same

    def refused_by(self, first: Packet) -> Callable[[Packet], bool]:
        """Whether a packet says of the one that was seen first that it will not arrive (ICMP)."""

        def same(packet: Packet) -> bool:
            about = packet.about
            if packet.kind is not Kind.ERROR or about is None or about.target != self.address:
                return False
            if self.port is not None:
                return about.ports is not None and about.ports[1] == self.port
            return about.kind in self.asks and about.mark[1] == first.mark[1] and about.size == first.size

        return same


def ping(address: str) -> Probe:
    """A ping of a size that is this trace's own: `ping` itself would send 56 bytes."""
    return Probe(address, size=random.randrange(200, 1200))


def ping_command(probe: Probe, device: str | None = None) -> tuple[str, ...]:
    """The command that sends it: the same for busybox and iputils (ping(8))."""
    six = ("-6",) if ip_address(probe.address).version == 6 else ()
    bound = ("-I", device) if device else ()
    return ("ping", *six, "-c", "1", "-W", str(WAIT), "-s", str(probe.size), *bound, probe.address)


def connect_from_host(probe: Probe) -> tuple[str, ...]:
    """The command that opens the connection on the host side."""
    assert probe.port is not None
    return probes.probe("tcp", probe.address, str(probe.port), "briefly")


def connect_command(probe: Probe, tools: Mapping[str, str], machine: str) -> tuple[str, ...]:
    """The command that opens and closes one connection in a guest, with what it has. Raises `GuestError`."""
    address, port = probe.address, str(probe.port)
    if tools.get("nc") == "busybox":
        # It has no -z. With -e it becomes that program once it is connected, and so ends well.
        return ("nc", "-w", str(WAIT), address, port, "-e", "true")
    if "nc" in tools:
        return ("nc", "-z", "-v", "-w", str(WAIT), address, port)
    if "bash" in tools:
        return ("timeout", str(WAIT), "bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', address, port)
    raise cannot(machine, ("nc", "bash"))
