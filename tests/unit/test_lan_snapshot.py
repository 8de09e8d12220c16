"""What counts as a difference of a host's network, and what changes by itself; why a NIC is refused."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.test_lan_lines import PLAIN, RA, address, host, link
from vmlan.plan.lan_facts import NicFacts, refusals, unknown_words
from vmlan.plan.lan_snapshot import Snapshot, differences, find_differences, labs_interfaces, without

BUSY = replace(
    PLAIN,
    links=(*PLAIN.links, link("own0", linkinfo={"info_kind": "bridge", "info_data": {"gc_timer": 1.0, "stp_state": 0}})),
    routes6=(RA,),
    rules4=({"priority": 5, "src": "all", "table": "9"},),
    neighbours=({"dst": "198.51.100.9", "dev": "eth0", "lladdr": "02:00:00:00:00:01", "state": ["REACHABLE"]},),
    sysctls={"ipv4/conf/eth0/rp_filter": "1"},
    nft=({"metainfo": {"version": "1"}}, {"rule": {"table": "t", "expr": [{"counter": {"packets": 1, "bytes": 9}}]}},
         {"set": {"table": "t", "name": "seen", "flags": ["dynamic"], "elem": ["192.0.2.1"]}}),
)  # fmt: skip


def changed(path: str, value: object) -> Snapshot:
    """The busy host with one thing deep in it changed: `links.1.mtu`."""
    first, *rest = path.split(".")
    whole = copy.deepcopy(getattr(BUSY, first))
    whole = list(whole) if isinstance(whole, tuple) else whole
    thing: Any = whole
    for part in rest[:-1]:
        thing = thing[int(part) if part.isdigit() else part]
    last = rest[-1]
    thing[int(last) if last.isdigit() else last] = value
    return replace(BUSY, **{first: tuple(whole) if isinstance(whole, list) else whole})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("links.1.operstate", "DOWN"),
        ("links.1.flags", ["BROADCAST", "MULTICAST", "UP", "NO-CARRIER"]),
        ("links.1.promiscuity", 1),
        ("links.3.linkinfo.info_data.gc_timer", 99.0),
        ("addresses.0.addr_info.0.valid_life_time", 5),
        ("addresses.0.addr_info.0.deprecated", True),
        (
            "routes4.0",
            "unicast default via 198.51.100.1 dev eth0 table main proto boot scope global dead linkdown",
        ),
        ("routes6.0", RA.replace("1700sec", "3sec")),
        ("neighbours.0.state", ["STALE"]),
        ("nft.1.rule.expr", [{"counter": {"packets": 7, "bytes": 99}}]),
        ("nft.2.set.elem", []),
    ],
)
def test_what_changes_by_itself_is_no_difference(path: str, value: object) -> None:
    assert differences(BUSY, changed(path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("links.1.mtu", 9000, "interface eth0: mtu is 9000, was 1500"),
        ("links.1.master", "br0", 'interface eth0: master is "br0", was null'),
        ("links.3.linkinfo.info_data.stp_state", 1, "interface own0: linkinfo"),
        ("addresses.0.addr_info", [], "the addresses of eth0: are none, were 198.51.100.50/24"),
        ("addresses.0.addr_info.0.nodad", True, "the addresses of eth0: are 198.51.100.50/24 nodad"),
        (
            "routes4.0",
            "unicast default via 198.51.100.2 dev eth0",
            "IPv4 route gone: unicast default via 198.51.100.1",
        ),
        ("routes6.0", RA.replace("metric 1024", "metric 5"), "IPv6 route gone"),
        ("rules4.0.table", "main", "IPv4 rule gone"),
        ("neighbours.0.state", ["PERMANENT"], "neighbour new"),
        ("sysctls.ipv4/conf/eth0/rp_filter", "0", "sysctl net/ipv4/conf/eth0/rp_filter is 0, was 1"),
        ("nft.1.rule.expr", [{"drop": None}], "nft gone"),
    ],
)
def test_what_somebody_did_is_one(path: str, value: object, said: str) -> None:
    found = differences(BUSY, changed(path, value))
    assert found and found[0].startswith(said), found


def test_a_difference_says_which_interfaces_it_is_about() -> None:
    for path, value in (("links.1.mtu", 9), ("addresses.0.addr_info", []), ("routes4.0", "unicast default dev eth0"),
                        ("sysctls.ipv4/conf/eth0/rp_filter", "0")):  # fmt: skip
        assert all("eth0" in one.about for one in find_differences(BUSY, changed(path, value)))


def test_the_order_of_addresses_counts_and_that_of_routes_does_not() -> None:
    one, two = address("198.51.100.1", 24), address("198.51.100.2", 24)
    assert differences(host([one, two]), host([two, one]))
    assert not differences(host([], "a dev x\nb dev y"), host([], "b dev y\na dev x"))


def test_a_snapshot_comes_back_from_text_as_it_was() -> None:
    back = Snapshot.from_json(BUSY.to_json())
    assert differences(BUSY, back) == [] and back.at == BUSY.at
    assert back.addresses_of("eth0", "inet") == BUSY.addresses_of("eth0", "inet")
    assert Snapshot.from_json(replace(BUSY, nft=None).to_json()).nft is None


def test_what_other_steps_of_labs_make_is_not_the_nics_doing() -> None:
    ours = link("lan", altnames=["vmlan-x.lan"])
    after = replace(
        BUSY,
        links=(*BUSY.links, ours, link("br0", altnames=["vmlan-x.br0"])),
        addresses=(*BUSY.addresses, {"ifname": "lan", "addr_info": [address("10.2.0.1", 24)]}),
        routes4=(*BUSY.routes4, "unicast 10.2.0.0/24 dev lan table main proto kernel scope link src 10.2.0.1"),
        nft=(*(BUSY.nft or ()), {"table": {"family": "ip", "name": "vmlan_x.lan"}}, {"chain": {"table": "vmlan_x.lan"}}),
        sysctls={**BUSY.sysctls, "ipv4/ip_forward": "1"},
    )  # fmt: skip
    labs = labs_interfaces(BUSY, "br0") | labs_interfaces(after, "br0")
    assert labs == {"lan"}
    assert differences(without(BUSY, labs), without(after, labs)) == ["interface br0: new"]


def test_nor_is_a_nic_that_another_lab_has_made_a_port() -> None:
    """In between, a route by both NICs is neither's alone: it is compared."""
    both = "unicast 192.0.2.128/25 nexthop via 198.51.100.1 dev eth0 nexthop via 192.0.2.34 dev {}"
    its_own = "unicast default via 192.0.2.34 dev {} metric 200"
    before = replace(
        PLAIN,
        links=(*PLAIN.links, link("eth1")),
        addresses=(*PLAIN.addresses, {"ifname": "eth1", "addr_info": [address("192.0.2.33", 28)]}),
        routes4=(*PLAIN.routes4, both.format("eth1"), its_own.format("eth1")),
    )
    after = replace(
        before,
        links=(*PLAIN.links, link("eth1", master="pub2"), link("pub2", altnames=["vmlan-x.pub2"])),
        addresses=(*PLAIN.addresses, {"ifname": "pub2", "addr_info": [address("192.0.2.33", 28)]}),
        routes4=(*PLAIN.routes4, both.format("pub2"), its_own.format("pub2")),
    )
    labs = labs_interfaces(before, "br0") | labs_interfaces(after, "br0")
    assert labs == {"pub2", "eth1"}
    assert differences(without(before, labs), without(after, labs)) == [
        f"IPv4 route gone: {both.format('eth1')}",
        f"IPv4 route new: {both.format('pub2')}",
    ]


