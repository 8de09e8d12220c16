"""What a frame is, in a line: addresses and words. Pure, and any bytes at all are an answer.

Ethernet II and 802.3, VLAN tags (IEEE 802.1Q), ARP (RFC 826, RFC 5227), IPv4 (RFC 791), IPv6 (RFC 8200);
what they carry is in `transport` and `services`.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from vmlan.observe import transport
from vmlan.observe.transport import CUT_SHORT, Carried

EVERYONE = "ff:ff:ff:ff:ff:ff"


class Decoded(NamedTuple):
    """A frame's addresses, and what it is. An address that it does not have is empty."""

    source_mac: str
    target_mac: str
    source: str  #: the IP addresses
    target: str
    source_port: int | None
    target_port: int | None
    vlans: tuple[int, ...]
    protocol: str
    what: str
    claims: tuple[tuple[str, str], ...] = ()  #: (MAC, IP address) pairs that the frame says belong together


#: EtherTypes that are told apart (IANA, ieee-802-numbers).
IP4, ARP, IP6 = 0x0800, 0x0806, 0x86DD
_TAGS = {0x8100, 0x88A8, 0x9100}
_ETHERTYPES = {0x0842: "Wake-on-LAN", 0x8809: "LACP", 0x8847: "MPLS", 0x8863: "PPPoE discovery",
               0x8864: "PPPoE", 0x888E: "EAPOL", 0x88A2: "ATA over Ethernet", 0x88CC: "LLDP",
               0x88E5: "MACsec", 0x88F7: "PTP", 0x9000: "loopback test"}  # fmt: skip
#: Below this, the field is a length, and LLC follows (IEEE 802.3).
_FIRST_ETHERTYPE = 0x0600
_SPANNING_TREE = b"\x42\x42\x03"


def mac(data: bytes) -> str:
    """A MAC as people write it."""
    return data.hex(":")


def ethernet(data: bytes) -> tuple[int | None, tuple[int, ...], bytes]:
    """A frame's EtherType (or 802.3 length), its VLANs, and what follows; None if it is cut short."""
    vlans: list[int] = []
    at = 12
    try:
        while True:
            (ethertype,) = struct.unpack_from("!H", data, at)
            at += 2
            if ethertype not in _TAGS:
                return ethertype, tuple(vlans), data[at:]
            vlans.append(struct.unpack_from("!H", data, at)[0] & 0x0FFF)
            at += 2
    except struct.error:
        return None, tuple(vlans), b""


def decode(data: bytes) -> Decoded:
    """Say what a frame is."""
    target, source = mac(data[:6]), mac(data[6:12])
    ethertype, vlans, rest = ethernet(data)
    if ethertype is None:
        return Decoded(source, target, "", "", None, None, vlans, "Ethernet", CUT_SHORT)
    protocol, what = "", ""
    try:
        if ethertype == ARP:
            return _arp(source, target, vlans, rest)
        if ethertype == IP4:
            return _ip(source, target, vlans, ip4(rest))
        if ethertype == IP6:
            return _ip(source, target, vlans, ip6(rest))
        protocol, what = _other(ethertype, rest)
    except (struct.error, IndexError, ValueError):
        protocol, what = {ARP: "ARP", IP4: "IPv4"}.get(ethertype, "IPv6"), CUT_SHORT
    return Decoded(source, target, "", "", None, None, vlans, protocol, what)


def _other(ethertype: int, rest: bytes) -> tuple[str, str]:
    if ethertype in _ETHERTYPES:
        return _ETHERTYPES[ethertype], f"{len(rest)} bytes"
    if ethertype >= _FIRST_ETHERTYPE:
        return f"EtherType 0x{ethertype:04x}", f"{len(rest)} bytes"
    if rest.startswith(_SPANNING_TREE):
        return "STP", "spanning tree, a switch's word to switches"
    return "LLC", f"802.3, {ethertype} bytes"


