"""What no section can tell alone: names that others declare, addresses and ports that collide."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from typing import Literal

from vmlan.labfile import ports, read_checks
from vmlan.labfile.draft import Draft, Placed, PlacedMachine
from vmlan.labfile.located import Mark, Problems
from vmlan.labfile.words import quote, unknown
from vmlan.model import (
    ORDINARY_VLAN,
    BridgeNetwork,
    HubNetwork,
    Network,
    Nic,
    TapNetwork,
    Uplink,
    UserNetwork,
)

#: What the simulated outside is made of.
OUTSIDE = (IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/24"))
OUTSIDE_HOST = IPv4Interface("198.51.100.2/24")

_ANY = IPv4Address("0.0.0.0")


def check(draft: Draft, problems: Problems) -> None:
    """Note every mistake that takes more than one section to see."""
    steps = (_names, _ranges, _macs, _addresses, ports.check, _cables, _ports, read_checks.look)
    for step in steps:
        step(draft, problems)


def _names(draft: Draft, problems: Problems) -> None:
    for machine in draft.machines:
        for nic in machine.nics:
            name = nic.value.network
            # Empty: the NIC has no network, which is noted already.
            if name and name not in draft.network_names:
                problems.add(nic.where("network"), *unknown(name, "network", draft.network_names, "networks"))


def _hosts(
    draft: Draft, key: Literal["host", "host6"]
) -> list[tuple[Placed[Network], IPv4Interface | IPv6Interface]]:
    """The networks that have an address of the host side."""
    return [
        (network, host)
        for network in draft.networks
        if (host := getattr(network.value, key, None)) is not None
    ]


def _ranges(draft: Draft, problems: Problems) -> None:
    """No two networks overlap, and none the simulated outside."""
    if draft.lab.host.uplink is Uplink.SIMULATED:
        for network, host in _hosts(draft, "host"):
            for outside in OUTSIDE:
                if host.network.overlaps(outside):
                    name = quote(network.value.name)
                    what = f"network {name} ({host.network}) overlaps the simulated outside ({outside})"
                    problems.add(network.where("host"), what, "take a private range, such as 10.1.1.1/24")
    _overlaps(draft, "host", problems)
    _overlaps(draft, "host6", problems)


def _overlaps(draft: Draft, key: Literal["host", "host6"], problems: Problems) -> None:
    # In the order of their addresses, a range can only overlap the one that reaches furthest so far.
    furthest: tuple[Placed[Network], IPv4Interface | IPv6Interface] | None = None
    for network, host in sorted(
        _hosts(draft, key), key=lambda pair: (int(pair[1].network.network_address), pair[0].where(key))
    ):
        if furthest is None or int(host.network.network_address) > int(furthest[1].network.broadcast_address):
            furthest = network, host
            continue
        first, second = sorted([(network, host), furthest], key=lambda pair: pair[0].at)
        name, other = second[0].value.name, first[0].value.name
        what = (
            f"network {quote(name)} ({second[1].network}) overlaps {quote(other)} "
            f"({first[1].network}, at {first[0].where(key)})"
        )
        problems.add(second[0].where(key), what, "give each a range of its own")
        furthest = max(furthest, (network, host), key=lambda pair: int(pair[1].network.broadcast_address))


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
    seen: dict[tuple[str, int | None, IPv4Address | IPv6Address], tuple[str, Mark]] = {}
    for machine, nic in _all_nics(draft):
        network = networks.get(nic.value.network)
        if network is None:
            continue
        if network.kind in {"user", "hub", "none"}:
            _refuse_address(nic, network, problems)
            continue
        name, vlan = machine.value.name, nic.value.vlan
        for key, address in (("address", nic.value.address), ("address6", nic.value.address6)):
            if address is None:
                continue
            at = nic.where(key)
            host = _host_in(network, vlan, key)
            if host is not None:
                _check_inside(address, host, network, at, problems)
            if (network.name, vlan, address.ip) in seen:
                other, there = seen[network.name, vlan, address.ip]
                what = f"{quote(name)} and {quote(other)} (at {there}) have the same address {address.ip}"
                problems.add(at, what, f"give each its own on {quote(network.name)}")
            seen.setdefault((network.name, vlan, address.ip), (name, at))


def _host_in(network: Network, vlan: int | None, key: str) -> IPv4Interface | IPv6Interface | None:
    """The host side's address of that family where a NIC is, if it has one in the NIC's VLAN."""
    if isinstance(network, TapNetwork):
        return network.host if key == "address" else network.host6
    if not isinstance(network, BridgeNetwork):
        return None
    if (vlan or ORDINARY_VLAN) != (network.vlan or ORDINARY_VLAN):
        return None
    if network.uplink:
        return OUTSIDE_HOST if key == "address" and network.nic is None else None
    return network.host if key == "address" else network.host6


def _refuse_address(nic: Placed[Nic], network: Network, problems: Problems) -> None:
    why = "where QEMU gives the addresses" if network.kind != "none" else "which leads nowhere"
    for key in ("address", "gateway", "address6", "gateway6"):
        if key in nic.keys:
            what = f"{quote(network.name)} is of kind {network.kind}, {why}"
            problems.add(nic.where(key), what, f"leave '{key}' out")


def _check_inside(
    address: IPv4Interface | IPv6Interface,
    host: IPv4Interface | IPv6Interface,
    network: Network,
    at: Mark,
    problems: Problems,
) -> None:
    subnet = host.network
    if address.ip == host.ip:
        problems.add(
            at, f"{address.ip} is the host's own address on {quote(network.name)}", "take another one"
        )
    elif address.ip not in subnet:
        hint = f"an address of that range, such as {_free(host)}/{subnet.prefixlen}"
        problems.add(at, f"{address.ip} is not in {subnet}, the range of {quote(network.name)}", hint)
    elif (
        isinstance(subnet, IPv4Network)
        and subnet.prefixlen < 31
        and address.ip in {subnet.network_address, subnet.broadcast_address}
    ):
        which = "first" if address.ip == subnet.network_address else "last"
        what = f"{address.ip} is the {which} of {subnet}, which no station can have"
        problems.add(at, what, f"take another, such as {_free(host)}/{subnet.prefixlen}")


def _free(host: IPv4Interface | IPv6Interface) -> IPv4Address | IPv6Address:
    """An address of the host's network that is not the host's, as an example."""
    return host.ip + 1 if int(host.ip) + 1 < int(host.network.broadcast_address) else host.ip - 1


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
