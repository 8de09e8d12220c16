"""A network namespace as it was: what a change to a NIC could disturb, and what differs afterwards.

Standard library only: the guard (`host.lan.guard`) reads it too, and depends on nothing that is installed.
What `ip` prints is kept as it is printed, so that what this program does not know is compared all the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

#: A lifetime that does not end (ip-address(8); 32 bits, all set).
FOREVER = 0xFFFFFFFF

#: An altname that begins so says that an interface is ours.
MARK = "vmlan-"


@dataclass(frozen=True)
class Snapshot:
    """What `ip`, `nft` and /proc/sys say of a network namespace."""

    links: tuple[Mapping[str, Any], ...] = ()  #: `ip -j -d link`
    addresses: tuple[Mapping[str, Any], ...] = ()  #: `ip -j addr`, one an interface
    routes4: tuple[str, ...] = ()  #: `ip -d -o -4 route show table all`, a line each
    routes6: tuple[str, ...] = ()
    rules4: tuple[Mapping[str, Any], ...] = ()  #: `ip -j -4 rule`
    rules6: tuple[Mapping[str, Any], ...] = ()
    neighbours: tuple[Mapping[str, Any], ...] = ()  #: `ip -j neigh`; those that somebody set count
    sysctls: Mapping[str, str] = field(default_factory=dict)  #: by the path under /proc/sys/net
    nft: tuple[Mapping[str, Any], ...] | None = None  #: `nft -j list ruleset`; None: it cannot be read
    at: float = 0.0  #: when it was (CLOCK_BOOTTIME, seconds): lifetimes are as of then

    def to_json(self) -> str:
        """As text, for the guard's journal."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Snapshot:
        """The other way round. Raises `ValueError`, `TypeError` for what is no snapshot."""
        given = json.loads(text)
        names = {one.name for one in fields(Snapshot)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in given.items()
            if key in names
        }
        return Snapshot(**values)

    def link(self, name: str) -> Mapping[str, Any] | None:
        """The interface of that name."""
        return next((link for link in self.links if link["ifname"] == name), None)

    def addresses_of(self, name: str, family: str) -> tuple[Mapping[str, Any], ...]:
        """The addresses of an interface, `inet` or `inet6`, in the kernel's order."""
        found = (one for one in self.addresses if one.get("ifname") == name)
        return tuple(
            info for one in found for info in one.get("addr_info", ()) if info.get("family") == family
        )

    def routes(self, family: str) -> tuple[str, ...]:
        """The routes of all tables of a family, `inet` or `inet6`."""
        return self.routes4 if family == "inet" else self.routes6

    def set_neighbours(self) -> tuple[Mapping[str, Any], ...]:
        """The neighbours that somebody set, rather than the kernel found."""
        return tuple(one for one in self.neighbours if "proxy" in one or "PERMANENT" in one.get("state", ()))

    def rules(self, family: str) -> tuple[Mapping[str, Any], ...]:
        """The rules of a family, `inet` or `inet6`."""
        return self.rules4 if family == "inet" else self.rules6


