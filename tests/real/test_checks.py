"""Every kind of check, on real guests, in both outcomes; the matrix; the JUnit report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

LAB = """
name: net
host: {forwarding: true, uplink: simulated}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  wire: {kind: tap, host: 10.1.1.1/24}
  usr: {kind: user, forward: ["18091:80"]}
machines:
  vm1: {image: tiny, memory: 128M, nics: [{network: lan, mac: "52:54:00:00:00:01"}, wire]}
  vm2: {image: tiny, memory: 128M, nics: [{network: lan, model: e1000, mac: "52:54:00:00:00:02"}, usr]}
checks:
"""


@pytest.fixture(scope="module")
def net(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.write(LAB + "  - {ping: vm2, from: vm1}\n")
    shared_bench.ok("up")
    serve = "httpd -p 80 -h / </dev/null >/dev/null 2>&1; exit 0"
    shared_bench.ok("exec", "vm2", "--", "sh", "-c", serve)
    yield shared_bench


def run(net: Bench, *checks: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    net.write(LAB + "".join(f"  - {check}\n" for check in checks))
    done = net.vmlan("check", "--json", *options)
    found: list[dict[str, Any]] = done.json["checks"]
    assert done.code == (0 if all(check["passed"] for check in found) else 1)
    return found


GOOD = {
    "{ping: vm2, from: vm1}": "64 bytes from 10.2.0.12",
    "{ping: 203.0.113.68, from: vm1}": "64 bytes from 203.0.113.68",
    "{ping: 10.2.0.99, from: vm1, expect: unreachable}": "100% packet loss",
    "{tcp: vm2:80, from: vm1}": "10.2.0.12 accepts connections on port 80",
    "{tcp: vm2:80}": "10.2.0.12 accepts connections on port 80",
    "{tcp: vm2:80, via: usr}": "127.0.0.1 accepts connections on port 18091",
    "{tcp: 'vm2:81', from: vm1, expect: unreachable}": "Connection refused",
    "{tcp: 10.2.0.12:81, expect: unreachable}": "Connection refused",
    "{arp: vm2, from: vm1, via: lan}": "10.2.0.12 is at 52:54:00:00:00:02, which is vm2's NIC 0",
    "{arp: 10.2.0.12, is: vm2}": "10.2.0.12 is at 52:54:00:00:00:02",
    "{arp: 10.2.0.11, is: 52:54:00:00:00:01}": "10.2.0.11 is at 52:54:00:00:00:01",
    "{arp: 52:54:00:00:00:02, is: 10.2.0.12}": "52:54:00:00:00:02 has 10.2.0.12 on lan",
    "{arp: 52:54:00:00:00:02, from: vm1}": "52:54:00:00:00:02 has 10.2.0.12 on lan",
    "{arp: 52:54:00:00:00:02, via: wire, expect: unreachable}": "nobody answers for 52:54:00:00:00:02",
    "{arp: 10.1.1.7, expect: unreachable}": "nobody answers for 10.1.1.7",
    "{arp: 203.0.113.68, expect: unreachable}": "is behind the router 198.51.100.1",
    "{dhcp: lan, from: vm1, is: 10.2.0.1}": "lease of 10.2.0.11 obtained from 10.2.0.1",
    "{dhcp: usr, from: vm2}": "obtained from 10.0.2.2",
    "{dhcp: wire, from: vm1, expect: unreachable}": "no lease",
    "{dns: vm2.net.internal, from: vm1, is: 10.2.0.12}": "vm2.net.internal has 10.2.0.12",
    "{dns: vm2.net.internal, is: vm2}": "vm2.net.internal has 10.2.0.12",
    "{dns: vm2.net.internal, from: vm1, via: lan}": "vm2.net.internal has 10.2.0.12",
    "{dns: vm9.net.internal, from: vm1, expect: unreachable}": "NXDOMAIN",
    "{dns: vm9.net.internal, expect: unreachable}": "no such name",
}


def test_what_should_hold_passes_with_its_evidence(net: Bench) -> None:
    found = run(net, *GOOD)
    for check, words, result in zip(GOOD, GOOD.values(), found, strict=True):
        assert result["passed"], (check, result)
        assert words in f"{result['attempts'][-1:]}{result['why']}".replace("\\'", "'"), (check, result)


BAD = {
    "{ping: 10.2.0.99, from: vm1, within: 500ms}": "unreachable",
    "{ping: vm2, from: vm1, expect: unreachable}": "reachable",
    "{tcp: vm2:81, from: vm1, within: 500ms}": "unreachable",
    "{tcp: vm2:81, within: 500ms}": "unreachable",
    "{tcp: vm2:80, from: vm1, expect: unreachable}": "reachable",
    "{arp: 10.1.1.7, within: 100ms}": "unreachable",
    "{arp: 10.2.0.12, is: vm1, within: 100ms}": "wrong answer",
    "{arp: 10.2.0.12, from: vm1, expect: unreachable}": "reachable",
    "{arp: 52:54:00:00:00:77, within: 100ms}": "unreachable",
    "{arp: 52:54:00:00:00:02, is: 10.2.0.44, within: 100ms}": "wrong answer",
    "{dhcp: wire, within: 100ms}": "unreachable",
    "{dhcp: lan, from: vm1, is: 10.2.0.2, within: 100ms}": "wrong answer",
    "{dns: vm9.net.internal, from: vm1, within: 100ms}": "unreachable",
    "{dns: vm2.net.internal, from: vm1, is: vm1, within: 100ms}": "wrong answer",
    "{dns: vm2.net.internal, expect: unreachable}": "reachable",
    "{screen: no such words, on: vm1, within: 100ms}": "not shown",
}


def test_what_does_not_hold_fails_with_what_was_found(net: Bench) -> None:
    found = run(net, *BAD)
    assert {check: result["outcome"] for check, result in zip(BAD, found, strict=True)} == BAD
    assert not any(result["passed"] for result in found)
    # Where something was tried, it is said what was run, and what that said.
    for result in found[:-1]:
        assert all(attempt["command"] and attempt["words"] for attempt in result["attempts"]), result


def test_a_failed_check_shows_the_command_and_how_often(net: Bench) -> None:
    net.write(LAB + "  - {tcp: vm2:81, from: vm1, within: 1s, hint: nobody listens there}\n")
    done = net.vmlan("check")
    assert done.code == 1
    assert "✗ vm1 → tcp vm2:81 (10.2.0.12:81): unreachable, but reachable was expected" in done.out
    assert "    $ nc -w 2 10.2.0.12 81 -e true\n" in done.out
    assert "Connection refused (" in done.out and " times)" in done.out
    assert "    expected because: nobody listens there" in done.out


def test_numbers_choose_checks(net: Bench) -> None:
    net.write(LAB + "  - {ping: vm2, from: vm1}\n  - {ping: 10.2.0.99, within: 1s}\n")
    assert net.ok("check", "1").endswith("1 passed, 0 failed\n")
    assert net.vmlan("check", "2").code == 1
    assert net.vmlan("check", "3").code == 2


def test_the_matrix_says_who_reaches_whom(net: Bench) -> None:
    cells = net.vmlan("check", "--matrix", "--json").json["matrix"]
    found = {(cell["source"], cell["target"]): cell for cell in cells}
    assert len(found) == 16
    reached = {pair for pair, cell in found.items() if cell["verdict"] == "reachable"}
    every = {
        (a, b) for a in ("host", "outside", "vm1", "vm2") for b in ("host", "outside", "vm1", "vm2") if a != b
    }
    # The outside knows no way to private addresses; all else is joined, the guests through NAT.
    assert every - reached == {("outside", "vm1"), ("outside", "vm2")}
    assert found["vm1", "vm2"]["address"] == "10.2.0.12"
    table = net.ok("check", "--matrix").splitlines()
    assert table[0].split() == ["FROM", "\\", "TO", "host", "outside", "vm1", "vm2"]
    assert table[2].split() == ["outside", "✓", "·", "✗", "✗"]


def test_junit_counts_and_tells(net: Bench) -> None:
    report = net.folder / "report.xml"
    run(
        net,
        "{ping: vm2, from: vm1}",
        "{ping: vm1, from: vm2, expect: unreachable, hint: they are neighbours}",
        "{dns: vm2.net.internal, from: vm1, is: vm1, within: 2s}",
        options=("--junit", str(report)),
    )
    root = ET.parse(report).getroot()
    assert root.tag == "testsuites"
    (suite,) = root
    assert (suite.tag, suite.get("name"), suite.get("tests")) == ("testsuite", "net", "3")
    assert (suite.get("failures"), suite.get("errors")) == ("2", "0")
    first, second, third = suite
    assert first.get("name") == "1: vm1 → vm2" and float(first.get("time", "x")) >= 0
    assert "64 bytes from 10.2.0.12" in (first.findtext("system-out") or "")
    failure = second.find("failure")
    assert failure is not None and "unreachable was expected" in failure.get("message", "")
    assert "64 bytes from" in (failure.text or "") and "they are neighbours" in (failure.text or "")
    assert "10.2.0.11 was expected" in (third.findtext("failure") or "")
    assert net.vmlan("check", "--junit", "/proc/no/report.xml").code == 3
