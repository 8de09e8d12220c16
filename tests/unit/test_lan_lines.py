"""A NIC's addresses, routes and rules as lines for `ip`: the way to the bridge, and the way back from anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vmlan.plan import lan, lan_back, lan_lines
from vmlan.plan.lan_snapshot import Snapshot
from vmlan.plan.steps import Interfaces

FOREVER = 4294967295


def address(local: str, plen: int, **more: Any) -> dict[str, Any]:
    family = "inet6" if ":" in local else "inet"
    scope = "link" if local.startswith("fe80") else "global"
    label = {"label": "eth0"} if family == "inet" else {}
    lives = {"valid_life_time": FOREVER, "preferred_life_time": FOREVER}
    return {"family": family, "local": local, "prefixlen": plen, "scope": scope, **label, **lives, **more}


def link(name: str, **more: Any) -> dict[str, Any]:
    flags = ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"]
    mac = {"address": "52:54:00:aa:00:01", "mtu": 1500, "inet6_addr_gen_mode": "eui64"}
    return {"ifname": name, "flags": flags, "link_type": "ether", **mac, **more}


def host(addresses: list[dict[str, Any]], routes4: str = "", routes6: str = "", **more: Any) -> Snapshot:
    return Snapshot(
        links=(link("lo"), link("eth0"), link("eth1", address="52:54:00:aa:00:02")),
        addresses=({"ifname": "eth0", "addr_info": addresses},),
        routes4=tuple(routes4.strip().splitlines()),
        routes6=tuple(routes6.strip().splitlines()),
        **more,
    )


PLAIN = host(
    [address("198.51.100.50", 24, broadcast="198.51.100.255")],
    "unicast default via 198.51.100.1 dev eth0 table main proto boot scope global\n"
    "unicast 198.51.100.0/24 dev eth0 table main proto kernel scope link src 198.51.100.50\n"
    "local 198.51.100.50 dev eth0 table local proto kernel scope host src 198.51.100.50",
)


def lines(snapshot: Snapshot) -> list[str]:
    return [line for _, _, some in lan_lines.to_bridge(snapshot, "eth0", "br0") for line in some]


def test_the_plainest_host() -> None:
    assert lines(PLAIN) == [
        "addr add 198.51.100.50/24 broadcast 198.51.100.255 scope global dev br0",
        "link set dev eth0 addrgenmode none master br0",
        "route append unicast default via 198.51.100.1 dev br0 table main proto boot scope global",
        "route del unicast default via 198.51.100.1 dev eth0 table main proto boot scope global",
        "addr del 198.51.100.50/24 dev eth0",
        "link set dev br0 addrgenmode eui64",
    ]


def test_nothing_is_taken_away_before_its_replacement_is_there() -> None:
    found = lines(PLAIN)
    for taken, given in (("route del", "route append"), ("addr del", "addr add")):
        first = next(n for n, line in enumerate(found) if line.startswith(taken))
        assert all(n < first for n, line in enumerate(found) if line.startswith(given))


def test_what_is_taken_away_is_taken_last_first() -> None:
    many = host([address("198.51.100.50", 24), address("198.51.100.51", 24, secondary=True)])
    assert [line for line in lines(many) if line.startswith("addr del")] == [
        "addr del 198.51.100.51/24 dev eth0",
        "addr del 198.51.100.50/24 dev eth0",
    ]
    six = host([address("2001:db8::2", 64), address("2001:db8::1", 64)])  # the newest is listed first
    assert [line for line in lines(six) if line.startswith("addr del")] == [
        "addr del 2001:db8::2/64 dev eth0",
        "addr del 2001:db8::1/64 dev eth0",
    ]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (address("192.0.2.1", 24, valid_life_time=100, preferred_life_time=5), "192.0.2.1/24 scope global valid_lft 90 preferred_lft 0"),
        (address("192.0.2.1", 24, label="eth0:1"), "192.0.2.1/24 scope global label br0:1"),
        (address("192.0.2.1", 24, label="eth0:fourteen-chars"), "192.0.2.1/24 scope global"),
        (address("192.0.2.1", 32, address="192.0.2.2", metric=7), "192.0.2.1 peer 192.0.2.2/32 scope global metric 7"),
        (address("192.0.2.1", 24, noprefixroute=True), "192.0.2.1/24 scope global noprefixroute"),
        (address("2001:db8::1", 64, mngtmpaddr=True), "2001:db8::1/64 mngtmpaddr"),
        (address("2001:db8::1", 64, protocol="kernel_ra"), "2001:db8::1/64 proto kernel_ra"),
    ],
)  # fmt: skip
def test_an_address_as_ip_takes_it(info: dict[str, Any], words: str) -> None:
    assert lan_lines.address_words(info, "eth0", "br0", elapsed=10) == words


def test_an_ipv6_address_is_usable_at_once_and_looks_as_it_did() -> None:
    assert lan_lines.add_address(address("2001:db8::1", 64), "eth0", "br0") == [
        "addr add 2001:db8::1/64 dev br0 nodad",
        "addr change 2001:db8::1/64 dev br0",
    ]
    assert lan_lines.add_address(address("2001:db8::1", 64, nodad=True), "eth0", "br0") == [
        "addr add 2001:db8::1/64 dev br0 nodad"
    ]


def test_a_route_keeps_every_word_but_its_interface_and_what_is_the_worlds_doing() -> None:
    text = "unicast 203.0.113.0/24 via 198.51.100.9 dev eth0 table 9 proto static scope global src 198.51.100.50 metric 5 mtu lock 1300 onlink linkdown"
    [words] = lan_lines.moved_routes(host([], text), "eth0", "inet")
    assert " ".join(lan_lines.through(words, "eth0", "br0")) == text.replace("eth0", "br0").removesuffix(
        " linkdown"
    )


def test_of_a_route_with_two_ways_only_ours_moves() -> None:
    text = "unicast 192.0.2.0/24 table main proto boot scope global \\\tnexthop via 198.51.100.1 dev eth0 weight 2 \\\tnexthop via 192.0.2.34 dev eth1 weight 1"
    [words] = lan_lines.moved_routes(host([], text), "eth0", "inet")
    assert lan_lines.devices(lan_lines.through(words, "eth0", "br0")) == {"br0", "eth1"}


def test_routes_that_come_with_an_address_are_left_to_it_and_others_of_the_kernels_are_moved() -> None:
    snapshot = host(
        [address("198.51.100.50", 24), address("192.0.2.1", 24, noprefixroute=True)],
        "unicast 198.51.100.0/24 dev eth0 table main proto kernel scope link src 198.51.100.50\n"
        "unicast 192.0.2.0/24 dev eth0 table main proto kernel scope link src 192.0.2.1 metric 100",
    )
    assert [words[1] for words in lan_lines.moved_routes(snapshot, "eth0", "inet")] == ["192.0.2.0/24"]


def test_a_route_that_somebody_took_away_from_an_address_is_missing_on_the_bridge_too() -> None:
    bare = host([address("198.51.100.50", 24)])
    assert "route del 198.51.100.0/24 proto kernel dev br0" in lines(bare)
    assert (
        "route del 198.51.100.0/24 proto kernel dev eth0"
        in lan_back.from_bridge(bare, bare, "eth0", "br0")["ip"]
    )


def test_gateways_come_after_the_routes_that_reach_them() -> None:
    text = (
        "unicast default via 10.0.0.1 dev eth0 table main proto boot scope global\n"
        "unicast 10.0.0.1 dev eth0 table main proto boot scope link"
    )
    assert [words[1] for words in lan_lines.moved_routes(host([], text), "eth0", "inet")] == [
        "10.0.0.1",
        "default",
    ]


RA = "unicast default via fe80::1 dev eth0 table main proto ra scope global metric 1024 expires 1700sec hoplimit 64 pref medium"


def test_a_route_of_an_advertisement_is_stood_in_for_since_its_copy_would_stop_all_advertisements() -> None:
    snapshot = host([], "", RA)
    moved = [line for line in lines(snapshot) if line.startswith("route")]
    assert moved == [
        "route del unicast default via fe80::1 dev eth0 table main proto ra scope global metric 1024 hoplimit 64 pref medium",
        "route append unicast default via fe80::1 dev br0 table main proto static scope global metric 1025 expires 1700 hoplimit 64 pref medium",
    ]
    gone = replace(snapshot, routes6=())
    assert lan_back.waits_for_advertisement(snapshot, gone, "eth0")
    [back] = lan_back.from_bridge(snapshot, gone, "eth0", "br0", elapsed=100)["ip"]
    assert back == moved[1].replace("br0", "eth0").replace("1700", "1600")
    both = replace(snapshot, routes6=(RA, back.removeprefix("route append ")))
    assert not lan_back.waits_for_advertisement(snapshot, both, "eth0")
    [line] = lan_back.from_bridge(snapshot, both, "eth0", "br0")["ip"]
    assert line.startswith("route del unicast default via fe80::1 dev eth0 table main proto static")


def test_the_route_of_a_prefix_whose_addresses_all_end_does_not_go_with_them() -> None:
    kernel = "unicast 2001:db8::/64 dev eth0 table main proto kernel scope global metric 256 expires 500sec pref medium"
    ends = address("2001:db8::1", 64, dynamic=True, valid_life_time=500, preferred_life_time=400)
    assert lan_lines.stale_routes(host([ends], "", kernel), "eth0") == [
        "2001:db8::/64 dev eth0 proto kernel metric 256"
    ]
    assert lan_lines.stale_routes(host([ends, address("2001:db8::2", 64)], "", kernel), "eth0") == []


def test_rules_that_name_the_nic_are_made_for_the_bridge_too() -> None:
    rules = (
        {"priority": 5, "src": "all", "iif": "eth0", "fwmark": "0x1", "fwmask": "0xf", "table": "9"},
        {"priority": 6, "not": None, "src": "192.0.2.0", "srclen": 24, "oif": "eth0", "dport_start": 1, "dport_end": 9, "table": "main"},
        {"priority": 7, "src": "192.0.2.7", "table": "9"},
    )  # fmt: skip
    snapshot = host([], rules4=rules)
    assert lan_lines.rules_for(snapshot, "eth0", "br0", "inet") == [
        "from all fwmark 0x1/0xf iif br0 priority 5 table 9",
        "not from 192.0.2.0/24 oif br0 priority 6 table main dport 1-9",
    ]
    assert lan_lines.rule_words({"priority": 1, "src": "all", "something": 3}) is None
    with_ours = replace(snapshot, rules4=(*rules, {**rules[0], "iif": "br0"}))
    assert lan_back.from_bridge(snapshot, with_ours, "eth0", "br0")["ip"] == [
        "rule del from all fwmark 0x1/0xf iif br0 priority 5 table 9"
    ]


# The way back


def test_where_nothing_changed_there_is_no_way_back() -> None:
    assert lan_back.from_bridge(PLAIN, PLAIN, "eth0", "br0") == {"ip": [], "ip -6": []}


def test_from_where_all_has_moved() -> None:
    now = lan_back.all_moved(PLAIN, "eth0", "br0")
    assert lan_back.from_bridge(PLAIN, now, "eth0", "br0")["ip"] == [
        "addr add 198.51.100.50/24 broadcast 198.51.100.255 scope global dev eth0",
        "route append unicast default via 198.51.100.1 dev eth0 table main proto boot scope global",
        "link set dev eth0 addrgenmode eui64",
        "addr flush dev br0",
        "link set dev eth0 nomaster",
        "link del dev br0",
    ]


def test_a_bridge_of_somebody_else_is_left_alone() -> None:
    theirs = link("br0", address="52:54:00:99:00:01", linkinfo={"info_kind": "bridge"})
    assert (
        lan_back.from_bridge(PLAIN, replace(PLAIN, links=(*PLAIN.links, theirs)), "eth0", "br0")["ip"] == []
    )
    before = replace(PLAIN, links=(*PLAIN.links, {**theirs, "altnames": ["vmlan-br0"]}))
    assert lan_back.from_bridge(before, before, "eth0", "br0")["ip"] == []


def test_a_bridge_that_could_not_be_marked_yet_is_known_by_the_nics_mac() -> None:
    ours = link("br0", linkinfo={"info_kind": "bridge"})
    found = lan_back.from_bridge(PLAIN, replace(PLAIN, links=(*PLAIN.links, ours)), "eth0", "br0")["ip"]
    assert found[-1] == "link del dev br0"


def test_a_nic_that_is_gone_is_given_nothing_and_the_bridge_goes_all_the_same() -> None:
    """`ip` would end at the first line that names it, and everything after would stay."""
    several = "unicast 192.0.2.128/25 nexthop via 198.51.100.1 dev {} nexthop via 192.0.2.34 dev eth1"
    before = replace(PLAIN, routes4=(*PLAIN.routes4, several.format("eth0")))
    now = lan_back.all_moved(before, "eth0", "br0")
    links = tuple(one for one in now.links if one["ifname"] != "eth0")
    now = replace(now, links=links, routes4=(several.format("br0"),))
    assert lan_back.from_bridge(before, now, "eth0", "br0")["ip"] == [
        f"route del {several.format('br0')}",
        "addr flush dev br0",
        "link del dev br0",
    ]


def test_a_nic_that_somebody_has_made_a_port_of_another_bridge_stays_there() -> None:
    now = lan_back.all_moved(PLAIN, "eth0", "br0")
    elsewhere = tuple({**one, "master": "own0"} if one["ifname"] == "eth0" else one for one in now.links)
    found = lan_back.from_bridge(PLAIN, replace(now, links=elsewhere), "eth0", "br0")["ip"]
    assert "link set dev eth0 nomaster" not in found and found[-1] == "link del dev br0"


def test_addresses_are_added_so_that_their_order_is_as_it_was() -> None:
    three = [address(f"198.51.100.{n}", 24) for n in (1, 2, 3)]
    before = host(three)

    def back(there: list[dict[str, Any]]) -> list[str]:
        return [
            line.split(" scope")[0].removesuffix(" dev eth0")
            for line in lan_back.from_bridge(before, host(there), "eth0", "br0")["ip"]
            if line.startswith("addr")
        ]

    assert back(three) == []
    assert back(three[:1]) == ["addr add 198.51.100.2/24", "addr add 198.51.100.3/24"]
    assert back(three[1:]) == [  # somebody took the first away: what follows is added anew
        "addr del 198.51.100.3/24", "addr del 198.51.100.2/24",
        "addr add 198.51.100.1/24", "addr add 198.51.100.2/24", "addr add 198.51.100.3/24",
    ]  # fmt: skip
    assert back([*three, address("198.51.100.9", 24)]) == [], "another's address stays"


def test_lifetimes_go_on_and_what_has_ended_does_not_come_back() -> None:
    before = host([address("198.51.100.1", 24, valid_life_time=100, preferred_life_time=100)])
    bare = replace(before, addresses=({"ifname": "eth0", "addr_info": []},))
    assert "valid_lft 60 preferred_lft 60" in lan_back.from_bridge(before, bare, "eth0", "br0", 40)["ip"][0]
    assert not [
        x for x in lan_back.from_bridge(before, bare, "eth0", "br0", 100)["ip"] if x.startswith("addr")
    ]
    renewed = address("198.51.100.1", 24, valid_life_time=3600, preferred_life_time=1800)
    on_bridge = replace(bare, addresses=(*bare.addresses, {"ifname": "br0", "addr_info": [renewed]}))
    assert (
        "valid_lft 3600 preferred_lft 1800"
        in lan_back.from_bridge(before, on_bridge, "eth0", "br0", 200)["ip"][0]
    )


def test_the_nic_gets_the_neighbours_that_the_bridge_knows() -> None:
    known = {"dst": "198.51.100.1", "dev": "br0", "lladdr": "02:00:00:00:00:01", "state": ["REACHABLE"]}
    set_one = {"dst": "198.51.100.7", "dev": "eth0", "lladdr": "02:00:00:00:00:07", "state": ["PERMANENT"]}
    before = replace(PLAIN, neighbours=(set_one,))
    found = lan_back.from_bridge(before, replace(PLAIN, neighbours=(known,)), "eth0", "br0")["ip"]
    assert found == [
        "neigh replace 198.51.100.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent",
        "neigh replace 198.51.100.1 lladdr 02:00:00:00:00:01 dev eth0 nud stale",
    ]


# Steps


def test_the_steps_say_why_and_are_what_runs() -> None:
    switched = replace(
        PLAIN,
        sysctls={"ipv4/conf/eth0/rp_filter": "1", "ipv4/conf/default/rp_filter": "0",
                 "ipv6/conf/eth0/accept_ra": "0", "ipv6/conf/default/accept_ra": "1",
                 "ipv4/conf/eth0/forwarding": "0", "ipv4/conf/default/forwarding": "0"},
        rules6=({"priority": 3, "src": "all", "iif": "eth0", "table": "9"},),
    )  # fmt: skip
    steps = lan.bridged(switched, "eth0", "br0", "lab", altname="vmlan-x.br0")
    assert all(step.reason for step in steps) and len({step.id for step in steps}) == len(steps)
    commands = lan.commands(steps)
    assert [command.argv for command in commands] == [
        ("ip", "-batch", "-"),
        ("sysctl", "-q", "-w", "net/ipv4/conf/br0/rp_filter=0", "net/ipv6/conf/br0/accept_ra=0"),
        ("ip", "-6", "-batch", "-"),
        ("ip", "-batch", "-"),
        ("timeout", "2", "sh", "-c", "until ip link show dev br0 | grep -q 'state UP'; do sleep 0.01; done"),
        ("ip", "-batch", "-"),
        ("sysctl", "-q", "-w", "net/ipv4/conf/br0/rp_filter=1"),
    ]
    first = steps[0]
    assert isinstance(first, Interfaces) and first.lines[:2] == (
        "link add name br0 address 52:54:00:aa:00:01 mtu 1500 type bridge",
        "link property add dev br0 altname vmlan-x.br0",
    )
    printed = [line for step in steps if isinstance(step, Interfaces) for line in step.lines]
    run = [line for command in commands if command.argv[1] == "-batch" for line in command.stdin.splitlines()]
    assert [line for line in run if not line.startswith("#")] == printed


def test_the_preview_says_what_is_reached_by_which_way() -> None:
    said = lan.preview(PLAIN, "eth0", "br0")
    assert (
        said[0] == "this host keeps 198.51.100.50/24, on br0; eth0 becomes a port of it, without an address"
    )
    assert said[1] == "the route through eth0 will lead through br0 (vmlan explain names each)"
    assert lan.ways(PLAIN, "eth0", "br0") == ("default: through 198.51.100.1 on br0, until now through eth0",)
    leased = host([address("198.51.100.50", 24, valid_life_time=900, preferred_life_time=900)])
    assert any("is a lease, which ends in 900 s" in line for line in lan.preview(leased, "eth0", "br0"))


def test_the_preview_of_a_busy_host_is_no_longer_than_that_of_a_plain_one() -> None:
    busy = host(
        [address(f"198.51.100.{n}", 24) for n in range(50, 60)],
        "\n".join(f"unicast 203.0.113.{n} via 198.51.100.1 dev eth0 table main" for n in range(40)),
    )
    said = lan.preview(busy, "eth0", "br0")
    assert said[0].startswith(
        "this host keeps 198.51.100.50/24, 198.51.100.51/24, 198.51.100.52/24 and 7 more"
    )
    assert said[1].startswith("the 40 routes through eth0 will lead through br0")
    assert len(lan.ways(busy, "eth0", "br0")) == 40 and len(said) <= 5


def test_firewall_rules_that_name_the_nic_are_told() -> None:
    match = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}
    rule = {
        "family": "inet",
        "table": "filter",
        "chain": "input",
        "handle": 4,
        "expr": [match, {"accept": None}],
    }
    other = {"family": "inet", "table": "eth0", "name": "eth0", "handle": 1}
    snapshot = replace(PLAIN, nft=({"table": other}, {"rule": rule}))
    assert lan.rules_that_name(snapshot, "eth0") == ["inet filter input"]
    assert any("inet filter input" in line for line in lan.preview(snapshot, "eth0", "br0"))


@pytest.mark.parametrize(
    ("within", "terminal", "may"), [(60, True, True), (60, False, False), (0, False, True), (0, True, True), (-1, True, False),
     (float("nan"), True, False), (float("nan"), False, False)]
)  # fmt: skip
def test_without_a_terminal_nothing_is_changed_unless_there_is_nothing_to_confirm(
    within: float, terminal: bool, may: bool
) -> None:
    assert (lan.why_not_now(within, terminal=terminal) is None) is may
