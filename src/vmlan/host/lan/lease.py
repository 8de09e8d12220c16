"""A leased address that has moved to a bridge: somebody must renew it there.

The program that got the lease sits on the NIC, and a port hears nothing. So as long as the change is in
effect, a process of ours asks the server to extend the lease, as a client in the state REBINDING does (RFC
2131, 4.3.2 and 4.4.5): by broadcast, with the address that it has. It never asks for another address. A
server that knows its clients by an identifier (option 61) rather than by their MAC may not answer. Standard
library only.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmlan.errors import VmlanError
from vmlan.host.lan import book
from vmlan.host.lan.book import Record
from vmlan.host.lan.gather import gather
from vmlan.host.run import run
from vmlan.plan import lan_lines
from vmlan.plan.lan_snapshot import FOREVER

_SO_BINDTODEVICE = 25
_MAGIC = b"\x63\x82\x53\x63"
#: How often the renewer looks whether it is still needed, how soon it asks again at the earliest (seconds).
_LOOK, _AGAIN = 5.0, 10.0


def leased(record: Record) -> list[Mapping[str, Any]]:
    """The IPv4 addresses of the NIC whose lifetime ends."""
    addresses = record.snapshot.addresses_of(record.nic, "inet")
    return [info for info in addresses if int(info.get("valid_life_time", FOREVER)) != FOREVER]


def renew(record: Record, info: Mapping[str, Any], within: float) -> int | None:
    """Have one lease extended: for how long from now (seconds), or None if no server did."""
    port = record.snapshot.link(record.nic) or {}
    mac = bytes.fromhex(str(port["address"]).replace(":", ""))
    xid = os.urandom(4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        try:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, record.bridge.encode())
            client.bind((str(info["local"]), 68))
        except OSError as error:
            _log(f"port 68 of {info['local']}: {error}")
            return None
        end, wait = time.monotonic() + within, 0.5
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(OSError):
                client.sendto(_request(xid, mac, str(info["local"])), ("255.255.255.255", 67))
            if seconds := _answer(client, xid, min(wait, left)):
                _extend(record, info, seconds)
                return seconds
            wait *= 2
    return None


def _request(xid: bytes, mac: bytes, address: str) -> bytes:
    head = b"\x01\x01\x06\x00" + xid + bytes(4) + ipaddress.IPv4Address(address).packed + bytes(12)
    options = b"\x35\x01\x03" + b"\x37\x04\x01\x03\x33\x36" + b"\xff"  # a request; which options it wants
    return (head + mac.ljust(16, b"\0") + bytes(192) + _MAGIC + options).ljust(300, b"\0")


def _answer(client: socket.socket, xid: bytes, within: float) -> int | None:
    """The seconds that a server grants; None if none does in time."""
    end = time.monotonic() + within
    while (left := end - time.monotonic()) > 0:
        client.settimeout(left)
        try:
            data = client.recv(1500)
        except OSError:
            return None
        options = _options(data[240:]) if data[4:8] == xid and data[236:240] == _MAGIC else {}
        if options.get(53) == b"\x05" and len(options.get(51, b"")) == 4:
            return int(struct.unpack("!I", options[51])[0])
        if options.get(53) == b"\x06":
            _log("the server no longer grants the lease (DHCPNAK)")
            return None
    return None


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        found[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


def _extend(record: Record, info: Mapping[str, Any], seconds: int) -> None:
    longer = {**info, "valid_life_time": seconds, "preferred_life_time": seconds}
    words = lan_lines.address_words(longer, record.nic, record.bridge)
    run(("ip", "addr", "change", *words.split(), "dev", record.bridge), check=False)


def stay(folder: Path, record: Record) -> None:
    """Renew at half of each lease's time, as clients do (RFC 2131, 4.4.5), until the change is undone."""
    due = {str(info["local"]): _half(record, info) for info in leased(record)}
    while True:
        time.sleep(_LOOK)
        story = book.read(folder)
        if story is None or story.state != "kept" or story.record != record:
            return
        for info in leased(record):
            name = str(info["local"])
            if time.monotonic() < due[name]:
                continue
            with contextlib.suppress(VmlanError, OSError, ValueError):
                renew(record, info, 4.0)
            due[name] = _half(record, info)


def _half(record: Record, info: Mapping[str, Any]) -> float:
    """When to ask next (CLOCK_MONOTONIC): after half of what is left."""
    left = 0.0
    with contextlib.suppress(VmlanError, OSError, ValueError):
        now = gather(record.nic)
        for one in now.addresses_of(record.bridge, "inet"):
            if lan_lines.identity(one) == lan_lines.identity(info):
                left = float(one.get("valid_life_time", FOREVER))
    return time.monotonic() + max(left / 2, _AGAIN)


def _log(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
