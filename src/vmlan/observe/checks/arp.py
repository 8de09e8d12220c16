"""`arp:` who has that address, and which address has that MAC."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, ip_address

from vmlan.addressing import interface_name
from vmlan.model import HOST_SIDE, ArpCheck
from vmlan.observe.checks import aims
from vmlan.observe.checks.base import Aim, Attempt, Finding, NothingToTry, Scene, judge
from vmlan.observe.checks.sought import WhoHas
from vmlan.observe.checks.tools import Said, cannot
from vmlan.observe.checks.watch import Watch
from vmlan.observe.probes import probe
from vmlan.plan import topology as topo

_MAC = re.compile(r"(?:[0-9A-Fa-f]{1,2}:){5}[0-9A-Fa-f]{1,2}")

#: A guest asks for so many addresses at most when it looks for a MAC.
MOST = 32


def find(check: ArpCheck, scene: Scene, watch: Watch | None = None) -> Finding:
    """Ask until the answer is as it should be, or patience ends."""
    return judge(check, lambda: _aims(check, scene, watch))


def _aims(check: ArpCheck, scene: Scene, watch: Watch | None) -> Sequence[Aim]:
    if _MAC.fullmatch(check.target):
        scene.must_run(check.source)
        by_mac = _mac_from_host if check.source == HOST_SIDE else _mac_from_guest
        made = by_mac(check, scene, watch)
        if not made:
            raise NothingToTry(f"{check.source} is on no network where ARP could ask for {check.target}")
        return made
    every = [address for address in aims.addresses(check, scene) if ":" not in address]
    if not every:
        raise NothingToTry(f"{check.target} has no IPv4 address, and IPv6 has no ARP", never=True)
    return [partial(_ask, check, scene, address, watch) for address in every]


def _ask(check: ArpCheck, scene: Scene, address: str, watch: Watch | None) -> Attempt:
    """Who has that address?"""
    where = _interface(check, scene, address)
    command = _command(check.source, scene, where, address, _token(check, scene, [address], watch))
    said = scene.hands.run(check.source, command, 15.0)
    mac = _answer(said)
    wanted = _wanted_macs(check, scene)
    wrong = mac is not None and bool(wanted) and mac not in wanted
    words = said.line("is at", "reply from", "nobody", "Received 0")
    if mac is not None:
        owner = _owner(mac, scene)
        words = f"{address} is at {mac}{f', which is {owner}' if owner else ''}"
        words += f"; {' or '.join(sorted(wanted))} was expected" if wrong else ""
    return Attempt(address, command, mac is not None, words, wrong)


def _token(check: ArpCheck, scene: Scene, addresses: Sequence[str], watch: Watch | None) -> str:
    """What our own program puts behind a request to know it by; nothing in guests, and where nobody looks."""
    if watch is None:
        return ""
    if check.source != HOST_SIDE:
        macs = frozenset(link.mac for link in scene.links.of(check.source))
        watch.sent(WhoHas(frozenset(addresses), macs=macs))
        return ""
    watch.sent(WhoHas(frozenset(addresses), watch.sign.token))
    return watch.sign.token.hex()


def _command(source: str, scene: Scene, interface: str, address: str, token: str) -> tuple[str, ...]:
    if source == HOST_SIDE:
        return probe("arp", interface, address, *(["", token] if token else []))
    if "arping" not in scene.hands.tools(source):
        raise cannot(source, ("arping",))
    return ("arping", "-f", "-c", "1", "-w", "1", "-I", interface, address)


def _answer(said: Said) -> str | None:
    """The MAC that answered: busybox and iputils put it in brackets, our own probe after `is at`."""
    found = re.search(rf"(?:is at |\[)({_MAC.pattern})", said.words) if said.ok else None
    return ":".join(part.zfill(2) for part in found[1].lower().split(":")) if found else None


def _wanted_macs(check: ArpCheck, scene: Scene) -> set[str]:
    """Whose MAC must answer: the one of `is:`, or those of the machine that is meant."""
    who = check.answer or check.target
    if _MAC.fullmatch(who):
        return {who}
    return {link.mac for link in scene.links.of(who)}


def _owner(mac: str, scene: Scene) -> str | None:
    return next((f"{link.machine}'s NIC {link.index}" for link in scene.links.links if link.mac == mac), None)


def _interface(check: ArpCheck, scene: Scene, address: str) -> str:
    """Where to ask: on the network of `via`, or the one that has the address. ARP passes no router."""
    if check.source == HOST_SIDE:
        return _host_interface(check, scene, address)
    nics = scene.hands.nics(check.source)
    links = scene.links.of(check.source)
    shared = {link.network.name for link in scene.links.links if link.machine == check.target}
    for link in links:
        if link.network.name == check.via or (check.via is None and link.network.name in shared):
            return aims.card(check.source, link.network.name, scene).name
    for nic in nics:
        if any(ip_address(address) in each.network for each in nic.addresses):
            return nic.name
    raise NothingToTry(
        f"{check.source} has no card on a network with {address}, and ARP passes no router", never=True
    )


def _host_interface(check: ArpCheck, scene: Scene, address: str) -> str:
    if check.via:
        return interface_name(check.via)
    said = scene.hands.run(HOST_SIDE, ("ip", "-j", "route", "get", address), 5.0)
    if not said.ok:
        raise NothingToTry(f"the host side has no route to {address}: {said.line()}")
    route = json.loads(said.words)[0]
    if "gateway" in route:
        raise NothingToTry(
            f"{address} is behind the router {route['gateway']}, and ARP passes no router", never=True
        )
    return str(route["dev"])


@dataclass(frozen=True)
class _Place:
    """A network of the source's on which a MAC can be looked for."""

    network: str
    interface: str
    range: IPv4Network


