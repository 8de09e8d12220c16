"""A frame as it was seen on a link, and reading frames out of the kernel's blocks. Pure.

A block is a `struct tpacket_block_desc` with its frames, each behind a `struct tpacket3_hdr` and a
`struct sockaddr_ll` (linux/if_packet.h; Linux, Documentation/networking/packet_mmap.rst).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

#: sll_pkttype (packet(7)): what the interface made of a frame.
FOR_US, BROADCAST, MULTICAST, FOR_OTHERS, OUTGOING = range(5)


class Frame(NamedTuple):
    """One frame on one link. A tuple, since there are many: frames sort by their time.

    `kind` is as in packet(7), seen from the host side: what a guest sends comes in on its tap.
    """

    time: int  #: nanoseconds since 1970
    link: int  #: the number of the link among those that are captured
    kind: int
    length: int  #: how long it was; `data` may be less
    data: bytes


#: In the block: how many frames, and where the first is.
_BLOCK = struct.Struct("=12xII")
#: next, seconds, nanoseconds, kept, length, status, offset; then the VLAN's tag and its EtherType.
_FRAME = struct.Struct("=IIIIIIH6xIH")
#: sll_pkttype: 10 bytes into the sockaddr_ll behind the 48 bytes of the header.
_KIND_AT = 58

#: tp_status: the kernel took a VLAN tag out of the frame; and its EtherType is known.
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_TPID = 0x8100
_ADDRESSES = 12


def frames(block: bytes, link: int) -> Iterator[Frame]:
    """Every frame of a block. A VLAN tag that the kernel took out is put back where it was."""
    count, at = _BLOCK.unpack_from(block)
    for _ in range(count):
        following, seconds, nanoseconds, kept, length, status, offset, tag, tpid = _FRAME.unpack_from(
            block, at
        )
        data = block[at + offset : at + offset + kept]
        if status & _VLAN_VALID:
            ethertype = tpid if status & _VLAN_TPID_VALID else _TPID
            data = data[:_ADDRESSES] + struct.pack("!HH", ethertype, tag) + data[_ADDRESSES:]
            length += 4
        yield Frame(seconds * 1_000_000_000 + nanoseconds, link, block[at + _KIND_AT], length, data)
        at += following


class InOrder:
    """Frames of several links, in the order of their times, though each link's come in lumps."""

    def __init__(self) -> None:
        self._waiting: list[Frame] = []

    def add(self, frames: list[Frame]) -> None:
        """Take frames, in any order."""
        self._waiting += frames

    def take(self, until: int | None) -> list[Frame]:
        """What is not later than that, in order: nothing older may come any more. None: everything."""
        if not self._waiting:
            return []
        self._waiting.sort(key=_time)
        count = len(self._waiting) if until is None else bisect_right(self._waiting, until, key=_time)
        done, self._waiting = self._waiting[:count], self._waiting[count:]
        return done


def _time(frame: Frame) -> int:
    return frame.time
