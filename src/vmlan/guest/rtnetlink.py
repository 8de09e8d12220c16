"""Messages to Linux that set up a network interface (rtnetlink(7), netlink(7)). Pure."""

from __future__ import annotations

import errno
import os
import struct
from ipaddress import IPv4Address, IPv4Interface

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ERROR = 2  # NLMSG_ERROR
_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24  # RTM_...
_REQUEST, _EXCL, _CREATE = 0x001, 0x200, 0x400  # NLM_F_...
_AF_INET, _IFF_UP = 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 4, 5, 6
_MAIN, _BY_HAND, _UNICAST = 254, 3, 1  # RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST

#: Where networks have no broadcast address (RFC 3021).
_POINT_TO_POINT = 31


def up(index: int) -> bytes:
    """A message that brings interface number `index` up."""
    return _message(_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, index, _IFF_UP, _IFF_UP))


def address(index: int, given: IPv4Interface) -> bytes:
    """One that adds an address, and the broadcast address of its network."""
    attributes = _attribute(_IFA_LOCAL, given.ip.packed) + _attribute(_IFA_ADDRESS, given.ip.packed)
    if given.network.prefixlen < _POINT_TO_POINT:
        attributes += _attribute(_IFA_BROADCAST, given.network.broadcast_address.packed)
    head = struct.pack("=BBBBI", _AF_INET, given.network.prefixlen, 0, 0, index)
    return _message(_NEWADDR, _CREATE | _EXCL, head + attributes)


def default_route(index: int, gateway: IPv4Address, metric: int) -> bytes:
    """One that adds a default route."""
    head = struct.pack("=BBBBBBBBI", _AF_INET, 0, 0, 0, _MAIN, _BY_HAND, 0, _UNICAST, 0)
    attributes = (
        _attribute(_RTA_GATEWAY, gateway.packed)
        + _attribute(_RTA_OIF, struct.pack("=I", index))
        + _attribute(_RTA_PRIORITY, struct.pack("=I", metric))
    )
    return _message(_NEWROUTE, _CREATE | _EXCL, head + attributes)


def numbered(messages: list[bytes]) -> bytes:
    """Messages to be sent together, each with its own number, from 0 on, by which an error names it."""
    return b"".join(
        message[:8] + struct.pack("=I", number) + message[12:] for number, message in enumerate(messages)
    )


def first_error(answer: bytes) -> tuple[int, str] | None:
    """Which message the kernel did not take, and why, if its answer begins with an error."""
    if len(answer) < 2 * _HEADER.size + 4:
        return None
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    (code,) = struct.unpack_from("=i", answer, _HEADER.size)
    if kind != _ERROR or code == 0:
        return None
    number = _HEADER.unpack_from(answer, _HEADER.size + 4)[3]
    return number, f"{os.strerror(-code)} ({errno.errorcode.get(-code, -code)})"


def _attribute(kind: int, value: bytes) -> bytes:
    """Struct rtattr; all values here are of whole words."""
    return struct.pack("=HH", 4 + len(value), kind) + value


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 0, 0) + body
