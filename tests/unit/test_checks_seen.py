"""`seen-on`, `not-seen-on` and `reason` without machines: whose a frame is, and when "not seen" may be said."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.unit.test_checks import FakeHands, FakeScene
from vmlan.errors import GuestError, HostError, NotRunning
from vmlan.labfile import loads
from vmlan.model import ArpCheck, DhcpCheck, PingCheck, ScreenCheck, SeenCheck, TcpCheck
from vmlan.observe.capture import Count
from vmlan.observe.checks import base, dhcp, explained, junit, ping, sought, tcp, watch, words
from vmlan.observe.checks.base import Attempt, Finding, Seen, Sighting
from vmlan.observe.checks.sought import DhcpAsk, Echo, Sight, Sign, Syn, WhoHas
from vmlan.observe.checks.tools import Said
from vmlan.observe.checks.watch import Watch, wants_to_see, watched
from vmlan.observe.links import Tapped
from vmlan.observe.packets import Kind, parse
from vmlan.observe.probes import arp as arp_probe
from vmlan.observe.probes import dhcp as dhcp_probe
from vmlan.observe.ring import FOR_US, Frame
from vmlan.observe.trace.values import Hop, Trace, Verdict
from vmlan.plan import topology
from vmlan.reasons import Reason

VM1, VM2, HOST = "52:54:00:00:00:01", "52:54:00:00:00:02", "02:00:00:00:00:01"
OUT = "203.0.113.68"


def ethernet(payload: bytes, source: str = VM1, ethertype: int = 0x0800, vlan: int | None = None) -> bytes:
    head = bytes(6) + bytes.fromhex(source.replace(":", ""))
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    return head + tag + struct.pack("!H", ethertype) + payload


def ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    ends = ip_address(source).packed + ip_address(target).packed
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + ends + payload


def echo(sign: Sign, target: str = OUT, source: str = "10.1.1.2", **how: Any) -> bytes:
    """A ping as busybox and iputils send it: a time at the beginning, the filling behind it."""
    data = bytes(range(16)) + bytes([sign.filling]) * (sign.size - 16)
    kind, protocol, ethertype = (128, 58, 0x86DD) if ":" in target else (how.pop("kind", 8), 1, 0x0800)
    icmp = struct.pack("!BBHHH", kind, 0, 0, 7, 0) + data
    return ethernet(ip(source, target, protocol, icmp), ethertype=ethertype, **how)


def syn(
    own: int, number: int, mac: str = VM1, source: str = "10.1.1.2", port: int = 80, flags: int = 2
) -> bytes:
    head = struct.pack("!HHIIBBHHH", own, port, number, 0, 5 << 4, flags, 0, 0, 0)
    return ethernet(ip(source, OUT, 6, head), mac)


def fits(what: sought.Sought, data: bytes) -> bool:
    found = what.fits(data, parse(data))
    assert what.may_be(data) or not found, "it would not have been looked at"
    return found


# Whose a frame is

SIGN = Sign(300, 0xA5, b"\1\2\3\4\5\6\7\x08")


def test_a_ping_is_known_on_whatever_way_it_goes() -> None:
    what = Echo(OUT, SIGN)
    assert fits(what, echo(SIGN))
    assert fits(what, echo(SIGN, source="198.51.100.2"))  # through NAT
    assert fits(what, echo(SIGN, vlan=20))
    assert fits(Echo("fd00::9", SIGN), echo(SIGN, "fd00::9", "fd00::2"))


def test_somebody_elses_ping_is_not_it() -> None:
    what = Echo(OUT, SIGN)
    assert not fits(what, echo(replace(SIGN, size=56)))  # `ping` by itself
    assert not fits(what, echo(replace(SIGN, filling=0xA6)))  # of the same size, by chance
    assert not fits(what, echo(SIGN, "203.0.113.69"))
    assert not fits(what, echo(SIGN, kind=0))  # the answer has the same data
    assert not fits(what, b"") and not fits(what, echo(SIGN)[:40])


def test_two_checks_do_not_look_alike() -> None:
    signs = [Sign() for _ in range(20)]
    assert (
        len({(sign.size, sign.filling) for sign in signs}) > 15 and len({sign.token for sign in signs}) == 20
    )
    assert all(128 <= sign.size < 1024 and sign.filling >= 0x80 for sign in signs)
    assert sorted({sought.any_port() for _ in range(200)})[-1] < 32768  # below what Linux takes by itself


def sights(*frames: tuple[int, bytes]) -> list[Sight]:
    return [Sight(time, link, parse(data)) for time, (link, data) in enumerate(frames)]


def test_a_connection_is_known_by_its_port_and_then_by_its_number() -> None:
    what = Syn(OUT, 80, 23456, frozenset({VM1}))
    ours, moved = syn(23456, 1000), syn(61000, 1000, HOST, "198.51.100.2")  # NAT gave it another port
    others = [
        syn(23457, 2000),  # of the same guest
        syn(23456, 3000, VM2),  # of another guest, from the same port
        syn(61001, 4000, HOST, "198.51.100.2"),
    ]
    every = sights((0, ours), (1, moved), *((0, other) for other in others), (0, ours))
    assert [each.time for each in sought.own(every, [what])] == [0, 1, 5]
    assert (
        fits(what, ours)
        and not fits(what, syn(23456, 1, port=81))
        and not fits(what, syn(23456, 1, flags=0x12))
    )
    # Without one that its source has sent, none is ours.
    assert sought.own(sights((1, moved), (0, others[0])), [what]) == []


def test_a_connection_whose_port_was_not_ours_to_choose_is_known_by_its_guest() -> None:
    what = Syn(OUT, 80, None, frozenset({VM1}))
    every = sights(
        (0, syn(40001, 1)), (0, syn(40002, 2, VM2)), (1, syn(61000, 1, HOST)), (1, syn(61001, 2, HOST))
    )
    assert [each.time for each in sought.own(every, [what])] == [0, 2]


def test_an_arp_request_is_known_by_what_is_behind_it_or_by_who_asks() -> None:
    plain = arp_probe.request(b"\xff" * 6, bytes.fromhex("525400000001"), bytes(4), bytes([10, 1, 1, 9]))
    ours = WhoHas(frozenset({"10.1.1.9"}), token=SIGN.token)
    assert fits(ours, plain + SIGN.token) and not fits(ours, plain) and not fits(ours, plain + bytes(18))
    assert not fits(WhoHas(frozenset({"10.1.1.8"}), token=SIGN.token), plain + SIGN.token)
    guests = WhoHas(frozenset({"10.1.1.9"}), macs=frozenset({VM1}))
    assert fits(guests, plain) and not fits(replace(guests, macs=frozenset({VM2})), plain)


def test_a_dhcp_request_is_known_by_an_option_that_servers_pass_over() -> None:
    mac = bytes.fromhex("525400000001")

    def frame(token: bytes) -> bytes:
        return b"\xff" * 6 + mac + b"\x08\0" + dhcp_probe.discover(b"\1\2\3\4", mac, token)

    what = DhcpAsk(SIGN.token)
    assert fits(what, frame(SIGN.token)) and not fits(what, frame(b"")) and not fits(what, frame(bytes(8)))
    assert parse(frame(SIGN.token)).kind is Kind.DHCP_ASK
    packet = dhcp_probe.discover(b"\1\2\3\4", mac, SIGN.token)
    assert packet[28 + 240 :].startswith(b"\x35\x01\x01" + bytes([224, 8]) + SIGN.token + b"\xff")


def test_packets_in_words() -> None:
    assert sought.words(parse(echo(SIGN))) == "ping request 10.1.1.2 → 203.0.113.68"
    assert sought.words(parse(syn(5, 1))) == "TCP SYN 10.1.1.2 → 203.0.113.68:80"
    request = arp_probe.request(b"\xff" * 6, bytes.fromhex("525400000001"), bytes(4), bytes([10, 1, 1, 9]))
    assert sought.words(parse(request)) == f"ARP: who has 10.1.1.9? tell {VM1}"


# What is run

LAB = """
host: {uplink: simulated, forwarding: true}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
  wire: {kind: tap, host: 10.1.1.1/24}
  usr: {kind: user, forward: ["8080:80"]}
