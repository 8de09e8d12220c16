"""The lines for `ip` that make a NIC what it was, from whatever is there now.

Standard library only, and pure: the guard (`host.lan.guard`) works out the way back from what it finds. See
`lan_lines` for the way there, and for the order in which it takes things away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmlan.plan.lan_lines import (
    FAMILIES,
    add_address,
    addrgenmode,
    after,
    delete_address,
    has_ended,
    identity,
    in_order,
    is_advertised,
    missing_routes,
    moved_routes,
    neighbour_key,
    neighbour_words,
    rule_words,
    rules_for,
    same,
    stand_in,
    through,
    words_of,
)
from vmlan.plan.lan_snapshot import Snapshot, is_ours


def from_bridge(
    before: Snapshot, now: Snapshot, nic: str, bridge: str, elapsed: float = 0.0
) -> dict[str, list[str]]:
    """The lines, for `ip` and for `ip -6`, that make the NIC what it was, from whatever is there now.

    `elapsed` seconds have passed since `before`. They run with `-force`, may be run again, and each only
    does what is not so already. Nothing of others is touched: not a bridge that we did not make, not the
    addresses that somebody gave the NIC meanwhile.
    """
    mine = is_our_bridge(before, now, bridge, nic)
    lines: list[str] = []
    link = now.link(nic)
    if link is None:  # it was unplugged; and at a line that names it, `ip` ends in spite of `-force`
        lines += _routes_over(before, now, nic, bridge)
    else:
        for family in FAMILIES:
            lines += _addresses_back(before, now, nic, bridge, family, elapsed)
        lines += _neighbours_back(before, now, nic, bridge, elapsed)
        lines += _routes_back(before, now, nic, bridge, elapsed)
    rules = {family: _rules_back(before, now, nic, bridge, family) for family in FAMILIES}
    lines += rules["inet"]
    if link is not None and addrgenmode(before, nic) not in {"", addrgenmode(now, nic)}:
        lines.append(f"link set dev {nic} addrgenmode {addrgenmode(before, nic)}")
    if mine:
        lines.append(f"addr flush dev {bridge}")  # its routes go, and what the host sends leaves by the NIC
        if link is not None and link.get("master") == bridge:
            lines.append(f"link set dev {nic} nomaster")
        lines.append(f"link del dev {bridge}")
    return {"ip": lines, "ip -6": rules["inet6"]}


#: How long what the NIC knew of its neighbours is better than nothing (seconds).
_FRESH = 300.0


def _neighbours_back(before: Snapshot, now: Snapshot, nic: str, bridge: str, elapsed: float) -> Iterator[str]:
    """The neighbours that somebody set, and those that the bridge knows now, or the NIC knew just before.

    The NIC forgot its own when it lost its addresses (net/ipv4/fib_frontend.c, fib_disable_ip). While it is
    still a port, the answer to a question that it asks would come in by the bridge, and it asks again only
    after 1 s.
    """
    there = {neighbour_key(one) for one in now.neighbours if one.get("dev") == nic and "lladdr" in one}
    found = [(one, dict(one)) for one in before.set_neighbours() if one.get("dev") == nic]
    sources = [(bridge, now)] + ([(nic, before)] if elapsed < _FRESH else [])
    for dev, snapshot in sources:
        found += [(one, {**one, "state": ["STALE"]}) for one in snapshot.neighbours if _is_known(one, dev)]
    for one, entry in found:
        if neighbour_key(one) not in there:
            there.add(neighbour_key(one))
            yield neighbour_words("replace", entry, nic)


def _is_known(one: Mapping[str, Any], dev: str) -> bool:
    return one.get("dev") == dev and "lladdr" in one and not {"NOARP", "FAILED"} & set(one.get("state", ()))


def is_our_bridge(before: Snapshot, now: Snapshot, bridge: str, nic: str) -> bool:
    """Whether the bridge that is there now is the one that the change made.

    It was not there before, and has our mark; or, where the change ended before it could be marked, the
    NIC's MAC.
    """
    link, port = now.link(bridge), before.link(nic)
    if link is None or before.link(bridge) is not None:
        return False
    if link.get("linkinfo", {}).get("info_kind") != "bridge":
        return False
    return is_ours(link) or (port is not None and link.get("address") == port.get("address"))


def _addresses_back(
    before: Snapshot, now: Snapshot, nic: str, bridge: str, family: str, elapsed: float
) -> Iterator[str]:
    """What is missing is added; where something else stands between, all from there on is added anew."""
    on_bridge = {identity(info): info for info in now.addresses_of(bridge, family)}
    wanted = in_order(before.addresses_of(nic, family))
    there = in_order(now.addresses_of(nic, family))
    whole = 0
    while whole < min(len(wanted), len(there)) and identity(wanted[whole]) == identity(there[whole]):
        whole += 1
    keys = {identity(info) for info in wanted[whole:]}
    for info in reversed(there[whole:]):
        if identity(info) in keys:
            yield delete_address(info, nic)
    for info in wanted[whole:]:
        lives = on_bridge.get(identity(info))  # its lifetimes went on there, or were renewed
        if lives is not None:
            times = ("valid_life_time", "preferred_life_time")
            yield from add_address({**info, **{key: lives[key] for key in times if key in lives}}, nic, nic)
        elif not has_ended(info, elapsed):
            yield from add_address(info, nic, nic, elapsed)


def _routes_back(before: Snapshot, now: Snapshot, nic: str, bridge: str, elapsed: float) -> Iterator[str]:
    """What is missing is added behind the bridge's, which are then taken away, last first.

    So the way that packets take is never another but the one or the other. In IPv6 a route would join the one
    that it is added to, so that it follows it. What leads through the bridge alone would go with it; a route
    with several ways would not.
    """
    for family in FAMILIES:
        there = {same(words_of(line)) for line in now.routes(family)}
        leave: list[str] = []
        for words in moved_routes(before, nic, family):
            if is_advertised(words):
                yield from _advertised_back(words, there, elapsed)
                continue
            over = through(words, nic, bridge)
            if same(over) in there:
                leave.append(f"route del {' '.join(same(over))}")
            if family == "inet6":
                yield from leave
                leave = []
            if same(words) not in there:
                yield f"route append {' '.join(after(words, elapsed))}"
        yield from reversed(leave)
        yield from (f"route del {each} dev {nic}" for each in missing_routes(before, nic, family))


def _routes_over(before: Snapshot, now: Snapshot, nic: str, bridge: str) -> Iterator[str]:
    """What led through a NIC that is gone is taken away from the bridge, and nobody gets it."""
    for family in FAMILIES:
        there = {same(words_of(line)) for line in now.routes(family)}
        for words in reversed(moved_routes(before, nic, family)):
            if (over := same(through(words, nic, bridge))) in there:
                yield f"route del {' '.join(over)}"


def _advertised_back(words: list[str], there: set[tuple[str, ...]], elapsed: float) -> Iterator[str]:
    """The kernel makes the route again with the next advertisement; until then, another stands in for it."""
    instead = stand_in(words)
    if same(words) not in there and same(instead) not in there:
        yield f"route append {' '.join(after(instead, elapsed))}"
    elif same(words) in there and same(instead) in there:
        yield f"route del {' '.join(same(instead))}"


def waits_for_advertisement(before: Snapshot, now: Snapshot, nic: str) -> bool:
    """Whether a route of the NIC is missing that only a router's advertisement brings back."""
    there = {same(words_of(line)) for line in now.routes6}
    moved = moved_routes(before, nic, "inet6")
    return any(is_advertised(words) and same(words) not in there for words in moved)


def _rules_back(before: Snapshot, now: Snapshot, nic: str, bridge: str, family: str) -> list[str]:
    wanted = [rule_words(rule) for rule in before.rules(family)]
    there = [rule_words(rule) for rule in now.rules(family)]
    return [
        f"rule del {words}"
        for words in rules_for(before, nic, bridge, family)
        if there.count(words) > wanted.count(words)
    ]


def all_moved(before: Snapshot, nic: str, bridge: str) -> Snapshot:
    """What there would be if the whole change had been made: for a way back when nothing can be read."""
    link = dict(before.link(nic) or {})
    port = {**link, "master": bridge, "inet6_addr_gen_mode": "none"}
    over = {"ifname": bridge, "address": link.get("address"), "linkinfo": {"info_kind": "bridge"}}
    others = tuple(one for one in before.links if one["ifname"] != nic)
    return Snapshot(links=(*others, port, over))
