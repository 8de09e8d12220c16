"""F22–F25: a host side that forwards, and what stops it."""

from __future__ import annotations

import re
import subprocess
import time

from tests.facts.play import Play, need

OUT = "203.0.113.68"
REQUEST = rf"10\.1\.1\.2 > {re.escape(OUT)}: ICMP echo request"
REPLY = r"ICMP echo reply"
PING = ("ping", "-c", "1", "-W", "1", OUT)


def _asked(play: Play) -> None:
    said = play.guest("vm1", *PING)
    need("0 packets received" in said, f"vm1 is answered: {said.strip()[-120:]}")


def f22(play: Play) -> str:
    with play.watch("wire", "eth0") as (wire, eth0):
        (row,) = play.check("F22")
        wire.until(REQUEST, "the request")
        eth0.until(REQUEST, "the request, with the guest's own address,")
        wire.never(REPLY, "a reply")
        eth0.never(REPLY, "a reply")
    return f"tcpdump: 10.1.1.2's requests on wire and on eth0, no reply; trace: {row['trace']['verdict']}"


def f23(play: Play, address: str = "none") -> str:
    """The address goes while the guest pings."""
    play.check("F23")
    with play.watch("wire") as (wire,):
        words = ("exec", "vm1", "--", "ping", "-c", "60", OUT)
        pings = play.bench.start(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wire.until(REQUEST, "the guest's ping")
            need(not wire.found("unreachable"), "it is unreachable before anything is taken away")
            before = _unreachable(play)
            play.uplink(address)
            seen = wire.until(
                rf"10\.1\.1\.1 > 10\.1\.1\.2: ICMP net {OUT} unreachable", "ICMP net unreachable"
            )
            counted = _unreachable(play) - before
            play.guest("vm1", "killall", "ping")
            printed = _connecting(play)
            play.verdict("vm1", OUT, "no-route-on-host")
        finally:
            play.guest("vm1", "killall", "ping")
            pings.wait(60)
            play.uplink("198.51.100.2/24")
    need(seen and counted > 0, "the guest has not heard of it")
    need("Network is unreachable" in printed, f"the guest prints {printed!r}")
    return f"mid-ping: ICMP net {OUT} unreachable on wire, the guest prints {printed.rpartition(': ')[2].strip()!r}; trace: no-route-on-host"


def _connecting(play: Play) -> str:
    """What the guest prints that connects; the host side sends one ICMP error a second (icmp(7), icmp_ratelimit)."""
    deadline = time.monotonic() + play.patience
    while "timed out" in (said := play.guest("vm1", "nc", "-w", "3", OUT, "80", "-e", "true")):
        if time.monotonic() > deadline:
            break
    return said


def _unreachable(play: Play) -> int:
    """How many ICMP messages of that kind the guest's kernel has got (RFC 2013: icmpInDestUnreachs)."""
    names, values = (
        line.split() for line in play.guest("vm1", "grep", "Icmp:", "/proc/net/snmp").splitlines()
    )
    return int(dict(zip(names, values, strict=True))["InDestUnreachs"])


def f24(play: Play, forwarding: str = "off") -> str:
    """With forwarding off, what is for the host side itself still arrives, and nothing else goes on."""
    ran = play.set("host.forwarding", forwarding)
    try:
        play.check("F24")
        with play.watch("wire", "eth0") as (wire, eth0):
            _asked(play)
            wire.until(REQUEST, "the request")
            eth0.never(re.escape(OUT), "the request")
        need("sysctl -q -w net.ipv4.ip_forward=0" in ran, f"vmlan set ran {ran!r}")
        play.verdict("vm1", OUT, "not-forwarded")
    finally:
        play.set("host.forwarding", "on")
    return "after sysctl ip_forward=0: tcpdump sees the requests on wire, none on eth0; trace: not-forwarded"


def f25(play: Play) -> str:
    mac = play.nic("asker")["mac"]
    asks = f"BOOTP/DHCP, Request from {mac}"
    with play.watch("ask", "eth0") as (ask, eth0):
        play.check("F25")
        ask.until(asks, "the guest's DHCPDISCOVER")
        eth0.never("BOOTP", "the guest's DHCPDISCOVER")
    need(not play.nic("asker")["addresses"] or _only6(play), "the guest has an address")
    return f"tcpdump: DHCP requests of {mac} on ask, none on eth0, where the outside's DHCP listens; no lease"


def _only6(play: Play) -> bool:
    return all(":" in each for each in play.nic("asker")["addresses"])
