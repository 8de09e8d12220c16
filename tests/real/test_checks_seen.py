"""`seen-on`, `not-seen-on` and `reason` on real guests: each passes for its cause alone, and fails without it.

The facts are those of docs/facts.md; who else sends the same thing at the same time is never taken for the check.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

OUT = "203.0.113.68"
LAB = """
name: seen
host: {forwarding: true, uplink: simulated}
networks:
  wire: {kind: tap, host: 10.1.1.1/24}
  bare: {kind: tap, host: 10.9.9.1/24}
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  usr: {kind: user}
machines:
  vm1: {memory: 128M, nics: [{network: wire, mac: "52:54:00:00:00:01", address: 10.1.1.2/24, gateway: 10.1.1.1}]}
  vm2: {memory: 128M, nics: [{network: lan, mac: "52:54:00:00:00:02"}, usr]}
  # F15, F18: QEMU has the tap open, and the guest has no card.
  vm3: {memory: 128M, qemu-args: [-netdev, "tap,id=bare,ifname=bare,script=no,downscript=no"]}
checks:
"""


@pytest.fixture(scope="module")
def seen(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.write(LAB + "  - {ping: vm2, from: vm1}\n")
    shared_bench.ok("up")
    yield shared_bench


@pytest.fixture
def forwarding_off(seen: Bench) -> Iterator[None]:
    seen.ok("set", "host.forwarding", "off")
    yield
    seen.ok("set", "host.forwarding", "on")


def run(bench: Bench, *checks: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    bench.write(LAB + "".join(f"  - {check}\n" for check in checks))
    found: list[dict[str, Any]] = bench.vmlan("check", "--json", *options).json["checks"]
    return found


def passes(bench: Bench, *checks: str) -> list[dict[str, Any]]:
    found = run(bench, *checks)
    assert [check for check, result in zip(checks, found, strict=True) if not result["passed"]] == [], found
    return found


def links(result: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["link"], len(each["frames"])) for each in result["seen"]]


@contextlib.contextmanager
def meanwhile(bench: Bench, *command: str) -> Iterator[None]:
    """Somebody else runs that all the time."""
    process = bench.start(
        *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        time.sleep(1)
        yield
        assert process.poll() is None, "nobody else has sent anything"
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a command of the lab's: nsenter (the leader) would not tell the program that it has begun."""
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(10)


def often(times: int, command: str) -> tuple[str, ...]:
    return ("sh", "-c", f"for i in $(seq {times}); do {command}; sleep 0.1; done >/dev/null 2>&1")


# F22, F24: forwarding

F22 = f"{{ping: {OUT}, from: vm1, expect: unreachable, seen-on: [wire, uplink], reason: no-nat}}"
F24 = f"{{ping: {OUT}, from: vm1, expect: unreachable, seen-on: wire, not-seen-on: uplink, reason: not-forwarded}}"


def test_f22_a_forwarded_private_packet_leaves_and_is_not_answered(seen: Bench) -> None:
    f22, f24 = run(seen, F22, F24)
    assert f22["passed"] and f22["trace"]["verdict"] == "no-nat-for-private-source"
    assert [what for _, what in frames(f22)] == [f"ping request 10.1.1.2 → {OUT}"] * 4
    # F24 is not so while the host forwards.
    assert (f24["passed"], f24["outcome"]) == (False, "unreachable")
    assert f24["unmet"] == ["seen on uplink", "the reason is no-nat-for-private-source, not not-forwarded"]


def frames(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["link"], frame["what"]) for each in result["seen"] for frame in each["frames"]]


def test_f24_without_forwarding_it_does_not_get_there(seen: Bench, forwarding_off: None) -> None:
    f24, f22 = run(seen, F24, F22)
    assert f24["passed"] and f24["trace"]["verdict"] == "not-forwarded"
    assert links(f24) == [("wire", 2), ("uplink", 0)]
    assert not f22["passed"]
    assert f22["unmet"] == [
        "not seen on uplink",
        "the reason is not-forwarded, not no-nat-for-private-source",
    ]


