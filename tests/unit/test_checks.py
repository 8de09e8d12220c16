"""Checks without machines: what they ask for, how long they insist, and how their results are told."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from vmlan.errors import GuestError, VmlanError
from vmlan.guest.agent import GuestNic
from vmlan.labfile import loads
from vmlan.model import ArpCheck, DhcpCheck, DnsCheck, PingCheck, ScreenCheck, TcpCheck
from vmlan.observe.checks import arp, base, dhcp, dns, junit, ping, tcp, words
from vmlan.observe.checks.base import Attempt, Finding, Scene, judge
from vmlan.observe.checks.tools import Hands, Maker, Said
from vmlan.observe.probes import arp as arp_probe
from vmlan.observe.probes import dhcp as dhcp_probe
from vmlan.observe.probes import dns as dns_probe
from vmlan.plan import topology
from vmlan.plan.layout import Layout

LAB = """
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
machines:
  vm1: {nics: [{network: lan, mac: 52:54:00:00:00:01}]}
  vm2: {nics: [{network: lan, mac: 52:54:00:00:00:02}]}
"""


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PAUSE", 0.0)


class FakeHands(Hands):
    """Guests that say what they are told to say."""

    def __init__(self, tools: dict[str, Maker], *answers: Said) -> None:
        super().__init__(Layout(Path("/run"), Path("/state")))
        self.given = tools
        self.answers = list(answers)
        self.ran: list[tuple[str, ...]] = []

    def run(self, source: str, argv: Sequence[str], timeout: float) -> Said:
        self.ran.append(tuple(argv))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def nics(self, machine: str) -> tuple[GuestNic, ...]:
        return (GuestNic("ens3", f"52:54:00:00:00:0{machine[-1]}", ()),)

    def tools(self, machine: str) -> dict[str, Maker]:
        return self.given


class FakeScene(Scene):
    def must_run(self, name: str) -> None:
        pass


def scene(tools: dict[str, Maker], *answers: Said) -> tuple[Scene, FakeHands]:
    lab = loads(LAB, folder=Path("/lab"))
    hands = FakeHands(tools, *answers)
    return FakeScene(lab, hands.layout, topology.survey(lab), hands), hands


YES, NO = Said(True, "64 bytes from 10.2.0.12"), Said(False, "100% packet loss")


# Patience


def judged(check: PingCheck, *answered: bool) -> Finding:
    rest = list(answered)

    def aim() -> Attempt:
        return Attempt("10.2.0.12", ("ping",), rest.pop(0), "said")

    found = judge(check, lambda: [aim])
    assert not rest, "it was not tried often enough"
    return found


def test_what_must_answer_may_answer_late() -> None:
    found = judged(PingCheck("vm2", "vm1"), False, False, True)
    assert (found.passed, found.outcome) == (True, "reachable")
    assert [(each.answered, each.times) for each in found.attempts] == [(False, 2), (True, 1)]


def test_what_must_be_silent_fails_at_the_first_answer() -> None:
    found = judged(PingCheck("vm2", "vm1", reachable=False), True)
    assert (found.passed, found.outcome) == (False, "reachable")
    found = judged(PingCheck("vm2", "vm1", reachable=False), False, True)
    assert (found.passed, found.outcome) == (False, "reachable")


def test_silence_must_last_for_two_attempts() -> None:
    assert judged(PingCheck("vm2", "vm1", reachable=False), False, False).passed


def test_with_time_it_may_become_silent() -> None:
    assert judged(
        PingCheck("vm2", "vm1", reachable=False, within=60), True, True, False, True, False, False
    ).passed


def test_within_bounds_the_waiting() -> None:
    found = judged(PingCheck("vm2", "vm1", within=0), False)
    assert (found.passed, found.outcome) == (False, "unreachable")


def test_a_wrong_answer_is_tried_again_and_then_fails() -> None:
    check = DnsCheck("vm2", "vm1", answer="10.2.0.12", within=60)
    rest = [True, False]
    aim = lambda: Attempt("", (), True, "said", wrong=rest.pop(0))  # noqa: E731
    assert judge(check, lambda: [aim]).passed
    always = lambda: Attempt("", (), True, "said", wrong=True)  # noqa: E731
    found = judge(replace(check, within=0), lambda: [always])
    assert (found.passed, found.outcome) == (False, "wrong answer")


def test_an_error_is_a_failed_check_even_where_nobody_must_answer() -> None:
    def aims() -> list[base.Aim]:
        raise GuestError("vm1 is gone")

    found = judge(PingCheck("vm2", "vm1", reachable=False), aims)
    assert (found.passed, found.outcome, found.why) == (False, "not tried", "vm1 is gone")


# What is run in a guest, by what it has


def test_ping_shows_the_line_that_matters() -> None:
    where, hands = scene({}, NO, YES)
    found = ping.find(PingCheck("vm2", "vm1"), where)
    assert hands.ran[-1] == ("ping", "-c", "1", "-W", "1", "10.2.0.12")
    assert [each.words for each in found.attempts] == ["100% packet loss", "64 bytes from 10.2.0.12"]


@pytest.mark.parametrize(
    "tools, begins",
    [
        ({"nc": "busybox"}, ("nc", "-w", "2", "10.2.0.12", "80", "-e", "true")),
        ({"nc": "own", "bash": "own"}, ("nc", "-z", "-v", "-w", "2", "10.2.0.12", "80")),
        ({"bash": "own"}, ("timeout", "2", "bash")),
    ],
)
def test_a_connection_is_made_with_what_the_guest_has(
    tools: dict[str, Maker], begins: tuple[str, ...]
) -> None:
    where, hands = scene(tools, Said(True, ""))
    assert tcp.find(TcpCheck("vm2", 80, "vm1"), where).passed
    assert hands.ran[0][: len(begins)] == begins


def test_bash_connects_and_is_refused_as_said() -> None:
    """What is run in guests without nc, run here against a port of our own."""
    where, _ = scene({"bash": "own"}, YES)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = tcp._guest_command("vm1", where, "127.0.0.1", port)
        assert subprocess.run(command, check=False).returncode == 0
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode != 0 and "refused" in Said(False, done.stderr).line("efused")


@pytest.mark.parametrize("reachable", [True, False])
def test_a_guest_without_tools_is_not_accused_of_silence(reachable: bool) -> None:
    where, hands = scene({}, NO)
    found = [
        tcp.find(TcpCheck("vm2", 80, "vm1", reachable), where),
        arp.find(ArpCheck("10.2.0.12", "vm1", reachable, via="lan"), where),
        dhcp.find(DhcpCheck("lan", "vm1", reachable), where),
        dns.find(DnsCheck("vm2", "vm1", reachable), where),
    ]
    assert [each.why for each in found] == [
        "cannot check: no nc or bash in vm1",
        "cannot check: no arping in vm1",
        "cannot check: no udhcpc in vm1",
        "cannot check: no nslookup or getent in vm1",
    ]
    assert {(each.passed, each.outcome) for each in found} == {(False, "not tried")}
    assert hands.ran == []


@pytest.mark.parametrize(
    "said",
    [
        "Unicast reply from 10.2.0.12 [52:54:00:00:00:02] 2.041ms",  # busybox
        "Unicast reply from 10.2.0.12 [52:54:0:0:0:2]  0.9ms",  # iputils, on some systems
    ],
)
def test_arping_says_whose_mac_answers(said: str) -> None:
    where, hands = scene(
        {"arping": "own"}, Said(True, f"ARPING 10.2.0.12 from 10.2.0.11 ens3\n{said}\nReceived 1 response")
    )
    found = arp.find(ArpCheck("vm2", "vm1"), where)
    assert (
        found.passed and found.attempts[0].words == "10.2.0.12 is at 52:54:00:00:00:02, which is vm2's NIC 0"
    )
    assert hands.ran[0][-2:] == ("ens3", "10.2.0.12")
    wrong = arp.find(ArpCheck("10.2.0.12", "vm1", via="lan", answer="vm1", within=0), where)
    assert (wrong.outcome, wrong.passed) == ("wrong answer", False)


def test_arp_passes_no_router() -> None:
    where, _ = scene({}, Said(True, '[{"dst": "203.0.113.68", "gateway": "198.51.100.1", "dev": "eth0"}]'))
    assert arp.find(ArpCheck("203.0.113.68", "host", reachable=False), where).passed
    found = arp.find(ArpCheck("203.0.113.68", "host"), where)
    assert not found.passed and "behind the router 198.51.100.1" in found.why


NSLOOKUPS = [
    # busybox
    "Server:\t\t10.2.0.1\nAddress:\t10.2.0.1:53\n\nName:\tvm2.shop.internal\nAddress: 10.2.0.12\n\nNon-authoritative answer:\n",
    # busybox, earlier
    "Server:    10.2.0.1\nAddress 1: 10.2.0.1\n\nName:      vm2\nAddress 1: 10.2.0.12 vm2.shop.internal\n",
    # bind9-dnsutils
    "Server:\t\t10.2.0.1\nAddress:\t10.2.0.1#53\n\nName:\tvm2.shop.internal\nAddress: 10.2.0.12\n",
    # getent ahostsv4
    "10.2.0.12       STREAM vm2.shop.internal\n10.2.0.12       DGRAM  \n",
]


@pytest.mark.parametrize("said", NSLOOKUPS)
def test_the_server_is_not_the_answer(said: str) -> None:
    where, _ = scene({"nslookup": "own"}, Said(True, said))
    found = dns.find(DnsCheck("vm2.shop.internal", "vm1", answer="vm2"), where)
    assert found.passed and found.attempts[0].words == "vm2.shop.internal has 10.2.0.12"


# The programs for the host side


def test_a_dhcp_request_is_what_dhcp_servers_read() -> None:
    packet = dhcp_probe.discover(b"\1\2\3\4", bytes.fromhex("525400000001"))
    assert dhcp_probe.checksum(packet[:20]) == 0  # a header sums to nothing with its checksum in it
    assert packet[9] == 17 and len(packet) == int.from_bytes(packet[2:4], "big") >= 328
    boot = packet[28:]
    assert boot[4:8] == b"\1\2\3\4" and boot[28:34].hex() == "525400000001"
    assert boot[236:243] == bytes.fromhex("63825363350101")


def test_an_offer_is_read_and_nothing_else_is() -> None:
    number = b"\1\2\3\4"
    boot = bytearray(dhcp_probe.discover(number, bytes(6))[28:])
    boot[16:20] = bytes([10, 2, 0, 77])
    boot[240:] = bytes.fromhex("350102 3604 0a020001 ff".replace(" ", ""))
    head = bytearray(dhcp_probe.discover(number, bytes(6))[:20])
    frame = (
        bytes(14) + bytes(head) + (67).to_bytes(2, "big") + (68).to_bytes(2, "big") + bytes(4) + bytes(boot)
    )
    assert dhcp_probe.offered(frame, number) == ("10.2.0.77", "10.2.0.1")
    assert dhcp_probe.offered(frame, b"\1\2\3\5") is None
    assert dhcp_probe.offered(frame[:40], number) is None
    assert dhcp_probe.offered(b"", number) is None


def test_an_arp_request_asks_for_the_address() -> None:
    frame = arp_probe.request(b"\xff" * 6, bytes(5) + b"\1", bytes([10, 2, 0, 1]), bytes([10, 2, 0, 12]))
    assert (
        frame.hex() == "ffffffffffff000000000001080600010800060400010000000000010a0200010000000000000a02000c"
    )


def test_dns_answers_are_read_through_aliases_and_pointers() -> None:
    question = b"\3www\1x\0" + b"\0\1\0\1"
    alias = b"\xc0\x0c" + b"\0\5\0\1\0\0\0\0\0\2" + b"\xc0\x10"
    record = b"\xc0\x10" + b"\0\1\0\1\0\0\0\0\0\4" + bytes([10, 2, 0, 12])
    reply = b"\0\0\x81\x80" + b"\0\1\0\2\0\0\0\0" + question + alias + record
    assert dns_probe.addresses(reply) == ["10.2.0.12"]


# How results are told

FINDINGS = [
    Finding(
        PingCheck("vm2", "vm1"),
        True,
        "reachable",
        (Attempt("10.2.0.12", ("ping",), True, "64 bytes"),),
        seconds=0.5,
    ),
    Finding(
        TcpCheck("vm2", 80, "vm1", hint="a <web> server"),
        False,
        "unreachable",
        (Attempt("10.2.0.12:80", ("nc", "a b"), False, "refused & gone", times=3),),
    ),
    Finding(ArpCheck("vm2", "vm1"), False, "not tried", (), "cannot check: no arping in vm1"),
    Finding(ScreenCheck("x", "vm1"), False, "not shown", (), "the screen has \x1b[1m and \x00"),
]


def test_a_failure_shows_its_command_and_how_often() -> None:
    assert (
        words.heading(FINDINGS[1])
        == "vm1 → tcp vm2:80 (10.2.0.12:80): unreachable, but reachable was expected"
    )
    assert words.evidence(FINDINGS[1]) == ["$ nc 'a b'", "refused & gone (3 times)"]
    assert words.evidence(FINDINGS[0]) == ["64 bytes"]
    assert words.heading(FINDINGS[2]) == "vm1 → arp vm2: not tried"


def test_junit_has_what_its_readers_want() -> None:
    text = junit.document("shop", FINDINGS, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    root = ET.fromstring(text.encode())  # it is XML, whatever a screen showed
    assert text.startswith("<?xml ")
    (suite,) = root.findall("testsuite")
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped", "timestamp")} == {
        "name": "shop", "tests": "4", "failures": "2", "errors": "1", "skipped": "0", "timestamp": "2026-01-02T03:04:05",
    }  # fmt: skip
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "1: vm1 → vm2", "2: vm1 → tcp vm2:80", "3: vm1 → arp vm2", "4: vm1 shows 'x'",
    ]  # fmt: skip
    assert all(case.get("classname") == "shop" and float(case.get("time") or "x") >= 0 for case in cases)
    assert [[child.tag for child in case] for case in cases] == [
        ["system-out"],
        ["failure"],
        ["error"],
        ["failure"],
    ]
    failure = cases[1].find("failure")
    assert failure is not None and failure.get("type") == "unreachable"
    assert "refused & gone (3 times)" in (failure.text or "") and "a <web> server" in (failure.text or "")


def test_data_has_the_keys_of_the_file() -> None:
    asked = [words.as_data(finding) for finding in FINDINGS]
    assert asked[1]["tcp"] == "vm2:80" and asked[1]["from"] == "vm1" and asked[1]["expect"] == "reachable"
    assert asked[3]["screen"] == "x" and asked[3]["on"] == "vm1"
    dhcp_data = words.as_data(Finding(DhcpCheck("lan", "vm1", answer="10.2.0.1"), True, "reachable", ()))
    assert dhcp_data["dhcp"] == "lan" and dhcp_data["is"] == "10.2.0.1"


def test_errors_are_ours() -> None:
    assert issubclass(base.NothingToTry, VmlanError)
