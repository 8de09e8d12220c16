"""F15–F21: a tap without a card behind it, with one that has no address, and with both."""

from __future__ import annotations

import json
import re

from tests.facts.play import Play, need


def f15(play: Play) -> str:
    play.check("F15")
    (row,) = play.ip("-d", "link", "show", "dev", "wire")
    info = row["linkinfo"]
    need((info["info_kind"], info["info_data"]["type"]) == ("tun", "tap"), f"wire is {info}")
    need("LOWER_UP" in row["flags"], "nobody holds the tap's other end")
    cards = play.cards("deaf")
    need(cards == ["lo"], f"the guest has {cards}")
    return f"ip -d: wire is a tap, and QEMU holds it; the guest has only lo; {play.made}"


def explained(play: Play) -> list[str]:
    """The lines of `explain` for the network wire."""
    said = play.bench.ok("explain", "wire")
    at_first = re.findall(r"^link set dev (\S+) name wire$", said, re.MULTILINE)  # on a real host
    names = {"wire", *at_first}
    return [line for line in said.splitlines() if names & set(line.split()) and line[0] != "#"]


def f16(play: Play, without: str = "nothing") -> str:
    """The very lines, in an empty namespace, with a look between them."""
    play.check("F16")
    lines = [line for line in explained(play) if without not in line and "nsenter" not in line]
    look = "ip -j addr show dev"
    first, *rest = lines
    new = first.split()[3]  # tuntap add dev NAME
    script = (
        f"ip {first} && {look} {new} && " + " && ".join(f"ip {line}" for line in rest) + f" && {look} wire"
    )
    said = play.host("unshare", "--net", "bash", "-c", script)
    before, after = (json.loads(row)[0] for row in said.splitlines())
    need("UP" not in before["flags"] and not before["addr_info"], f"a new tap is {before}")
    need("UP" in after["flags"], "it is not up afterwards")
    own = [f"{info['local']}/{info['prefixlen']}" for info in after["addr_info"]]
    need("10.1.1.1/24" in own, f"its addresses are {own}")
    need("10.1.1.1/24" in play.addresses("wire"), "the lab's own has not that address")
    return "ip -j, between explain's own lines: down and without an address; then up, with 10.1.1.1/24"


def f17(play: Play) -> str:
    play.check("F17")
    (own,) = play.ip("route", "get", "10.1.1.1")
    (other,) = play.ip("route", "get", "10.1.1.77")
    need((own.get("type"), own["dev"]) == ("local", "lo"), f"10.1.1.1 goes to {own['dev']}")
    need(other["dev"] == "wire" and "gateway" not in other, f"10.1.1.77 goes to {other['dev']}")
    return "ip route get: 10.1.1.1 is local; 10.1.1.77 is on dev wire"


def f18(play: Play) -> str:
    with play.watch("wire") as (wire,):
        play.check("F18")
        play.host("ip", "link", "set", "dev", "wire", "down")
        play.host("ip", "link", "set", "dev", "wire", "up")
        wire.until("ARP.*who-has 10.1.1.2 tell 10.1.1.1", "who has 10.1.1.2?")
        wire.until(r"> 52:54:00:01:01:02, .*ARP.*who-has", "the question to a MAC")
        wire.until("ICMP6|IGMP|MLD|5353", "the host side's own chatter")
        mac = play.mac("wire")
        wire.never(f"^(?!{mac})", "a frame of somebody else")
        seen = len(wire.found(f"^{mac}"))
    return f"tcpdump on wire: {seen} frames (ping's ARP, ARP by address and by MAC, IPv6), all the host side's own"


def f19(play: Play) -> str:
    play.check("F19")
    driver = play.guest("asker", "readlink", "/sys/class/net/eth0/device/driver").strip()
    need(driver.endswith("/e1000"), f"the guest's driver is {driver}")
    mac = play.nic("asker")["mac"]
    with play.watch("ask") as (ask,):
        ask.until(f"^{mac} > ff:ff:ff:ff:ff:ff.*BOOTP/DHCP, Request from {mac}", "DHCPDISCOVER")
    return f"tcpdump on ask: DHCP requests of {mac}, the guest's e1000"


def f20(play: Play) -> str:
    with play.watch("wire") as (wire,):
        play.check("F20")
        mac = play.nic("vm1")["mac"]
        need(mac == "52:54:00:01:01:02", f"vm1's card is {mac}")
        wire.until(f"^{mac} > .*10.1.1.2 > 10.1.1.1: ICMP echo reply", "the reply to the ping")
        replies = rf"^{mac} > .*ARP.*Reply 10\.1\.1\.2 is-at {mac}"
        wire.until(replies, "the answer to ARP")
        wire.settle()
        need(len(wire.found(replies)) >= 2, "only one of the two kinds of ARP was answered")
    (row,) = play.ip("neigh", "show", "10.1.1.2", "dev", "wire")
    need(row.get("lladdr") == mac, f"ip neigh: {row}")
    return f"ping, ARP by address, ARP by MAC: each answered by {mac}"


def f21(play: Play) -> str:
    with play.watch("wire") as (wire,):
        play.check("F21")
        wire.settle()
        macs = {row.split()[0] for row in wire.found(".")}
    both = {play.mac("wire"), play.nic("vm1")["mac"]}
    need(macs == both, f"on wire were {sorted(macs)}")
    return f"tcpdump on wire: frames of {' and '.join(sorted(both))}, and of nobody else"