machines:
  vm1: {nics: [{network: lan, mac: "52:54:00:00:00:01"}, wire]}
  vm2: {nics: [{network: lan, mac: "52:54:00:00:00:02"}]}
  vm3: {nics: [usr]}
"""


class FakeCapture:
    """Links on which something passes when it is told to."""

    def __init__(self, layout: Any, links: Sequence[Tapped]) -> None:
        self.links = list(links)
        self.missing: set[int] = set()
        self.counts = {number: Count(1, 0) for number in range(len(links))}
        self.lab_ended = False
        self.late: list[tuple[str, bytes]] = []
        self.broken: Exception | None = None
        self._frames: list[tuple[str, bytes]] = []
        self._end = threading.Event()
        self.read = False
        made.append(self)

    def passes(self, link: str, data: bytes) -> None:
        if any(each.name == link for each in self.links):
            self._frames.append((link, data))

    def stop(self) -> None:
        self._end.set()

    def __enter__(self) -> FakeCapture:
        if prepare:
            prepare[0](self)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._end.is_set() or not self.read, (
            "the reader must have ended before what it reads is closed"
        )

    def batches(self) -> Iterator[list[Frame]]:
        self.read = True
        while True:
            ended = self._end.wait(0.001)
            taken, self._frames = self._frames, []
            if self.broken:
                raise self.broken
            names = [link.name for link in self.links]
            yield [Frame(10**18, names.index(link), FOR_US, len(data), data) for link, data in taken]
            if ended:
                yield [Frame(10**18, names.index(link), FOR_US, len(data), data) for link, data in self.late]
                return


made: list[FakeCapture] = []
prepare: list[Any] = []


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    made.clear()
    prepare.clear()
    monkeypatch.setattr(watch, "Capture", FakeCapture)
    monkeypatch.setattr(watch, "SETTLE", 0.05)
    monkeypatch.setattr(base, "PAUSE", 0.0)


class Down(FakeScene):
    """A lab of which some machines are off."""

    down: tuple[str, ...] = ()

    def must_run(self, name: str) -> None:
        if name in self.down:
            raise NotRunning(f"machine {name} is not running")


def scene(tools: Any = None, *answers: Said) -> tuple[Down, FakeHands]:
    lab = loads(LAB, folder=Path("/lab"))
    hands = FakeHands(tools or {}, *(answers or [Said(False, "100% packet loss")]))
    return Down(lab, hands.layout, topology.survey(lab), hands), hands


def tried(check: SeenCheck, *passing: tuple[str, Any], answered: bool = False) -> Finding:
    """A check of which these frames are seen; a function makes one of the check's own sign."""

    def attempt(own: Watch) -> Finding:
        own.sent(Echo(OUT, own.sign))
        for link, data in passing:
            made[-1].passes(link, data(own.sign) if callable(data) else data)
        outcome: base.Outcome = "reachable" if answered else "unreachable"
        attempts = (Attempt(OUT, ("ping",), answered, "said"),)
        return Finding(check, answered == check.reachable, outcome, attempts)

    return watched(check, scene()[0], attempt)


