"""Who stands where: the stations of a lab, and their ports on its segments. Pure.

A station is a machine, the host side, the simulated outside, or QEMU's own stack behind a NIC. A segment is
what joins ports at the Ethernet layer: a network, or the cable to the outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from vmlan.addressing import interface_name
from vmlan.model import (
    HOST_SIDE,
    BridgeNetwork,
    HubNetwork,
    Lab,
    MacvtapNetwork,
    NoNetwork,
    TapNetwork,
    Uplink,
    UserNetwork,
)
from vmlan.observe.links import OUTSIDE, UPLINK, Tapped
from vmlan.plan import topology as topo
from vmlan.plan.topology import Link, Topology

#: The stack that QEMU puts behind a NIC on a `user` network, and its own addresses (QEMU, net/slirp.c).
STACK = "QEMU's stack"
_STACK_NETWORK = ip_network("10.0.2.0/24")
_STACK_ADDRESSES = ("10.0.2.2", "10.0.2.3", "10.0.2.4")

#: What the real network is called, where the way out leads there.
INTERNET = "the internet"


@dataclass(frozen=True)
class Port:
    """Where a station meets a segment. `link`: the number of what can be captured there."""

    station: str
    segment: str
    link: int
    device: str | None = None  #: the interface's name on the host side, or outside; None: in a guest
    nic: Link | None = None  #: in a guest

    @property
    def name(self) -> str:
        """As users would say it."""
        return f"{self.station}:{self.nic.index}" if self.nic is not None else self.device or self.station


@dataclass(frozen=True)
class Map:
    """A lab's ports, and the links that can be captured."""

    ports: tuple[Port, ...]
    links: tuple[Tapped, ...]
    bridged: str | None  #: the segment that the uplink is a port of, if any

    def number(self, name: str) -> int:
        """A link's number, by its name."""
        return next(number for number, link in enumerate(self.links) if link.name == name)

    def of(self, station: str) -> tuple[Port, ...]:
        """A station's ports."""
        return tuple(port for port in self.ports if port.station == station)

    def between(self, one: Port, other: Port | None) -> tuple[int, ...]:
        """The links that a frame passes from one port of a segment to another, in order, each once."""
        passed = [one.link]
        if other is not None:
            crosses = one.segment == self.bridged and OUTSIDE in (one.station, other.station)
            passed += [self.number(UPLINK)] if crosses else []
            passed.append(other.link)
        return tuple(dict.fromkeys(passed))


def survey(lab: Lab, topology: Topology, links: Sequence[Tapped]) -> Map:
    """The ports of a lab whose links are these."""
    numbers = {link.name: number for number, link in enumerate(links)}
    bridged = next((net.name for net in lab.networks if isinstance(net, BridgeNetwork) and net.uplink), None)
    ports = [port for link in topology.links for port in _nic(link, numbers)]
    for net in lab.networks:
        if isinstance(net, TapNetwork | BridgeNetwork):
            ports.append(Port(HOST_SIDE, net.name, numbers[net.name], interface_name(net.name)))
        elif isinstance(net, MacvtapNetwork) and topology.on(net.name):
            # What a guest sends there is out on the NIC's wire at once.
            shown = UPLINK if topo.uplink_nic(lab) == net.parent else _own_link(topology.on(net.name)[0])
            ports.append(Port(INTERNET, net.name, numbers[shown]))
    if lab.host.uplink is not Uplink.NONE:
        segment = bridged or UPLINK
        if bridged is None:
            ports.append(Port(HOST_SIDE, segment, numbers[UPLINK], topo.uplink_nic(lab)))
        if lab.host.uplink is Uplink.SIMULATED:
            ports.append(Port(OUTSIDE, segment, numbers[OUTSIDE], topo.OUTSIDE_NIC))
        else:
            ports.append(Port(INTERNET, segment, numbers[UPLINK]))
    return Map(tuple(ports), tuple(links), bridged)


def _own_link(link: Link) -> str:
    """What a NIC's own link is called, where it is not its network's."""
    return f"{link.machine}:{link.index}"


def _nic(link: Link, numbers: dict[str, int]) -> list[Port]:
    if isinstance(link.network, NoNetwork):
        return []
    if isinstance(link.network, TapNetwork):
        return [Port(link.machine, link.network.name, numbers[link.network.name], nic=link)]
    number = numbers[_own_link(link)]
    if isinstance(link.network, UserNetwork | HubNetwork):
        segment = f"{link.network.name} of {link.machine}"
        return [Port(link.machine, segment, number, nic=link), Port(STACK, segment, number)]
    return [Port(link.machine, link.network.name, number, nic=link)]


def outside_has(address: str) -> bool:
    """Whether the simulated outside itself has an address."""
    return address in (str(topo.OUTSIDE_ROUTER.ip), str(topo.INTERNET_HOST.ip))


def outside_reaches(address: str) -> bool:
    """Whether the simulated outside knows a way to an address: it is on its own wire."""
    return ip_address(address) in topo.OUTSIDE_ROUTER.network


def stack_has(address: str) -> bool:
    """Whether QEMU's stack takes packets for an address: it is a router, so all but its guests'."""
    return address in _STACK_ADDRESSES or ip_address(address) not in _STACK_NETWORK
