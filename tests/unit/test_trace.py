"""The pure parts of a trace: telling packets, finding them again, reading what nft tells, and verdicts."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.real_frames import IS_AT, PING, RESET, SYN, WHO_HAS
from vmlan.addressing import mac_address
from vmlan.host.run import Result
from vmlan.model import (
    BridgeNetwork,
    HostNic,
    HostSide,
    Lab,
    Machine,
    Nic,
    Place,
    TapNetwork,
    Uplink,
    UserNetwork,
)
from vmlan.observe import links as lab_links
from vmlan.observe.packets import Kind, Packet, parse
from vmlan.observe.ring import Frame
from vmlan.observe.trace import probe, rules, stations, words
from vmlan.observe.trace import way as ways
from vmlan.observe.trace.case import Case, Said, is_private
from vmlan.observe.trace.diagnose import diagnose
from vmlan.observe.trace.probe import Probe
from vmlan.observe.trace.sightings import Seen, Sightings, sort_out
from vmlan.observe.trace.values import Hop, Sighting, Trace, Verdict
from vmlan.observe.trace.world import NoRoute, Route, _route
from vmlan.plan import topology as topo
from vmlan.reasons import Reason


def test_real_frames_are_told() -> None:
    ping = parse(PING)
    assert (ping.kind, ping.source, ping.target, ping.size) == (Kind.ECHO, "198.51.100.2", "10.10.0.5", 64)
    asked, told = parse(WHO_HAS), parse(IS_AT)
    assert (asked.kind, asked.source, asked.target) == (Kind.WHO_HAS, "10.2.0.11", "10.2.0.1")
    assert (told.kind, told.target, told.owner) == (Kind.IS_AT, "10.2.0.1", "52:54:00:d3:23:ef")
    syn, reset = parse(SYN), parse(RESET)
    assert (syn.kind, syn.ports) == (Kind.SYN, (48324, 81))
    assert (reset.kind, reset.ports) == (Kind.RST, (81, 48324))
    assert reset.mark[1] == syn.mark[0] + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet(data: bytes) -> None:
    assert isinstance(parse(data), Packet)


@given(st.sampled_from([PING, WHO_HAS, IS_AT, SYN, RESET]), st.integers(0, 100), st.binary(max_size=4))
def test_so_is_any_damaged_frame(frame: bytes, at: int, bytes_: bytes) -> None:
    damaged = frame[:at] + bytes_ + frame[at + len(bytes_) :]
    assert isinstance(parse(damaged[: len(damaged) - at // 3]), Packet)


ONE, OTHER, ROUTER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _ip(protocol: int, source: str, target: str, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0)
    return head + IPv4Address(source).packed + IPv4Address(target).packed + payload


def _ethernet(packet: bytes, source: str = ONE, target: str = OTHER) -> bytes:
    return _mac(target) + _mac(source) + b"\x08\x00" + packet


def _echo(source: str, target: str, size: int = 300, *, reply: bool = False, id: int = 77) -> bytes:
    head = struct.pack("!BBHHH", 0 if reply else 8, 0, 0, id, 0)
    return _ip(1, source, target, head + bytes(size))


def _error(router: str, about: bytes, kind: int = 3, code: int = 0) -> bytes:
    return _ip(1, router, "10.1.1.2", struct.pack("!BBHI", kind, code, 0, 0) + about[:28])


def test_an_error_quotes_the_packet_that_it_is_about() -> None:
    found = parse(_ethernet(_error("10.1.1.1", _echo("10.1.1.2", "203.0.113.68"))))
    assert (found.kind, found.code) == (Kind.ERROR, (3, 0))
    assert found.about is not None
    assert (found.about.kind, found.about.target, found.about.size) == (Kind.ECHO, "203.0.113.68", 308)


def _frames(*rows: tuple[int, int, bytes]) -> list[Frame]:
    return [Frame(time, link, 0, len(data), data) for time, link, data in rows]


def _from(mac: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.packet.source_mac == mac


def test_one_ping_is_found_again_and_no_other_is_taken_for_it() -> None:
    sent = Probe("203.0.113.68", size=300)
    found = sort_out(
        _frames(
            (1, 0, _ethernet(_echo("10.1.1.9", "203.0.113.68", 300, id=5), source=OTHER)),  # somebody else's
            (2, 0, _ethernet(_echo("10.1.1.2", "203.0.113.68", 56))),  # its own, of the usual size
            (3, 0, _ethernet(_echo("10.1.1.2", "203.0.113.68"))),
            (4, 1, _ethernet(_echo("198.51.100.2", "203.0.113.68"), source=ROUTER)),  # NAT
            (5, 1, _ethernet(_echo("198.51.100.2", "203.0.113.68", 56), source=ROUTER)),
            (6, 1, _ethernet(_echo("203.0.113.68", "198.51.100.2", reply=True), source=OTHER)),
            (7, 0, _ethernet(_echo("203.0.113.68", "10.1.1.2", 56, reply=True), source=ROUTER)),
            (8, 0, _ethernet(_error("10.1.1.1", _echo("10.1.1.2", "203.0.113.68")), source=ROUTER)),
            (9, 0, _ethernet(_error("10.1.1.1", _echo("10.1.1.2", "203.0.113.68", 56)), source=ROUTER)),
        ),
        sent,
        _from(ONE),
    )
    assert found.first is not None and found.first.time == 3
    assert {link: seen.time for link, seen in found.question.items()} == {0: 3, 1: 4}
    assert {link: seen.time for link, seen in found.answer.items()} == {1: 6}
    assert [each.time for each in found.errors] == [8]


def test_a_connection_is_known_by_its_sequence_number() -> None:
    def tcp(source: str, target: str, ports: tuple[int, int], marks: tuple[int, int], flags: int) -> bytes:
        return _ip(6, source, target, struct.pack("!HHIIBBHHH", *ports, *marks, 0x50, flags, 1, 0, 0))

    sent = Probe("10.2.0.5", port=80)
    found = sort_out(
        _frames(
            (1, 0, _ethernet(tcp("10.1.1.2", "10.2.0.5", (4000, 80), (100, 0), 0x02))),
            (2, 1, _ethernet(tcp("10.1.1.3", "10.2.0.5", (4001, 80), (900, 0), 0x02), source=OTHER)),
            (3, 1, _ethernet(tcp("198.51.100.2", "10.2.0.5", (5000, 80), (100, 0), 0x02), source=ROUTER)),
            (4, 1, _ethernet(tcp("10.2.0.5", "198.51.100.2", (80, 5000), (7, 901), 0x12))),
            (5, 1, _ethernet(tcp("10.2.0.5", "198.51.100.2", (80, 5000), (7, 101), 0x12))),
        ),
        sent,
        _from(ONE),
    )
    assert {link: seen.time for link, seen in found.question.items()} == {0: 1, 1: 3}
    assert {link: seen.time for link, seen in found.answer.items()} == {1: 5}


def test_a_ping_has_a_size_that_ping_itself_would_not_send() -> None:
    sizes = {probe.ping("192.0.2.1").size for _ in range(200)}
    assert 56 not in sizes and len(sizes) > 50 and max(sizes) < 1400
    assert probe.ping_command(Probe("fd00::1", size=200))[:2] == ("ping", "-6")


# What nft tells

TOLD = """\
trace id 978ccc3e inet vmlan_trace prerouting packet: iif "wire" ip saddr 10.1.1.2 ip daddr 203.0.113.68 ip ttl 64
trace id 978ccc3e inet vmlan_trace prerouting rule ip daddr 203.0.113.68 meta nftrace set 1 (verdict continue)
trace id 978ccc3e inet vmlan_trace prerouting policy accept
trace id 978ccc3e inet foo f packet: iif "wire" oif "eth0" ip saddr 10.1.1.2 ip daddr 203.0.113.68 ip ttl 63
trace id 978ccc3e inet foo f rule ip daddr 203.0.113.68 counter packets 0 bytes 0 drop (verdict drop)
"""
POLICY = """\
trace id 1 inet vmlan_trace prerouting packet: iif "eth0" ip saddr 203.0.113.68 ip daddr 10.1.1.2 ip ttl 64
trace id 1 ip filter FORWARD packet: iif "eth0" oif "wire" ip saddr 203.0.113.68 ip daddr 10.1.1.2
trace id 1 ip filter FORWARD policy drop
"""


def test_the_rule_that_dropped_it() -> None:
    sent = Probe("203.0.113.68", size=300)
    (found,) = rules.read(TOLD, sent)
    assert (found.chain, found.answer) == ("inet foo f", False)
    assert found.rule == "ip daddr 203.0.113.68 counter packets 0 bytes 0 drop"
    (policy,) = rules.read(POLICY, sent)
    assert (policy.chain, policy.rule, policy.answer) == ("ip filter FORWARD", "policy drop", True)
    assert list(rules.read("what is this\ntrace id", sent)) == []


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([], False),
        ([{"chain": {"policy": "accept"}}], False),
        ([{"chain": {"policy": "drop"}}], True),
        ([{"rule": {"family": "ip", "expr": [{"match": {}}, {"masquerade": None}]}}], False),
        ([{"rule": {"family": "ip", "expr": [{"match": {}}, {"drop": None}]}}], True),
        ([{"rule": {"family": "ip", "expr": [{"match": {}}, {"jump": {"target": "x"}}]}}], True),
    ],
)
def test_only_rules_that_could_drop_are_watched(rows: list[dict[str, Any]], *, verdict: bool) -> None:
    assert rules.suspicious(rows) is verdict


# Routes


@pytest.mark.parametrize(
    ("out", "err", "route"),
    [
        ("203.0.113.68 via 10.1.1.1 dev eth0  src 10.1.1.2 \n", "", Route("eth0", "10.1.1.1", "10.1.1.2")),
        ("10.1.1.9 dev wire src 10.1.1.1 uid 0\n    cache\n", "", Route("wire", None, "10.1.1.1")),
        ("10.1.1.1 via inet6 fe80::1 dev eth0\n", "", Route("eth0", "fe80::1", None)),
        ("", "RTNETLINK answers: Network is unreachable\n", NoRoute("Network is unreachable")),
        (
            "unreachable 192.0.2.1 dev lo table local\n",
            "",
            NoRoute("unreachable 192.0.2.1 dev lo table local"),
        ),
    ],
)
def test_what_ip_says_of_a_route(out: str, err: str, route: Route | NoRoute) -> None:
    assert _route(Result(("ip",), 2 if err else 0, out, err)) == route


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.1.1.2", True),
        ("172.31.0.1", True),
        ("198.51.100.2", False),
        ("fd00::1", True),
        ("2001:db8::1", False),
    ],
)
def test_which_addresses_nobody_outside_answers(address: str, *, private: bool) -> None:
    assert is_private(address) is private


# Stations, and verdicts in a world of ours

LAB = Lab(
    "t",
    Path("/t"),
    machines=(
        Machine(
            "vm1", nics=(Nic("wire", address=IPv4Interface("10.1.1.2/24"), gateway=IPv4Address("10.1.1.1")),)
        ),
        Machine("vm2", nics=(Nic("pub"), Nic("nat1"))),
    ),
    networks=(
        TapNetwork("wire", host=IPv4Interface("10.1.1.1/24")),
        BridgeNetwork("pub", uplink=True),
        UserNetwork("nat1"),
    ),
    host=HostSide(uplink=Uplink.SIMULATED, forwarding=True),
)


def _map() -> stations.Map:
    survey = topo.survey(LAB)
    return stations.survey(LAB, survey, lab_links.all_links(LAB, survey))


def test_the_ports_of_a_lab_and_the_links_between_them() -> None:
    map = _map()
    ports = {(port.station, port.segment): port for port in map.ports}
    assert set(ports) == {
        ("vm1", "wire"), ("host", "wire"), ("vm2", "pub"), ("host", "pub"), ("outside", "pub"),
        ("vm2", "nat1 of vm2"), (stations.STACK, "nat1 of vm2"),
    }  # fmt: skip

    def names(one: tuple[str, str], other: tuple[str, str]) -> list[str]:
        return [map.links[number].name for number in map.between(ports[one], ports[other])]

    assert names(("vm1", "wire"), ("host", "wire")) == ["wire"]
    assert names(("vm2", "pub"), ("outside", "pub")) == ["vm2:0", "uplink", "outside"]
    assert names(("vm2", "pub"), ("host", "pub")) == ["vm2:0", "pub"]


class _World:
    """A lab in which everything is as it should be, but for what a test sets."""

    def __init__(self) -> None:
        self.map = _map()
        self.scene = type("Scene", (), {"lab": LAB, "links": topo.survey(LAB)})()
        self.forwarding = True
        self.down: set[str] = set()
        self.lost: set[str] = set()
        self.routes: dict[tuple[str, str], Route | NoRoute] = {
            ("vm1", "203.0.113.68"): Route("eth0", "10.1.1.1", "10.1.1.2"),
            ("host", "203.0.113.68"): Route("pub", "198.51.100.1", "198.51.100.2"),
            ("host", "10.1.1.2"): Route("wire", None, "10.1.1.1"),
        }
        self.interfaces: dict[str, object] = {"wire": {}, "pub": {}, "eth0": {}}

    def runs(self, machine: str) -> bool:
        return True

    def commandable(self, machine: str) -> bool:
        return True

    def ask_guest(self, machine: str, *argv: str) -> None:
        return None

    def guest_device(self, port: stations.Port) -> str:
        return f"eth{port.nic.index if port.nic else 0}"

    def plugged(self, port: stations.Port) -> bool:
        return port.station not in self.down

    def switched_on(self, device: str) -> bool:
        return device not in self.down

    def sysctl(self, name: str) -> str:
        return "0"

    def unresolved(self, station: str, address: str) -> bool:
        return False

    def forwards(self, address: str) -> bool:
        return self.forwarding

    def addresses(self, station: str) -> dict[str, str]:
        every = {
            "host": {"10.1.1.1": "wire", "198.51.100.2": "pub"},
            "vm1": {"10.1.1.2": mac_address("t", "vm1", 0)},
            "vm2": {"198.51.100.100": mac_address("t", "vm2", 0)},
        }
        return {address: where for address, where in every[station].items() if address not in self.lost}

    def owns(self, station: str, address: str) -> bool:
        return stations.outside_has(address) if station == "outside" else address in self.addresses(station)

    def port_of(self, address: str, segment: str, asker: stations.Port) -> stations.Port | None:
        owner = {"10.1.1.1": "host", "10.1.1.2": "vm1", "198.51.100.1": "outside", "198.51.100.2": "host"}
        return next(
            (
                port
                for port in self.map.ports
                if (port.station, port.segment) == (owner.get(address), segment)
            ),
            None,
        )

    def route(self, station: str, address: str, source: str | None, came: object) -> Route | NoRoute:
        if station == "outside":
            return Route("out0", None) if stations.outside_reaches(address) else NoRoute("no route")
        return self.routes[station, address]

    def port(self, station: str, device: str) -> stations.Port | None:
        return next(
            (
                each
                for each in self.map.of(station)
                if each.device == device or (each.nic and device == "eth0")
            ),
            None,
        )


PRIVATE, MASKED = "10.1.1.2", "198.51.100.2"


def _case(world: _World, seen_on: dict[str, str], answered_on: tuple[str, ...] = (), **more: Any) -> Case:
    """vm1 pings the internet, and it is seen as from these addresses on these links."""
    sent = Probe("203.0.113.68", size=300)
    macs = {"wire": mac_address("t", "vm1", 0)}

    def seen(link: str, source: str, kind: Kind, time: int) -> Seen:
        ends = (source, "203.0.113.68") if kind is Kind.ECHO else ("203.0.113.68", source)
        return Seen(
            time, world.map.number(link), Packet(kind, macs.get(link, ROUTER), OTHER, *ends, 308, mark=(1, 0))
        )

    asked = [seen(link, source, Kind.ECHO, 1000 + at) for at, (link, source) in enumerate(seen_on.items())]
    told = [seen(link, MASKED, Kind.ECHO_REPLY, 2000 - at) for at, link in enumerate(answered_on)]
    sightings = Sightings(
        tuple(sorted([*asked, *told, *more.pop("also", ())])),
        asked[0] if asked else None,
        {each.link: each for each in asked},
        {each.link: each for each in told},
        more.pop("errors", ()),
    )
    way = ways.find(world, "vm1", "203.0.113.68")  # type: ignore[arg-type]
    said = Said(ok="wire" in answered_on, words="100% packet loss")
    return Case(world, sent, "vm1", "203.0.113.68", way, sightings, said, **more)  # type: ignore[arg-type]


ALL = {"wire": PRIVATE, "pub": PRIVATE, "uplink": PRIVATE, "outside": PRIVATE}
MASQUERADED = {"wire": PRIVATE, "pub": MASKED, "uplink": MASKED, "outside": MASKED}


def test_the_way_through_a_bridge_that_the_uplink_is_a_port_of() -> None:
    world = _World()
    way = ways.find(world, "vm1", "203.0.113.68")  # type: ignore[arg-type]
    assert [world.map.links[link].name for link in way.links] == ["wire", "pub", "uplink", "outside"]
    assert way.arrives and way.stations == ("vm1", "host", "outside")


def _verdict(case: Case) -> tuple[Reason, str, bool]:
    found = diagnose(case)
    return found.reason, found.at, found.answer


def test_verdicts_of_what_was_seen() -> None:
    back = ("outside", "uplink", "pub", "wire")
    assert _verdict(_case(_World(), MASQUERADED, back)) == (Reason.DELIVERED, "203.0.113.68", False)
    assert _verdict(_case(_World(), ALL)) == (Reason.NO_NAT, "outside", False)
    assert _verdict(_case(_World(), MASQUERADED)) == (Reason.NO_ANSWER, "outside", False)
    off = _World()
    off.forwarding = False
    assert _verdict(_case(off, {"wire": PRIVATE})) == (Reason.NOT_FORWARDED, "host", False)
    assert _verdict(_case(_World(), {"wire": PRIVATE})) == (Reason.LOST, "host", False)
    pulled = _World()
    pulled.down = {"vm1"}
    assert _verdict(_case(pulled, {})) == (Reason.LINK_DOWN, "vm1", False)
    assert _verdict(_case(_World(), {"wire": PRIVATE, "pub": PRIVATE})) == (Reason.LOST, "uplink", False)


class _RealNic(_World):
    """The same lab on a real host, whose outside cannot be looked at."""

    def __init__(self) -> None:
        super().__init__()
        host = HostSide(place=Place.HOST, uplink=HostNic("eth0"), forwarding=True)
        lab = replace(LAB, host=host, networks=(LAB.networks[0], LAB.networks[2]), machines=LAB.machines[:1])
        survey = topo.survey(lab)
        self.map = stations.survey(lab, survey, lab_links.all_links(lab, survey))
        self.scene = type("Scene", (), {"lab": lab, "links": survey})()
        self.routes["host", "203.0.113.68"] = Route("eth0", "198.51.100.1", "198.51.100.2")
        self.ruleset: list[dict[str, Any]] = []
        for source in (PRIVATE, MASKED):
            self.routes[stations.INTERNET, source] = NoRoute("nobody can say")

    def owns(self, station: str, address: str) -> bool:
        return station == stations.INTERNET or super().owns(station, address)

    def port_of(self, address: str, segment: str, asker: stations.Port) -> stations.Port | None:
        if segment == "uplink":
            return next(port for port in self.map.ports if port.station == stations.INTERNET)
        return super().port_of(address, segment, asker)


def test_a_private_source_that_leaves_by_a_real_nic() -> None:
    """Nobody sees what becomes of it there; where it is masked, that is not why there is no answer."""
    found = diagnose(_case(_RealNic(), {"wire": PRIVATE, "uplink": PRIVATE}))
    assert (found.reason, found.at) == (Reason.NO_NAT, stations.INTERNET)
    assert _verdict(_case(_RealNic(), {"wire": PRIVATE, "uplink": MASKED}))[0] is Reason.NO_ANSWER


def test_an_answer_that_comes_in_by_a_real_nic_is_followed_from_there() -> None:
    """And where somebody else's rule drops it, that rule is not to go: there is a way to let it pass."""
    world = _RealNic()
    answer = rules.Dropped(
        "inet theirs on", "policy drop", answer=True, undo="nft chain inet theirs on '{ policy accept; }'"
    )
    found = diagnose(_case(world, {"wire": PRIVATE, "uplink": MASKED}, ("uplink",), dropped=(answer,)))
    assert (found.reason, found.at, found.answer) == (Reason.FILTERED, "host", True)
    assert found.mend == tuple(
        f"nft insert rule inet theirs on '{way} \"wire\" accept'" for way in ("iifname", "oifname")
    )


