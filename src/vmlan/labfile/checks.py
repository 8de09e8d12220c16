"""What no section can tell alone: names that others declare, addresses and ports that collide."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vmlan.labfile import values
from vmlan.labfile.draft import Draft, Placed, PlacedMachine
from vmlan.labfile.located import Mark, Problems
from vmlan.labfile.words import listed, nearest, quote
from vmlan.model import (
    HOST_SIDE,
    BridgeNetwork,
    HubNetwork,
    Network,
    Nic,
    ScreenCheck,
    TapNetwork,
    Uplink,
    UserNetwork,
)

#: What the simulated outside is made of.
OUTSIDE = (IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/24"))

_ANY = IPv4Address("0.0.0.0")


def check(draft: Draft, problems: Problems) -> None:
    """Note every mistake that takes more than one section to see."""
    for step in (_names, _ranges, _macs, _addresses, _cables, _ports, _check_names, _check_via):
        step(draft, problems)


def _unknown(word: str, what: str, known: Collection[str], section: str) -> tuple[str, str]:
    if not known:
        return f"unknown {what} {quote(word)}", f"the lab has none: add it under '{section}:'"
    near = nearest(word, known)
    hint = f"did you mean {quote(near)}?" if near else f"the lab has {listed(known, 'and')}"
    return f"unknown {what} {quote(word)}", hint


def _names(draft: Draft, problems: Problems) -> None:
    for machine in draft.machines:
        for nic in machine.nics:
            name = nic.value.network
            # Empty: the NIC has no network, which is noted already.
            if name and name not in draft.network_names:
                problems.add(
                    nic.where("network"), *_unknown(name, "network", draft.network_names, "networks")
                )


def _hosts(draft: Draft) -> list[tuple[Placed[Network], IPv4Interface]]:
    """The networks that have an address of the host side."""
    return [
        (network, network.value.host)
        for network in draft.networks
        if isinstance(network.value, TapNetwork | BridgeNetwork) and network.value.host is not None
    ]


def _ranges(draft: Draft, problems: Problems) -> None:
    """No two networks overlap, and none the simulated outside."""
    hosts = _hosts(draft)
    if draft.lab.host.uplink is Uplink.SIMULATED:
        for network, host in hosts:
            for outside in OUTSIDE:
                if host.network.overlaps(outside):
                    name = quote(network.value.name)
                    what = f"network {name} ({host.network}) overlaps the simulated outside ({outside})"
                    problems.add(network.where("host"), what, "take a private range, such as 10.1.1.1/24")
    # In the order of their addresses, a range can only overlap the one that reaches furthest so far.
    furthest: tuple[Placed[Network], IPv4Interface] | None = None
    for network, host in sorted(
        hosts, key=lambda pair: (pair[1].network.network_address, pair[0].where("host"))
    ):
        if furthest is None or host.network.network_address > furthest[1].network.broadcast_address:
            furthest = network, host
            continue
        first, second = sorted([(network, host), furthest], key=lambda pair: pair[0].at)
        name, other = second[0].value.name, first[0].value.name
        what = (
            f"network {quote(name)} ({second[1].network}) overlaps {quote(other)} "
            f"({first[1].network}, at {first[0].where('host')})"
        )
        problems.add(second[0].where("host"), what, "give each a range of its own")
        furthest = max(furthest, (network, host), key=lambda pair: pair[1].network.broadcast_address)


def _all_nics(draft: Draft) -> list[tuple[PlacedMachine, Placed[Nic]]]:
    return [(machine, nic) for machine in draft.machines for nic in machine.nics]


def _macs(draft: Draft, problems: Problems) -> None:
    seen: dict[str, tuple[str, Mark]] = {}
    for machine, nic in _all_nics(draft):
        mac, name, at = nic.value.mac, machine.value.name, nic.where("mac")
        if mac is None:
            continue
        if mac in seen:
            other, there = seen[mac]
            what = f"{quote(name)} and {quote(other)} (at {there}) have the same MAC {mac}"
            problems.add(at, what, "give each its own, or leave it out")
        seen.setdefault(mac, (name, at))


def _addresses(draft: Draft, problems: Problems) -> None:
    """Fixed addresses: on a network that has addresses, inside of it, and nobody else's."""
    networks = {network.value.name: network.value for network in draft.networks}
    seen: dict[tuple[str, IPv4Address], tuple[str, Mark]] = {}
    for machine, nic in _all_nics(draft):
        network = networks.get(nic.value.network)
        if network is None:
            continue
        if network.kind in {"user", "hub", "none"}:
            _refuse_address(nic, network, problems)
            continue
        address, name, at = nic.value.address, machine.value.name, nic.where("address")
        if address is None:
            continue
        _check_inside(address, network, at, problems)
        if (network.name, address.ip) in seen:
            other, there = seen[network.name, address.ip]
            what = f"{quote(name)} and {quote(other)} (at {there}) have the same address {address.ip}"
            problems.add(at, what, f"give each its own on {quote(network.name)}")
        seen.setdefault((network.name, address.ip), (name, at))


