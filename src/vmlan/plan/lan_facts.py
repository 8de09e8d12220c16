"""What is known of a NIC that is to become a port, and why it may not. Standard library only."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from vmlan.plan import lan_lines
from vmlan.plan.lan_snapshot import Snapshot

#: The switches of an interface that decide what its host does with what arrives there (Documentation/
#: networking/ip-sysctl.rst in the kernel): the bridge gets them from the NIC that it stands for.
SWITCHES: dict[str, tuple[str, ...]] = {
    "ipv4": (
        "accept_local", "accept_redirects", "arp_accept", "arp_announce", "arp_filter", "arp_ignore",
        "arp_notify", "forwarding", "proxy_arp", "rp_filter", "secure_redirects", "send_redirects",
        "src_valid_mark",
    ),
    "ipv6": (
        "accept_ra", "accept_ra_defrtr", "accept_ra_pinfo", "accept_ra_rtr_pref", "accept_redirects",
        "autoconf", "disable_ipv6", "forwarding", "proxy_ndp", "use_tempaddr",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Connection:
    """An established TCP connection of this host."""

    local: str
    port: int
    peer: str
    peer_port: int

    def __str__(self) -> str:
        return f"{self.local}:{self.port} - {self.peer}:{self.peer_port}"


@dataclass(frozen=True)
class NicFacts:
    """What is known of a NIC beyond the snapshot."""

    wireless: bool = False
    manager: str | None = None  #: NetworkManager or systemd-networkd, if it manages this NIC
    dhcp_clients: tuple[str, ...] = ()  #: programs that hold its lease
    supplicant: bool = False  #: wpa_supplicant speaks 802.1X on it


@dataclass(frozen=True)
class Refusal:
    """Why a NIC may not become a port, and what to do instead."""

    what: str
    hint: str


#: The way to the LAN that leaves a NIC as it is.
_MACVTAP = "or reach its network by a network of kind macvtap, which leaves the NIC's own configuration alone"

#: Kinds of interfaces (`ip -d link`) whose frames a bridge can pass on, although they are no hardware.
_ETHERNET_KINDS = {"veth", "dummy"}


def refusals(snapshot: Snapshot, nic: str, facts: NicFacts, bridge: str) -> tuple[Refusal, ...]:
    """Why `nic` may not become a port of `bridge`; nothing if it may."""
    link = snapshot.link(nic)
    if link is None:
        names = [str(one["ifname"]) for one in snapshot.links if one.get("link_type") == "ether"]
        close = difflib.get_close_matches(nic, names, 1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names) or 'none'}"
        return (Refusal(f"this host has no NIC {nic}", hint),)
    return (
        *_kind(link, nic, facts),
        *_bonds(snapshot, link, nic),
        *_name(snapshot, nic, bridge),
        *_state(link, nic),
        *_secretive(snapshot, nic),
        *_managed(nic, bridge, facts),
        *_unknown(snapshot, nic),
        *_joining(snapshot, nic),
    )


def _kind(link: object, nic: str, facts: NicFacts) -> Iterator[Refusal]:
    assert isinstance(link, dict)
    kind = str(link.get("linkinfo", {}).get("info_kind", ""))
    if facts.wireless:
        yield Refusal(
            f"{nic} is Wi-Fi: an access point takes frames only from the MAC that it knows, so that it"
            " would not hear guests",
            "use a wired NIC, or give the network nat: true",
        )
    elif link.get("link_type") != "ether" or "LOOPBACK" in link.get("flags", ()):
        yield Refusal(
            f"{nic} is no Ethernet interface ({link.get('link_type', 'unknown')}), and only such can be a"
            " port",
            "name the NIC that leads to the LAN",
        )
    elif kind == "bridge":
        yield Refusal(
            f"{nic} is a bridge itself, and a bridge cannot be a port of another",
            f"make the guests ports of {nic}, or name the NIC behind it",
        )
    elif kind in {"macvlan", "macvtap", "ipvlan", "ipvtap"}:
        yield Refusal(
            f"{nic} is a {kind}, which takes frames only for its own MAC", "name the NIC that it is on"
        )
    elif kind == "tun":
        yield Refusal(
            f"{nic} is a tap or tun of some program, not a NIC", "name the NIC that leads to the LAN"
        )
    elif kind and kind not in _ETHERNET_KINDS:
        yield Refusal(
            f"{nic} is an interface of kind {kind}, and vmlan has never been tried on one",
            "name a NIC, or make the bridge yourself; " + _MACVTAP,
        )


def _bonds(snapshot: Snapshot, link: object, nic: str) -> Iterator[Refusal]:
    """Whom the NIC belongs to, and who stands on it."""
    assert isinstance(link, dict)
    if master := link.get("master"):
        yield Refusal(
            f"{nic} is a port of {master} already: it would have to be taken from there",
            f"if {master} is a bridge of yours, the guests can be its ports; if a lab holds {nic}, end"
            " that first",
        )
    children = [
        one
        for one in snapshot.links
        if one.get("link") == nic
        and "link_netnsid" not in one
        and one.get("linkinfo", {}).get("info_kind") != "veth"
    ]
    kinds = {"macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"}
    names = [
        f"{one['ifname']} ({kind})" for one in children if (kind := one["linkinfo"]["info_kind"]) in kinds
    ]
    if names:
        yield Refusal(
            f"{', '.join(names)} {'stands' if len(names) == 1 else 'stand'} on {nic}: a bridge takes every"
            " frame of its port before they see it",
            f"take them away, or put them on the bridge yourself; {_MACVTAP}",
        )


def _name(snapshot: Snapshot, nic: str, bridge: str) -> Iterator[Refusal]:
    taken = snapshot.link(bridge) or any(bridge in one.get("altnames", ()) for one in snapshot.links)
    if taken:
        yield Refusal(
            f"this host has an interface {bridge} already, which is not this lab's",
            "give the network another name; vmlan touches nothing that it did not make",
        )


def _state(link: object, nic: str) -> Iterator[Refusal]:
    assert isinstance(link, dict)
    flags = link.get("flags", ())
    if "UP" not in flags:
        yield Refusal(f"{nic} is down", f"sudo ip link set {nic} up")
    elif "NO-CARRIER" in flags or "LOWER_UP" not in flags:
        yield Refusal(
            f"{nic} has no carrier: its cable is not plugged in, or the switch is off", "plug it in first"
        )


def _secretive(snapshot: Snapshot, nic: str) -> Iterator[Refusal]:
    """The bridge has no such secret; and of the NIC's it would make other addresses, since a bridge has no
    permanent MAC, which goes into them (net/ipv6/addrconf.c, ipv6_generate_stable_address).
    """
    if lan_lines.addrgenmode(snapshot, nic) == "stable_secret":
        yield Refusal(
            f"{nic} makes its IPv6 addresses of a secret (net.ipv6.conf.{nic}.stable_secret), of which a"
            " bridge would make others",
            f"ip link set dev {nic} addrgenmode eui64, before; " + _MACVTAP,
        )


def _managed(nic: str, bridge: str, facts: NicFacts) -> Iterator[Refusal]:
    if facts.manager == "NetworkManager":
        yield Refusal(
            f"NetworkManager manages {nic}: it would give {nic} its address back while the bridge has it",
            f"let NetworkManager make the bridge: `nmcli connection add type bridge ifname {bridge}"
            f" con-name {bridge} bridge.stp no`, `nmcli connection add type ethernet ifname {nic} master"
            f" {bridge}`, `nmcli connection up {bridge}`; {_MACVTAP}",
        )
    elif facts.manager:
        yield Refusal(
            f"systemd-networkd manages {nic}: it would give {nic} its address back while the bridge has it",
            f"let networkd make the bridge: a .netdev with Kind=bridge, `Bridge={bridge}` in {nic}'s"
            f" .network, and the addresses in the bridge's; or Unmanaged=yes in {nic}'s .network; {_MACVTAP}",
        )
    if facts.supplicant:
        yield Refusal(
            f"wpa_supplicant speaks 802.1X on {nic}: the switch knows one station there, and guests would"
            " be others",
            f"ask whoever runs that network; {_MACVTAP} (they too would be other stations)",
        )


#: The words of a route that vmlan takes over as they are (ip-route(8)).
_ROUTE_WORDS = {
    "via", "inet6", "inet", "dev", "table", "proto", "scope", "src", "metric", "from", "tos", "pref",
    "expires", "nexthop", "weight", "onlink", "realm", "realms", "mtu", "advmss", "window", "rtt",
    "rttvar", "reordering", "ssthresh", "cwnd", "initcwnd", "initrwnd", "features", "quickack",
    "congctl", "rto_min", "hoplimit", "lock", "fastopen_no_cookie", "ecn",
}  # fmt: skip
_BARE_WORDS = {"onlink", "nexthop", "lock", "inet6", "inet", "ecn"}


def _unknown(snapshot: Snapshot, nic: str) -> Iterator[Refusal]:
    """Routes and rules that could not be made again: better said before than found missing afterwards."""
    for family in lan_lines.FAMILIES:
        for words in lan_lines.moved_routes(snapshot, nic, family):
            if strange := unknown_words(words):
                yield Refusal(
                    f"a route through {nic} says '{strange[0]}', which vmlan cannot make again:"
                    f" {' '.join(words)}",
                    "routes of a routing daemon, or with an encapsulation, are its own to move; " + _MACVTAP,
                )
        for rule in snapshot.rules(family):
            if nic in (rule.get("iif"), rule.get("oif")) and lan_lines.rule_words(rule) is None:
                yield Refusal(
                    f"a rule that names {nic} has something in it that vmlan does not know: {dict(rule)}",
                    "make it again for the bridge yourself; " + _MACVTAP,
                )


def _joining(snapshot: Snapshot, nic: str) -> Iterator[Refusal]:
    """IPv6 joins a route that is added to another one of the same destination and metric, if that has a
    gateway.

    Those that router advertisements make stay alone (net/ipv6/ip6_fib.c, rt6_qualify_for_ecmp), but only the
    kernel can make such.
    """

    def key(words: list[str]) -> tuple[str | None, ...]:
        return (
            lan_lines.destination(words),
            lan_lines.value(words, "table"),
            lan_lines.value(words, "metric"),
        )

    routes = [lan_lines.words_of(line) for line in snapshot.routes6]
    others = {
        key(words): words
        for words in routes
        if nic not in lan_lines.devices(words) and "via" in words and lan_lines.value(words, "proto") != "ra"
    }
    for words in lan_lines.moved_routes(snapshot, nic, "inet6"):
        if "via" in words and not lan_lines.is_advertised(words) and key(words) in others:
            yield Refusal(
                f"two IPv6 routes have the same destination and metric, and would become one:"
                f" {' '.join(words)}, and {' '.join(others[key(words)])}",
                "give one of them another metric",
            )


def unknown_words(words: list[str]) -> list[str]:
    """The words of a route that are neither values nor known: after the type and where it leads to."""
    rest, found = words[2:] if words[0] in lan_lines.TYPES else words[1:], []
    takes_value = False
    for word in rest:
        if takes_value and word not in _BARE_WORDS:
            takes_value = False
        elif word in _ROUTE_WORDS:
            takes_value = word not in _BARE_WORDS or (takes_value and word in {"lock", "inet6", "inet"})
        else:
            found.append(word)
    return found