def test_a_rule_counts_for_the_packet_that_it_dropped() -> None:
    question = rules.Dropped("inet foo f", "drop", answer=False, undo="nft delete rule inet foo f handle 2")
    answer = rules.Dropped("inet foo f", "drop", answer=True, undo="")
    found = diagnose(_case(_World(), {"wire": PRIVATE}, dropped=(question,)))
    assert (found.reason, found.mend) == (
        Reason.FILTERED,
        ("vmlan host -- nft delete rule inet foo f handle 2",),
    )
    assert _verdict(_case(_World(), {"wire": PRIVATE}, dropped=(answer,))) == (Reason.LOST, "host", False)
    lost = _case(_World(), MASQUERADED, ("outside", "uplink", "pub"), dropped=(answer,))
    assert _verdict(lost) == (Reason.FILTERED, "host", True)


def test_nobody_answers_who_is_asked_for() -> None:
    world = _World()
    link = world.map.number("wire")
    asks = Seen(5, link, Packet(Kind.WHO_HAS, mac_address("t", "vm1", 0), OTHER, PRIVATE, "10.1.1.1"))
    assert _verdict(_case(world, {}, also=(asks,)))[0] is Reason.NO_ARP_ANSWER
    lost = _World()
    lost.lost = {"10.1.1.1"}
    assert _verdict(_case(lost, {}, also=(asks,))) == (Reason.NO_ADDRESS, "host", False)