# Refusals


def why(snapshot: Snapshot = PLAIN, nic: str = "eth0", **facts: Any) -> list[str]:
    return [one.what for one in refusals(snapshot, nic, NicFacts(**facts), "br0")]


def with_link(name: str = "eth0", **more: Any) -> Snapshot:
    others = [one for one in PLAIN.links if one["ifname"] != name]
    return replace(PLAIN, links=(*others, link(name, **more)))


def test_an_ordinary_nic_is_not_refused() -> None:
    assert why() == []
    assert why(dhcp_clients=("dhclient",)) == []


def test_each_refusal_has_a_way_out() -> None:
    for found in refusals(
        with_link(master="br1", flags=["UP", "NO-CARRIER"]), "eth0", NicFacts(wireless=True), "lo"
    ):
        assert found.what and found.hint


@pytest.mark.parametrize(
    ("snapshot", "facts", "said"),
    [
        (PLAIN, {"wireless": True}, "is Wi-Fi"),
        (with_link(link_type="loopback"), {}, "is no Ethernet interface (loopback)"),
        (with_link(link_type="none", linkinfo={"info_kind": "wireguard"}), {}, "is no Ethernet interface"),
        (with_link(linkinfo={"info_kind": "tun"}), {}, "tap or tun"),
        (with_link(linkinfo={"info_kind": "bridge"}), {}, "is a bridge itself"),
        (with_link(linkinfo={"info_kind": "bond"}), {}, "of kind bond"),
        (with_link(linkinfo={"info_kind": "macvlan"}), {}, "is a macvlan"),
        (with_link(master="bond0"), {}, "is a port of bond0 already"),
        (with_link("mac0", link="eth0", linkinfo={"info_kind": "macvlan"}), {}, "mac0 (macvlan) stands on eth0"),
        (with_link("eth0.5", link="eth0", linkinfo={"info_kind": "vlan"}), {}, "eth0.5 (vlan) stands on eth0"),
        (with_link("br0"), {}, "has an interface br0 already"),
        (with_link("own0", altnames=["br0"]), {}, "has an interface br0 already"),
        (with_link(flags=["BROADCAST"]), {}, "is down"),
        (with_link(flags=["UP", "NO-CARRIER"]), {}, "no carrier"),
        (PLAIN, {"manager": "NetworkManager"}, "NetworkManager manages eth0"),
        (PLAIN, {"manager": "systemd-networkd"}, "systemd-networkd manages eth0"),
        (PLAIN, {"supplicant": True}, "802.1X"),
        (with_link(inet6_addr_gen_mode="stable_secret"), {}, "of a secret"),
        (host([], "unicast default nhid 5 via 192.0.2.1 dev eth0 table main"), {}, "says 'nhid'"),
        (host([], "unicast default encap mpls 5 via 192.0.2.1 dev eth0 table main"), {}, "says 'encap'"),
        (host([], rules4=({"iif": "eth0", "src": "all", "priority": 1, "novelty": 5},)), {}, "does not know"),
        (host([], "", "unicast default via fe80::1 dev eth0 table main proto static metric 9\n"
              "unicast default via fe80::2 dev eth1 table main proto static metric 9"), {}, "would become one"),
    ],
)  # fmt: skip
def test_what_is_refused(snapshot: Snapshot, facts: dict[str, Any], said: str) -> None:
    assert any(said in reason for reason in why(snapshot, **facts)), why(snapshot, **facts)


def test_a_misspelt_nic_is_suggested() -> None:
    [found] = refusals(PLAIN, "eth00", NicFacts(), "br0")
    assert found.what == "this host has no NIC eth00" and found.hint == "did you mean eth0?"


def test_veths_that_meet_in_another_namespace_are_no_children() -> None:
    assert why(with_link("veth1", link="eth0", linkinfo={"info_kind": "veth"})) == []


@pytest.mark.parametrize(
    "text",
    [
        "unicast default via inet6 fe80::9 dev eth0 table main proto boot scope global mtu lock 1300 advmss 9 rto_min lock 5ms",
        "10.0.0.0/8 dev eth0 onlink realms 5 congctl cubic quickack 1",
        RA,
    ],
)
def test_words_of_routes_that_are_known(text: str) -> None:
    assert unknown_words(text.split()) == []
