"""Writing captures for Wireshark: pcapng, with one named interface a link. Pure: values in, bytes out.

The format is that of the IETF's draft-ietf-opsawg-pcapng; numbers are in this machine's byte order, which
the section's header tells.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from vmlan.observe.ring import BROADCAST, FOR_OTHERS, FOR_US, MULTICAST, OUTGOING, Frame

_SECTION, _INTERFACE, _NAMES, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 4, 5, 6
_MAGIC = 0x1A2B3C4D
#: LINKTYPE_ETHERNET (tcpdump.org/linktypes.html), and as much of each frame as tcpdump keeps.
_ETHERNET, _SNAPLEN = 1, 262144

#: epb_flags: the direction (1 in, 2 out), and to whom it was sent (bits 2 to 4).
_FLAGS = {
    FOR_US: 1 | 1 << 2,
    MULTICAST: 1 | 2 << 2,
    BROADCAST: 1 | 3 << 2,
    FOR_OTHERS: 1 | 4 << 2,
    OUTGOING: 2,
}
_PACKET_HEAD = struct.Struct("=IIIIIII")
#: The option epb_flags, the end of the options, and the block's length again.
_PACKET_TAIL = struct.Struct("=HHIHHI")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


@dataclass(frozen=True)
class Interface:
    """One interface of the file: a link."""

    name: str
    description: str = ""
    mac: str | None = None
    filter: str = ""


def header(program: str, interfaces: Iterable[Interface], names: Mapping[str, str]) -> bytes:
    """The beginning of a file: who wrote it, its interfaces, and what addresses are called."""
    # The section's length is not known yet, which is written as -1.
    section = struct.pack("=IHHq", _MAGIC, 1, 0, -1) + _options((4, program.encode()))
    blocks = [_block(_SECTION, section)]
    for interface in interfaces:
        options = [(2, interface.name.encode())]
        if interface.description:
            options.append((3, interface.description.encode()))
        if interface.mac:
            options.append((6, bytes.fromhex(interface.mac.replace(":", ""))))
        options.append((9, b"\x09"))  # times are in units of 10^-9 s
        if interface.filter:
            options.append((11, b"\0" + interface.filter.encode()))  # 0: in libpcap's language
        blocks.append(_block(_INTERFACE, struct.pack("=HHI", _ETHERNET, 0, _SNAPLEN) + _options(*options)))
    if names:
        blocks.append(_block(_NAMES, _name_records(names)))
    return b"".join(blocks)


def packets(frames: Iterable[Frame]) -> bytes:
    """A block for each frame, with its direction."""
    parts: list[bytes] = []
    head, tail = _PACKET_HEAD.pack, _PACKET_TAIL.pack
    for time, link, kind, length, data in frames:
        kept = len(data)
        padding = _PADDING[kept & 3]
        total = 28 + kept + len(padding) + 16
        parts += (
            head(_PACKET, total, link, time >> 32, time & 0xFFFFFFFF, kept, length),
            data,
            padding,
            tail(2, 4, _FLAGS.get(kind, 0), 0, 0, total),
        )
    return b"".join(parts)


def statistics(link: int, began: int, ended: int, received: int, dropped: int, kept: int) -> bytes:
    """How many frames a link had, were lost, and are in the file. Times are nanoseconds since 1970."""

    def time(value: int) -> bytes:
        return struct.pack("=II", value >> 32, value & 0xFFFFFFFF)

    options = _options(
        (2, time(began)),
        (3, time(ended)),
        (4, struct.pack("=Q", received)),
        (5, struct.pack("=Q", dropped)),
        (8, struct.pack("=Q", kept)),
    )
    return _block(_STATISTICS, struct.pack("=I", link) + time(ended) + options)


def _block(kind: int, body: bytes) -> bytes:
    total = 12 + len(body)
    return struct.pack("=II", kind, total) + body + struct.pack("=I", total)


def _padded(data: bytes) -> bytes:
    return data + _PADDING[len(data) & 3]


def _options(*options: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("=HH", code, len(value)) + _padded(value) for code, value in options)
    return body + struct.pack("=HH", 0, 0)


def _name_records(names: Mapping[str, str]) -> bytes:
    records = b""
    for text, name in names.items():
        address = ip_address(text)
        assert isinstance(address, IPv4Address | IPv6Address)
        value = address.packed + name.encode() + b"\0"
        records += struct.pack("=HH", 1 if address.version == 4 else 2, len(value)) + _padded(value)
    return records + struct.pack("=HH", 0, 0)
