"""`checks:` of the lab file: every kind as it is read, written again, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmlan.errors import LabFileError
from vmlan.labfile import loads
from vmlan.labfile.write import dumps
from vmlan.model import ArpCheck, Check, DhcpCheck, DnsCheck, PingCheck, ScreenCheck, TcpCheck
from vmlan.observe.links import all_links
from vmlan.plan import topology
from vmlan.reasons import Reason

LAB = """\
host: {uplink: simulated}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
  wire: {kind: tap, host: 10.1.1.1/24}
  usr: {kind: user}
  bare: {kind: none}
machines: {vm1: {nics: [lan, wire]}, vm2: {nics: [lan, usr]}, lone: {nics: [bare]}}
checks:
"""

GOOD: dict[str, Check] = {
    "{ping: vm2, from: vm1}": PingCheck("vm2", "vm1"),
    "{ping: vm2, from: vm1, within: 10s}": PingCheck("vm2", "vm1", within=10),
    "{tcp: vm2:80, from: vm1, via: lan}": TcpCheck("vm2", 80, "vm1", via="lan"),
    "{tcp: 10.2.0.9:65535, expect: unreachable}": TcpCheck("10.2.0.9", 65535, "host", reachable=False),
    "{tcp: 'host:22', from: vm1, within: 1.5s, hint: sshd}": TcpCheck(
        "host", 22, "vm1", within=1.5, hint="sshd"
    ),
    "{arp: 10.1.1.2}": ArpCheck("10.1.1.2", "host"),
    "{arp: vm2, from: vm1, is: 52-54-00-AB-CD-EF}": ArpCheck("vm2", "vm1", answer="52:54:00:ab:cd:ef"),
    "{arp: 10.2.0.9, from: vm1, via: lan, is: vm2}": ArpCheck("10.2.0.9", "vm1", via="lan", answer="vm2"),
    "{arp: 52:54:00:AB:CD:EF, is: 10.2.0.9}": ArpCheck("52:54:00:ab:cd:ef", "host", answer="10.2.0.9"),
    "{dhcp: lan, from: vm1, is: 10.2.0.1}": DhcpCheck("lan", "vm1", answer="10.2.0.1"),
    "{dhcp: wire, expect: unreachable}": DhcpCheck("wire", "host", reachable=False),
    "{dhcp: usr, from: vm2, within: 500ms}": DhcpCheck("usr", "vm2", within=0.5),
    "{dns: vm2.lab.internal, from: vm1, is: 10.2.0.12}": DnsCheck(
        "vm2.lab.internal", "vm1", answer="10.2.0.12"
    ),
    "{dns: vm2, via: lan, is: vm2}": DnsCheck("vm2", "host", via="lan", answer="vm2"),
    "{ping: vm2, from: vm1, seen-on: uplink}": PingCheck("vm2", "vm1", seen_on=("uplink",)),
    "{ping: 203.0.113.68, from: vm1, expect: unreachable, seen-on: [wire, uplink], reason: no-nat}": PingCheck(
        "203.0.113.68", "vm1", reachable=False, seen_on=("wire", "uplink"), reason=Reason.NO_NAT
    ),
    "{tcp: vm2:80, from: vm1, expect: unreachable, not-seen-on: [usr, vm2:1, usr], reason: refused}": TcpCheck(
        "vm2", 80, "vm1", reachable=False, not_seen_on=("usr", "vm2:1"), reason=Reason.REFUSED
    ),
    "{arp: 10.1.1.2, seen-on: vm1, not-seen-on: vm1-lan}": ArpCheck(
        "10.1.1.2", "host", seen_on=("vm1",), not_seen_on=("vm1-lan",)
    ),
    "{dhcp: wire, from: vm1, expect: unreachable, seen-on: wire, not-seen-on: outside}": DhcpCheck(
        "wire", "vm1", reachable=False, seen_on=("wire",), not_seen_on=("outside",)
    ),
    "{screen: login, on: vm1, within: 2m}": ScreenCheck("login", "vm1", within=120),
}


def read(*checks: str) -> tuple[Check, ...]:
    return loads(LAB + "".join(f"  - {check}\n" for check in checks), folder=Path("/lab")).checks


@pytest.mark.parametrize("text, check", GOOD.items())
def test_it_is_read(text: str, check: Check) -> None:
    assert read(text) == (check,)


def test_what_is_written_is_read_again() -> None:
    lab = loads(LAB + "".join(f"  - {check}\n" for check in GOOD), folder=Path("/lab"))
    text = dumps(lab)
    assert loads(text, folder=Path("/lab")) == lab
    assert "  - {tcp: vm2:80, from: vm1, via: lan}\n" in text
    assert "seen-on: [wire, uplink], reason: no-nat-for-private-source}\n" in text
    assert '{arp: "10.1.1.2", seen-on: vm1, not-seen-on: vm1-lan}\n' in text
    assert "  - {dhcp: usr, from: vm2, within: 500ms}\n" in text
    assert '  - {screen: login, "on": vm1, within: 120s}\n' in text


BAD = {
    "{tcp: vm2, from: vm1}": "'vm2' has no port; write vm2:80",
    "{tcp: vm2, port: 80}": "the port goes with the machine; write tcp: vm2:80",
    "{tcp: vm2:0}": "'0' is not a port; 1 to 65535",
    "{tcp: vm2:http}": "'http' is not a port; 1 to 65535",
    "{tcp: vm3:80}": "unknown machine 'vm3'; did you mean 'vm2'?",
    "{tcp: 10.2.0.300:80}": "'10.2.0.300' is not an address; four numbers from 0 to 255, such as 10.1.1.1",
    "{tcp: vm2:80, is: 10.2.0.1}": "'is' does not go with tcp:; write two checks, or leave it out",
    "{arp: vm9}": "unknown machine 'vm9'; did you mean 'vm2'?",
    "{arp: 01:00:5e:00:00:01}": "01:00:5e:00:00:01 is a multicast address, which no card can have; "
    "the first pair of a card's own is even, as in 02:00:5e:00:00:01",
    "{arp: 'fd00::1'}": "'fd00::1' is not for ARP; IPv6 has none; use ping:",
    "{arp: vm2, is: vm7}": "unknown machine 'vm7'; did you mean 'vm2'?",
    "{arp: vm2, is: vm2, expect: unreachable}": "'is' does not go with expect: unreachable; "
    "what must not answer has no answer",
    "{arp: 10.2.0.9, from: vm1, via: usr}": "'vm1' is not on 'usr'; it is on lan and wire",
    "{dhcp: nat}": "unknown network 'nat'; the lab has lan, wire, usr and bare",
    "{dhcp: lan}": "the host side gives the addresses on 'lan' itself; add from: with a machine",
    "{dhcp: usr}": "the host side is not on 'usr'; add from: with a machine that is",
    "{dhcp: usr, from: vm1}": "'vm1' is not on 'usr'; it is on lan and wire",
    "{dhcp: lan, from: vm1, via: lan}": "'via' does not go with dhcp:; write two checks, or leave it out",
    "{dhcp: lan, from: vm1, is: vm2}": "'vm2' is not an address; four numbers from 0 to 255, such as 10.1.1.1",
    "{dns: 'a name'}": "'a name' is not a name; write one such as vm2.shop.internal",
    "{dns: vm2, via: wire}": "'wire' has no DNS; a bridge with dhcp: true has one",
    "{dns: vm2, is: vm5}": "unknown machine 'vm5'; did you mean 'vm2'?",
    "{ping: vm2, within: 10}": "10 has no unit; write 10s",
    "{ping: vm2, within: soon}": "'soon' is not a time; write a number and a unit (ms, s or m), such as 10s",
    "{ping: vm2, within: 2000m}": "'2000m' is too much; from 1ms to a day",
    "{ping: vm2, tcp: vm2:80}": "'tcp' does not go with ping:; write two checks, or leave it out",
    "{ping: vm2, seen-on: [lan, wier]}": "unknown link 'wier'; did you mean 'wire'?",
    "{ping: vm2, not-seen-on: vm2:7}": "unknown link 'vm2:7'; did you mean 'vm2:1'?",
    "{ping: vm2, seen-on: qqqqqq}": "unknown link 'qqqqqq'; "
    "the lab has lan, wire, usr, vm1:0, vm1:1, vm2:0, vm2:1, uplink and outside",
    "{ping: vm2, seen-on: lone}": "unknown link 'lone'; lone has no NIC that leads anywhere",
    "{ping: vm2, seen-on: bare}": "unknown link 'bare'; no frame passes there",
    "{ping: vm2, seen-on: wire, not-seen-on: [usr, wire]}": "'wire' stands under seen-on too; "
    "leave it out of one of them",
    "{ping: vm2, seen-on: 5}": "'seen-on' cannot be the number 5; for a text, put it in quotes: \"5\"",
    "{ping: vm2, seen-on: [{}]}": "an item of 'seen-on' cannot be a group of keys; "
    "it takes a link, such as uplink or vm1:0",
    "{dns: vm2, seen-on: lan}": "'seen-on' does not go with dns:; write two checks, or leave it out",
    "{screen: x, on: vm1, reason: lost}": "'reason' does not go with screen:; "
    "write two checks, or leave it out",
    "{ping: vm2, reason: lost}": "'reason' goes with expect: unreachable; add that, or leave it out",
    "{ping: vm2, expect: unreachable, reason: no-rout-on-host}": "unknown reason 'no-rout-on-host'; "
    "did you mean 'no-route-on-host'?",
    "{ping: vm2, expect: unreachable, reason: delivered}": "'delivered' is no reason for being unreachable; "
    "leave it out, and write expect: reachable",
    "{arp: vm2, expect: unreachable, reason: lost}": "'reason' does not go with arp:; "
    "write two checks, or leave it out",
    "{screen: x, on: vm1, from: vm2}": "'from' does not go with screen:; write two checks, or leave it out",
    "{hint: x}": "the check does not say whom to ping; add ping: with a machine or an address",
}


@pytest.mark.parametrize("text, problem", BAD.items())
def test_it_is_refused_in_words(text: str, problem: str) -> None:
    with pytest.raises(LabFileError) as error:
        read(text)
    assert [f"{each.what}; {each.hint}" for each in error.value.problems] == [problem]


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(LabFileError) as error:
        read("{tcp: vm3, from: vm4, within: 1}", "{dns: vm2, is: 1.2.3}")
    assert [each.line for each in error.value.problems] == [9, 9, 10]


@pytest.mark.parametrize(
    "reason", [each.value for each in Reason if each is not Reason.DELIVERED] + ["no-nat"]
)
def test_every_reason_is_taken(reason: str) -> None:
    (check,) = read(f"{{ping: vm2, expect: unreachable, reason: {reason}}}")
    assert isinstance(check, PingCheck) and check.reason is not None
    assert check.reason.value.startswith(reason)


LABS = {
    "every kind": "host: {uplink: simulated}\nnetworks: {lan: {kind: bridge}, wire: {kind: tap}, u: {kind: user}, "
    "p: {kind: socket}, h: {kind: hub}, no: {kind: none}, unused: {kind: socket}, spare: {kind: tap}, "
    "averyverylongname: {kind: bridge}}\nmachines: {a: {nics: [lan, wire, u, p, h, no]}, b: {nics: [lan, lan, p]}, "
    "alone: , c: {nics: [no]}, anotherverylongname: {nics: [averyverylongname, lan]}}\n",
    "the internet": "host: {uplink: internet}\nmachines: {a: }\n",
    "no way out": "networks: {lan: {kind: bridge}}\nmachines: {a: {nics: [lan]}}\n",
}


@pytest.mark.parametrize("text", LABS.values(), ids=LABS)
def test_links_are_called_as_by_capture(text: str) -> None:
    """The file is read without a plan, so the names are made twice; they are the same."""
    lab = loads(text, folder=Path("/lab"))
    links = all_links(lab, topology.survey(lab))
    known = {name for link in links for name in link.aliases}
    listed = "".join(f"  - {{ping: 192.0.2.1, seen-on: '{name}'}}\n" for name in sorted(known))
    loads(f"{text}checks:\n{listed}", folder=Path("/lab"))
    # Whatever else the lab has a name for is none of them.
    others = {
        "alone",
        "c",
        "c:0",
        "no",
        "unused",
        "uplink",
        "outside",
        "eth0",
        "out0",
        "a:5",
        "a:9",
        "b:3",
    } - known
    assert others
    for name in others:
        with pytest.raises(LabFileError, match="unknown link"):
            loads(f"{text}checks:\n  - {{ping: 192.0.2.1, seen-on: '{name}'}}\n", folder=Path("/lab"))
