"""The lines for `ip` that move what a NIC is to its host onto a bridge, and those that move it back.

Standard library only, and pure: the guard (`host.lan.guard`) computes the way back from what it finds.

The way there never takes anything away before its replacement is there: an address is on the bridge before
it leaves the NIC, an IPv4 route is appended behind the one that it follows (ip-route(8)). So a connection
loses nothing, however long a line takes. What is taken away, is taken last first: whatever the change
was cut short by, the NIC then still has the first of its addresses, and adding the others restores the order.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from vmlan.plan.lan_snapshot import FOREVER, RESTLESS_ROUTE_WORDS, Snapshot

FAMILIES = ("inet", "inet6")

# Addresses


def identity(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes an address the same one, on whichever interface and however long it lives."""
    return (info["family"], info["local"], info.get("address"), info["prefixlen"])


def address_words(info: Mapping[str, Any], nic: str, dev: str, elapsed: float = 0.0) -> str:
    """An address as `ip addr add` takes it, for `dev`, with what is left of its lifetime after `elapsed` s.

    Two flags cannot be given by anybody but the kernel: `temporary` and `stable-privacy`
    (net/ipv6/addrconf.c).
    """
    words = [f"{info['local']}/{info['prefixlen']}"]
    if "address" in info:
        words = [info["local"], "peer", f"{info['address']}/{info['prefixlen']}"]
    if "broadcast" in info:
        words += ["broadcast", info["broadcast"]]
    if info["family"] == "inet":
        words += ["scope", str(info.get("scope", "global"))]
        label = str(info.get("label", nic))
        label = label if dev == nic else dev + label.removeprefix(nic)
        if label != dev and label.startswith(dev) and len(label) < 16:  # IFNAMSIZ, with its NUL
            words += ["label", label]
    if "metric" in info:
        words += ["metric", str(info["metric"])]
    if "protocol" in info:
        words += ["proto", str(info["protocol"])]
    words += [flag for flag in ("noprefixroute", "mngtmpaddr", "home", "autojoin") if info.get(flag)]
    return " ".join(words + lifetime_words(info, elapsed))


def lifetime_words(info: Mapping[str, Any], elapsed: float) -> list[str]:
    """What is left of an address's lifetimes; nothing if they do not end."""
    words: list[str] = []
    for key, word in (("valid_life_time", "valid_lft"), ("preferred_life_time", "preferred_lft")):
        seconds = int(info.get(key, FOREVER))
        if seconds != FOREVER:
            words += [word, str(max(seconds - int(elapsed), 0 if word == "preferred_lft" else 1))]
    return words


def has_ended(info: Mapping[str, Any], elapsed: float) -> bool:
    """Whether an address's lifetime is over by now."""
    seconds = int(info.get("valid_life_time", FOREVER))
    return seconds != FOREVER and seconds <= elapsed


def add_address(info: Mapping[str, Any], nic: str, dev: str, elapsed: float = 0.0) -> list[str]:
    """The lines that give `dev` an address at once.

    IPv6 would first look for a second (RFC 4862, 5.4) whether somebody else has it; this host has had it
    until now. `nodad` stays with an address that is added with it, and goes when it is changed without.
    """
    words = address_words(info, nic, dev, elapsed)
    if info["family"] == "inet":
        return [f"addr add {words} dev {dev}"]
    if info.get("nodad"):
        return [f"addr add {words} dev {dev} nodad"]
    return [f"addr add {words} dev {dev} nodad", f"addr change {words} dev {dev}"]


def delete_address(info: Mapping[str, Any], dev: str) -> str:
    """The line that takes an address away from `dev`."""
    peer = f"{info['local']} peer {info['address']}" if "address" in info else info["local"]
    return f"addr del {peer}/{info['prefixlen']} dev {dev}"


