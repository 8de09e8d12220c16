"""What UDP carries, in words, where it is a lab's daily bread: DHCP, DNS and a few others. Pure.

DHCP (RFC 2131, RFC 2132), DHCPv6 (RFC 8415), DNS (RFC 1035), mDNS (RFC 6762), TFTP (RFC 1350),
NTP (RFC 5905).
A reader raises `ValueError` (or runs out of bytes) when the data is not its service's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

#: What it is called, what it says, and (MAC, address) pairs that belong together.
Said: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...]]
Reader: TypeAlias = Callable[[bytes], Said]


def by_ports(source: int, target: int) -> Reader | None:
    """The reader for a UDP packet with these ports, or None. A service answers from its own port."""
    return _READERS.get(target) or _READERS.get(source)


_DHCP_COOKIE = b"\x63\x82\x53\x63"
_DHCP_TYPES = {
    1: "Discover",
    2: "Offer",
    3: "Request",
    4: "Decline",
    5: "Ack",
    6: "Nak",
    7: "Release",
    8: "Inform",
}
_PAD, _END = 0, 255
_MASK, _ROUTER, _HOST_NAME, _WANTED, _LEASE, _TYPE, _SERVER = 1, 3, 12, 50, 51, 53, 54


def _dhcp(data: bytes) -> Said:
    if data[236:240] != _DHCP_COOKIE:
        raise ValueError("not DHCP")
    options = _dhcp_options(data[240:])
    kind = options.get(_TYPE, b"\0")[0]
    client, given, mac = data[12:16], data[16:20], data[28:34].hex(":")
    words = [_DHCP_TYPES.get(kind, f"type {kind}" if kind else "BOOTP")]
    if kind in (2, 5) and any(given):
        words[0] += f" {IPv4Address(given)}{_prefix(options)} for {mac}"
        words += [
            f"{word} {_address(options[code])}" for code, word in ((_ROUTER, "router"),) if code in options
        ]
        if _LEASE in options:
            words.append(f"for {int.from_bytes(options[_LEASE], 'big')} s")
    elif kind in (1, 3, 4, 7, 8):
        wanted = options.get(_WANTED, b"") or (client if any(client) else b"")
        words[0] += f" {_address(wanted)}" if wanted else ""
        words[0] += f" for {mac}"
        if _HOST_NAME in options:
            words.append(f"called {_text(options[_HOST_NAME])}")
    claims = ((mac, str(IPv4Address(given))),) if kind == 5 and any(given) else ()
    return "DHCP", ", ".join(words), claims


def _dhcp_options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 1 >= len(data):
            break
        value = data[at + 2 : at + 2 + data[at + 1]]
        if value:
            found.setdefault(data[at], value)
        at += 2 + data[at + 1]
    return found


def _prefix(options: dict[int, bytes]) -> str:
    mask = options.get(_MASK, b"")
    return f"/{int.from_bytes(mask, 'big').bit_count()}" if len(mask) == 4 else ""


def _address(data: bytes) -> str:
    return str(IPv4Address(data[:4])) if len(data) >= 4 else "?"


def _text(data: bytes) -> str:
    """Somebody else's words, made harmless for a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in data.decode("utf-8", "replace"))


_DHCP6_TYPES = {1: "Solicit", 2: "Advertise", 3: "Request", 4: "Confirm", 5: "Renew", 6: "Rebind", 7: "Reply",
                8: "Release", 9: "Decline", 11: "Information-request", 12: "Relay-forward",
                13: "Relay-reply"}  # fmt: skip


def _dhcp6(data: bytes) -> Said:
    if data[0] not in _DHCP6_TYPES:
        raise ValueError("not DHCPv6")
    given = [] if data[0] in (12, 13) else _dhcp6_addresses(data[4:])
    return "DHCPv6", " ".join([_DHCP6_TYPES[data[0]], *given]), ()


