"""`vmlan trace`: faults that are planted in a running lab, each with the verdict that it must get."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.conftest import Bench, host_network
from tests.real.faults import FAULTS, INTERNET, LAB, LAST, Fault

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def lab(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.write(LAB)
    shared_bench.ok("up")
    yield shared_bench


def _trace(lab: Bench, words: str) -> Any:
    done = lab.vmlan("trace", *words.split(), "--json")
    found = done.json
    assert done.code == (0 if found["verdict"] == "delivered" else 1)
    return found


def _is_right(found: Any, fault: Fault) -> None:
    assert (found["verdict"], found["at"], found["lost"]) == (
        fault.reason,
        fault.at or fault.trace.split()[-1],
        fault.lost,
    ), found["why"]
    assert fault.says in found["why"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_gets_its_verdict(lab: Bench, fault: Fault) -> None:
    """And when it is mended, the same packet arrives, if it did before."""
    for words in fault.plant:
        lab.ok(*words.split())
    try:
        found = _trace(lab, fault.trace)
    finally:
        for words in fault.mend:
            lab.ok(*words.split())
    _is_right(found, fault)


def test_what_a_trace_leaves(lab: Bench) -> None:
    """No table, no file, no process."""
    lab.ok("host", "--", "nft", "add", "table", "inet", "theirs")
    lab.ok(
        "host", "--", "nft", "add chain inet theirs c { type filter hook forward priority 0; policy drop; }"
    )
    try:
        before = lab.ok("host", "--", "nft", "list", "ruleset")
        assert _trace(lab, f"vm2 {INTERNET}")["verdict"] == "filtered"
        assert lab.ok("host", "--", "nft", "list", "ruleset") == before
    finally:
        lab.ok("host", "--", "nft", "delete", "table", "inet", "theirs")
    assert not [line for line in lab.processes() if "monitor" in line or "sniffer" in line]
    assert not list(lab.runtime.rglob("*.pcap"))


def test_what_would_mend_it_mends_it(lab: Bench) -> None:
    """The command that a verdict gives is run as it stands."""
    for plant, words in (
        ("set host.forwarding off", f"vm2 {INTERNET}"),
        ("set lan.nat off", f"vm2 {INTERNET}"),
        ("set host.uplink.address none", f"vm2 {INTERNET}"),
        ("link vm2:0 down", "vm2 vm3"),
        ("host -- ip link set dev wire down", "host vm1"),
        ("exec vm1 -- ip route del default", f"vm1 {INTERNET}"),
    ):
        lab.ok(*plant.split())
        found = _trace(lab, words)
        assert found["verdict"] != "delivered", plant
        program, *rest = found["mend"][0].split()
        assert program == "vmlan"
        lab.ok(*rest)
        expected = "delivered" if words != f"vm1 {INTERNET}" else "no-nat-for-private-source"
        assert _trace(lab, words)["verdict"] == expected, plant


def test_a_packet_that_somebody_else_sends_is_not_taken_for_it(lab: Bench) -> None:
    """Both ping the same address at the same time; only one of them is let through."""
    lab.ok("host", "--", "nft", "add", "table", "inet", "theirs")
    lab.ok("host", "--", "nft", "add chain inet theirs c { type filter hook forward priority 0; }")
    lab.ok("host", "--", "nft", "add rule inet theirs c ip saddr 10.2.0.11 drop")
    other = lab.start("exec", "vm3", "--", "ping", "-c", "30", "-i", "0.2", INTERNET, stdout=subprocess.PIPE)
    try:
        found = _trace(lab, f"vm2 {INTERNET}")
        assert (found["verdict"], found["at"]) == ("filtered", "host")
        assert _trace(lab, f"vm3 {INTERNET}")["verdict"] == "delivered"
    finally:
        other.kill()
        other.communicate()
        lab.ok("host", "--", "nft", "delete", "table", "inet", "theirs")


def test_watching_finds_what_a_guest_sends_by_itself(lab: Bench) -> None:
    pinging = lab.start(
        "exec", "vm2", "--", "ping", "-c", "20", "-i", "0.3", INTERNET, stdout=subprocess.PIPE
    )
    try:
        found = _trace(lab, f"vm2 {INTERNET} --watch 5")
    finally:
        pinging.kill()
        pinging.communicate()
    assert (found["verdict"], found["command"]) == ("delivered", [])
    assert [hop["link"] for hop in found["hops"]] == ["vm2:0", "lan", "uplink", "outside"]
    assert all(hop["question_ns"] and hop["answer_ns"] for hop in found["hops"])


def test_times_and_addresses_of_the_hops(lab: Bench) -> None:
    found = _trace(lab, f"vm2 {INTERNET}")
    hops = {hop["link"]: hop for hop in found["hops"]}
    assert list(hops) == ["vm2:0", "lan", "uplink", "outside"]
    there = [hop["question_ns"] for hop in found["hops"]]
    back = [hop["answer_ns"] for hop in found["hops"]]
    assert there == sorted(there) and back == sorted(back, reverse=True) and there[-1] <= back[-1]
    assert "10.2.0.11 →" in hops["lan"]["question"] and "198.51.100.2 →" in hops["uplink"]["question"]


def test_for_people(lab: Bench) -> None:
    lab.ok("set", "host.forwarding", "off")
    try:
        done = lab.vmlan("trace", "vm2", INTERNET)
    finally:
        lab.ok("set", "host.forwarding", "on")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0] == f"vm2 → {INTERNET}, ping" and lines[1].startswith("  $ ping -c 1 ")
    assert any(line.startswith("✗ not-forwarded at host: ") for line in lines)
    assert "  → vmlan set host.forwarding on" in lines


def test_what_cannot_be_traced_is_said(lab: Bench) -> None:
    for words, code, what in (
        (("vm9", "vm1"), 2, "no machine 'vm9'"),
        (("vm1", "vm22"), 2, "did you mean"),
        (("vm1", "vm1"), 2, "itself"),
        (("vm1", "10.1.1.2"), 2, "own address"),
        (("vm1", "host", "--tcp", "0"), 2, "0"),
    ):
        done = lab.vmlan("trace", *words)
        assert done.code == code and what in done.err, (words, done.err)


def test_last_a_target_that_has_ended(lab: Bench) -> None:
    for words in LAST.plant:
        lab.ok(*words.split())
    _is_right(_trace(lab, LAST.trace), LAST)
    assert lab.vmlan("trace", "vm3", "vm2").code == 2


def test_a_guest_that_takes_no_commands_is_watched(bench: Bench) -> None:
    """iPXE asks for an address on a cable where nobody gives one; then on a bridge where the lab does."""
    before = host_network()
    bench.write(
        "networks: {wire: {kind: tap, host: 10.1.1.1/24}}\n"
        "machines: {pxe: {image: ipxe, memory: 64M, nics: [{network: wire, model: e1000}]}}\n"
    )
    bench.ok("up")
    found = json.loads(bench.vmlan("trace", "pxe", "host", "--watch", "60", "--json").out)
    assert (found["verdict"], found["at"]) == ("no-address", "pxe")
    assert "takes no commands" in found["notes"][0] and "DHCP" in found["why"]
    assert host_network() == before