CHECK = PingCheck(OUT, "vm1", reachable=False, seen_on=("wire",), not_seen_on=("uplink",))


def test_it_passes_when_it_is_seen_where_it_must_be_and_only_there() -> None:
    found = tried(CHECK, ("wire", echo), ("wire", echo))
    assert found.passed and found.unmet == ()
    assert [(each.link, each.wanted, len(each.sightings)) for each in found.seen] == [
        ("wire", True, 2),
        ("uplink", False, 0),
    ]


@pytest.mark.parametrize(
    "passing, unmet",
    [
        ((), ("not seen on wire",)),
        ((("wire", echo), ("uplink", echo)), ("seen on uplink",)),
        ((("uplink", echo),), ("not seen on wire", "seen on uplink")),
        # Somebody else pings the same address at the same time.
        ((("wire", echo(Sign(56, 0x10))), ("uplink", echo(Sign(56, 0x10)))), ("not seen on wire",)),
    ],
)
def test_it_fails_by_what_is_seen(passing: Any, unmet: tuple[str, ...]) -> None:
    found = tried(CHECK, *passing)
    assert (found.passed, found.outcome, found.unmet) == (False, "unreachable", unmet)


def test_what_is_seen_does_not_make_up_for_a_wrong_outcome() -> None:
    found = tried(CHECK, ("wire", echo), answered=True)
    assert not found.passed and found.unmet == ()


