"""Which addresses a check's target means, and on which card of its source they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from vmlan.errors import RequestError
from vmlan.model import HOST_SIDE, ArpCheck, Lab, PingCheck, TcpCheck
from vmlan.observe.checks.base import NothingToTry, Scene
from vmlan.plan import topology as topo
from vmlan.plan.topology import Link, Topology


def addresses(check: PingCheck | TcpCheck | ArpCheck, scene: Scene) -> list[str]:
    """The addresses to try, without those that are the source's own. Raises `NothingToTry`, `NotRunning`."""
    for name in (check.source, check.target):
        scene.must_run(name)
    every = targets(check, scene)
    own = _own(check.source, scene)
    foreign = [address for address in every if address not in own]
    if every and not foreign:
        raise NothingToTry(
            f"{check.target}'s address there, {every[0]}, is {check.source}'s own too: it means itself",
            never=True,
        )
    if not foreign:
        raise NothingToTry(f"{check.target} has no address{_where(check, scene.links)}")
    return foreign


def targets(check: PingCheck | TcpCheck | ArpCheck, scene: Scene) -> list[str]:
    """The addresses that a check's target means, the ones on a network shared with the source first."""
    try:
        return [str(ip_address(check.target))]
    except ValueError:
        pass
    if check.target == HOST_SIDE:
        return host_addresses(check.source, scene.lab, scene.links, check.via)
    chosen = meant(check.target, check.source, check.via, scene.links)
    known = [str(link.address.ip) for link in chosen if link.address]
    return known or observed(check.target, scene, {link.mac for link in chosen})


def meant(target: str, source: str, via: str | None, links: Topology) -> list[Link]:
    """The links of a target machine that a source means: those on shared networks, if there are any."""
    mine = links.of(target)
    shared = {via} if via else {link.network.name for link in links.of(source)}
    on_shared = [link for link in mine if link.network.name in shared]
    return on_shared if via else on_shared or list(mine)


def host_addresses(source: str, lab: Lab, links: Topology, via: str | None = None) -> list[str]:
    """The host side's addresses on the networks of a machine (or on all)."""
    networks = [link.network for link in links.of(source)] or list(lab.networks)
    return [
        str(host.ip)
        for network in networks
        if via in (None, network.name) and (host := topo.host_address(network))
    ]


def observed(machine: str, scene: Scene, macs: set[str]) -> list[str]:
    """What the guest itself says of its addresses, where the lab does not decide them.

    Those of IPv4, as the lab's own are; of IPv6 only where it has no others.
    """
    every = _says(machine, scene, macs)
    return [address for address in every if ":" not in address] or every


def _says(machine: str, scene: Scene, macs: set[str]) -> list[str]:
    own = [nic for nic in scene.hands.nics(machine) if nic.mac in macs]
    return [str(each.ip) for nic in own for each in nic.addresses] + [
        str(each.ip) for nic in own for each in nic.addresses6
    ]


def _own(source: str, scene: Scene) -> set[str]:
    if source == HOST_SIDE:
        return set()
    return set(_says(source, scene, {link.mac for link in scene.links.of(source)}))


def _where(check: PingCheck | TcpCheck | ArpCheck, links: Topology) -> str:
    theirs = {link.network.name for link in links.of(check.target)}
    shared = {check.via} if check.via else theirs & {link.network.name for link in links.of(check.source)}
    return f" on {', '.join(sorted(shared))}" if shared else ""


@dataclass(frozen=True)
class Card:
    """A guest's card: its name in the guest, where it leads, and its (IPv4) address there."""

    name: str
    link: Link
    address: str | None


def card(machine: str, network: str, scene: Scene) -> Card:
    """The card that a guest has on a network. Raises `RequestError` where the guest shows none."""
    link = next((link for link in scene.links.of(machine) if link.network.name == network), None)
    if link is None:
        raise RequestError(f"machine {machine} is not on {network}")
    nic = next((nic for nic in scene.hands.nics(machine) if nic.mac == link.mac), None)
    if nic is None:
        raise RequestError(f"machine {machine} shows no card for its NIC {link.index} on {network}")
    return Card(nic.name, link, str(nic.addresses[0]) if nic.addresses else None)
