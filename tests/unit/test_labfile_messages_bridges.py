"""What is said of uplinks, VLANs and IPv6: text in, exact messages out."""

from __future__ import annotations

import pytest

from tests.unit.test_labfile_messages_networks import messages

NETWORKS: dict[str, tuple[str, list[str]]] = {
    "uplink and an address": (
        "a: {kind: bridge, uplink: true, host: 10.1.1.1/24, host6: auto, dhcp: true, nat: true, vlan: 3}",
        [
            "2:41: the host side's address on a bridge with an uplink is the one that its NIC had; leave host out, or uplink",
            "2:61: the host side's addresses on a bridge with an uplink are those that its NIC had; leave host6 out, or uplink",
            "2:73: guests on a bridge with an uplink get their addresses from the outside; leave dhcp out, or uplink",
            "2:84: guests on a bridge with an uplink are seen outside with addresses of their own; leave nat out, or uplink",
            "2:96: the host side of a bridge with an uplink is where the outside is, and that has no tags; leave vlan out, or uplink",
        ],
    ),
    "vlan too large": (
        "a: {kind: bridge, vlan: 4095}",
        ["2:27: 'vlan' cannot be 4095; it takes a VLAN's number, from 1 to 4094"],
    ),
    "vlan of a tap": (
        "a: {kind: tap, vlan: 3}",
        ["2:18: 'vlan' is for kind bridge; this network is kind tap"],
    ),
    "host6 without a prefix": (
        "a: {kind: tap, host6: 'fd00::1'}",
        ["2:25: 'fd00::1' has no prefix length; write fd00::1/64"],
    ),
    "host6 of IPv4": (
        "a: {kind: tap, host6: 10.1.1.1/24}",
        ["2:25: '10.1.1.1' is not an IPv6 address; write one such as fd00:1::1/64"],
    ),
    "host6 of every station": (
        "a: {kind: tap, host6: 'fe80::1/64'}",
        [
            "2:25: fe80::1 is a link-local address, which every station has by itself; take a private one, such as fd00:1::1/64"
        ],
    ),
    "host6 is the network": (
        "a: {kind: tap, host6: 'fd00:1::/64'}",
        [
            "2:25: fd00:1:: is the network itself (its routers' anycast); fd00:1::1/64 would be its first address"
        ],
    ),
    "host6 prefix": (
        "a: {kind: tap, host6: 'fd00::1/129'}",
        ["2:25: '/129' is not a prefix length; 1 to 128, such as fd00::1/64"],
    ),
    "dhcp of a prefix that nobody can make addresses of": (
        "a: {kind: bridge, host: 10.1.1.1/24, dhcp: true, host6: 'fd00::1/48'}",
        [
            "2:59: stations make themselves addresses (SLAAC) of a /64 only, and fd00::1/48 is none; write fd00::1/64"
        ],
    ),
}


@pytest.mark.parametrize("text, expected", NETWORKS.values(), ids=NETWORKS)
def test_network(text: str, expected: list[str]) -> None:
    uplink = "host: {uplink: simulated}\n" if "uplink" in text else ""
    said = messages(f"networks:\n  {text}\n{uplink}machines:\n  vm1:\n")
    assert said == expected


LABS: dict[str, tuple[str, list[str]]] = {
    "no NIC for the port": (
        "networks:\n  pub: {kind: bridge, uplink: true}\nmachines: {vm1: }\n",
        ["2:31: the host side has no NIC that could be a port of 'pub'; add host: {uplink: simulated}"],
    ),
    "sockets are no NIC": (
        "host: {uplink: internet}\nnetworks:\n  pub: {kind: bridge, uplink: true}\nmachines: {vm1: }\n",
        [
            "3:31: no NIC can be a port of 'pub': uplink: internet is the real network through ordinary sockets, which "
            "carry no frames; write host: {uplink: simulated}; or here host: 10.1.1.1/24 with nat: true"
        ],
    ),
    "one NIC, two bridges": (
        "host: {uplink: simulated}\nnetworks:\n  a: {kind: bridge, uplink: true}\n"
        "  b: {kind: bridge, uplink: true}\nmachines: {vm1: }\n",
        [
            "4:29: the host side's NIC is a port of 'a' already (at 3:29), and can be of one only; put the machines of 'b' on 'a'"
        ],
    ),
    "VLANs elsewhere": (
        "networks: {t: {kind: tap}}\nmachines:\n  vm1: {nics: [{network: t, vlan: 10, trunk: [20]}]}\n",
        [
            "3:35: a VLAN is for a port of a bridge, and 't' is of kind tap; leave 'vlan' out, or make it a bridge",
            "3:46: a VLAN is for a port of a bridge, and 't' is of kind tap; leave 'trunk' out, or make it a bridge",
        ],
    ),
    "VLANs twice": (
        "networks: {b: {kind: bridge}}\nmachines:\n  vm1: {nics: [{network: b, vlan: 10, trunk: [10, 20, 20, 0]}]}\n",
        [
            "3:47: VLAN 10 is the card's vlan; name each once: in vlan without tags, or in trunk with them",
            "3:55: trunk has 20 twice; name each once: in vlan without tags, or in trunk with them",
            "3:59: an item of 'trunk' cannot be 0; it takes a VLAN's number, from 1 to 4094",
        ],
    ),
    "IPv6 addresses": (
        "networks:\n  a: {kind: bridge, host6: 'fd00:1::1/64'}\n  b: {kind: bridge, host6: 'fd00:1::2/48'}\n"
        "machines:\n"
        "  vm1: {nics: [{network: a, address6: 'fd00:1::5/64'}, {network: a, address6: 'fd00:1::1/64'}]}\n"
        "  vm2: {nics: [{network: a, address6: 'fd00:1::5/64'}, {network: a, address6: 'fd00:2::5/64'}]}\n"
        "  vm3: {nics: [{network: a, gateway6: 'fd00:1::1'}, {network: a, address6: 'fd00:1::6/64', gateway6: 'fd00:3::1'}]}\n",
        [
            "3:28: network 'b' (fd00:1::/48) overlaps 'a' (fd00:1::/64, at 2:28); give each a range of its own",
            "5:79: fd00:1::1 is the host's own address on 'a'; take another one",
            "6:39: 'vm2' and 'vm1' (at 5:39) have the same address fd00:1::5; give each its own on 'a'",
            "6:79: fd00:2::5 is not in fd00:1::/64, the range of 'a'; an address of that range, such as fd00:1::2/64",
            "7:39: a gateway is written, and no IPv6 address; add address6:, or leave both to dhcp",
            "7:102: fd00:3::1 is not in fd00:1::/64; the gateway is in the address's network",
        ],
    ),
    "a station of the outside": (
        "host: {uplink: simulated}\nnetworks: {pub: {kind: bridge, uplink: true}}\nmachines:\n"
        "  vm1: {nics: [{network: pub, address: 198.51.100.2/24}]}\n"
        "  vm2: {nics: [{network: pub, address: 10.0.0.2/24}]}\n",
        [
            "4:40: 198.51.100.2 is the host's own address on 'pub'; take another one",
            "5:40: 10.0.0.2 is not in 198.51.100.0/24, the range of 'pub'; an address of that range, such as 198.51.100.3/24",
        ],
    ),
}


@pytest.mark.parametrize("text, expected", LABS.values(), ids=LABS)
def test_lab(text: str, expected: list[str]) -> None:
    assert messages(text) == expected
