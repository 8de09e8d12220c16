"""A bridge to the outside, NAT beside it, taps and IPv6: who is seen where, and with which address.

The facts F25 to F31 of bridges and NAT, each with its evidence. One lab for all: it begins with a NAT
network alone, and the bridge is added while it runs, so that there is a before and an after.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

NAT = """
name: net
host: {uplink: simulated, forwarding: true}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, host6: auto, dhcp: true, nat: true}
"""
MACHINE = """machines:
  vm2: {nics: [lan]}
"""
BRIDGE = """  pub: {kind: bridge, uplink: true}
  wire: {kind: tap, host: 10.1.1.1/24, host6: "fd00:1::1/64"}
"""
MACHINES = """  vm1: {nics: [pub, lan]}
  vm3: {nics: [pub, {network: wire, address6: "fd00:1::2/64", gateway6: "fd00:1::1"}]}
"""
OUTSIDE = "198.51.100.1"


@dataclass
class Net:
    """The lab, what its host side was before there was a bridge, and a connection begun then."""

    bench: Bench
    before: dict[str, Any]
    line: subprocess.Popen[str]

    def host(self, *words: str) -> str:
        return self.bench.ok("host", "--", *words)

    def outside(self, *words: str) -> str:
        return self.bench.ok("host", "--outside", "--", *words)

    def guest(self, name: str, *words: str) -> str:
        return self.bench.ok("exec", name, "--", *words)

    def nic(self, machine: str, index: int) -> dict[str, Any]:
        rows = {row["name"]: row for row in json.loads(self.bench.ok("ps", "--json"))["machines"]}
        found: dict[str, Any] = rows[machine]["nics"][index]
        return found

    def address(self, machine: str, index: int) -> str:
        return str(self.nic(machine, index)["addresses"][0]).partition("/")[0]

    @contextmanager
    def watch(self, where: str, link: str, count: int, *filter_: str) -> Iterator[list[str]]:
        """The frames that pass a link meanwhile, a line for each; it waits for `count`."""
        side = ("host", "--outside") if where == "outside" else ("host",)
        words = (*side, "--", "timeout", "40", "tcpdump", "-lnnei", link, "-c", str(count), *filter_)
        watcher = self.bench.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert watcher.stderr is not None
        while "listening on" not in (said := watcher.stderr.readline()):
            assert said, "tcpdump has ended"
        rows: list[str] = []
        yield rows
        out, err = watcher.communicate(timeout=90)
        assert watcher.returncode == 0, err
        rows += [row for row in out.splitlines() if row]


def host_network(bench: Bench) -> dict[str, Any]:
    return {view: json.loads(bench.ok("host", "--", "ip", "-j", view)) for view in ("addr", "route")}


@pytest.fixture(scope="module")
def net(shared_bench: Bench) -> Iterator[Net]:
    bench = shared_bench
    bench.write(NAT + MACHINE)
    bench.ok("up")
    echo = bench.start("host", "--outside", "--", "socat", "TCP-LISTEN:7777,reuseaddr", "EXEC:cat")
    line = bench.start(
        "host", "--", "socat", "STDIO", f"TCP:{OUTSIDE}:7777,retry=20,interval=0.2",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert _answer(line, "before") == "before"
        before = host_network(bench)
        bench.write(NAT + BRIDGE + MACHINE + MACHINES)
        bench.ok("up")
        yield Net(bench, before, line)
    finally:
        for process in (line, echo):
            process.kill()
            process.wait()


def _answer(line: subprocess.Popen[str], words: str) -> str:
    assert line.stdin is not None and line.stdout is not None
    line.stdin.write(f"{words}\n")
    line.stdin.flush()
    return line.stdout.readline().strip()


def _own(rows: list[dict[str, Any]], name: str) -> tuple[str, list[str]]:
    """An interface's MAC, and its addresses other than link-local."""
    (row,) = (row for row in rows if row["ifname"] == name)
    return row["address"], [info["local"] for info in row["addr_info"] if info["scope"] != "link"]


def test_the_nics_mac_address_and_route_move_to_the_bridge(net: Net) -> None:
    """F28: and a connection of the host side's own, begun before, goes on."""
    after = host_network(net.bench)
    mac, addresses = _own(net.before["addr"], "eth0")
    assert addresses == ["198.51.100.2"]
    assert _own(after["addr"], "pub") == (mac, addresses)
    ways = [
        [route["dev"] for route in each["route"] if route["dst"] == "default"] for each in (net.before, after)
    ]
    assert ways == [["eth0"], ["pub"]]
    assert _answer(net.line, "after") == "after"