def _arp(source: str, target: str, vlans: tuple[int, ...], data: bytes) -> Decoded:
    hardware, kind, _, _, operation = struct.unpack_from("!HHBBH", data)
    if (hardware, kind) != (1, IP4):
        return Decoded(
            source, target, "", "", None, None, vlans, "ARP", f"hardware {hardware}, protocol {kind}"
        )
    sender_mac, sender, _, wanted = struct.unpack_from("!6s4s6s4s", data, 8)
    who, whom = str(IPv4Address(sender)), str(IPv4Address(wanted))
    nobody = sender == bytes(4)
    if operation == 1 and nobody:
        what = f"has anybody {whom}?"
    elif who == whom:
        what = f"{who} is at {mac(sender_mac)}, unasked"
    elif operation == 1:
        what = f"who has {whom}?"
    elif operation == 2:
        what = f"{who} is at {mac(sender_mac)}"
    else:
        what = f"operation {operation}"
    claims = () if nobody else ((mac(sender_mac), who),)
    return Decoded(source, target, "" if nobody else who, "", None, None, vlans, "ARP", what, claims)


class IpPacket(NamedTuple):
    """An IP packet's head, and what is behind it."""

    source: str
    target: str
    protocol: int
    payload: bytes
    note: str = ""  #: what kind of fragment it is, if it is one
    later: bool = False  #: whether it is a fragment without the beginning


def ip4(data: bytes) -> IpPacket:
    """Take an IPv4 packet apart. Raises `ValueError`, `struct.error` or `IndexError` if it is none."""
    first, total, identity, fragment, _, protocol, source, target = struct.unpack_from("!BxHHHBBxx4s4s", data)
    if first >> 4 != 4:
        raise ValueError("not IPv4")
    head = (first & 15) * 4
    offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
    note = _fragment(identity, offset, more=more) if offset or more else ""
    # The kernel says 0 for what is longer than the field can say (segmentation offload).
    payload = data[head : total or None]
    return IpPacket(str(IPv4Address(source)), str(IPv4Address(target)), protocol, payload, note, offset > 0)


#: IPv6 extension headers with a length (RFC 8200, RFC 6275), and the one for fragments.
_EXTENSIONS, _FRAGMENT = {0, 43, 60, 135}, 44


def _fragment(identity: int, offset: int, *, more: bool) -> str:
    return f"fragment {identity} from byte {offset}, {'more follow' if more else 'the last'}"


def ip6(data: bytes) -> IpPacket:
    """Take an IPv6 packet apart. Raises as `ip4` does."""
    first, length, protocol, _, source, target = struct.unpack_from("!IHBB16s16s", data)
    if first >> 28 != 6:
        raise ValueError("not IPv6")
    payload, note, later = data[40 : 40 + length if length else None], "", False
    while protocol in _EXTENSIONS or (protocol == _FRAGMENT and not later):
        following, size = payload[0], payload[1]
        if protocol == _FRAGMENT:
            place, identity = struct.unpack_from("!HI", payload, 2)
            later = place >> 3 > 0
            note = _fragment(identity, place & 0xFFF8, more=bool(place & 1))
            payload = payload[8:]
        else:
            payload = payload[(size + 1) * 8 :]
        protocol = following
    return IpPacket(str(IPv6Address(source)), str(IPv6Address(target)), protocol, payload, note, later)


def _ip(source: str, target: str, vlans: tuple[int, ...], packet: IpPacket) -> Decoded:
    if packet.later:
        carried = Carried(transport.name(packet.protocol), packet.note)
    else:
        carried = transport.decode(packet.protocol, packet.payload)
        if packet.note:
            carried = carried._replace(what=f"{carried.what} ({packet.note})")
    return Decoded(
        source,
        target,
        packet.source,
        packet.target,
        carried.source_port,
        carried.target_port,
        vlans,
        carried.protocol,
        carried.what,
        carried.claims,
    )
