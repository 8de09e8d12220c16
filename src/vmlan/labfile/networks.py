"""`networks:` → the model's networks, each kind with its own keys."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Interface

from vmlan import addressing
from vmlan.labfile import shapes, values
from vmlan.labfile.draft import PlacedNetwork
from vmlan.labfile.located import Entry, Problems
from vmlan.labfile.section import Section, described, keys_of
from vmlan.labfile.words import listed, plain, quote, suggestion
from vmlan.model import (
    BridgeNetwork,
    Forward,
    HubNetwork,
    MacvtapNetwork,
    Network,
    NoNetwork,
    SocketNetwork,
    TapNetwork,
    UserNetwork,
)

RESERVED = frozenset({"lo", "eth0", "outside", "uplink", "all", "default"})

_KINDS = listed(shapes.NETWORKS)


def read_network(name: str, entry: Entry, lab: str, problems: Problems) -> PlacedNetwork | None:
    """One network of the lab of that name, or None (with a problem noted) when its kind cannot be told."""
    node = entry.value
    if node.entries is None:
        what = "is empty" if node.empty else f"cannot be {described(node)}"
        problems.add(
            entry.at, f"network {quote(name)} {what}", f"write {plain(name)}: {{kind: {_guess(node.value)}}}"
        )
        return None
    kind = _kind(name, entry, node.entries.get("kind"), problems)
    if kind is None:
        return None
    section = Section(node, shapes.NETWORKS[kind], problems)
    section.only(also=["kind"], known=_of_other_kinds(kind))
    forwards = section.each("forward", values.forward) if kind in {"user", "hub"} else ()
    network = _network(name, kind, section, lab, tuple(forward for forward, _ in forwards))
    return PlacedNetwork(network, entry.at, section.marks, forwards)


def _kind(name: str, network: Entry, entry: Entry | None, problems: Problems) -> str | None:
    if entry is None:
        problems.add(network.at, f"network {quote(name)} has no kind", f"add kind: {_KINDS}")
        return None
    at, kind = entry.value.at, entry.value.value
    if entry.value.empty:
        problems.add(entry.at, "'kind' is empty", f"write {_KINDS}")
    elif not isinstance(kind, str):
        problems.add(at, f"a kind cannot be {described(entry.value)}", f"it takes {_KINDS}")
    elif kind not in shapes.NETWORKS:
        problems.add(at, f"unknown kind {quote(kind)}", suggestion(kind, shapes.NETWORKS))
    else:
        return kind
    return None


def _network(name: str, kind: str, section: Section, lab: str, forwards: tuple[Forward, ...]) -> Network:
    if kind == "tap":
        host = section.parsed("host", values.interface)
        return TapNetwork(name, host, section.parsed("host6", _host6(lab, name)))
    if kind == "bridge":
        bridge = BridgeNetwork(
            name=name,
            host=section.parsed("host", values.interface),
            dhcp=section.get("dhcp") or False,
            nat=section.get("nat") or False,
            host6=section.parsed("host6", _host6(lab, name)),
            uplink=section.get("uplink") or False,
            vlan=section.get("vlan"),
        )
        _check_bridge(bridge, section)
        return bridge
    if kind == "macvtap":
        return MacvtapNetwork(name, section.parsed("parent", values.interface_name) or "")
    if kind == "user":
        return UserNetwork(name, forwards)
    if kind == "hub":
        return HubNetwork(name, forwards)
    return SocketNetwork(name) if kind == "socket" else NoNetwork(name)


def _host6(lab: str, network: str) -> Callable[[str], IPv6Interface]:
    def parse(text: str) -> IPv6Interface:
        return addressing.local_ipv6(lab, network) if text == "auto" else values.interface6(text)

    return parse


#: What a bridge with the uplink cannot have besides, and why.
_NOT_WITH_UPLINK = {
    "host": "the host side's address on a bridge with an uplink is the one that its NIC had",
    "host6": "the host side's addresses on a bridge with an uplink are those that its NIC had",
    "dhcp": "guests on a bridge with an uplink get their addresses from the outside",
    "nat": "guests on a bridge with an uplink are seen outside with addresses of their own",
    "vlan": "the host side of a bridge with an uplink is where the outside is, and that has no tags",
}


def _check_bridge(bridge: BridgeNetwork, section: Section) -> None:
    add, marks = section.problems.add, section.marks
    if bridge.uplink:
        for key, why in _NOT_WITH_UPLINK.items():
            if getattr(bridge, key) not in {None, False}:
                add(marks[key], why, f"leave {key} out, or uplink")
        return
    for key, wanted in (("dhcp", bridge.dhcp), ("nat", bridge.nat)):
        if wanted and not section.has("host"):
            hint = "add one, such as host: 10.1.1.1/24"
            add(marks[key], f"{key} needs the host side's address on the network", hint)
    host, host6 = bridge.host, bridge.host6
    if bridge.dhcp and host is not None and host.network.prefixlen > 29:
        what = f"{host} leaves dhcp too few addresses to give"
        add(marks["host"], what, f"/29 or larger, such as {host.ip}/24")
    if bridge.dhcp and host6 is not None and host6.network.prefixlen != 64:
        what = f"stations make themselves addresses (SLAAC) of a /64 only, and {host6} is none"
        add(marks["host6"], what, f"write {host6.ip}/64")


def _guess(value: object) -> str:
    return value if isinstance(value, str) and value in shapes.NETWORKS else "tap"


def _of_other_kinds(kind: str) -> dict[str, str]:
    """What to say of keys that other kinds have."""
    owners: dict[str, list[str]] = {}
    for other, shape in shapes.NETWORKS.items():
        for key in keys_of(shape):
            owners.setdefault(key, []).append(other)
    return {
        key: f"'{key}' is for kind {listed(kinds)}; this network is kind {kind}"
        for key, kinds in owners.items()
        if kind not in kinds
    }