def test_somebody_elses_pings_and_connections_are_not_the_checks(seen: Bench, forwarding_off: None) -> None:
    with meanwhile(seen, "host", "--", "ping", "-i", "0.2", OUT):
        f22, f24 = run(seen, F22, F24)
        assert not f22["passed"] and "not seen on uplink" in f22["unmet"]
        assert f24["passed"]
    with meanwhile(seen, "host", "--", *often(200, f"bash -c 'exec 3<>/dev/tcp/{OUT}/80'")):
        (tcp,) = run(seen, f"{{tcp: {OUT}:80, from: vm1, expect: unreachable, seen-on: uplink}}")
        assert (tcp["passed"], tcp["unmet"]) == (False, ["not seen on uplink"])


def test_it_is_seen_as_often_as_tcpdump_sees_it(seen: Bench) -> None:
    command = ("host", "--", "tcpdump", "-lnni", "eth0", f"icmp[icmptype] == icmp-echo and dst {OUT}")
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with seen.start(*command, **options) as dump:
        time.sleep(2)
        with meanwhile(seen, "host", "--", "ping", "-i", "0.3", OUT):
            (found,) = passes(seen, f"{{ping: {OUT}, from: vm1, expect: unreachable, seen-on: uplink}}")
        time.sleep(0.5)
        end(dump)
        assert dump.stdout
        said = dump.stdout.read()
    (attempt,) = found["attempts"]
    size = int(attempt["command"][attempt["command"].index("-s") + 1])
    lengths = [int(length) for length in re.findall(r"length (\d+)$", said, re.MULTILINE)]
    assert lengths.count(size + 8) == attempt["times"] == len(found["seen"][0]["frames"])
    assert lengths.count(64) > 3  # somebody else's


# F25, F26: what passes a router, and NAT

F25 = "{dhcp: wire, from: vm1, expect: unreachable, seen-on: wire, not-seen-on: uplink}"


def test_f25_a_dhcp_request_passes_no_router(seen: Bench) -> None:
    f25, host, outwards = run(
        seen,
        F25,
        "{dhcp: wire, expect: unreachable, seen-on: vm1, not-seen-on: [uplink, lan]}",
        "{dhcp: wire, from: vm1, expect: unreachable, seen-on: [wire, uplink]}",
    )
    assert f25["passed"] and frames(f25)[0] == ("wire", "DHCP request of 52:54:00:00:00:01")
    assert host["passed"]
    assert (outwards["passed"], outwards["unmet"]) == (False, ["not seen on uplink"])


def test_somebody_elses_dhcp_requests_are_not_the_checks(seen: Bench) -> None:
    asks = "udhcpc -f -n -q -t 1 -T 1 -i eth0 -s /bin/true"
    with meanwhile(seen, "exec", "vm1", "--", *often(20, asks)):
        own, other = run(
            seen, "{dhcp: lan, from: vm2, seen-on: [lan, vm2:0]}", "{dhcp: lan, from: vm2, seen-on: wire}"
        )
    assert own["passed"] and (other["passed"], other["unmet"]) == (False, ["not seen on wire"])


def test_f26_with_nat_the_outside_sees_the_host(seen: Bench) -> None:
    ping, tcp = passes(
        seen,
        f"{{ping: {OUT}, from: vm2, seen-on: [vm2:0, lan, uplink, outside], not-seen-on: [wire, usr]}}",
        f"{{tcp: {OUT}:81, from: vm2, expect: unreachable, seen-on: [vm2, outside], reason: refused}}",
    )
    inside, outside = f"ping request 10.2.0.12 → {OUT}", f"ping request 198.51.100.2 → {OUT}"
    inside = next(what for link, what in frames(ping) if link == "vm2:0")
    assert re.fullmatch(rf"ping request 10\.2\.0\.\d+ → {OUT}", inside)
    assert frames(ping) == [("vm2:0", inside), ("lan", inside), ("uplink", outside), ("outside", outside)]
    assert {what for link, what in frames(tcp) if link == "outside"} == {f"TCP SYN 198.51.100.2 → {OUT}:81"}


