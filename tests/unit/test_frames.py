"""What frames are said to be: real ones, ones made by hand, and any bytes at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import real_frames
from vmlan.observe import frames
from vmlan.observe.frames import decode

REAL = {name: value for name, value in vars(real_frames).items() if isinstance(value, bytes)}


@pytest.mark.parametrize(
    ("name", "source", "target", "said"),
    [
        ("PING", "198.51.100.2", "10.10.0.5", "ICMP ping request 1 (id 43)"),
        ("WHO_HAS", "10.2.0.11", "", "ARP who has 10.2.0.1?"),
        ("IS_AT", "10.2.0.1", "", "ARP 10.2.0.1 is at 52:54:00:d3:23:ef"),
        ("SYN", "10.2.0.11:48324", "10.2.0.1:81", "TCP SYN seq 480230016 win 64240"),
        ("RESET", "10.2.0.1:81", "10.2.0.11:48324", "TCP RST+ACK seq 0 ack 480230017 win 0"),
        (
            "PUSH",
            "10.2.0.11:51824",
            "10.2.0.1:53",
            "TCP PSH+ACK 6 bytes seq 2537267597 ack 1006396386 win 2008",
        ),
        ("QUESTION", "10.2.0.11:57623", "10.2.0.1:53", "DNS asks for A vm1.lcap2.internal"),
        ("ANSWER", "10.2.0.1:53", "10.2.0.11:57623", "DNS A vm1.lcap2.internal: 10.2.0.11"),
        ("NO_SUCH_NAME", "10.2.0.1:53", "10.2.0.11:42957", "DNS no such name: A nix.lcap2.internal"),
        ("TOO_MANY_HOPS", "10.2.0.1", "10.2.0.11", "ICMP too many hops: UDP to 203.0.113.68:33435"),
        ("UNREACHABLE", "10.2.0.11", "10.2.0.1", "ICMP port unreachable: UDP to 10.2.0.11:68"),
        ("FRAGMENT", "10.2.0.1", "10.2.0.11", "ICMP fragment 46015 from byte 2960, the last"),
        ("DISCOVER", "0.0.0.0:68", "255.255.255.255:67", "DHCP Discover for 52:54:00:44:0d:3f"),
        (
            "OFFER",
            "10.2.0.1:67",
            "10.2.0.11:68",
            "DHCP Offer 10.2.0.11/24 for 52:54:00:44:0d:3f, router 10.2.0.1, for 3600 s",
        ),
        ("REQUEST", "0.0.0.0:68", "255.255.255.255:67", "DHCP Request 10.2.0.11 for 52:54:00:44:0d:3f"),
        (
            "ACK",
            "10.2.0.1:67",
            "10.2.0.11:68",
            "DHCP Ack 10.2.0.11/24 for 52:54:00:44:0d:3f, router 10.2.0.1, for 3600 s",
        ),
        (
            "SOLICITATION",
            "fe80::5054:ff:fed3:23ef",
            "ff02::1:ff44:d3f",
            "ICMPv6 who has fe80::5054:ff:fe44:d3f?",
        ),
        (
            "ADVERTISEMENT",
            "fe80::5054:ff:fe44:d3f",
            "fe80::5054:ff:fed3:23ef",
            "ICMPv6 fe80::5054:ff:fe44:d3f is at 52:54:00:44:0d:3f",
        ),
        ("PING6", "fe80::5054:ff:fed3:23ef", "fe80::5054:ff:fe44:d3f", "ICMPv6 ping request 1 (id 45)"),
        ("ROUTER", "fe80::5054:ff:fed3:9a61", "ff02::2", "ICMPv6 is there a router?"),
    ],
)
def test_real_frames(name: str, source: str, target: str, said: str) -> None:
    seen = decode(REAL[name])
    ends = [
        place if port is None else f"{place}:{port}"
        for place, port in ((seen.source, seen.source_port), (seen.target, seen.target_port))
    ]
    assert (*ends, f"{seen.protocol} {seen.what}") == (source, target, said)
    assert seen.target_mac == REAL[name][:6].hex(":") and seen.source_mac == REAL[name][6:12].hex(":")


def test_there_is_a_line_above_for_each_real_frame() -> None:
    assert len(REAL) == 20


def test_who_has_what_is_learnt() -> None:
    assert decode(REAL["IS_AT"]).claims == (("52:54:00:d3:23:ef", "10.2.0.1"),)
    assert decode(REAL["ACK"]).claims == (("52:54:00:44:0d:3f", "10.2.0.11"),)
    assert decode(REAL["OFFER"]).claims == ()
    assert decode(REAL["ADVERTISEMENT"]).claims == (("52:54:00:44:0d:3f", "fe80::5054:ff:fe44:d3f"),)


def arp(operation: int, sender: str, wanted: str) -> bytes:
    def address(text: str) -> bytes:
        return bytes(int(part) for part in text.split("."))

    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return (
        b"\xff" * 6
        + b"\2" * 6
        + b"\x08\x06"
        + body
        + b"\2" * 6
        + address(sender)
        + bytes(6)
        + address(wanted)
    )


def test_the_other_arps() -> None:
    assert decode(arp(1, "0.0.0.0", "10.0.0.9")).what == "has anybody 10.0.0.9?"
    assert decode(arp(1, "0.0.0.0", "10.0.0.9")).claims == ()
    assert decode(arp(1, "10.0.0.9", "10.0.0.9")).what == "10.0.0.9 is at 02:02:02:02:02:02, unasked"
    assert decode(arp(8, "10.0.0.9", "10.0.0.8")).what == "operation 8"


def tagged(frame: bytes, *tags: int) -> bytes:
    return frame[:12] + b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags) + frame[12:]


def test_vlan_tags_are_read_and_what_is_behind_them() -> None:
    plain = decode(REAL["SYN"])
    assert decode(tagged(REAL["SYN"], 10)) == plain._replace(vlans=(10,))
    # The upper four bits of a tag are its priority.
    assert decode(tagged(REAL["SYN"], 0xE000 | 100, 7)) == plain._replace(vlans=(100, 7))


def ip6(protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    return b"\2" * 12 + b"\x86\xdd" + head + payload


def test_extension_headers_are_passed_over() -> None:
    options = bytes([17, 0, 1, 4, 0, 0, 0, 0])
    udp = struct.pack("!HHHH", 1000, 2000, 12, 0) + b"data"
    seen = decode(ip6(0, options + udp))
    assert (seen.protocol, seen.what, seen.source_port, seen.target_port) == ("UDP", "4 bytes", 1000, 2000)
    later = decode(ip6(44, struct.pack("!BBHI", 17, 0, 8 << 3, 99) + b"rest"))
    assert (later.protocol, later.what, later.source_port) == (
        "UDP",
        "fragment 99 from byte 64, the last",
        None,
    )


def test_a_router_says_what_it_offers() -> None:
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 1, 1, 0) + bytes.fromhex("fd00" + "00" * 14)
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x80, 1800, 0, 0) + prefix
    assert decode(ip6(58, body)).what == "a router is here, prefix fd00::/64, addresses by DHCP"
    nobody = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0)
    assert decode(ip6(58, nobody)).what == "here, but no default router"


def test_dns_pointers_that_go_round_end() -> None:
    head = struct.pack("!HHHHHH", 1, 0x8000, 0, 1, 0, 0)
    for pointer in (b"\xc0\x0c", b"\xc0\xff", b"\x01a\xc0\x0c"):
        body = head + pointer + bytes(10)
        udp = struct.pack("!HHHH", 53, 2000, 8 + len(body), 0) + body
        assert decode(ip6(17, udp)).protocol == "UDP"


def test_words_of_others_cannot_command_a_terminal() -> None:
    name = b"\x05\x1b[2Jx\x00"
    body = struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1)
    udp = struct.pack("!HHHH", 2000, 53, 8 + len(body), 0) + body
    assert decode(ip6(17, udp)).what == "asks for A ?[2Jx"


def test_frames_that_are_not_ip() -> None:
    tree = bytes.fromhex("0180c2000000") + b"\2" * 6 + b"\x00\x26\x42\x42\x03" + bytes(35)
    assert decode(tree).protocol == "STP"
    unknown = decode(b"\2" * 12 + b"\x88\xb5data")
    assert (unknown.protocol, unknown.what) == ("EtherType 0x88b5", "4 bytes")
    assert decode(b"\2" * 12 + b"\x88\xccdata").protocol == "LLDP"


@pytest.mark.parametrize("name", REAL)
def test_a_frame_may_be_cut_anywhere(name: str) -> None:
    for end in range(len(REAL[name])):
        seen = decode(REAL[name][:end])
        assert seen.what and "\n" not in seen.what


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer(data: bytes) -> None:
    assert decode(data).what


@given(
    st.sampled_from(sorted(REAL)), st.lists(st.tuples(st.integers(12, 354), st.integers(0, 255)), max_size=6)
)
def test_frames_that_lie_are_an_answer(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(REAL[name])
    for at, value in changes:
        data[at % len(data)] = value
    assert decode(bytes(data)).what.isprintable()
    assert frames.mac(bytes(data[:6])) == decode(bytes(data)).target_mac