def test_what_is_read_at_the_very_end_counts() -> None:
    """Frames that have passed when the capture is told to end still come."""
    sign = Sign(400, 0xF0)

    def late(capture: FakeCapture) -> None:
        capture.late = [("uplink", echo(sign))]

    prepare.append(late)

    def attempt(own: Watch) -> Finding:
        own.sent(Echo(OUT, sign))
        return Finding(CHECK, True, "unreachable", (Attempt(OUT, (), False, ""),))

    assert watched(replace(CHECK, seen_on=()), scene()[0], attempt).unmet == ("seen on uplink",)


def test_a_machine_is_any_of_its_cards() -> None:
    check = PingCheck(OUT, "vm1", reachable=False, seen_on=("vm1",))
    assert tried(check, ("vm1:0", echo)).passed and tried(check, ("wire", echo)).passed
    assert tried(replace(check, seen_on=(), not_seen_on=("vm1",)), ("wire", echo)).unmet == ("seen on vm1",)


def not_tried(check: SeenCheck, why: str, where: Down | None = None) -> None:
    found = watched(
        check,
        where or scene()[0],
        lambda _: Finding(check, True, "unreachable", (Attempt(OUT, (), False, ""),)),
    )
    assert (found.passed, found.outcome) == (False, "not tried")
    assert why in found.why


def test_not_seen_is_not_said_of_what_could_not_be_seen() -> None:
    where = scene()[0]
    object.__setattr__(where, "down", ("vm2",))
    not_tried(replace(CHECK, seen_on=(), not_seen_on=("vm2:0",)), "machine vm2 is not running", where)

    prepare.append(lambda capture: capture.missing.add(1))
    not_tried(CHECK, "nothing can be seen on uplink")

    prepare[:] = [lambda capture: capture.counts.update({1: Count(10, 3)})]
    not_tried(CHECK, "frames were lost on")

    prepare[:] = [lambda capture: setattr(capture, "lab_ended", True)]
    not_tried(CHECK, "the lab has ended")

    prepare[:] = [lambda capture: setattr(capture, "broken", HostError("frames cannot be read any more"))]
    not_tried(CHECK, "frames cannot be read any more")

    prepare[:] = [lambda capture: setattr(capture, "broken", ZeroDivisionError())]
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is no silence either
        not_tried(CHECK, "")


def test_what_sent_nothing_was_not_unseen() -> None:
    check = ArpCheck(OUT, "host", reachable=False, not_seen_on=("uplink",))
    found = watched(check, scene()[0], lambda _: Finding(check, True, "unreachable", (), "behind a router"))
    assert (found.passed, found.outcome, found.why) == (
        False,
        "not tried",
        "nothing is sent: behind a router",
    )


def test_a_link_that_nobody_has_is_told() -> None:
    not_tried(replace(CHECK, seen_on=("wier",)), "no link 'wier'")


def test_who_wants_to_see() -> None:
    assert wants_to_see(CHECK) and wants_to_see(DhcpCheck("lan", "vm1", not_seen_on=("uplink",)))
    assert not wants_to_see(PingCheck(OUT, "vm1")) and not wants_to_see(ScreenCheck("x", "vm1"))


def test_a_connection_through_qemus_own_stack_cannot_be_followed() -> None:
    """The stack makes a connection of its own, of which nobody can tell whose it is."""
    check = TcpCheck(OUT, 80, "vm3", reachable=False, not_seen_on=("uplink",))
    mac = next(link.mac for link in scene()[0].links.links if link.machine == "vm3")

    def attempt(own: Watch) -> Finding:
        own.sent(Syn(OUT, 80, None, frozenset({mac})))
        made[-1].passes("vm3:0", syn(40000, 1, mac))
        made[-1].passes("uplink", syn(50000, 2, HOST))
        return Finding(check, True, "unreachable", (Attempt(OUT, (), False, ""),))

    found = watched(check, scene()[0], attempt)
    assert (found.passed, found.outcome) == (False, "not tried") and "user-mode stack" in found.why
    inside = replace(check, seen_on=("vm3",), not_seen_on=())
    assert watched(inside, scene()[0], attempt).passed


def test_a_forwarded_port_cannot_be_followed() -> None:
    check = TcpCheck("vm3", 80, "host", seen_on=("vm3",))
    where, hands = scene()
    found = watched(check, where, lambda own: tcp.find(check, where, own))
    assert found.outcome == "not tried" and "forwards" in found.why and hands.ran == []


