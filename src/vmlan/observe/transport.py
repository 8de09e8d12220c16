"""What an IP packet carries, in words: ICMP, TCP, UDP and the rest. Pure.

ICMP (RFC 792), ICMPv6 (RFC 4443), neighbour discovery (RFC 4861), MLD (RFC 3810), IGMP (RFC 3376),
TCP (RFC 9293), UDP (RFC 768).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from vmlan.observe import services

CUT_SHORT = "cut short"


class Carried(NamedTuple):
    """What a packet carries."""

    protocol: str
    what: str
    source_port: int | None = None
    target_port: int | None = None
    claims: tuple[tuple[str, str], ...] = ()


#: IANA, protocol-numbers.
_ICMP, _IGMP, _TCP, _UDP, _ICMP6 = 1, 2, 6, 17, 58
_NAMES = {1: "ICMP", 2: "IGMP", 4: "IP in IP", 6: "TCP", 17: "UDP", 41: "IPv6 in IP", 47: "GRE",
          50: "ESP", 51: "AH", 58: "ICMPv6", 59: "nothing", 89: "OSPF", 103: "PIM", 112: "VRRP",
          132: "SCTP"}  # fmt: skip


def name(protocol: int) -> str:
    """What a protocol of IP's is called."""
    return _NAMES.get(protocol, f"protocol {protocol}")


def decode(protocol: int, data: bytes) -> Carried:
    """Say what an IP packet carries, from its first byte on."""
    readers = {_ICMP: _icmp, _IGMP: _igmp, _TCP: _tcp, _UDP: _udp, _ICMP6: _icmp6}
    try:
        if protocol in readers:
            return readers[protocol](data)
    except (struct.error, IndexError, ValueError):
        return Carried(name(protocol), CUT_SHORT)
    return Carried(name(protocol), f"{len(data)} bytes")


