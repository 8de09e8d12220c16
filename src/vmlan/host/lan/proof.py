"""Does this host still reach what it reached? Looked at before a NIC becomes a port, and proved after.

Neighbours are asked on the wire, by frames of our own (RFC 826, RFC 4861): what the kernel remembers of them
proves nothing. A neighbour that did not answer before is no proof of anything afterwards, and is left out.
Standard library only, for the guard.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vmlan.host.lan.gather import connections
from vmlan.host.run import run
from vmlan.plan import lan_lines
from vmlan.plan.lan_facts import Connection
from vmlan.plan.lan_snapshot import Snapshot

_ETH_P_ARP = 0x0806
_SO_BINDTODEVICE = 25
#: How long neighbours have for an answer, and how often they are asked (seconds).
BEFORE, AFTER, AGAIN = 0.6, 2.0, 0.2
#: More gateways, or peers, than these are not looked at one by one.
_MOST = 16


@dataclass(frozen=True)
class Reached:
    """What this host reached through a NIC: neighbours with their MACs, and peers of TCP connections."""

    neighbours: dict[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()  #: gateways that did not answer
    connections: tuple[Connection, ...] = ()
    session: Connection | None = None  #: the user's own SSH connection, if it is one of them


def look(snapshot: Snapshot, nic: str, ssh: str | None) -> Reached:
    """What is reached through the NIC now. `ssh` is the user's $SSH_CONNECTION."""
    local = {
        str(info["local"]) for family in lan_lines.FAMILIES for info in snapshot.addresses_of(nic, family)
    }
    through = [one for one in connections() if one.local in local and way_to(one.local, one.peer) == nic][
        :_MOST
    ]
    session = of_session(ssh)
    wanted = list(_gateways(snapshot, nic))
    on_link = [one.peer for one in through if _is_on_link(snapshot, nic, one.peer)]
    asked = list(dict.fromkeys([*wanted, *on_link]))[:_MOST]
    found = ask(nic, _mac(nic), asked, snapshot, nic, BEFORE)
    silent = tuple(one for one in wanted if one not in found)
    return Reached(found, silent, tuple(through), next((one for one in through if one == session), None))


def wrong(reached: Reached, before: Snapshot, nic: str, bridge: str) -> str | None:
    """What was reached before and is not now, in words; None if all of it is."""
    if lost := lost_carrier(nic):
        return lost
    still = {(one.local, one.port, one.peer, one.peer_port) for one in connections()}
    for one in reached.connections:
        if (one.local, one.port, one.peer, one.peer_port) not in still:
            continue  # it has ended, as connections do
        if (way := way_to(one.local, one.peer)) != bridge:
            whose = "your SSH connection" if one == reached.session else f"the TCP connection {one}"
            return f"{whose} does not lead through {bridge}: {way or f'there is no route to {one.peer}'}"
    found = ask(bridge, _mac(bridge), list(reached.neighbours), before, nic, AFTER)
    for address, mac in reached.neighbours.items():
        if address not in found:
            return f"{address}, which answered on {nic} ({mac}), does not answer on {bridge}"
        if found[address] != mac:
            return f"{address} answers with another MAC on {bridge}: {found[address]}, not {mac}"
    return None


def of_session(ssh: str | None) -> Connection | None:
    """The connection that $SSH_CONNECTION tells of: client, its port, server, its port (ssh(1))."""
    words = (ssh or "").split()
    if len(words) != 4 or not words[1].isdigit() or not words[3].isdigit():
        return None
    return Connection(words[2].partition("%")[0], int(words[3]), words[0].partition("%")[0], int(words[1]))


def way_to(local: str, peer: str) -> str | None:
    """The interface by which packets from one of this host's addresses leave for a peer."""
    answer = run(("ip", "-j", "route", "get", peer, "from", local), check=False)
    with contextlib.suppress(ValueError, LookupError):
        return str(json.loads(answer.stdout)[0]["dev"])
    return None


def _gateways(snapshot: Snapshot, nic: str) -> Iterator[str]:
    """The gateways on the NIC's network: of a route with several ways, those of the ways through it."""
    for family in lan_lines.FAMILIES:
        for words in lan_lines.moved_routes(snapshot, nic, family):
            gateway = ""
            for word, value, then in zip(words, words[1:], [*words[2:], ""], strict=False):
                if word == "via":
                    gateway = then if value in lan_lines.FAMILIES else value
                elif word == "dev":
                    if value == nic and gateway:
                        yield gateway
                    gateway = ""


def _is_on_link(snapshot: Snapshot, nic: str, peer: str) -> bool:
    address = ipaddress.ip_address(peer)
    family = f"inet{6 if address.version == 6 else ''}"
    return any(
        address
        in ipaddress.ip_network(f"{info.get('address', info['local'])}/{info['prefixlen']}", strict=False)
        for info in snapshot.addresses_of(nic, family)
    )