def in_order(addresses: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Addresses of one family in the order in which they must be added to be listed as they were.

    IPv4 lists the oldest first, IPv6 the newest of each scope first (net/ipv6/addrconf.c,
    ipv6_link_dev_addr).
    """
    found = list(addresses)
    return found[::-1] if found and found[0]["family"] == "inet6" else found


# Routes


def words_of(line: str) -> list[str]:
    """A route's words, as `ip route` takes them back: without what is the world's doing."""
    words, kept = line.replace("\\", " ").split(), []
    for before, word in zip(["", *words], words, strict=False):
        if word in RESTLESS_ROUTE_WORDS:
            continue
        kept.append(word.removesuffix("sec") if before == "expires" else word)
    return kept


def devices(words: Iterable[str]) -> set[str]:
    """The interfaces that a route leads to."""
    words = list(words)
    return {word for before, word in pairwise(words) if before == "dev"}


def value(words: list[str], key: str) -> str | None:
    """What follows a word of a route, or None."""
    return words[words.index(key) + 1] if key in words[:-1] else None


#: Types of routes that lead somewhere; `ip -d route` begins a line with one (ip-route(8)).
TYPES = {"unicast", "local", "broadcast", "multicast", "anycast"}


def destination(words: list[str]) -> str:
    """Where a route leads to."""
    return words[1] if words[0] in TYPES else words[0]


def through(words: list[str], old: str, new: str) -> list[str]:
    """A route with `new` where it led to `old`."""
    return [
        new if before == "dev" and word == old else word
        for before, word in zip(["", *words], words, strict=False)
    ]


def after(words: list[str], elapsed: float) -> list[str]:
    """A route with what is left of its time after `elapsed` seconds."""
    return [
        str(max(int(word) - int(elapsed), 1)) if before == "expires" and word.isdigit() else word
        for before, word in zip(["", *words], words, strict=False)
    ]


def same(words: list[str]) -> tuple[str, ...]:
    """What makes a route the same one, whenever it ends."""
    return tuple(
        word for before, word in zip(["", *words], words, strict=False) if "expires" not in (before, word)
    )


def is_advertised(words: list[str]) -> bool:
    """Whether it is a default route that the kernel made of a router's advertisement (RFC 4861, 6.3.4)."""
    return destination(words) == "default" and "via" in words and value(words, "proto") == "ra"


def stand_in(words: list[str]) -> list[str]:
    """What stands in for an advertised route until the next advertisement.

    Only the kernel can make such a route, and where another one is in its place it ignores the rest of every
    advertisement, addresses included (net/ipv6/ndisc.c, ndisc_router_discovery): so its metric is another.
    """
    metric = int(value(words, "metric") or 1024)
    instead = {"metric": str(metric + 1), "proto": "static"}
    return [instead.get(before, word) for before, word in zip(["", *words], words, strict=False)]


def moved_routes(snapshot: Snapshot, nic: str, family: str) -> list[list[str]]:
    """The routes through the NIC that do not come and go with its addresses."""
    made = _made_by_addresses(snapshot, nic, family)
    lines = (words_of(line) for line in snapshot.routes(family))
    found = [
        words
        for words in lines
        if nic in devices(words) and not _is_of_the_interface(words) and _key(words) not in made
    ]
    return sorted(found, key=lambda words: "via" in words)  # a gateway is reached by one of the others


def missing_routes(snapshot: Snapshot, nic: str, family: str) -> list[str]:
    """Routes that addresses bring, and that somebody has taken away: as `ip route del` takes them."""
    there = {_key(words) for line in snapshot.routes(family) if nic in devices(words := words_of(line))}
    return [
        " ".join([dst, "proto", "kernel", *(["metric", metric] if metric != "0" else [])])
        for dst, _, metric in sorted(_made_by_addresses(snapshot, nic, family) - there)
    ]


def stale_routes(snapshot: Snapshot, nic: str) -> list[str]:
    """The IPv6 routes that stay when the addresses go that brought them: as `ip route del` takes them.

    The kernel keeps the route of a prefix whose addresses all have a lifetime until that ends
    (net/ipv6/addrconf.c, ipv6_del_addr).
    """
    kept = [info for info in snapshot.addresses_of(nic, "inet6") if not info.get("dynamic")]
    lasting = {_prefix(info) for info in kept}
    there = {_key(words) for line in snapshot.routes6 if nic in devices(words := words_of(line))}
    made = sorted(_made_by_addresses(snapshot, nic, "inet6") & there)
    return [f"{dst} dev {nic} proto kernel metric {metric}" for dst, _, metric in made if dst not in lasting]


def _is_of_the_interface(words: list[str]) -> bool:
    """What the kernel keeps in the table `local`, by itself (ip-route(8))."""
    return value(words, "table") == "local" and value(words, "proto") == "kernel"


def _key(words: list[str]) -> tuple[str, str, str]:
    """Of a route that the kernel makes for an address: where to, source, metric. Of others: no such key."""
    if value(words, "proto") != "kernel" or "via" in words or value(words, "table") not in {None, "main"}:
        return ("", "", "")
    return (destination(words), value(words, "src") or "", value(words, "metric") or "0")


def _made_by_addresses(snapshot: Snapshot, nic: str, family: str) -> set[tuple[str, str, str]]:
    """The keys of the routes that the kernel makes for the NIC's addresses (devinet.c, addrconf.c)."""
    made: set[tuple[str, str, str]] = set()
    for info in snapshot.addresses_of(nic, family):
        if info.get("noprefixroute"):
            continue
        dst = _prefix(info)
        whole = "/" not in dst
        if family == "inet6":
            made.add((dst, "", str(info.get("metric", 256))))
        elif not info.get("secondary") and not (whole and dst == info["local"]):
            made.add((dst, str(info["local"]), str(info.get("metric", 0))))
    return made


def _prefix(info: Mapping[str, Any]) -> str:
    """The network that an address says is there, as routes name it."""
    network = ipaddress.ip_network(f"{info.get('address', info['local'])}/{info['prefixlen']}", strict=False)
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if whole else str(network)


# Rules


def rule_words(rule: Mapping[str, Any]) -> str | None:
    """A rule as `ip rule add` takes it; None for one with something in it that we do not know."""
    words: list[str] = ["not"] if "not" in rule else []
    known = {"not", "src", "srclen", "dst", "dstlen", "iif_detached", "oif_detached", "fwmask"}
    for key, length, word in (("src", "srclen", "from"), ("dst", "dstlen", "to")):
        if key in rule:
            words += [word, f"{rule[key]}/{rule[length]}" if length in rule else str(rule[key])]
    if "fwmark" in rule:
        words += ["fwmark", f"{rule['fwmark']}/{rule['fwmask']}" if "fwmask" in rule else str(rule["fwmark"])]
        known.add("fwmark")
    names = {
        "iif": "iif", "oif": "oif", "tos": "tos", "ipproto": "ipproto", "priority": "priority",
        "table": "table", "protocol": "protocol", "suppress_prefixlen": "suppress_prefixlength",
        "sport": "sport", "dport": "dport", "action": "type",
    }  # fmt: skip
    for key, word in names.items():
        if key in rule:
            words += [word, str(rule[key])]
    for key, word in (("sport", "sport"), ("dport", "dport"), ("uid", "uidrange")):
        if f"{key}_start" in rule and f"{key}_end" in rule:
            words += [word, f"{rule[f'{key}_start']}-{rule[f'{key}_end']}"]
            known |= {f"{key}_start", f"{key}_end"}
    return None if set(rule) - known - set(names) else " ".join(words)


def rules_for(snapshot: Snapshot, nic: str, bridge: str, family: str) -> list[str]:
    """The rules that name the NIC, for the bridge."""
    found: list[str] = []
    for rule in snapshot.rules(family):
        if nic in (rule.get("iif"), rule.get("oif")):
            other = {**rule, **{key: bridge for key in ("iif", "oif") if rule.get(key) == nic}}
            if words := rule_words(other):
                found.append(words)
    return found


# The way there


def to_bridge(snapshot: Snapshot, nic: str, bridge: str) -> Iterator[tuple[str, str, list[str]]]:
    """Everything but the bridge itself, as (id, reason, lines), in the order in which it must happen."""
    addresses = [info for family in FAMILIES for info in in_order(snapshot.addresses_of(nic, family))]
    lines = [line for info in addresses for line in add_address(info, nic, bridge)]
    lines += [
        f"route del {each} dev {bridge}" for fam in FAMILIES for each in missing_routes(snapshot, nic, fam)
    ]
    if lines:
        yield "address", f"{bridge} gets {nic}'s addresses, before {nic} loses them", lines
    if rules := rules_for(snapshot, nic, bridge, "inet"):
        yield "rules", f"the rules that name {nic}, for {bridge}", [f"rule add {rule}" for rule in rules]
    quiet = "addrgenmode none " if addrgenmode(snapshot, nic) else ""
    yield "port", f"{nic} becomes a port of {bridge}", [f"link set dev {nic} {quiet}master {bridge}"]
    if lines := _routes_to(snapshot, nic, bridge):
        yield "routes", f"what was routed through {nic} is routed through {bridge}", lines
    lines = [delete_address(info, nic) for info in reversed(addresses)]
    lines += [f"route del {each}" for each in stale_routes(snapshot, nic)]
    if lines:
        yield "bare", f"{nic} is a port now, and no station: it has no address of its own", lines
    lines = [
        neighbour_words("replace", one, bridge) for one in snapshot.set_neighbours() if one.get("dev") == nic
    ]
    if lines:
        yield "neighbours", f"the neighbours that somebody set for {nic}", lines
    mode = addrgenmode(snapshot, nic)
    if mode not in {"", "none"}:
        yield (
            "ipv6",
            f"{bridge} makes its IPv6 addresses as {nic} did",
            [f"link set dev {bridge} addrgenmode {mode}"],
        )


def _routes_to(snapshot: Snapshot, nic: str, bridge: str) -> list[str]:
    moved = moved_routes(snapshot, nic, "inet")
    lines = [f"route append {' '.join(through(words, nic, bridge))}" for words in moved]
    lines += [f"route del {' '.join(words)}" for words in reversed(moved)]
    for words in moved_routes(snapshot, nic, "inet6"):  # one that is appended first would join the other
        over = through(stand_in(words) if is_advertised(words) else words, nic, bridge)
        lines.append(f"route del {' '.join(same(words))}")
        lines.append(f"route append {' '.join(over)}")
    return lines


def addrgenmode(snapshot: Snapshot, name: str) -> str:
    """How an interface makes its IPv6 addresses (ip-link(8)); empty where there is no IPv6."""
    link = snapshot.link(name) or {}
    return str(link.get("inet6_addr_gen_mode", ""))


def neighbour_words(verb: str, one: Mapping[str, Any], dev: str) -> str:
    """The line that sets a neighbour for `dev`."""
    words = [f"neigh {verb}", neighbour_key(one)]
    if "lladdr" in one:
        words += ["lladdr", str(one["lladdr"])]
    words += ["dev", dev]
    if "proxy" not in one:
        words += ["nud", str(one["state"][0]).lower()]
    return " ".join(words)


def neighbour_key(one: Mapping[str, Any]) -> str:
    """What tells a neighbour from others of its interface."""
    return f"proxy {one['dst']}" if "proxy" in one else str(one["dst"])