def test_the_nic_is_out_of_the_host_sides_ip(net: Net) -> None:
    """F29: no address of any family, no route; it is a port of the bridge and nothing else."""
    after = host_network(net.bench)
    (nic,) = (row for row in after["addr"] if row["ifname"] == "eth0")
    assert (nic["addr_info"], nic["master"]) == ([], "pub")
    assert not [route for route in after["route"] if route["dev"] == "eth0"]
    assert "dev pub" in net.host("ip", "route", "get", OUTSIDE)


def test_a_tap_that_is_a_port_has_no_address_and_packets_pass_once(net: Net) -> None:
    """F30."""
    rows = json.loads(net.host("ip", "-j", "addr"))
    ports = {row["ifname"]: row["addr_info"] for row in rows if row.get("master") == "pub"}
    assert ports == {"eth0": [], "vm1-pub": [], "vm3-pub": []}
    with net.watch("host", "vm1-pub", 3, "icmp or udp port 9999") as seen:
        net.guest("vm1", "ping", "-c", "1", "-W", "5", "-I", "eth0", OUTSIDE)
        _mark(net, "vm1")
    assert [re.search("echo request|echo reply|9999", row)[0] for row in seen] == [  # type: ignore[index]
        "echo request", "echo reply", "9999",
    ]  # fmt: skip


def _mark(net: Net, machine: str) -> None:
    """A frame for this machine alone, so that whoever watches its port knows that all else has passed."""
    net.host("bash", "-c", f"echo mark > /dev/udp/{net.address(machine, 0)}/9999")


def test_guests_get_addresses_from_the_outside_and_are_answered(net: Net) -> None:
    """F31."""
    leases = next(net.bench.runtime.glob("vmlan/*/net-outside/leases")).read_text()
    for machine in ("vm1", "vm3"):
        nic = net.nic(machine, 0)
        address = nic["addresses"][0].partition("/")[0]
        assert ip_address("198.51.100.100") <= ip_address(address) <= ip_address("198.51.100.199")
        assert f"{nic['mac']} {address} " in leases
        assert "1 packets received" in net.guest(
            machine, "ping", "-c", "1", "-W", "5", "-I", "eth0", "203.0.113.68"
        )
        assert "1 received" in net.outside("ping", "-c", "1", "-W", "5", address)


def test_outside_sees_a_station_of_the_bridge_and_only_the_host_side_of_nat(net: Net) -> None:
    """F26: the guest's own MAC and address; with NAT, the host side's."""
    own = net.nic("vm1", 0)
    with net.watch(
        "outside", "out0", 1, "icmp[icmptype] == icmp-echo and src host", net.address("vm1", 0)
    ) as seen:
        net.guest("vm1", "ping", "-c", "1", "-W", "5", "-I", "eth0", "203.0.113.68")
    assert f" {own['mac']} > " in seen[0]
    neighbours = {row["dst"]: row.get("lladdr") for row in json.loads(net.outside("ip", "-j", "neigh"))}
    assert neighbours[net.address("vm1", 0)] == own["mac"]
    with net.watch("outside", "out0", 1, "icmp[icmptype] == icmp-echo") as seen:
        assert "1 packets received" in net.guest("vm2", "ping", "-c", "1", "-W", "5", "203.0.113.68")
    assert f" {_own(host_network(net.bench)['addr'], 'pub')[0]} > " in seen[0]
    assert " 198.51.100.2 > 203.0.113.68: " in seen[0]


def test_the_bridge_learns_and_a_third_port_hears_nothing(net: Net) -> None:
    """F27; and it hears everything when the bridge forgets at once."""
    ping = ("ping", "-c", "3", "-i", "0.2", "-W", "5", "-I", "eth0", OUTSIDE)
    net.guest("vm1", *ping)
    learnt = {
        row["mac"]: row["ifname"]
        for row in json.loads(net.host("bridge", "-j", "fdb", "show", "br", "pub"))
        if row.get("state") != "permanent"
    }
    assert learnt[net.nic("vm1", 0)["mac"]] == "vm1-pub"
    router = json.loads(net.outside("ip", "-j", "link", "show", "out0"))[0]["address"]
    assert learnt[router] == "eth0"
    with net.watch("host", "vm3-pub", 1, "icmp or udp port 9999") as seen:
        assert "3 packets received" in net.guest("vm1", *ping)
        _mark(net, "vm3")
    assert "9999" in seen[0] and "ICMP" not in seen[0]
    net.host("ip", "link", "set", "dev", "pub", "type", "bridge", "ageing_time", "0", "fdb_flush")
    try:
        with net.watch("host", "vm3-pub", 6, "icmp") as seen:
            net.guest("vm1", *ping)
        assert all(f"{net.address('vm1', 0)}" in row for row in seen)
    finally:
        net.host("ip", "link", "set", "dev", "pub", "type", "bridge", "ageing_time", "30000")


