"""Reading captures, strictly, from their formats' descriptions and not from our writer.

pcapng: IETF draft-ietf-opsawg-pcapng; pcap: IETF draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field


@dataclass
class Interface:
    linktype: int
    snaplen: int
    options: dict[int, bytes]
    statistics: dict[int, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.options[2].decode()


@dataclass
class Packet:
    interface: int
    time: int  #: ns
    length: int
    data: bytes
    flags: int


@dataclass
class Capture:
    options: dict[int, bytes]
    interfaces: list[Interface] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    names: dict[bytes, str] = field(default_factory=dict)

    def of(self, name: str) -> list[Packet]:
        return [packet for packet in self.packets if self.interfaces[packet.interface].name == name]


def options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while data:
        code, length = struct.unpack_from("=HH", data, at)
        at += 4
        if code == 0:
            assert length == 0 and at == len(data), "opt_endofopt is the last"
            break
        assert at + length <= len(data)
        assert code not in found, f"option {code} twice"
        found[code] = data[at : at + length]
        assert not any(data[at + length : (at + length + 3) & ~3]), "padding is zero"
        at += (length + 3) & ~3
    return found


def pcapng(data: bytes) -> Capture:
    """Everything of a file with one section; anything odd is an assertion."""
    assert struct.unpack_from("=II", data)[0] == 0x0A0D0D0A
    magic, major, minor, length = struct.unpack_from("=IHHq", data, 8)
    assert (magic, major, minor, length) == (0x1A2B3C4D, 1, 0, -1)
    capture: Capture | None = None
    at = 0
    while at < len(data):
        kind, total = struct.unpack_from("=II", data, at)
        assert total % 4 == 0 and total >= 12 and at + total <= len(data), "a block is whole"
        assert struct.unpack_from("=I", data, at + total - 4)[0] == total
        body = data[at + 8 : at + total - 4]
        at += total
        if kind == 0x0A0D0D0A:
            assert capture is None
            capture = Capture(options(body[16:]))
            continue
        assert capture is not None
        if kind == 1:
            linktype, zero, snaplen = struct.unpack_from("=HHI", body)
            assert zero == 0
            capture.interfaces.append(Interface(linktype, snaplen, options(body[8:])))
        elif kind == 4:
            _names(body, capture)
        elif kind == 5:
            interface = struct.unpack_from("=I", body)[0]
            capture.interfaces[interface].statistics = options(body[12:])
        else:
            assert kind == 6
            interface, high, low, kept, length = struct.unpack_from("=IIIII", body)
            assert interface < len(capture.interfaces), "an interface is described before its packets"
            assert capture.interfaces[interface].options[9] == b"\x09"
            assert kept <= length
            tail = options(body[20 + ((kept + 3) & ~3) :])
            packet = body[20 : 20 + kept]
            flags = struct.unpack("=I", tail[2])[0]
            capture.packets.append(Packet(interface, high << 32 | low, length, packet, flags))
    assert capture is not None
    return capture


def _names(body: bytes, capture: Capture) -> None:
    at = 0
    while True:
        kind, length = struct.unpack_from("=HH", body, at)
        value = body[at + 4 : at + 4 + length]
        at += 4 + ((length + 3) & ~3)
        if kind == 0:
            assert length == 0
            return
        size = {1: 4, 2: 16}[kind]
        assert value.endswith(b"\0")
        capture.names[value[:size]] = value[size:-1].decode()


def pcap(data: bytes) -> list[bytes]:
    """The frames of a file of the old format, as tcpdump writes it."""
    assert struct.unpack_from("=I", data)[0] in (0xA1B2C3D4, 0xA1B23C4D)
    found, at = [], 24
    while at + 16 <= len(data):
        kept = struct.unpack_from("=I", data, at + 8)[0]
        assert at + 16 + kept <= len(data)
        found.append(data[at + 16 : at + 16 + kept])
        at += 16 + kept
    return found


def write_pcap(frames: list[bytes]) -> bytes:
    """A file of the old format."""
    head = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    return head + b"".join(struct.pack("=IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)