def test_what_is_sent_can_be_told_from_others() -> None:
    where, hands = scene({"nc": "own", "udhcpc": "busybox"})
    check = PingCheck(OUT, "vm1", reachable=False, not_seen_on=("lan",))
    watched(check, where, lambda own: ping.find(check, where, own))
    size, filling = hands.ran[0][6], hands.ran[0][8]
    assert hands.ran[0] == ("ping", "-c", "1", "-W", "1", "-s", size, "-p", filling, OUT)
    connect = TcpCheck(OUT, 80, "vm1", reachable=False, not_seen_on=("lan",))
    watched(connect, where, lambda own: tcp.find(connect, where, own))
    assert hands.ran[-1][:5] == ("nc", "-z", "-v", "-w", "2") and hands.ran[-1][5] == "-p"
    ask = DhcpCheck("lan", "vm1", reachable=False, not_seen_on=("wire",))
    watched(ask, where, lambda own: dhcp.find(ask, where, own))
    assert "-x" in hands.ran[-1] and hands.ran[-1][hands.ran[-1].index("-x") + 1].startswith("0xe0:")


def test_a_port_that_is_taken_is_no_silence() -> None:
    where, hands = scene(
        {"nc": "own"}, Said(False, "nc: bind failed: Address already in use"), Said(True, "")
    )
    check = TcpCheck(OUT, 80, "vm1", not_seen_on=("lan",))
    assert watched(check, where, lambda own: tcp.find(check, where, own)).outcome == "reachable"
    first, second = (ran[ran.index("-p") + 1] for ran in hands.ran)
    assert first != second
    where, _ = scene({"nc": "own"}, Said(False, "nc: bind failed: Address already in use"))
    assert watched(check, where, lambda own: tcp.find(check, where, own)).outcome == "not tried"


def test_a_ping_without_the_options_is_no_silence() -> None:
    where, _ = scene({}, Said(False, "ping: Unknown option 'p' (see \"ping --help\")"))
    found = watched(CHECK, where, lambda own: ping.find(CHECK, where, own))
    assert (found.outcome, found.why) == ("not tried", "cannot check: the ping of vm1 has no -s or no -p")


# Why


def trace_of(reason: Reason) -> Trace:
    verdict = Verdict(reason, "host", "nobody passes it on", ("vmlan set host.forwarding on",))
    return Trace(
        "vm1", OUT, OUT, None, ("ping", OUT), "100% packet loss", ("vm1", "host"), (Hop("wire"),), verdict
    )


UNREACHABLE = Finding(
    PingCheck(OUT, "vm1", reachable=False, reason=Reason.NOT_FORWARDED),
    True,
    "unreachable",
    (Attempt(OUT, ("ping",), False, "100% packet loss"),),
)


def explain(monkeypatch: pytest.MonkeyPatch, found: Finding, result: Reason | Exception | None) -> Finding:
    def trace(*_: Any) -> Trace:
        assert result is not None, "no trace is needed"
        if isinstance(result, Exception):
            raise result
        return trace_of(result)

    monkeypatch.setattr(explained, "_trace", trace)
    return explained.explained(found, scene()[0])


def test_the_reason_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    found = explain(monkeypatch, UNREACHABLE, Reason.NOT_FORWARDED)
    assert found.passed and words.evidence(found)[-1] == "not-forwarded: nobody passes it on"
    other = explain(monkeypatch, UNREACHABLE, Reason.FILTERED)
    assert not other.passed
    assert words.heading(other).endswith(": unreachable, but the reason is filtered, not not-forwarded")
    assert "  → vmlan set host.forwarding on" in words.evidence(other)


def test_a_reason_does_not_make_up_for_what_was_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = replace(UNREACHABLE, passed=False, unmet=("not seen on wire",))
    found = explain(monkeypatch, unseen, Reason.NOT_FORWARDED)
    assert not found.passed and found.unmet == ("not seen on wire",) and found.trace is not None


def test_an_answer_has_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = replace(UNREACHABLE, passed=False, outcome="reachable")
    assert explain(monkeypatch, answered, None) == answered


