"""The links of a lab that can be captured, and what users call them. Pure.

A link is one interface of the host side (or of the simulated outside), or, where a network has none there,
the backend of one NIC inside QEMU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vmlan import addressing
from vmlan.errors import RequestError, UnknownName
from vmlan.model import HOST_SIDE, BridgeNetwork, Lab, MacvtapNetwork, NoNetwork, TapNetwork, Uplink
from vmlan.plan import topology as topo
from vmlan.plan.steps import Space
from vmlan.plan.topology import Link, Topology
from vmlan.spelling import nearest

#: What the ways out are called.
UPLINK, OUTSIDE = "uplink", "outside"


@dataclass(frozen=True)
class Tapped:
    """A link that can be captured."""

    name: str  #: as it is shown
    about: str  #: what it is, in words
    space: Space | None  #: where its interface is; None: inside QEMU
    interface: str  #: the interface; inside QEMU, the backend's id
    near: str  #: whose the interface is: `host`, or the outside's; what goes out there comes from it
    far: str  #: who is behind it: a machine, or the outside; empty: a network with several
    aliases: frozenset[str]  #: everything by which users may mean it
    machine: str | None = None  #: inside QEMU: whose NIC it is
    mac: str | None = None  #: inside QEMU: the NIC's own


def all_links(lab: Lab, links: Topology) -> tuple[Tapped, ...]:
    """Every link of a lab: its networks in the file's order, then the ways out."""
    found: list[Tapped] = []
    for network in lab.networks:
        nics = links.on(network.name)
        interface = addressing.interface_name(network.name)
        if isinstance(network, TapNetwork):
            found.append(_tap(network.name, interface, nics))
        elif isinstance(network, BridgeNetwork):
            about = f"{network.name}, a bridge: what its host side sends and hears"
            names = frozenset({network.name, interface})
            found.append(Tapped(network.name, about, Space.HOST, interface, HOST_SIDE, "", names))
            found += [_port(link) for link in nics]
        elif isinstance(network, MacvtapNetwork):
            found += [_macvtap(link) for link in nics]
        elif not isinstance(network, NoNetwork):  # that one leads nowhere: no frame ever passes
            found += [_inside(link) for link in nics]
    return (*found, *_ways_out(lab))


def _tap(network: str, interface: str, nics: Sequence[Link]) -> Tapped:
    far = nics[0].machine if nics else ""
    about = f"{network}, a tap" + (f": the cable to {far}'s NIC {nics[0].index}" if nics else "")
    aliases = frozenset({network, interface, *(name for link in nics for name in _nic_names(link))})
    return Tapped(network, about, Space.HOST, interface, HOST_SIDE, far, aliases)


def _nic_names(link: Link) -> tuple[str, str]:
    return link.machine, f"{link.machine}:{link.index}"


def _port(link: Link) -> Tapped:
    assert link.interface is not None
    name = f"{link.machine}:{link.index}"
    about = f"{link.machine}'s NIC {link.index} on {link.network.name}, a port of the bridge"
    aliases = frozenset({*_nic_names(link), link.interface})
    return Tapped(name, about, Space.HOST, link.interface, HOST_SIDE, link.machine, aliases)


def _macvtap(link: Link) -> Tapped:
    port = _port(link)
    assert isinstance(link.network, MacvtapNetwork)
    about = f"{link.machine}'s NIC {link.index} on {link.network.name}, a macvtap of {link.network.parent}"
    return replace(port, about=about, near=OUTSIDE)


def _inside(link: Link) -> Tapped:
    name = f"{link.machine}:{link.index}"
    about = f"{link.machine}'s NIC {link.index} on {link.network.name} ({link.network.kind}), inside QEMU"
    aliases = frozenset({*_nic_names(link), link.network.name})
    near = link.network.name
    backend = f"net{link.index}"
    return Tapped(name, about, None, backend, near, link.machine, aliases, link.machine, link.mac)


def _ways_out(lab: Lab) -> Iterator[Tapped]:
    nic = topo.uplink_nic(lab)
    if nic is None:
        return
    about = "the host side's way out"
    yield Tapped(UPLINK, about, Space.HOST, nic, HOST_SIDE, OUTSIDE, frozenset({UPLINK, nic}))
    if lab.host.uplink is Uplink.SIMULATED:
        names = frozenset({OUTSIDE, topo.OUTSIDE_NIC})
        about = "the outside's end of the way out"
        yield Tapped(OUTSIDE, about, Space.OUTSIDE, topo.OUTSIDE_NIC, OUTSIDE, HOST_SIDE, names)


def choose(names: Sequence[str], lab: Lab, links: Sequence[Tapped]) -> tuple[Tapped, ...]:
    """The links that are meant by these names, each once; without names, all.

    Raises `UnknownName` with the nearest name and all of them, `RequestError` where there is nothing.
    """
    if not links:
        raise RequestError(
            f"lab {lab.name} has no links", hint="its machines have no NICs that lead anywhere"
        )
    chosen: dict[Tapped, None] = {}
    for name in names:
        meant = [link for link in links if name in link.aliases]
        if not meant:
            raise _unknown(name, lab, links)
        chosen.update(dict.fromkeys(meant))
    return tuple(chosen) if names else tuple(links)


def _unknown(name: str, lab: Lab, links: Sequence[Tapped]) -> UnknownName:
    known = [link.name for link in links]
    machines = [each.name for each in lab.machines if any(each.name in link.aliases for link in links)]
    close = nearest(name, {*(alias for link in links for alias in link.aliases), *known})
    guess = f"did you mean {close}? " if close else ""
    if lab.machine(name) is not None:
        guess = "its NICs lead nowhere. "
    if isinstance(lab.network(name), NoNetwork):
        guess = "it leads nowhere. "
    every = ", ".join(dict.fromkeys([*known, *machines]))
    return UnknownName(
        f"lab {lab.name} has no link '{name}'",
        hint=f"{guess}It has: {every}" if guess else f"it has: {every}",
    )


def names(lab: Lab, links: Topology) -> tuple[dict[str, str], dict[str, str]]:
    """What is known before a frame is seen: MAC → name, and IP address → name."""
    macs = {link.mac: link.machine for link in links.links}
    addresses: dict[str, str] = {}
    for link in links.links:
        for address in (link.address, getattr(link, "address6", None)):
            if address is not None:
                addresses[str(address.ip)] = link.machine
    for network in lab.networks:
        if isinstance(network, BridgeNetwork):
            macs[addressing.mac_address(lab.name, network.name, -1)] = HOST_SIDE
        for own in (getattr(network, "host", None), getattr(network, "host6", None)):
            if own is not None:
                addresses[str(own.ip)] = HOST_SIDE
    if lab.host.uplink is Uplink.SIMULATED:
        addresses[str(topo.OUTSIDE_HOST.ip)] = HOST_SIDE
        for outside in (topo.OUTSIDE_ROUTER, topo.INTERNET_HOST):
            addresses[str(outside.ip)] = OUTSIDE
    return macs, addresses
