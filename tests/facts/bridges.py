"""F26–F31: a bridge to the outside, and NAT beside it. The lab begins without the bridge, for a before."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

from tests.facts.play import Play, end, need

OUT, ROUTER = "203.0.113.68", "198.51.100.1"
REQUEST = "ICMP echo request"


@contextmanager
def begun(play: Play) -> Iterator[None]:
    """The lab without its bridge, a connection of the host side's own, and then the bridge."""
    whole = play.text
    play.text = (
        "\n".join(line for line in whole.splitlines() if not re.search(r"\bpub\b|vm1|vm2", line)) + "\n"
    )
    play.up()
    echo = play.begin("socat", "TCP-LISTEN:7777,reuseaddr", "EXEC:cat", side=("--outside",))
    line = play.begin("socat", "STDIO", f"TCP:{ROUTER}:7777,retry=40,interval=0.2")
    try:
        need(_answer(line, "before") == "before", "the connection is not there to begin with")
        play.memory |= {"line": line, "before": state(play)}
        play.text = whole
        play.up()
        yield
    finally:
        for process in (line, echo):
            end(process)


def _answer(line: subprocess.Popen[str], words: str) -> str:
    assert line.stdin is not None and line.stdout is not None
    line.stdin.write(f"{words}\n")
    line.stdin.flush()
    return line.stdout.readline().strip()


def state(play: Play) -> dict[str, Any]:
    """The host side's stations: interface → MAC and IPv4 addresses; and where the default route leads."""
    found = {
        row["ifname"]: (
            row["address"],
            [info["local"] for info in row["addr_info"] if info["family"] == "inet"],
        )
        for row in play.ip("addr")
    }
    return {"stations": found, "default": [row["dev"] for row in play.ip("route", "show", "default")]}


def _pings(play: Play, machine: str, target: str = OUT, count: int = 1) -> None:
    said = play.guest(machine, "ping", "-c", str(count), "-i", "0.2", "-W", "5", target)
    need(
        f" {count} packets received" in said, f"{machine} is not answered by {target}: {said.strip()[-120:]}"
    )


def f26(play: Play) -> str:
    mac, pub = play.nic("vm1")["mac"], play.mac("pub")
    with play.watch("out0") as (outside,):
        play.check("F26")
        outside.until(f"^{pub} > .*198.51.100.2 > {OUT}: {REQUEST}", "the host side's address, by NAT,")
        outside.never(r"10\.2\.0\.\d+", "a private address")
        own = play.address("vm1")
        _pings(play, "vm1")
        outside.until(f"^{mac} > .*{own} > {OUT}: {REQUEST}", "the bridged guest's own MAC and address")
    return f"tcpdump outside: the hidden guest as 198.51.100.2; the bridged one as {mac}, {own}"


def f27(play: Play) -> str:
    play.check("F27")
    _pings(play, "vm1", ROUTER)
    learnt = {row["mac"]: row["ifname"] for row in play.fdb("pub") if row.get("state") != "permanent"}
    mac, router = play.nic("vm1")["mac"], play.mac("out0")
    need(learnt.get(mac) == "vm1-pub", f"the bridge knows vm1 behind {learnt.get(mac)}")
    need(learnt.get(router) == "eth0", f"the bridge knows the router behind {learnt.get(router)}")
    apart(play)
    return (
        "bridge -j fdb: vm1's MAC behind vm1-pub, the router's behind eth0; vm2-pub sees none of their pings"
    )


def apart(play: Play) -> str:
    """A conversation of two ports, which the third does not hear."""
    with play.watch("vm1-pub", "vm2-pub") as (first, third):
        _pings(play, "vm1", ROUTER, 3)
        first.until("ICMP echo reply", "the conversation")
        third.never("ICMP echo", "the other two's conversation")
    return "the third port hears nothing"


def f28(play: Play) -> str:
    play.check("F28")
    before, after = play.memory["before"], state(play)
    mac, addresses = before["stations"]["eth0"]
    need(addresses == ["198.51.100.2"] and before["default"] == ["eth0"], f"before, eth0 was {before}")
    need(after["stations"]["pub"] == (mac, addresses), f"pub is {after['stations']['pub']}")
    need(after["default"] == ["pub"], f"the default route leads to {after['default']}")
    need(_answer(play.memory["line"], "after") == "after", "the connection has not survived")
    return (
        f"ip -j: {mac}, 198.51.100.2 and the default route: eth0 before, pub after; a TCP connection goes on"
    )


def f29(play: Play) -> str:
    play.check("F29")
    (nic,) = play.ip("addr", "show", "dev", "eth0")
    need(not nic["addr_info"], f"eth0 has {play.addresses('eth0')}")
    need(nic.get("master") == "pub", "eth0 is no port of pub")
    routes = [row["dst"] for row in play.ip("route") if row["dev"] == "eth0"]
    need(not routes, f"routes lead to eth0: {routes}")
    (way,) = play.ip("route", "get", ROUTER)
    need(way["dev"] == "pub", f"the way to {ROUTER} is {way['dev']}")
    return f"ip -j addr: eth0 has none; ip route: nothing leads to it, {ROUTER} is on dev pub"


def f30(play: Play) -> str:
    for port in ("vm1-pub", "vm2-pub"):
        need(not play.addresses(port), f"{port} has {play.addresses(port)}")
    with play.watch("vm1-pub", "eth0") as watches:
        play.check("F30")
        _pings(play, "vm1", ROUTER)
        for watch in watches:
            watch.settle()
            own = (
                f"{play.address('vm1')} > {ROUTER}: {REQUEST}",
                f"{ROUTER} > {play.address('vm1')}: ICMP echo reply",
            )
            times = [len(watch.found(re.escape(each))) for each in own]
            need(times == [1, 1], f"request and reply are seen {times} times on {watch.link}")
    return "ip -j: the taps have no address; tcpdump: request and reply once each, on vm1-pub and on eth0"


def f31(play: Play) -> str:
    play.check("F31")
    leases = play.leases()
    found = []
    for name in ("vm1", "vm2"):
        address, mac = play.address(name), play.nic(name)["mac"]
        inside = IPv4Address("198.51.100.100") <= IPv4Address(address) <= IPv4Address("198.51.100.199")
        need(inside, f"{name} has {address}")
        need(f"{mac} {address} " in leases, f"the outside's leases have no {mac}")
        _pings(play, name)
        play.outside("ping", "-c", "1", "-W", "5", address)
        (row,) = play.ip("neigh", "show", address, side=("--outside",))
        need(row.get("lladdr") == mac, f"outside, {address} is {row}, not {mac}")
        found.append(address)
    return f"the outside leased {' and '.join(found)}, reaches both under their own MACs, and answers them"