#: The bits of TCP's flags, in the order in which people say them.
_FLAGS = ((0x02, "SYN"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"), (0x20, "URG"))


def _tcp(data: bytes) -> Carried:
    source, target, sequence, acknowledged, offset, flags, window = struct.unpack_from("!HHIIBBH", data)
    said = "+".join(word for bit, word in _FLAGS if flags & bit) or "no flags"
    size = max(len(data) - (offset >> 4) * 4, 0)
    words = [said, f"seq {sequence}"]
    if flags & 0x10:
        words.append(f"ack {acknowledged}")
    words.append(f"win {window}")
    if size:
        words.insert(1, f"{size} bytes")
    return Carried("TCP", " ".join(words), source, target)


def _udp(data: bytes) -> Carried:
    source, target, length = struct.unpack_from("!HHH", data)
    payload = data[8 : length or None]
    read = services.by_ports(source, target)
    if read is None:
        return Carried("UDP", f"{len(payload)} bytes", source, target)
    try:
        protocol, what, claims = read(payload)
    except (struct.error, IndexError, ValueError):
        # Whoever uses a service's port need not speak its language.
        return Carried("UDP", f"{len(payload)} bytes", source, target)
    return Carried(protocol, what, source, target, claims)


_UNREACHABLE = {0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable",
                3: "port unreachable", 4: "fragmentation needed", 5: "source route failed",
                6: "network unknown", 7: "host unknown", 9: "network prohibited", 10: "host prohibited",
                13: "prohibited by a filter"}  # fmt: skip
_UNREACHABLE6 = {0: "no route", 1: "prohibited by a filter", 2: "beyond scope", 3: "address unreachable",
                 4: "port unreachable", 5: "source refused by policy", 6: "route refused"}  # fmt: skip


def _icmp(data: bytes) -> Carried:
    kind, code, _, identity, number = struct.unpack_from("!BBHHH", data)
    if kind in (0, 8):
        return Carried("ICMP", f"ping {'request' if kind else 'reply'} {number} (id {identity})")
    if kind == 3:
        what = _UNREACHABLE.get(code, f"unreachable, code {code}")
        size = f", largest {number}" if code == 4 and number else ""
        return Carried("ICMP", f"{what}{size}: {_quoted(data[8:])}")
    if kind == 11:
        return Carried("ICMP", f"too many hops: {_quoted(data[8:])}" if code == 0 else "fragments missing")
    if kind == 5:
        return Carried("ICMP", f"better by {IPv4Address(data[4:8])}: {_quoted(data[8:])}")
    words = {
        9: "router advertisement",
        10: "router solicitation",
        12: "bad header",
        13: "time request",
        14: "time reply",
    }
    return Carried("ICMP", words.get(kind, f"type {kind}, code {code}"))


def _quoted(data: bytes) -> str:
    """The packet that an error is about, of which it quotes the beginning."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        protocol, target, rest = data[9], str(IPv4Address(data[16:20])), data[(data[0] & 15) * 4 :]
    elif version == 6 and len(data) >= 40:
        protocol, target, rest = data[6], f"[{IPv6Address(data[24:40])}]", data[40:]
    else:
        return CUT_SHORT
    if protocol in (_TCP, _UDP) and len(rest) >= 4:
        return f"{name(protocol)} to {target}:{struct.unpack_from('!H', rest, 2)[0]}"
    if rest[:1] in (b"\x08", b"\x80") and protocol in (_ICMP, _ICMP6):
        return f"ping to {target.strip('[]')}"
    return f"{name(protocol)} to {target.strip('[]')}"


def _icmp6(data: bytes) -> Carried:
    kind, code, _, word = struct.unpack_from("!BBHI", data)
    if kind in (128, 129):
        what = "request" if kind == 128 else "reply"
        return Carried("ICMPv6", f"ping {what} {word & 0xFFFF} (id {word >> 16})")
    if kind == 1:
        return Carried(
            "ICMPv6", f"{_UNREACHABLE6.get(code, f'unreachable, code {code}')}: {_quoted(data[8:])}"
        )
    if kind == 2:
        return Carried("ICMPv6", f"too big, largest {word}: {_quoted(data[8:])}")
    if kind == 3:
        return Carried("ICMPv6", f"too many hops: {_quoted(data[8:])}")
    if kind in (133, 134, 135, 136):
        return _neighbours(kind, word, data)
    words = {4: "bad header", 130: "multicast query", 131: "multicast report", 132: "multicast done",
             137: "redirect", 143: "multicast report"}  # fmt: skip
    return Carried("ICMPv6", words.get(kind, f"type {kind}, code {code}"))


def _neighbours(kind: int, word: int, data: bytes) -> Carried:
    """Neighbour discovery: who is a router, and who has an address."""
    if kind == 133:
        return Carried("ICMPv6", "is there a router?")
    if kind == 134:
        words = [f"prefix {each}" for each in _prefixes(data[16:])]
        flags = [
            text
            for bit, text in ((0x80, "addresses by DHCP"), (0x40, "settings by DHCP"))
            if word >> 16 & bit
        ]
        # A router that is nobody's default route says a lifetime of 0 (RFC 4861, 4.2).
        default = "a router is here" if word & 0xFFFF else "here, but no default router"
        return Carried("ICMPv6", ", ".join([default, *words, *flags]))
    subject = str(IPv6Address(data[8:24]))
    if kind == 135:
        return Carried("ICMPv6", f"who has {subject}?")
    own = next((value for code, value in _options(data[24:]) if code == 2), b"")[:6]
    if len(own) < 6:
        return Carried("ICMPv6", f"{subject} is here")
    return Carried("ICMPv6", f"{subject} is at {own.hex(':')}", claims=((own.hex(":"), subject),))


def _options(data: bytes) -> list[tuple[int, bytes]]:
    """Neighbour discovery's options; their length counts 8 bytes."""
    found = []
    while len(data) >= 2 and data[1]:
        found.append((data[0], data[2 : data[1] * 8]))
        data = data[data[1] * 8 :]
    return found


def _prefixes(data: bytes) -> list[str]:
    return [
        f"{IPv6Address(value[14:30])}/{value[0]}"
        for code, value in _options(data)
        if code == 3 and len(value) >= 30
    ]


def _igmp(data: bytes) -> Carried:
    kind, group = data[0], data[4:8]
    words = {0x11: "query", 0x12: "report", 0x16: "report", 0x17: "leaves", 0x22: "report"}
    what = words.get(kind, f"type {kind}")
    about = f" {IPv4Address(group)}" if len(group) == 4 and any(group) and kind != 0x22 else ""
    return Carried("IGMP", f"multicast {what}{about}")