def _refuse_address(nic: Placed[Nic], network: Network, problems: Problems) -> None:
    why = "where QEMU gives the addresses" if network.kind != "none" else "which leads nowhere"
    for key in ("address", "gateway"):
        if key in nic.keys:
            what = f"{quote(network.name)} is of kind {network.kind}, {why}"
            problems.add(nic.where(key), what, f"leave '{key}' out")


def _check_inside(address: IPv4Interface, network: Network, at: Mark, problems: Problems) -> None:
    host = network.host if isinstance(network, TapNetwork | BridgeNetwork) else None
    if host is None:
        return
    subnet = host.network
    if address.ip == host.ip:
        problems.add(
            at, f"{address.ip} is the host's own address on {quote(network.name)}", "take another one"
        )
    elif address.ip not in subnet:
        hint = f"an address of that range, such as {_free(host)}/{subnet.prefixlen}"
        problems.add(at, f"{address.ip} is not in {subnet}, the range of {quote(network.name)}", hint)
    elif subnet.prefixlen < 31 and address.ip in {subnet.network_address, subnet.broadcast_address}:
        which = "first" if address.ip == subnet.network_address else "last"
        what = f"{address.ip} is the {which} of {subnet}, which no station can have"
        problems.add(at, what, f"take another, such as {_free(host)}/{subnet.prefixlen}")


def _free(host: IPv4Interface) -> IPv4Address:
    """An address of the host's network that is not the host's, as an example."""
    return host.ip + 1 if host.ip + 1 < host.network.broadcast_address else host.ip - 1


def _cables(draft: Draft, problems: Problems) -> None:
    """A tap leads to one NIC; a user network with forwards too, since a port leads to one place.

    A hub with forwards leads to one machine, which may have several NICs on it.
    """
    single = {
        network.value.name: network.value
        for network in draft.networks
        if isinstance(network.value, TapNetwork)
        or (isinstance(network.value, UserNetwork | HubNetwork) and network.value.forward)
    }
    seen: dict[str, str] = {}
    for machine, nic in _all_nics(draft):
        network = single.get(nic.value.network)
        if network is None:
            continue
        if network.name not in seen:
            seen[network.name] = machine.value.name
            continue
        other = seen[network.name]
        if isinstance(network, HubNetwork) and other == machine.value.name:
            continue
        if isinstance(network, TapNetwork):
            what = f"{quote(network.name)} is a tap, and leads to {quote(other)} already"
            problems.add(nic.where("network"), what, "kind: bridge connects more than one NIC")
        else:
            what = f"the forwards of {quote(network.name)} lead to {quote(other)} already"
            problems.add(
                nic.where("network"),
                what,
                f"add another network of kind {network.kind}, with forwards of its own",
            )


def _ports(draft: Draft, problems: Problems) -> None:
    """No two forwards publish one port of the host; 0.0.0.0 is all of its addresses."""
    seen: dict[tuple[int, str], dict[IPv4Address, Mark]] = {}
    for network in draft.networks:
        for forward, at in network.forwards:
            binds = seen.setdefault((forward.host_port, forward.protocol), {})
            there = next((binds[bind] for bind in (forward.bind, _ANY) if bind in binds), None)
            if there is None and forward.bind == _ANY and binds:
                there = next(iter(binds.values()))
            if there is not None:
                port = f"{forward.host_port}/{forward.protocol}"
                what = f"the host's port {port} is taken by the forward at {there}"
                problems.add(at, what, "take another port")
            binds.setdefault(forward.bind, at)


def _check_names(draft: Draft, problems: Problems) -> None:
    """Who pings, who is pinged and who is looked at exists."""
    known = [*draft.machine_names, HOST_SIDE]
    for placed in draft.checks:
        if isinstance(placed.value, ScreenCheck):
            if placed.value.on not in draft.machine_names:
                problem = _unknown(placed.value.on, "machine", draft.machine_names, "machines")
                problems.add(placed.where("on"), *problem)
            continue
        source, target = placed.value.source, placed.value.target
        if source not in known:
            problems.add(placed.where("from"), *_unknown(source, "machine", known, "machines"))
        if target in known:
            continue
        if not re.search(r"[.:/]", target):
            problems.add(placed.where("ping"), *_unknown(target, "machine", known, "machines"))
            continue
        try:
            values.address(target)
        except values.Wrong as wrong:
            problems.add(placed.where("ping"), wrong.what, wrong.hint)


def _check_via(draft: Draft, problems: Problems) -> None:
    """`via` is a network that the pinged machine is on."""
    machines = {machine.value.name: machine for machine in draft.machines}
    for placed in draft.checks:
        if isinstance(placed.value, ScreenCheck):
            continue
        via, target, at = placed.value.via, placed.value.target, placed.where("via")
        if via is None:
            continue
        if via not in draft.network_names:
            problems.add(at, *_unknown(via, "network", draft.network_names, "networks"))
        elif target == HOST_SIDE or re.search(r"[.:/]", target):
            problems.add(at, "via chooses between the addresses of a machine", "leave it out")
        elif target in machines:
            on = [nic.value.network for nic in machines[target].nics]
            if via not in on:
                hint = f"it is on {listed(dict.fromkeys(on), 'and')}" if on else "it has no NIC"
                problems.add(at, f"{quote(target)} is not on {quote(via)}", hint)