def _dhcp6_addresses(data: bytes) -> list[str]:
    """The addresses in the options (IA_NA holds IAADDR)."""
    found: list[str] = []
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("!HH", data, at)
        value = data[at + 4 : at + 4 + length]
        if code == 3:
            found += _dhcp6_addresses(value[12:])
        elif code == 5 and len(value) >= 16:
            found.append(str(IPv6Address(value[:16])))
        at += 4 + length
    return found


#: IANA, dns-parameters.
_DNS_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
              41: "OPT", 64: "SVCB", 65: "HTTPS", 255: "ANY"}  # fmt: skip
_DNS_ERRORS = {1: "malformed", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
_ANSWERS_SHOWN = 4


def _dns(data: bytes, called: str = "DNS") -> Said:
    _, flags, questions, answers = struct.unpack_from("!HHHH", data)
    if questions > 32 or answers > 512:
        raise ValueError("not DNS")
    at, asked = 12, []
    for _ in range(questions):
        name, at = _dns_name(data, at)
        (kind,) = struct.unpack_from("!H", data, at)
        asked.append(f"{_DNS_TYPES.get(kind, kind)} {name}")
        at += 4
    question = ", ".join(asked)
    if not flags & 0x8000:
        return called, f"asks for {question}" if asked else "an announcement", ()
    if flags & 0x0F:
        return called, f"{_DNS_ERRORS.get(flags & 0x0F, f'error {flags & 0x0F}')}: {question}", ()
    found: list[str] = []
    for _ in range(answers):
        name, at = _dns_name(data, at)
        kind, length = struct.unpack_from("!H6xH", data, at)
        found.append((f"{name} " if not asked else "") + _dns_value(kind, data, at + 10, length))
        at += 10 + length
    more = f" and {len(found) - _ANSWERS_SHOWN} more" if len(found) > _ANSWERS_SHOWN else ""
    said = ", ".join(found[:_ANSWERS_SHOWN]) + more or "nothing of that kind"
    return called, f"{question}: {said}" if asked else said, ()


def _dns_value(kind: int, data: bytes, at: int, length: int) -> str:
    value = data[at : at + length]
    if kind == 1 and len(value) == 4:
        return str(IPv4Address(value))
    if kind == 28 and len(value) == 16:
        return str(IPv6Address(value))
    if kind in (2, 5, 12):
        return f"{_DNS_TYPES[kind]} {_dns_name(data, at)[0]}"
    return f"{_DNS_TYPES.get(kind, f'type {kind}')}"


def _dns_name(data: bytes, at: int) -> tuple[str, int]:
    """A name, and where it ends. Pointers lead back only, so there is an end (RFC 1035, 4.1.4)."""
    labels: list[bytes] = []
    end, limit = 0, at
    while True:
        length = data[at]
        if length & 0xC0 == 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", data, at)[0] & 0x3FFF
            if at >= limit:
                raise ValueError("a pointer that leads forward")
            limit = at
        elif length & 0xC0:
            raise ValueError("no label")
        elif length == 0:
            return _text(b".".join(labels)) or ".", end or at + 1
        else:
            labels.append(data[at + 1 : at + 1 + length])
            at += 1 + length


def _mdns(data: bytes) -> Said:
    return _dns(data, "mDNS")


def _tftp(data: bytes) -> Said:
    (kind,) = struct.unpack_from("!H", data)
    if kind not in (1, 2):
        raise ValueError("not the beginning of a transfer")
    return "TFTP", f"{'wants' if kind == 1 else 'sends'} {_text(data[2:].split(bytes(1))[0])}", ()


def _ntp(data: bytes) -> Said:
    words = {3: "asks for the time", 4: "the time"}
    if len(data) < 48 or data[0] & 7 not in words:
        raise ValueError("not NTP")
    return "NTP", words[data[0] & 7], ()


_READERS: dict[int, Reader] = {53: _dns, 67: _dhcp, 68: _dhcp, 69: _tftp, 123: _ntp, 546: _dhcp6, 547: _dhcp6,
                               5353: _mdns}  # fmt: skip