def test_a_guest_without_a_route_and_a_host_without_one() -> None:
    world = _World()
    world.routes["vm1", "203.0.113.68"] = NoRoute("Network is unreachable")
    assert _verdict(_case(world, {})) == (Reason.NO_ROUTE_IN_GUEST, "vm1", False)
    world = _World()
    world.routes["host", "203.0.113.68"] = NoRoute("Network is unreachable")
    assert _verdict(_case(world, {"wire": PRIVATE})) == (Reason.NO_ROUTE_ON_HOST, "host", False)


# In words


def test_a_trace_in_words_and_as_data() -> None:
    trace = Trace(
        "vm1", "vm2", "10.2.0.5", None, ("ping", "-c", "1", "10.2.0.5"), "100% packet loss", ("vm1", "host"),
        (Hop("wire", Sighting(1_000_000, "ping request 10.1.1.2 → 10.2.0.5")), Hop("lan")),
        Verdict(Reason.NOT_FORWARDED, "host", "it passes nothing on", ("vmlan set host.forwarding on",)),
    )  # fmt: skip
    lines = words.lines(trace)
    assert lines[0] == "  $ ping -c 1 10.2.0.5"
    assert any(line.startswith("  wire  →    0.000 ms") for line in lines)
    assert any("lan " in line and line.endswith("not seen") for line in lines)
    assert lines[-2:] == ["not-forwarded: it passes nothing on", "  → vmlan set host.forwarding on"]
    data = words.as_data(trace)
    assert (data["verdict"], data["at"], data["lost"], data["rule"]) == (
        "not-forwarded",
        "host",
        "question",
        None,
    )