def _mac_from_host(check: ArpCheck, scene: Scene, watch: Watch | None) -> list[Aim]:
    """On each of the host side's networks, ask the station with that MAC for every address."""
    homes = {link.network.name for link in scene.links.links if link.mac == check.target}
    wanted = {check.via} if check.via else homes
    places = [
        _Place(network.name, interface_name(network.name), host.network)
        for network in scene.lab.networks
        if (host := topo.host_address(network)) and (not wanted or network.name in wanted)
    ]
    return [partial(_sweep, check, scene, place, watch) for place in places]


def _sweep(check: ArpCheck, scene: Scene, place: _Place, watch: Watch | None) -> Attempt:
    every = [str(address) for address in place.range.hosts()] if watch is not None else []
    token = _token(check, scene, every, watch)
    command = probe("arp", place.interface, check.target, str(place.range), *([token] if token else []))
    said = scene.hands.run(HOST_SIDE, command, 15.0)
    found = re.findall(r"^(\S+) is at", said.words, re.MULTILINE)
    return _has(check, place.network, command, found if said.ok else [], said.line())


def _has(check: ArpCheck, place: str, command: tuple[str, ...], found: list[str], silence: str) -> Attempt:
    """An attempt at a MAC, by the addresses that it answered for."""
    wrong = bool(found) and check.answer is not None and check.answer not in found
    words = f"{check.target} has {', '.join(found)} on {place}" if found else silence
    words += f"; {check.answer} was expected" if wrong else ""
    return Attempt(check.target, command, bool(found), words, wrong)


def _mac_from_guest(check: ArpCheck, scene: Scene, watch: Watch | None) -> list[Aim]:
    """A guest asks for the addresses that the lab knows on its networks, and looks who answers."""
    mine = scene.links.of(check.source)
    wanted = {check.via} if check.via else {link.network.name for link in mine}
    return [
        partial(_seek, check, scene, link.network.name, known, watch)
        for link in mine
        if link.network.name in wanted and (known := _known(check, scene, link.network.name))
    ]


def _known(check: ArpCheck, scene: Scene, network: str) -> list[IPv4Address]:
    found = [link.address.ip for link in scene.links.on(network) if link.address]
    there = scene.lab.network(network)
    host = topo.host_address(there) if there else None
    own = {link.address.ip for link in scene.links.of(check.source) if link.address}
    return [address for address in [*found, *([host.ip] if host else [])] if address not in own][:MOST]


def _seek(
    check: ArpCheck, scene: Scene, network: str, known: list[IPv4Address], watch: Watch | None
) -> Attempt:
    name = aims.card(check.source, network, scene).name
    found: list[str] = []
    command: tuple[str, ...] = ()
    for address in known:
        token = _token(check, scene, [str(address)], watch)
        command = _command(check.source, scene, name, str(address), token)
        if _answer(scene.hands.run(check.source, command, 15.0)) == check.target:
            found.append(str(address))
    asked = ", ".join(map(str, known))
    return _has(check, network, command, found, f"{check.target} answers for none of {asked} on {network}")
