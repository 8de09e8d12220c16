"""What is said of networks, and of what sections do to each other: text in, exact messages out."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmlan.errors import LabFileError
from vmlan.labfile import loads


def messages(text: str) -> list[str]:
    """Every problem of a file as `LINE:COL: what; hint`."""
    with pytest.raises(LabFileError) as caught:
        loads(text, folder=Path("/labs/x"))
    return [problem.at("").removeprefix(":") for problem in caught.value.problems]


NET: dict[str, tuple[str, list[str]]] = {
    "no kind": (
        "a: {host: 10.1.1.1/24}",
        [
            "2:3: network 'a' has no kind; add kind: tap, bridge, macvtap, user, socket, hub or none",
        ],
    ),
    "kind empty": (
        "a: {kind: }",
        [
            "2:7: 'kind' is empty; write tap, bridge, macvtap, user, socket, hub or none",
        ],
    ),
    "kind unknown": (
        "a: {kind: brigde}",
        [
            "2:13: unknown kind 'brigde'; did you mean 'bridge'?",
        ],
    ),
    "kind far": (
        "a: {kind: xxxxxxx}",
        [
            "2:13: unknown kind 'xxxxxxx'; one of tap, bridge, macvtap, user, socket, hub or none",
        ],
    ),
    "kind a list": (
        "a: {kind: [tap]}",
        [
            "2:13: a kind cannot be a list; it takes tap, bridge, macvtap, user, socket, hub or none",
        ],
    ),
    "only the kind": (
        "a: tap",
        [
            "2:3: network 'a' cannot be 'tap'; write a: {kind: tap}",
        ],
    ),
    "empty": (
        "a:",
        [
            "2:3: network 'a' is empty; write a: {kind: tap}",
        ],
    ),
    "a number": (
        "a: 3",
        [
            "2:3: network 'a' cannot be 3; write a: {kind: tap}",
        ],
    ),
    "key of another kind": (
        "a: {kind: tap, dhcp: true, forward: []}",
        [
            "2:18: 'dhcp' is for kind bridge; this network is kind tap",
            "2:30: 'forward' is for kind user or hub; this network is kind tap",
        ],
    ),
    "host on user": (
        "a: {kind: user, host: 10.1.1.1/24}",
        [
            "2:19: 'host' is for kind tap or bridge; this network is kind user",
        ],
    ),
    "unknown": (
        "a: {kind: bridge, dchp: true}",
        [
            "2:21: unknown key 'dchp'; did you mean 'dhcp'?",
        ],
    ),
    "unknown on socket": (
        "a: {kind: socket, x: 1}",
        [
            "2:21: unknown key 'x'; only 'kind' may stand here",
        ],
    ),
    "network itself": (
        "a: {kind: tap, host: 10.1.1.0/24}",
        [
            "2:24: 10.1.1.0 is the network itself; 10.1.1.1/24 would be its first address",
        ],
    ),
    "broadcast": (
        "a: {kind: tap, host: 10.1.1.255/24}",
        [
            "2:24: 10.1.1.255 is the network's broadcast address; 10.1.1.254/24 would be its last address",
        ],
    ),
    "no prefix": (
        "a: {kind: tap, host: 10.1.1.1}",
        [
            "2:24: '10.1.1.1' has no prefix length; write 10.1.1.1/24",
        ],
    ),
    "mask": (
        "a: {kind: tap, host: 10.1.1.1/255.255.255.0}",
        [
            "2:24: '10.1.1.1/255.255.255.0' has a mask; write the number of its bits, such as 10.1.1.1/24",
        ],
    ),
    "prefix 33": (
        "a: {kind: tap, host: 10.1.1.1/33}",
        [
            "2:24: '/33' is not a prefix length; 1 to 32, such as 10.1.1.1/24",
        ],
    ),
    "prefix 0": (
        "a: {kind: tap, host: 10.1.1.1/0}",
        [
            "2:24: '/0' is not a prefix length; 1 to 32, such as 10.1.1.1/24",
        ],
    ),
    "prefix text": (
        "a: {kind: tap, host: 10.1.1.1/x}",
        [
            "2:24: '/x' is not a prefix length; 1 to 32, such as 10.1.1.1/24",
        ],
    ),
    "not an address": (
        "a: {kind: tap, host: 10.1.1.256/24}",
        [
            "2:24: '10.1.1.256' is not an address; four numbers from 0 to 255, such as 10.1.1.1/24",
        ],
    ),
    "ipv6": (
        "a: {kind: tap, host: 'fd00::1/64'}",
        [
            "2:24: 'fd00::1' is an IPv6 address; here is IPv4, such as 10.1.1.1/24; IPv6 has keys of its own: host6, address6, gateway6",
        ],
    ),
    "float": (
        "a: {kind: tap, host: 10.1}",
        [
            "2:24: 'host' cannot be 10.1; it takes an address with its prefix length, such as 10.1.1.1/24",
        ],
    ),
    "multicast": (
        "a: {kind: tap, host: 224.0.0.1/24}",
        [
            "2:24: 224.0.0.1 is a multicast address, which no station can have; take a private one, such as 10.1.1.1/24",
        ],
    ),
    "loopback": (
        "a: {kind: tap, host: 127.0.0.1/8}",
        [
            "2:24: 127.0.0.1 is a loopback address, which no station can have; take a private one, such as 10.1.1.1/24",
        ],
    ),
    "zero": (
        "a: {kind: tap, host: 0.0.0.1/24}",
        [
            "2:24: 0.0.0.1 is an address of no network, which no station can have; take a private one, such as 10.1.1.1/24",
        ],
    ),
    "reserved": (
        "a: {kind: tap, host: 240.0.0.1/24}",
        [
            "2:24: 240.0.0.1 is a reserved address, which no station can have; take a private one, such as 10.1.1.1/24",
        ],
    ),
    "dhcp without host": (
        "a: {kind: bridge, dhcp: true}",
        [
            "2:27: dhcp needs the host side's address on the network; add one, such as host: 10.1.1.1/24",
        ],
    ),
    "nat without host": (
        "a: {kind: bridge, nat: true}",
        [
            "2:26: nat needs the host side's address on the network; add one, such as host: 10.1.1.1/24",
        ],
    ),
    "dhcp small": (
        "a: {kind: bridge, host: 10.1.1.1/30, dhcp: true}",
        [
            "2:27: 10.1.1.1/30 leaves dhcp too few addresses to give; /29 or larger, such as 10.1.1.1/24",
        ],
    ),
    "dhcp /32": (
        "a: {kind: bridge, host: 10.1.1.1/32, dhcp: true}",
        [
            "2:27: 10.1.1.1/32 leaves dhcp too few addresses to give; /29 or larger, such as 10.1.1.1/24",
        ],
    ),
    "dhcp with a wrong host": (
        "a: {kind: bridge, host: x, dhcp: true}",
        [
            "2:27: 'x' is not an address; four numbers from 0 to 255, such as 10.1.1.1/24",
        ],
    ),
    "forward a text": (
        "a: {kind: user, forward: 8080:80}",
        [
            "2:28: 'forward' cannot be '8080:80'; it takes a list, such as [\"8080:80\"]",
        ],
    ),
    "forward a port": (
        "a: {kind: user, forward: [80]}",
        [
            '2:29: 80 is one port; it takes HOSTPORT:GUESTPORT, such as "8080:80"',
        ],
    ),
    "forward wrong": (
        "a: {kind: user, forward: [8080, 'x:y', '8080:80/sctp', '1.2.3:1:2', '0:1', '1:65536', 'udp:1:2/tcp', ~]}",
        [
            '2:29: 8080 is one port; it takes HOSTPORT:GUESTPORT, such as "8080:80"',
            '2:35: \'x:y\' is not a forward; write "HOSTPORT:GUESTPORT", such as "8080:80", "0.0.0.0:8080:80" or "5353:53/udp"',
            '2:42: \'8080:80/sctp\' is not a forward; write "HOSTPORT:GUESTPORT", such as "8080:80", "0.0.0.0:8080:80" or "5353:53/udp"',
            "2:58: '1.2.3' is not an address; four numbers from 0 to 255, such as 127.0.0.1",
            "2:71: 0 is not a port; 1 to 65535",
            "2:78: 65536 is not a port; 1 to 65535",
            "2:89: 'udp:1:2/tcp' names a protocol twice; write \"1:2/tcp\"",
            "2:104: an item of 'forward' is empty; it takes HOSTPORT:GUESTPORT, such as \"8080:80\"",
        ],
    ),
    "forward twice": (
        "a: {kind: user, forward: ['8080:80', '8080:81', '8080:80/udp', '10.0.0.1:8080:80']}",
        [
            "2:40: the host's port 8080/tcp is taken by the forward at 2:29; take another port",
        ],
    ),
    "forward anywhere": (
        "a: {kind: user, forward: ['0.0.0.0:8080:80']}\n  b: {kind: user, forward: ['8080:80']}\n  c: {kind: user, forward: ['0.0.0.0:8080:1']}",
        [
            "3:29: the host's port 8080/tcp is taken by the forward at 2:29; take another port",
            "4:29: the host's port 8080/tcp is taken by the forward at 2:29; take another port",
        ],
    ),
    "forward here, then anywhere": (
        "a: {kind: user, forward: ['8080:80', '0.0.0.0:8080:80']}",
        [
            "2:40: the host's port 8080/tcp is taken by the forward at 2:29; take another port",
        ],
    ),
    "overlap": (
        "a: {kind: tap, host: 10.1.1.1/24}\n  b: {kind: bridge, host: 10.1.0.1/16}\n  c: {kind: tap, host: 10.1.2.1/24}\n  d: {kind: tap, host: 10.2.0.1/24}",
        [
            "3:27: network 'b' (10.1.0.0/16) overlaps 'a' (10.1.1.0/24, at 2:24); give each a range of its own",
            "4:24: network 'c' (10.1.2.0/24) overlaps 'b' (10.1.0.0/16, at 3:27); give each a range of its own",
        ],
    ),
    "reserved names": (
        "lo: {kind: none}\n  eth0: {kind: none}\n  Outside: {kind: none}\n  all: {kind: none}\n  default: {kind: none}",
        [
            "2:3: no network can be named 'lo', which has a meaning of its own; choose another name",
            "3:3: no network can be named 'eth0', which has a meaning of its own; choose another name",
            "4:3: no network can be named 'Outside', which has a meaning of its own; choose another name",
            "5:3: no network can be named 'all', which has a meaning of its own; choose another name",
            "6:3: no network can be named 'default', which has a meaning of its own; choose another name",
        ],
    ),
    "names": (
        "1a: {kind: none}\n  a_b: {kind: none}\n  a-: {kind: none}\n  'a b': {kind: none}",
        [
            "2:3: '1a' cannot be a network's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            "3:3: 'a_b' cannot be a network's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            "4:3: 'a-' cannot be a network's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            "5:3: 'a b' cannot be a network's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
        ],
    ),
    "case": (
        "lan: {kind: none}\n  LAN: {kind: none}",
        [
            "3:3: network 'LAN' differs from 'lan' only in case; 'lan' is at 2:3: choose another name",
        ],
    ),
}


@pytest.mark.parametrize("text, expected", NET.values(), ids=NET)
def test_network(text: str, expected: list[str]) -> None:
    assert messages(f"networks:\n  {text}\nmachines:\n  vm1:\n") == expected


CROSS: dict[str, tuple[str, list[str]]] = {
    "no networks": (
        "machines: {vm1: {nics: [wire]}}\n",
        [
            "1:25: unknown network 'wire'; the lab has none: add it under 'networks:'",
        ],
    ),
    "network with a mistake": (
        "networks: {wire: {kind: tpa}}\nmachines: {vm1: {nics: [wire]}}\nchecks: [{ping: vm1}]\n",
        [
            "1:25: unknown kind 'tpa'; did you mean 'tap'?",
        ],
    ),
    "macs": (
        "networks: {lan: {kind: bridge}}\nmachines:\n  vm1: {nics: [{network: lan, mac: 52:54:00:00:00:01}]}\n  vm2: {nics: [{network: lan, mac: 52-54-00-00-00-01}]}\n",
        [
            "4:36: 'vm2' and 'vm1' (at 3:36) have the same MAC 52:54:00:00:00:01; give each its own, or leave it out",
        ],
    ),
    "macs of one": (
        "networks: {lan: {kind: bridge}}\nmachines:\n  vm1:\n    nics:\n      - {network: lan, mac: 52:54:00:00:00:01}\n      - {network: lan, mac: 52:54:00:00:00:01}\n",
        [
            "6:29: 'vm1' and 'vm1' (at 5:29) have the same MAC 52:54:00:00:00:01; give each its own, or leave it out",
        ],
    ),
    "addresses": (
        "networks: {lan: {kind: bridge}}\nmachines:\n  vm1: {nics: [{network: lan, address: 10.1.1.2/24}]}\n  vm2: {nics: [{network: lan, address: 10.1.1.2/24}]}\n",
        [
            "4:40: 'vm2' and 'vm1' (at 3:40) have the same address 10.1.1.2; give each its own on 'lan'",
        ],
    ),
    "tap": (
        "networks: {wire: {kind: tap}}\nmachines:\n  vm1: {nics: [wire]}\n  vm2: {nics: [{network: wire}]}\n",
        [
            "4:26: 'wire' is a tap, and leads to 'vm1' already; kind: bridge connects more than one NIC",
        ],
    ),
    "forwards": (
        "networks: {nat1: {kind: user, forward: ['8080:80']}}\nmachines:\n  vm1: {nics: [nat1]}\n  vm2: {nics: [nat1]}\n",
        [
            "4:16: the forwards of 'nat1' lead to 'vm1' already; add another network of kind user, with forwards of its own",
        ],
    ),
    "simulated": (
        "host: {uplink: simulated}\nnetworks:\n  a: {kind: tap, host: 203.0.113.1/24}\n  b: {kind: tap, host: 198.51.100.65/26}\nmachines: {vm1: }\n",
        [
            "3:24: network 'a' (203.0.113.0/24) overlaps the simulated outside (203.0.113.0/24); take a private range, such as 10.1.1.1/24",
            "4:24: network 'b' (198.51.100.64/26) overlaps the simulated outside (198.51.100.0/24); take a private range, such as 10.1.1.1/24",
        ],
    ),
    "checks": (
        "machines: {vm1: }\nchecks:\n  - {ping: vm3, from: vm}\n  - {ping: zzzzz}\n  - {ping: 10.1.1.300}\n  - {ping: 10.1.1.1/24}\n  - {ping: 'fd00::x'}\n  - {ping: vm1, from: 10.1.1.1}\n",
        [
            "3:12: unknown machine 'vm3'; did you mean 'vm1'?",
            "3:23: unknown machine 'vm'; did you mean 'vm1'?",
            "4:12: unknown machine 'zzzzz'; the lab has vm1 and host",
            "5:12: '10.1.1.300' is not an address; four numbers from 0 to 255, such as 10.1.1.1",
            "6:12: '10.1.1.1/24' has a prefix length; only the address: 10.1.1.1",
            "7:12: 'fd00::x' is not an IPv6 address; write one such as fd00:1::1",
            "8:23: unknown machine '10.1.1.1'; the lab has vm1 and host",
        ],
    ),
    "check shapes": (
        "machines: {vm1: }\nchecks:\n  - vm1\n  -\n  - {from: vm1}\n  - {}\n  - {ping: }\n  - {ping: 5}\n  - {ping: vm1, from: [vm1]}\n  - {ping: vm1, expect: reachabel, hint: 3}\n  - {ping: vm1, form: vm1}\n",
        [
            "3:5: a check cannot be 'vm1'; write {ping: vm2, from: vm1}",
            "4:4: a check cannot be empty; write {ping: vm2, from: vm1}",
            "5:5: the check does not say whom to ping; add ping: with a machine or an address",
            "6:5: the check does not say whom to ping; add ping: with a machine or an address",
            "7:6: 'ping' is empty; leave it out, or write a machine's name, host or an address",
            "8:12: 'ping' cannot be 5; it takes a machine's name, host or an address",
            "9:23: 'from' cannot be a list; it takes a machine's name or host",
            "10:25: unknown expect 'reachabel'; did you mean 'reachable'?",
            "10:42: 'hint' cannot be the number 3; for a text, put it in quotes: \"3\"",
            "11:17: unknown key 'form'; did you mean 'from'?",
        ],
    ),
    "screen checks": (
        "machines: {vm1: }\nchecks:\n  - {screen: login, on: vm2}\n  - {screen: login, on: host}\n  - {screen: login}\n"
        "  - {on: vm1}\n  - {screen: ' ', on: vm1}\n  - {screen: \"a\\nb\", on: vm1}\n  - {screen: 5, on: vm1}\n"
        "  - {screen: login, on: vm1, from: vm1, via: lan}\n  - {ping: vm1, on: vm1}\n  - {screen: a, ping: vm1, on: vm1}\n",
        [
            "3:25: unknown machine 'vm2'; did you mean 'vm1'?",
            "4:25: unknown machine 'host'; the lab has vm1",
            "5:5: the check does not say whose screen; add on: with a machine's name",
            "6:5: the check does not say what to look for; add screen: with words of one line",
            "7:14: there is nothing to look for; write words that the screen shows",
            "8:14: the text has more than one line; write it on one",
            "9:14: 'screen' cannot be the number 5; for a text, put it in quotes: \"5\"",
            "10:36: 'from' does not go with screen:; write two checks, or leave it out",
            "10:46: 'via' does not go with screen:; write two checks, or leave it out",
            "11:21: 'on' does not go with ping:; write two checks, or leave it out",
            "12:23: 'ping' does not go with screen:; write two checks, or leave it out",
        ],
    ),
    "checks of what is seen": (
        "machines: {vm1: }\nchecks:\n  - {ping: vm1, seen-on: [a], not-seen-on: [uplink], reason: no-nat}\n  - {tcp: 80}\n  - {ping: vm1, within: 3}\n",
        [
            "3:27: unknown link 'a'; the lab has none: add networks and NICs",
            "3:45: unknown link 'uplink'; the lab has no such way out: host: {uplink: simulated} makes one",
            "3:62: 'reason' goes with expect: unreachable; add that, or leave it out",
            "4:11: 'tcp' cannot be 80; it takes a machine or an address, and a port, such as vm2:80",
            "5:25: 3 has no unit; write 3s",
        ],
    ),
    "via": (
        "networks: {lan: {kind: bridge}, p2p: {kind: socket}}\nmachines: {vm1: {nics: [lan]}, vm2: }\nchecks:\n  - {ping: vm1, via: p2p}\n  - {ping: vm1, via: lna}\n  - {ping: vm2, via: lan}\n  - {ping: host, via: lan}\n  - {ping: 10.1.1.1, via: lan}\n  - {ping: vm3, via: lan}\n  - {ping: vm1, via: 5}\n",
        [
            "4:22: 'vm1' is not on 'p2p'; it is on lan",
            "5:22: unknown network 'lna'; did you mean 'lan'?",
            "6:22: 'vm2' is not on 'lan'; it has no NIC",
            "7:23: via chooses between the addresses of a machine; leave it out",
            "8:27: via chooses between the addresses of a machine; leave it out",
            "9:12: unknown machine 'vm3'; did you mean 'vm2'?",
            "10:22: 'via' cannot be 5; it takes a network's name",
        ],
    ),
    "all at once, in order": (
        "nmae: a\nhost: {uplink: intenet}\nnetworks: {wire: {kind: tap, host: 10.1.1.0/24}}\nmachines:\n  vm1: {memory: 512, nics: [wier]}\nchecks: [{ping: vm2}]\n",
        [
            "1:1: unknown key 'nmae'; did you mean 'name'?",
            "2:16: unknown uplink 'intenet'; did you mean 'internet'?",
            "3:36: 10.1.1.0 is the network itself; 10.1.1.1/24 would be its first address",
            "5:17: 512 has no unit; write 512M or 512G",
            "5:29: unknown network 'wier'; did you mean 'wire'?",
            "6:17: unknown machine 'vm2'; did you mean 'vm1'?",
        ],
    ),
}


@pytest.mark.parametrize("text, expected", CROSS.values(), ids=CROSS)
def test_across_sections(text: str, expected: list[str]) -> None:
    assert messages(text) == expected
