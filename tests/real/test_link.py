"""`vmlan link` and `vmlan set`: what the guest and the kernel see of them, and that `down` forgets them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

LAB = """
name: cut
host: {forwarding: true, uplink: simulated}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  usr: {kind: user}
machines:
  vm1: {image: tiny, memory: 128M, nics: [lan, usr]}
  vm2: {image: tiny, memory: 128M, nics: [{network: lan, model: e1000}, {network: usr, model: rtl8139}, {network: usr, model: e1000e}]}
checks:
  - {ping: vm2, from: vm1}
  - {ping: vm2, from: vm1, expect: unreachable}
"""


@pytest.fixture(scope="module")
def cut(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.write(LAB)
    shared_bench.ok("up")
    make = "dd if=/dev/zero of=/tmp/data bs=1M count=1 2>/dev/null; httpd -p 80 -h /tmp </dev/null >/dev/null 2>&1; exit 0"
    shared_bench.ok("exec", "vm2", "--", "sh", "-c", make)
    yield shared_bench


def ps(cut: Bench) -> dict[str, list[dict[str, Any]]]:
    return {row["name"]: row["nics"] for row in cut.vmlan("ps", "--json").json["machines"]}


def carriers(cut: Bench, machine: str) -> dict[str, str]:
    """What the guest's own kernel says of its cards, by their MACs."""
    look = "for nic in /sys/class/net/eth*; do read -r a <$nic/address; read -r c <$nic/carrier; echo $a $c; done"
    return dict(line.split() for line in cut.ok("exec", machine, "--", "sh", "-c", look).splitlines())


def until(cut: Bench, machine: str, wanted: dict[str, str]) -> None:
    """A driver may look at its card only every two seconds."""
    deadline = time.monotonic() + 30
    while not wanted.items() <= (found := carriers(cut, machine)).items():
        assert time.monotonic() < deadline, (found, wanted)


@pytest.mark.parametrize("machine, told", [("vm1", 2), ("vm2", 2)])
def test_a_pulled_cable_is_seen_by_the_guest_and_by_us(cut: Bench, machine: str, told: int) -> None:
    """Of e1000e the guest hears only with a newer QEMU than 7.2; the card itself shows it everywhere."""
    macs = [nic["mac"] for nic in ps(cut)[machine]][:told]
    assert {row["up"] for row in cut.vmlan("link", machine, "--json").json["links"]} == {True}
    assert {row["up"] for row in cut.vmlan("link", machine, "down", "--json").json["links"]} == {False}
    until(cut, machine, dict.fromkeys(macs, "0"))
    assert {nic["up"] for nic in ps(cut)[machine]} == {False}
    shown = cut.ok("ps")
    assert " LINK" in shown and " down" in shown
    assert {row["up"] for row in cut.vmlan("link", machine, "up", "--json").json["links"]} == {True}
    until(cut, machine, dict.fromkeys(macs, "1"))
    assert " LINK" not in cut.ok("ps")


def test_nobody_is_reached_over_a_pulled_cable_until_it_is_back(cut: Bench) -> None:
    cut.ok("link", "vm2:0", "down")
    assert cut.vmlan("check", "2").code == 0
    cut.ok("link", "vm2:0", "up")
    cut.ok("check", "1")


def seconds(cut: Bench) -> float:
    """How long vm1 takes to fetch 1 MB of vm2's, by the guest's own clock."""
    get = "read -r a _ </proc/uptime; wget -q -O /dev/null http://10.2.0.12/data; read -r b _ </proc/uptime; echo $a $b"
    before, after = map(float, cut.ok("exec", "vm1", "--", "sh", "-c", get).split())
    return after - before


@pytest.mark.parametrize("machine", ["vm1", "vm2"])
def test_a_rate_holds_in_both_directions_and_can_be_cleared(cut: Bench, machine: str) -> None:
    """8 Mbit are one MB a second: a fetch takes one, whichever end is slow; without, far less than half."""
    free = min(seconds(cut) for _ in range(2))
    told = cut.vmlan("link", f"{machine}:0", "--rate", "4M", "--json").json["links"][0]
    assert told["rate"] == 4_000_000
    shown = {
        row["dev"]: row
        for row in json.loads(cut.ok("host", "--", "tc", "-j", "qdisc", "show"))
        if row.get("root")
    }
    assert shown[f"{machine}-lan"]["kind"] == shown[f"in~{machine}-lan"]["kind"] == "tbf"
    assert shown[f"{machine}-lan"]["options"]["rate"] == 500_000  # bytes
    assert seconds(cut) > 2 * free
    assert "4Mbit" in cut.ok("ps")
    cut.ok("link", f"{machine}:0", "--rate", "8M")  # a second time, over the first
    cut.ok("link", f"{machine}:0", "--clear")
    assert cut.vmlan("link", f"{machine}:0", "--json").json["links"][0]["rate"] is None
    assert "tbf" not in cut.ok("host", "--", "tc", "qdisc", "show")
    assert "in~" not in cut.ok("host", "--", "ls", "/sys/class/net")