def test_the_outsides_dhcp_does_not_reach_beyond_a_router(net: Net) -> None:
    """F25: vm3 asks on its cable for ever; outside, only stations of the bridge are heard to ask."""
    mac = net.nic("vm3", 1)["mac"]
    assert not [each for each in net.nic("vm3", 1)["addresses"] if ":" not in each]
    with net.watch("outside", "out0", 1, "udp port 67 or udp port 9999") as outside:
        with net.watch("host", "wire", 2, "udp port 67 and ether src", mac) as seen:
            pass
        net.host("bash", "-c", f"echo mark > /dev/udp/{OUTSIDE}/9999")
    assert len(seen) == 2 and all("ff:ff:ff:ff:ff:ff" in row for row in seen)
    assert "9999" in outside[0]


def test_names_lead_to_ipv6_addresses_too(net: Net) -> None:
    """Router advertisements, and what a guest makes of them."""
    host6 = next(
        info["local"]
        for row in json.loads(net.host("ip", "-j", "-6", "addr", "show", "dev", "lan"))
        for info in row["addr_info"]
        if info["scope"] == "global"
    )
    found = {machine: net.nic(machine, index)["addresses"] for machine, index in (("vm1", 1), ("vm2", 0))}
    assert all(ip_address(each[1].partition("/")[0]).is_private for each in found.values())
    said = net.guest("vm2", "ping", "-6", "-c", "1", "-W", "5", "vm1")
    assert f"64 bytes from {found['vm1'][1].partition('/')[0]}" in said
    assert "1 received" in net.host("ping", "-6", "-c", "1", "-W", "5", "vm2")
    assert host6.startswith("fd") and "proto ra" not in net.host("ip", "-6", "route")
    assert "default via fe80::" in net.guest("vm2", "ip", "-6", "route")


def test_fixed_ipv6_addresses_and_the_host_side_forwards_between_them(net: Net) -> None:
    assert "fd00:1::2/64" in net.nic("vm3", 1)["addresses"]
    target = net.nic("vm2", 0)["addresses"][1].partition("/")[0]
    assert "1 packets received" in net.guest("vm3", "ping", "-6", "-c", "1", "-W", "5", target)
    net.host("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=0")
    try:
        assert net.bench.vmlan("exec", "vm3", "--", "ping", "-6", "-c", "1", "-W", "1", target).code == 1
    finally:
        net.host("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")


def test_several_nics_are_each_on_their_own_network(net: Net) -> None:
    rows = {row["name"]: row for row in json.loads(net.bench.ok("ps", "--json"))["machines"]}
    assert [nic["network"] for nic in rows["vm1"]["nics"]] == ["pub", "lan"]
    assert net.address("vm1", 1).startswith("10.2.0.")
    assert "1 packets received" in net.guest("vm1", "ping", "-c", "1", "-W", "5", "-I", "eth1", "10.2.0.1")


def test_a_bridge_that_comes_to_nothing_gives_the_nic_everything_back(bench: Bench) -> None:
    """A machine that does not start undoes what this `up` began, on a lab that goes on running."""
    before = "host: {uplink: simulated}\nmachines: {vm0: {memory: 128M}}\n"
    bench.write(before)
    bench.ok("up")

    def state() -> dict[str, Any]:
        found = host_network(bench)
        for row in found["addr"]:
            row["addr_info"] = [info for info in row["addr_info"] if info["scope"] != "link"]
        return found

    first = state()
    bench.write(
        "host: {uplink: simulated}\nnetworks: {pub: {kind: bridge, uplink: true}}\n"
        "machines: {vm0: {memory: 128M}, bad: {nics: [pub], qemu-args: [-no-such-option]}}\n"
    )
    failed = bench.vmlan("up")
    assert failed.code != 0 and "no-such-option" in failed.err
    assert state() == first
    assert "1 received" in bench.ok("host", "--", "ping", "-c", "1", "-W", "5", "203.0.113.68")