def test_a_reason_that_cannot_be_found_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    found = explain(monkeypatch, UNREACHABLE, GuestError("no ping in vm1"))
    assert (found.passed, found.outcome) == (False, "not tried")
    assert found.why == "the reason could not be found: no ping in vm1"


@pytest.mark.parametrize("reason", [Reason.NOT_RUNNING, Reason.NO_ADDRESS])
def test_where_nothing_could_be_tried_the_trace_may_know_why(
    monkeypatch: pytest.MonkeyPatch, reason: Reason
) -> None:
    check = PingCheck("vm2", "vm1", reachable=False, reason=reason)
    nothing = Finding(check, False, "not tried", (), "machine vm2 is not running")
    found = explain(monkeypatch, nothing, reason)
    assert (found.passed, found.outcome) == (True, "unreachable")
    other = explain(monkeypatch, nothing, Reason.FILTERED)
    assert (other.passed, other.outcome) == (False, "not tried")
    assert (
        explain(monkeypatch, replace(nothing, check=replace(check, reason=Reason.LOST)), None).trace is None
    )


def test_a_failure_is_explained_and_a_success_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    check = PingCheck(OUT, "vm1")
    good = Finding(check, True, "reachable", ())
    assert explain(monkeypatch, good, None) == good
    bad = Finding(check, False, "unreachable", (Attempt(OUT, ("ping",), False, "100% packet loss"),))
    found = explain(monkeypatch, bad, Reason.NOT_FORWARDED)
    assert words.evidence(found)[-2:] == [
        "not-forwarded: nobody passes it on",
        "  → vmlan set host.forwarding on",
    ]
    assert explain(monkeypatch, replace(bad, outcome="not tried"), None).trace is None
    assert explain(monkeypatch, Finding(ScreenCheck("x", "vm1"), False, "not shown", ()), None).trace is None
    without = explain(monkeypatch, bad, NotRunning("machine vm1 is not running"))
    assert words.evidence(without)[-1] == "no trace: machine vm1 is not running"


# How it is told

TOLD = Finding(
    CHECK,
    False,
    "unreachable",
    (Attempt(OUT, ("ping",), False, "100% packet loss"),),
    seen=(
        Seen("wire", True, tuple(Sighting("wire", at, "ping request a → b") for at in (0.0012, 1.0))),
        Seen("vm2", False, ()),
        Seen("uplink", False, (Sighting("uplink", 0.00131, "ping request a → b"),)),
    ),
    unmet=("seen on uplink",),
    trace=trace_of(Reason.FILTERED),
)


def test_the_evidence_says_where_and_when() -> None:
    assert words.heading(TOLD) == "vm1 → 203.0.113.68: unreachable, but seen on uplink"
    assert words.evidence(TOLD)[2:5] == [
        "seen on wire at +1.2 ms: ping request a → b (2 times)",
        "not seen on vm2",
        "seen on uplink at +1.3 ms: ping request a → b",
    ]
    both = replace(TOLD, outcome="reachable")
    assert words.heading(both).endswith(": reachable, but unreachable was expected and seen on uplink")


def test_programs_get_it_too() -> None:
    data: Any = words.as_data(TOLD)
    assert (data["seen-on"], data["not-seen-on"], data["reason"]) == (("wire",), ("uplink",), None)
    assert [(each["link"], each["wanted"], len(each["frames"])) for each in data["seen"]] == [
        ("wire", True, 2),
        ("vm2", False, 0),
        ("uplink", False, 1),
    ]
    assert data["seen"][0]["frames"][0] == {"link": "wire", "seconds": 0.0012, "what": "ping request a → b"}
    assert data["trace"]["verdict"] == "filtered" and data["unmet"] == ("seen on uplink",)
    plain: Any = words.as_data(Finding(PingCheck("vm2", "vm1"), True, "reachable", ()))
    assert (plain["seen"], plain["trace"], plain["no_trace"]) == ([], None, None)


def test_junit_has_the_trace_in_its_text() -> None:
    root = ET.fromstring(junit.document("shop", [TOLD], datetime(2026, 1, 2, tzinfo=UTC)).encode())
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None and failure.get("message", "").endswith("but seen on uplink")
    text = failure.text or ""
    assert "seen on uplink at +1.3 ms" in text and "filtered: nobody passes it on" in text