def lost_carrier(nic: str) -> str | None:
    """That the NIC is gone, or its cable is out, in words; None if neither is so."""
    asked = run(("ip", "-j", "link", "show", "dev", nic), check=False)
    if not asked.ok:
        return f"{nic} is gone: this host has no such interface any more"
    return None if "LOWER_UP" in json.loads(asked.stdout)[0]["flags"] else f"{nic} has lost its carrier"


def _mac(dev: str) -> bytes:
    said = json.loads(run(("ip", "-j", "link", "show", "dev", dev)).stdout)[0]
    return bytes.fromhex(str(said["address"]).replace(":", ""))


# Asking


def ask(
    dev: str, mac: bytes, addresses: Iterable[str], snapshot: Snapshot, nic: str, within: float
) -> dict[str, str]:
    """Ask neighbours for their MACs on `dev`, until all have answered or `within` seconds are over."""
    found: dict[str, str] = {}
    asked = [ipaddress.ip_address(one) for one in addresses]
    with contextlib.ExitStack() as stack:
        arp = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)))
        arp.bind((dev, _ETH_P_ARP))
        six = _icmpv6(stack, dev) if any(one.version == 6 for one in asked) else None
        end = time.monotonic() + within
        while (missing := [one for one in asked if str(one) not in found]) and time.monotonic() < end:
            for one in missing:
                with contextlib.suppress(OSError):
                    if isinstance(one, ipaddress.IPv4Address):
                        arp.send(_arp_request(mac, _source(snapshot, nic, one), one))
                    elif six is not None:
                        _solicit(six, dev, mac, one)
            _listen(arp, six, found, min(end, time.monotonic() + AGAIN), {str(one) for one in missing})
    return found


def _listen(
    arp: socket.socket, six: socket.socket | None, found: dict[str, str], until: float, missing: set[str]
) -> None:
    while missing - set(found) and (left := until - time.monotonic()) > 0:
        for one in (arp, six):
            if one is None:
                continue
            one.settimeout(max(min(left, 0.02), 0.001))
            with contextlib.suppress(OSError):
                data = one.recv(1500)
                answer = _arp_reply(data) if one is arp else _advertisement(data)
                if answer:
                    found.setdefault(*answer)


def _source(snapshot: Snapshot, nic: str, target: ipaddress.IPv4Address) -> ipaddress.IPv4Address:
    """The address of ours that asks: one of the target's subnet, else the first, else none (RFC 5227)."""
    ours = snapshot.addresses_of(nic, "inet")
    near = [
        info
        for info in ours
        if target in ipaddress.ip_network(f"{info['local']}/{info['prefixlen']}", strict=False)
    ]
    chosen = (near or list(ours) or [{"local": "0.0.0.0"}])[0]
    return ipaddress.IPv4Address(str(chosen["local"]))


def _arp_request(mac: bytes, source: ipaddress.IPv4Address, target: ipaddress.IPv4Address) -> bytes:
    head = b"\xff" * 6 + mac + struct.pack("!H", _ETH_P_ARP)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return head + body + mac + source.packed + bytes(6) + target.packed


def _arp_reply(frame: bytes) -> tuple[str, str] | None:
    if len(frame) < 42 or frame[20:22] != b"\x00\x02":
        return None
    return str(ipaddress.IPv4Address(frame[28:32])), frame[22:28].hex(":")


def _icmpv6(stack: contextlib.ExitStack, dev: str) -> socket.socket | None:
    try:
        six = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
        six.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, dev.encode())
        six.setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255
        )  # others are ignored (RFC 4861, 7.1)
    except OSError:
        return None
    return six


def _solicit(six: socket.socket, dev: str, mac: bytes, target: ipaddress.IPv6Address) -> None:
    group = ipaddress.IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + target.packed[13:])
    body = struct.pack("!BBHI", 135, 0, 0, 0) + target.packed + b"\x01\x01" + mac
    six.sendto(body, (str(group), 0, 0, socket.if_nametoindex(dev)))


def solicit_routers(dev: str) -> None:
    """Ask routers to advertise now (RFC 4861, 4.1)."""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        six = _icmpv6(stack, dev)
        if six is not None:
            six.sendto(b"\x85" + bytes(7), ("ff02::2", 0, 0, socket.if_nametoindex(dev)))


def _advertisement(body: bytes) -> tuple[str, str] | None:
    if len(body) < 32 or body[0] != 136 or body[24:26] != b"\x02\x01":
        return None
    return str(ipaddress.IPv6Address(body[8:24])), body[26:32].hex(":")


def session_of(pid: int) -> str | None:
    """The SSH connection that a process belongs to: its own $SSH_CONNECTION, or that of whoever started it.

    `sudo` keeps it from its child (sudoers(5), env_reset), so the parents are asked too.
    """
    while pid > 0:
        folder = Path("/proc") / str(pid)
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            status = (folder / "stat").read_text()
        except OSError:
            return None
        for entry in environment:
            if entry.startswith(b"SSH_CONNECTION="):
                return entry.partition(b"=")[2].decode(errors="replace")
        pid = int(status.rpartition(")")[2].split()[1])
    return None