def is_ours(link: Mapping[str, Any]) -> bool:
    """Whether an interface carries our mark."""
    return any(str(name).startswith(MARK) for name in link.get("altnames", ()))


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was: in words, and which interfaces it is about."""

    words: str
    about: frozenset[str] = frozenset()


def labs_interfaces(snapshot: Snapshot, bridge: str) -> frozenset[str]:
    """What other steps of labs make, or have under way: marked interfaces other than the bridge in question,
    and the ports of such, among which may be a NIC that another lab has changed.
    """
    marked = {str(link["ifname"]) for link in snapshot.links if is_ours(link)} - {bridge}
    return frozenset(
        marked | {str(link["ifname"]) for link in snapshot.links if link.get("master") in marked}
    )


def without(snapshot: Snapshot, labs: frozenset[str]) -> Snapshot:
    """A snapshot without what labs undo by themselves: these interfaces with all that is on them, tables of
    rules, and whether the host forwards.
    """

    def named(thing: Mapping[str, Any]) -> bool:
        return bool(labs & {thing.get(key) for key in ("ifname", "dev", "iif", "oif", "master")})

    def is_labs(route: str) -> bool:
        ways = _devices(route)
        return bool(ways) and ways <= labs

    def others(things: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
        return tuple(thing for thing in things if not named(thing))

    def is_theirs(entry: Mapping[str, Any]) -> bool:
        body = next(iter(entry.values()))
        table = body.get("table", body.get("name", "")) if isinstance(body, dict) else ""
        return not str(table).startswith("vmlan_")

    return replace(
        snapshot,
        links=others(snapshot.links),
        addresses=others(snapshot.addresses),
        routes4=tuple(line for line in snapshot.routes4 if not is_labs(line)),
        routes6=tuple(line for line in snapshot.routes6 if not is_labs(line)),
        rules4=others(snapshot.rules4),
        rules6=others(snapshot.rules6),
        neighbours=others(snapshot.neighbours),
        sysctls={path: value for path, value in snapshot.sysctls.items() if not _is_forwarding(path)},
        nft=None if snapshot.nft is None else tuple(entry for entry in snapshot.nft if is_theirs(entry)),
    )


def _is_forwarding(path: str) -> bool:
    """What the kernel changes together with ip_forward (ip-sysctl; net/ipv4/devinet.c,
    inet_forward_change).
    """
    return path.endswith(("/forwarding", "/ip_forward", "/all/accept_redirects"))


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What is not as it was, in words; nothing for what changes by itself.

    That is: lifetimes that count down, counters, timers, whether a cable is plugged in, the order in
    which the kernel lists what has no order.
    """
    return [one.words for one in find_differences(before, after)]


def find_differences(before: Snapshot, after: Snapshot) -> list[Difference]:
    """`differences`, each with the interfaces that it is about."""
    found: list[Difference] = []
    found += _named("interface", _links(before), _links(after))
    found += _named("the addresses of", _addresses(before), _addresses(after))
    for family, version in (("inet", "IPv4"), ("inet6", "IPv6")):
        routes = (_routes(before.routes(family)), _routes(after.routes(family)))
        found += _counted(f"{version} route", *routes)
        rules = (_plain(before.rules(family)), _plain(after.rules(family)))
        found += _counted(f"{version} rule", *rules)
    found += _counted("neighbour", _plain(before.set_neighbours()), _plain(after.set_neighbours()))
    for path in sorted({*before.sysctls, *after.sysctls}):
        one, other = before.sysctls.get(path), after.sysctls.get(path)
        interface = path.split("/")[2] if path.count("/") > 2 else ""
        if one != other and one is not None and other is not None:
            found.append(Difference(f"sysctl net/{path} is {other}, was {one}", frozenset({interface})))
    if before.nft is not None and after.nft is not None:
        found += _counted("nft", _plain(_still(before.nft)), _plain(_still(after.nft)))
    return found


#: Of a link, what changes by itself. `promiscuity` and `allmulti` count who listens (tcpdump, bridges).
_RESTLESS = {"operstate", "promiscuity", "allmulti", "carrier_changes", "ifindex", "link_index"}
_RESTLESS_FLAGS = {"LOWER_UP", "NO-CARRIER", "RUNNING", "DORMANT"}


def _links(snapshot: Snapshot) -> dict[str, str]:
    return {str(link["ifname"]): _text(_still_link(link)) for link in snapshot.links}


def _still_link(link: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in link.items() if key not in _RESTLESS}
    kept["flags"] = sorted(set(link.get("flags", ())) - _RESTLESS_FLAGS)
    info = link.get("linkinfo")
    if isinstance(info, dict):
        kept["linkinfo"] = {
            key: _without_timers(value) if isinstance(value, dict) else value for key, value in info.items()
        }
    return kept