def test_f26_without_nat_it_fails_with_the_trace(seen: Bench) -> None:
    seen.ok("set", "lan.nat", "off")
    try:
        report = seen.folder / "report.xml"
        checks = (f"{{ping: {OUT}, from: vm2, within: 1s, seen-on: outside}}",)
        (found,) = run(seen, *checks, options=("--junit", str(report)))
    finally:
        seen.ok("set", "lan.nat", "on")
    assert (found["passed"], found["unmet"]) == (False, [])
    assert found["trace"]["verdict"] == "no-nat-for-private-source"
    assert "no-nat-for-private-source: " in (ET.parse(report).getroot().findtext(".//failure") or "")


# F18: probes on a tap behind which nobody is


def test_f18_arp_probes_are_seen_on_the_tap_and_nobody_answers(seen: Bench) -> None:
    by_address, by_mac, elsewhere = run(
        seen,
        "{arp: 10.9.9.2, expect: unreachable, seen-on: bare, not-seen-on: wire}",
        "{arp: 52:54:00:00:00:77, via: bare, expect: unreachable, seen-on: bare, not-seen-on: [wire, lan]}",
        "{arp: 10.9.9.2, expect: unreachable, seen-on: wire}",
    )
    assert by_address["passed"] and by_mac["passed"]
    assert ("bare", "ARP: who has 10.9.9.2? tell 10.9.9.1") in frames(by_address)
    assert by_mac["seen"][0]["frames"][-1]["what"] == "ARP: who has 10.9.9.254? tell 10.9.9.1"
    assert (elsewhere["passed"], elsewhere["unmet"]) == (False, ["not seen on wire"])


def test_the_kernels_own_arp_requests_are_not_the_checks(seen: Bench) -> None:
    with meanwhile(seen, "host", "--", "ping", "-i", "0.2", "10.9.9.2"):
        (found,) = passes(seen, "{arp: 10.9.9.2, expect: unreachable, seen-on: bare}")
    assert links(found) == [("bare", sum(each["times"] for each in found["attempts"]))]


def test_the_host_side_a_guests_arp_and_a_network_inside_qemu(seen: Bench) -> None:
    passes(
        seen,
        "{ping: vm1, seen-on: wire, not-seen-on: [lan, uplink]}",
        "{tcp: vm1:81, expect: unreachable, seen-on: [wire, vm1:0], not-seen-on: lan, reason: refused}",
        "{arp: 10.1.1.1, from: vm1, seen-on: wire, not-seen-on: [lan, uplink]}",
        "{ping: 10.0.2.2, from: vm2, seen-on: usr, not-seen-on: [vm2:0, uplink]}",
        "{dhcp: usr, from: vm2, seen-on: vm2:1, not-seen-on: vm2:0}",
    )


def test_f22_is_told_on_a_terminal(seen: Bench) -> None:
    seen.write(LAB + f"  - {F22}\n  - {F24}\n")
    done = seen.vmlan("check")
    assert done.code == 1
    good, bad = done.out.split("✗ ")
    assert re.search(
        rf"\n    seen on wire at \+[0-9.]+ ms: ping request 10\.1\.1\.2 → {OUT} \(2 times\)\n", good
    )
    assert "\n    no-nat-for-private-source: " in good and "\n      wire " not in good
    assert bad.startswith(f"vm1 → {OUT}: unreachable, but seen on uplink and the reason is ")
    assert "\n      wire " in bad and "\n      outside " in bad  # the trace, hop by hop


# At the end: a machine that is off


def test_what_cannot_be_seen_is_not_called_unseen(seen: Bench) -> None:
    seen.vmlan("exec", "vm2", "--", "poweroff", "-f")
    deadline = time.monotonic() + 30
    while seen.vmlan("ps", "--json").out.count('"running"') > 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    unseen, inside, off = run(
        seen,
        f"{{ping: {OUT}, from: vm1, expect: unreachable, not-seen-on: vm2:0}}",
        f"{{ping: {OUT}, from: vm1, expect: unreachable, not-seen-on: usr}}",
        "{ping: vm2, from: vm1, expect: unreachable, reason: not-running}",
    )
    for found in (unseen, inside):
        assert (found["passed"], found["outcome"]) == (False, "not tried")
        assert "vm2 is not running" in found["why"]
    assert off["passed"] and off["trace"]["verdict"] == "not-running"
