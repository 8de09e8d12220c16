"""What a frame carries, as values that can be compared: for finding one packet again on many links. Pure.

ARP (RFC 826) and neighbour discovery (RFC 4861) are told alike: somebody asks who has an address, somebody
says that he has it. ICMP (RFC 792, RFC 4443), TCP (RFC 9293), DHCP (RFC 2131).
"""

from __future__ import annotations

import struct
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from vmlan.observe import frames
from vmlan.observe.frames import ARP, IP4, IP6, IpPacket


class Kind(Enum):
    """What a packet does."""

    WHO_HAS = "who has"  #: asks for the MAC of an address
    IS_AT = "is at"  #: tells the MAC of an address
    ECHO = "ping request"
    ECHO_REPLY = "ping reply"
    SYN = "TCP SYN"  #: begins a connection
    SYN_ACK = "TCP SYN+ACK"  #: accepts it
    RST = "TCP RST"  #: refuses it
    ERROR = "ICMP error"  #: says of another packet that it does not arrive
    DHCP_ASK = "DHCP request"  #: a client's: discover or request
    DHCP_ANSWER = "DHCP answer"  #: a server's
    OTHER = "other"


class Packet(NamedTuple):
    """A packet, as far as it must be known to be found again."""

    kind: Kind
    source_mac: str
    target_mac: str
    source: str = ""  #: IP address; of WHO_HAS the asker's, which may have none
    target: str = ""  #: IP address; of WHO_HAS and IS_AT the one that it is about
    size: int = 0  #: of what IP carries, in bytes
    ports: tuple[int, int] | None = None  #: from, to
    mark: tuple[int, ...] = ()  #: what tells it from its like: ping's id and number, TCP's sequence and ack
    code: tuple[int, int] | None = None  #: ERROR: ICMP's type and code, as of IPv4
    about: Packet | None = None  #: ERROR: the packet that it is about
    owner: str = ""  #: IS_AT: the MAC that has the address; DHCP: the client's
    vlans: tuple[int, ...] = ()


def parse(data: bytes) -> Packet:
    """What a frame carries. Any bytes are an answer; what is not understood is OTHER."""
    macs = (frames.mac(data[6:12]), frames.mac(data[:6]))
    ethertype, vlans, rest = frames.ethernet(data)
    found = None
    try:
        if ethertype == ARP:
            found = _arp(macs, rest)
        elif ethertype == IP4:
            found = _ip(macs, frames.ip4(rest))
        elif ethertype == IP6:
            found = _ip(macs, frames.ip6(rest))
    except (struct.error, IndexError, ValueError):
        found = None
    return (found or Packet(Kind.OTHER, *macs))._replace(vlans=vlans)


_Macs = tuple[str, str]


def _arp(macs: _Macs, data: bytes) -> Packet | None:
    hardware, kind, _, _, operation = struct.unpack_from("!HHBBH", data)
    if (hardware, kind) != (1, IP4) or operation not in (1, 2):
        return None
    owner, sender, _, wanted = struct.unpack_from("!6s4s6s4s", data, 8)
    who, whom = str(IPv4Address(sender)), str(IPv4Address(wanted))
    if operation == 1:
        return Packet(Kind.WHO_HAS, *macs, "" if who == "0.0.0.0" else who, whom)
    return Packet(Kind.IS_AT, *macs, who, who, owner=frames.mac(owner))


def _ip(macs: _Macs, packet: IpPacket) -> Packet:
    """What an IP packet is. The later pieces of one that was cut up are not told apart."""
    blank = Packet(Kind.OTHER, *macs, packet.source, packet.target, len(packet.payload))
    if packet.later:
        return blank
    readers = {1: _icmp, 6: _tcp, 17: _udp, 58: _icmp6}
    reader = readers.get(packet.protocol)
    return blank if reader is None else reader(blank, packet.payload)


def _icmp(blank: Packet, data: bytes) -> Packet:
    kind, code, _, identity, number = struct.unpack_from("!BBHHH", data)
    if kind in (0, 8):
        return blank._replace(kind=Kind.ECHO if kind else Kind.ECHO_REPLY, mark=(identity, number))
    if kind in (3, 11):
        return blank._replace(kind=Kind.ERROR, code=(kind, code), about=_quoted(data[8:]))
    return blank


#: ICMPv6's "unreachable" codes, as ICMP has them (RFC 4443, 3.1; RFC 792, RFC 1812, 5.2.7.1).
_UNREACHABLE6 = {0: 0, 1: 13, 2: 1, 3: 1, 4: 3, 5: 13, 6: 13}


def _icmp6(blank: Packet, data: bytes) -> Packet:
    kind, code, _, identity, number = struct.unpack_from("!BBHHH", data)
    if kind in (128, 129):
        return blank._replace(kind=Kind.ECHO if kind == 128 else Kind.ECHO_REPLY, mark=(identity, number))
    if kind == 1:
        return blank._replace(kind=Kind.ERROR, code=(3, _UNREACHABLE6.get(code, 1)), about=_quoted(data[8:]))
    if kind == 3:
        return blank._replace(kind=Kind.ERROR, code=(11, code), about=_quoted(data[8:]))
    if kind in (135, 136):
        subject = str(IPv6Address(data[8:24]))
        if kind == 135:
            asker = "" if blank.source == "::" else blank.source
            return blank._replace(kind=Kind.WHO_HAS, source=asker, target=subject)
        return blank._replace(kind=Kind.IS_AT, source=subject, target=subject, owner=_own_mac(blank, data))
    return blank


def _own_mac(blank: Packet, data: bytes) -> str:
    """The MAC that a neighbour tells: an option of type 2; else the one it sends with (RFC 4861, 4.4)."""
    options = data[24:]
    while len(options) >= 8 and options[1]:
        if options[0] == 2:
            return frames.mac(options[2:8])
        options = options[options[1] * 8 :]
    return blank.source_mac


def _quoted(data: bytes) -> Packet | None:
    """The packet that an error is about, of which it has the beginning; its length is the head's word."""
    version = data[0] >> 4
    packet = frames.ip4(data) if version == 4 else frames.ip6(data)
    (total,) = struct.unpack_from("!H", data, 2 if version == 4 else 4)
    size = total - (data[0] & 15) * 4 if version == 4 else total
    try:
        return _ip(("", ""), packet)._replace(size=size)
    except (struct.error, IndexError, ValueError):
        return Packet(Kind.OTHER, "", "", packet.source, packet.target, size)


def _tcp(blank: Packet, data: bytes) -> Packet:
    source, target, sequence, acknowledged, _, flags = struct.unpack_from("!HHIIBB", data[:14])
    kinds = {0x02: Kind.SYN, 0x12: Kind.SYN_ACK}
    kind = Kind.RST if flags & 0x04 else kinds.get(flags & 0x17, Kind.OTHER)
    return blank._replace(kind=kind, ports=(source, target), mark=(sequence, acknowledged))


def _udp(blank: Packet, data: bytes) -> Packet:
    source, target = struct.unpack_from("!HH", data)
    kind, owner = Kind.OTHER, ""
    if {source, target} == {67, 68} and len(data) >= 8 + 34:
        kind = Kind.DHCP_ASK if data[8] == 1 else Kind.DHCP_ANSWER
        owner = frames.mac(data[8 + 28 : 8 + 34])
    return blank._replace(kind=kind, ports=(source, target), owner=owner)
