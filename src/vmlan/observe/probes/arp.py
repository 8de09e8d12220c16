"""arp.py INTERFACE ADDRESS ["" TOKEN], or arp.py INTERFACE MAC RANGE [TOKEN]: who answers (RFC 826).

With a MAC, every address of the range (10.1.1.0/24) is asked for in requests that only the station with that
MAC gets: it answers for its own. TOKEN, in hexadecimal digits, goes behind each request, where Ethernet has
padding. Ends with 0 if somebody answers.
"""

from __future__ import annotations

import fcntl
import ipaddress
import itertools
import select
import socket
import struct
import sys
import time

PATIENCE = 1.0
ETH_P_ARP, BROADCAST = 0x0806, b"\xff" * 6
#: ioctl numbers (Linux, include/uapi/linux/sockios.h).
SIOCGIFADDR, SIOCGIFHWADDR = 0x8915, 0x8927
#: No more requests than these for one MAC: a range of 4096 addresses.
MOST = 4096


def main(interface: str, target: str, reach: str = "", token: str = "") -> int:
    """Ask, and say who answers."""
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
    line.bind((interface, ETH_P_ARP))
    mac = asked(line, interface, SIOCGIFHWADDR, 18, 24) or bytes(6)
    own = asked(line, interface, SIOCGIFADDR, 20, 24) or bytes(4)
    station = bytes.fromhex(target.replace(":", "")) if reach else BROADCAST
    wanted = (
        list(itertools.islice(ipaddress.IPv4Network(reach).hosts(), MOST))
        if reach
        else [ipaddress.IPv4Address(target)]
    )
    for address in wanted:
        if address.packed != own:
            line.send(request(station, mac, own, address.packed) + bytes.fromhex(token))
    found = answers(line, {address.packed for address in wanted}, mac, every=bool(reach), only=station)
    for answered, sender in sorted(found):
        print(f"{socket.inet_ntoa(answered)} is at {sender.hex(':')}")
    if not found:
        where = f"in {reach}" if reach else f"within {PATIENCE:g} s"
        print(f"nobody answers for {target} {where} on {interface}")
    return 0 if found else 1


def asked(line: socket.socket, interface: str, number: int, first: int, last: int) -> bytes | None:
    """Something that the kernel says of an interface; None if it has none."""
    request = struct.pack("256s", interface.encode()[:15])
    try:
        return fcntl.ioctl(line.fileno(), number, request)[first:last]
    except OSError:
        return None


def request(station: bytes, mac: bytes, own: bytes, wanted: bytes) -> bytes:
    """A frame: who has that address?"""
    head = station + mac + struct.pack("!H", ETH_P_ARP)
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + own + bytes(6) + wanted


def answers(
    line: socket.socket, wanted: set[bytes], mac: bytes, *, every: bool, only: bytes
) -> set[tuple[bytes, bytes]]:
    """Who answers us, until the first has (or, with `every`, until the time is over)."""
    found: set[tuple[bytes, bytes]] = set()
    end = time.monotonic() + PATIENCE
    while (left := end - time.monotonic()) > 0 and (every or not found):
        if not select.select([line], [], [], left)[0]:
            break
        frame = line.recv(2048)
        if len(frame) < 42 or frame[20:22] != b"\x00\x02" or frame[32:38] != mac:
            continue
        sender, address = frame[22:28], frame[28:32]
        if address in wanted and only in (BROADCAST, sender):
            found.add((address, sender))
    return found


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror or error}")
        sys.exit(1)