def test_delay_and_loss_work_or_say_what_this_kernel_lacks(cut: Bench) -> None:
    done = cut.vmlan("link", "vm1:0", "--delay", "50ms", "--loss", "1%", "--rate", "10M")
    if done.code == 0:
        assert "10Mbit, 50ms, 1% lost" in done.out
        assert cut.ok("link", "vm1:0", "--clear")
    else:
        assert done.code == 3
        assert "this kernel cannot delay or lose packets: module sch_netem is missing" in done.err
        assert cut.vmlan("link", "vm1:0", "--json").json["links"][0] | {"up": None} == {
            "nic": 0, "network": "lan", "interface": "vm1-lan", "up": None, "rate": None, "delay": None, "loss": None,
        }  # fmt: skip


def test_what_cannot_be_done_is_refused(cut: Bench) -> None:
    done = cut.vmlan("link", "vm1:1", "--rate", "1M")
    assert done.code == 2 and "vm1:1 is on usr, of kind user" in done.err
    assert cut.vmlan("link", "vm1:4").code == 2
    assert cut.vmlan("link", "vm3").code == 2
    assert cut.vmlan("link", "vm1", "--rate", "10").code == 2


OUT = ("exec", "vm1", "--", "ping", "-c", "1", "-W", "3", "203.0.113.68")


@pytest.mark.parametrize(
    "name, off, on",
    [
        ("host.forwarding", "off", "on"),
        ("host.forward-policy", "drop", "accept"),
        ("host.uplink.address", "none", "198.51.100.2/24"),
        ("lan.nat", "off", "on"),
    ],
)
def test_a_setting_takes_the_way_out_away_and_gives_it_back(cut: Bench, name: str, off: str, on: str) -> None:
    done = cut.vmlan("set", "-v", name, off)
    assert done.code == 0 and done.out == f"{name}: {off} (`vmlan up` makes it {on})\n"
    assert done.err.startswith("+ ")
    assert cut.vmlan(*OUT).code == 1
    (shown,) = cut.vmlan("set", name, "--json").json["settings"]
    assert (shown["now"], shown["file"]) == (off, on)
    assert cut.ok("set", name, on) == f"{name}: {on}\n"
    assert cut.ok("set", name, on) == f"{name}: {on}, as it was\n"
    assert cut.vmlan(*OUT).code == 0


def test_another_address_of_the_uplink_is_the_one_that_the_outside_sees(cut: Bench) -> None:
    cut.ok("set", "host.uplink.address", "198.51.100.7/24")
    assert "198.51.100.7" in cut.ok("host", "--", "ip", "-4", "addr", "show", "dev", "eth0")
    assert cut.vmlan(*OUT).code == 0
    neighbours = cut.ok("host", "--outside", "--", "ip", "neigh", "show", "198.51.100.7")
    assert "lladdr" in neighbours
    cut.ok("set", "host.uplink.address", "198.51.100.2/24")


def test_a_policy_of_somebody_elses_is_not_hidden(cut: Bench) -> None:
    chain = "{ type filter hook forward priority 5; policy drop; }"
    cut.ok("host", "--", "nft", f"add table ip mine; add chain ip mine f {chain}")
    done = cut.vmlan("set", "host.forward-policy", "accept")
    assert done.code == 3 and "drop still" in done.err
    cut.ok("host", "--", "nft", "delete", "table", "ip", "mine")


@pytest.mark.parametrize(
    "words",
    [("lan.nat", "maybe"), ("usr.nat", "on"), ("host.forwardin", "on"), ("host.uplink.address", "1.2.3.4")],
)
def test_wrong_settings_are_refused(cut: Bench, words: tuple[str, str]) -> None:
    assert cut.vmlan("set", *words).code == 2


def test_down_and_up_bring_back_what_the_file_says(cut: Bench) -> None:
    for words in (("host.forwarding", "off"), ("lan.nat", "off"), ("host.forward-policy", "drop")):
        cut.ok("set", *words)
    cut.ok("link", "vm1:0", "--rate", "1M")
    before = cut.vmlan("set", "--json").json
    assert "is up already" in cut.ok("up")  # it neither refuses nor undoes what was set
    assert cut.vmlan("set", "--json").json == before
    done = cut.vmlan("down", "--now")
    assert done.code == 0 and done.err == ""
    cut.ok("up")
    assert all(row["now"] == row["file"] for row in cut.vmlan("set", "--json").json["settings"])
    assert cut.vmlan("link", "vm1:0", "--json").json["links"][0]["rate"] is None
    assert cut.vmlan(*OUT).code == 0