def _without_timers(data: Mapping[str, Any]) -> dict[str, Any]:
    """A bridge's, or a port's, attributes without what spanning tree counts and finds out."""
    restless = {"state", "message_age", "topology_change", "topology_change_detected", "topology_change_ack"}
    return {
        key: value
        for key, value in data.items()
        if key not in restless and not key.endswith("_timer") and not key.startswith(("root_", "designated_"))
    }


#: Of an address, what changes by itself, or what the kernel alone can say (see `lan_lines.address_words`).
_RESTLESS_ADDRESS = {
    "valid_life_time", "preferred_life_time", "tentative", "deprecated", "dadfailed",
    "temporary", "stable-privacy",
}  # fmt: skip


def _addresses(snapshot: Snapshot) -> dict[str, str]:
    """Each interface's addresses, in order: the first of a subnet is the primary one."""
    return {
        str(one["ifname"]): _text(
            [
                {key: value for key, value in info.items() if key not in _RESTLESS_ADDRESS}
                for info in one.get("addr_info", ())
            ]
        )
        for one in snapshot.addresses
        if one.get("ifname")
    }


#: What `ip route` says of a route that is the world's doing, and words that take a value of that kind.
RESTLESS_ROUTE_WORDS = {"linkdown", "dead", "offload", "rt_offload", "offload_failed", "rt_trap", "trap"}


def still_route(line: str) -> str:
    """A route without what changes by itself: whether its cable is plugged in, when it ends."""
    words = line.replace("\\", " ").split()
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in {"expires", "age"}:
            skip = True
        elif word not in RESTLESS_ROUTE_WORDS:
            kept.append(word)
    return " ".join(kept)


def _routes(lines: Iterable[str]) -> list[str]:
    return [still_route(line) for line in lines]


def _still(ruleset: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """A ruleset without counters, and without the elements that sets gain and lose by themselves."""
    for entry in ruleset:
        if "metainfo" not in entry:
            yield {
                kind: _without_counts(value) if isinstance(value, dict) else value
                for kind, value in entry.items()
            }


def _without_counts(thing: Mapping[str, Any]) -> dict[str, Any]:
    restless = {"packets", "bytes", "expires", "used"}
    if thing.get("timeout") or {"timeout", "dynamic"} & set(thing.get("flags", ())):
        restless |= {"elem"}  # a set that rules, or time, fill and empty
    return {key: _calm(value) for key, value in thing.items() if key not in restless}


def _calm(value: Any) -> Any:
    if isinstance(value, dict):
        return _without_counts(value)
    return [_calm(one) for one in value] if isinstance(value, list) else value


def _plain(things: Iterable[Mapping[str, Any]]) -> list[str]:
    return [_text(thing) for thing in things]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _named(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        about = frozenset({name})
        if other is None:
            yield Difference(f"{what} {name}: gone", about)
        elif one is None:
            yield Difference(f"{what} {name}: new", about)
        else:
            yield Difference(f"{what} {name}: {_changed(json.loads(one), json.loads(other))}", about)


def _changed(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
        return ", ".join(f"{key} is {_text(other.get(key))}, was {_text(one.get(key))}" for key in keys)
    return f"are {_brief(other)}, were {_brief(one)}"


def _brief(addresses: Any) -> str:
    words = [
        f"{info['local']}/{info['prefixlen']}"
        + "".join(f" {key}" for key in sorted(info) if info[key] is True)
        for info in addresses
    ]
    return ", ".join(words) or "none"


def _counted(what: str, before: list[str], after: list[str]) -> Iterator[Difference]:
    gone, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
    for text in (one for one in before if one in gone):
        yield Difference(f"{what} gone: {text}", _devices(text))
    for text in (one for one in after if one in new):
        yield Difference(f"{what} new: {text}", _devices(text))


def _devices(text: str) -> frozenset[str]:
    """The interfaces that a route's words, or a rule's or neighbour's JSON, name."""
    words = text.split()
    found = {word for before, word in pairwise(words) if before == "dev"}
    if text.startswith("{"):
        given = json.loads(text)
        found |= {str(given[key]) for key in ("dev", "iif", "oif") if key in given}
    return frozenset(found)
