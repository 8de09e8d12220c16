"""dhcp.py INTERFACE [TOKEN]: does a DHCP server answer there (RFC 2131)?

Asks, and takes nothing of what is offered. TOKEN, in hexadecimal digits, goes into an option for private use
(RFC 3942).

Ends with 0 if an address is offered.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys
import time

PATIENCE = 2.0
ETH_P_IP, SIOCGIFHWADDR = 0x0800, 0x8927
MAGIC, DISCOVER, OFFER, PRIVATE = b"\x63\x82\x53\x63", b"\x35\x01\x01", 2, 224


def main(interface: str, token: str = "") -> int:
    """Ask, and say what is offered by whom."""
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    line.bind((interface, ETH_P_IP))
    mac = fcntl.ioctl(line.fileno(), SIOCGIFHWADDR, struct.pack("256s", interface.encode()[:15]))[18:24]
    number = os.urandom(4)
    line.send(b"\xff" * 6 + mac + struct.pack("!H", ETH_P_IP) + discover(number, mac, bytes.fromhex(token)))
    end = time.monotonic() + PATIENCE
    while (left := end - time.monotonic()) > 0 and select.select([line], [], [], left)[0]:
        offer = offered(line.recv(4096), number)
        if offer:
            print(f"{offer[0]} offered by {offer[1]} on {interface}")
            return 0
    print(f"no offer within {PATIENCE:g} s on {interface}")
    return 1


def discover(number: bytes, mac: bytes, token: bytes = b"") -> bytes:
    """An IP packet from nobody to everybody: the request, with its broadcast flag set."""
    boot = struct.pack("!BBBB4sHH16x", 1, 1, 6, 0, number, 0, 0x8000) + mac + bytes(10 + 64 + 128)
    private = bytes([PRIVATE, len(token)]) + token if token else b""
    boot += MAGIC + DISCOVER + private + b"\xff"
    boot += bytes(max(0, 300 - len(boot)))
    # A checksum of 0 in UDP over IPv4 means none (RFC 768).
    datagram = struct.pack("!HHHH", 68, 67, 8 + len(boot), 0) + boot
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + datagram


def checksum(head: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(head) // 2}H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def offered(frame: bytes, number: bytes) -> tuple[str, str] | None:
    """The address and the server of an offer to us; None if the frame is something else."""
    start = 14 + (frame[14] & 15) * 4 if len(frame) > 14 else 0
    if not start or frame[23:24] != b"\x11" or frame[start + 2 : start + 4] != struct.pack("!H", 68):
        return None
    boot = frame[start + 8 :]
    if boot[4:8] != number or boot[236:240] != MAGIC:
        return None
    kind, server, rest = 0, socket.inet_ntoa(frame[26:30]), boot[240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        code, size = rest[0], rest[1] if len(rest) > 1 else 0
        if code == 53 and size == 1:
            kind = rest[2]
        elif code == 54 and size == 4:
            server = socket.inet_ntoa(rest[2:6])
        rest = rest[2 + size :]
    return (socket.inet_ntoa(boot[16:20]), server) if kind == OFFER else None


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror or error}")
        sys.exit(1)
