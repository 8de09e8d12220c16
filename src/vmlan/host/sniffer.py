"""The sniffer: reads every frame of some interfaces, and hands them on in the kernel's own form.

It runs inside the lab, on the standard library alone (`python3 -I -S sniffer.py`), one process for all
interfaces of a network namespace. Each has a packet socket with a ring of memory that the kernel fills
(packet(7), PACKET_RX_RING with TPACKET_V3): a block of frames costs us one copy, however many they are.
What cannot be written at once waits in our memory, so a slow reader loses nothing until `WAITING_MAX` is
full; then the rings fill, and the kernel counts what it had to drop.

Standard input: one line of JSON, {"interfaces": [NAME…], "filter": [[code, jt, jf, k]…]}. At its end
(the reader is gone, or has had enough) the rest is handed on, and we end.

Standard output: records of a head (`HEAD`: kind, interface, length) and a body.

    READY  JSON {"macs": [MAC or null…]}; null: there is no such interface. From now on, frames are seen.
    BLOCK  one block of the ring of that interface (struct tpacket_block_desc, linux/if_packet.h)
    GONE   the interface was removed
    TIME   eight bytes: all blocks that were finished at that time (ns since 1970) have been handed on.
           It comes at least every `BEAT_MS`, unless there is no room, so a reader knows what it has missed
    END    JSON [[frames, dropped]…], the kernel's own count for each interface; nothing follows
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque

#: A record's kind, the number of its interface, the length of its body.
HEAD = struct.Struct("=BxHI")
READY, BLOCK, GONE, TIME, END = range(5)

#: linux/if_packet.h, linux/if_ether.h and asm-generic/socket.h
_SOL_PACKET, _ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION = 263, 1, 5, 6, 10
_TPACKET_V3, _MR_PROMISC, _ETH_P_ALL, _SO_ATTACH_FILTER = 2, 1, 0x0003, 26

#: struct tpacket_block_desc: the status word, which says whose the block is; and how much of it is used.
_STATUS_AT, _USED_AT = 8, 20
_STATUS_KERNEL, _STATUS_USER = 0, 1

#: A block holds the largest frame (64 KiB, with segmentation offload) several times over.
BLOCK_SIZE = 1 << 18
#: All rings together, and what one interface gets of it (bytes).
RINGS_MAX, RING_MAX, RING_MIN = 1 << 27, 1 << 25, 1 << 20
#: After how long the kernel hands over a block that is not full (milliseconds).
RETIRE_MS = 20
#: How often to tell the time, when there is nothing else to tell (milliseconds).
BEAT_MS = 50
#: How much may wait in our memory for the reader (bytes).
WAITING_MAX = 1 << 28


class Link:
    """One interface: its socket, its ring, and where in the ring we are."""

    def __init__(self, number: int, name: str, program: list[list[int]], size: int) -> None:
        self.number = number
        self.name = name
        self.position = 0
        self.blocks = max(size // BLOCK_SIZE, 4)
        # Protocol 0: not a frame is seen before the filter is there and bind() names the interface.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        frames = self.blocks * (BLOCK_SIZE // 2048)
        request = struct.pack("=7I", BLOCK_SIZE, self.blocks, 2048, frames, RETIRE_MS, 0, 0)
        self.socket.setsockopt(_SOL_PACKET, _RX_RING, request)
        self.ring = mmap.mmap(self.socket.fileno(), self.blocks * BLOCK_SIZE)
        if program:
            attach(self.socket, program)
        self.index = socket.if_nametoindex(name)
        everything = struct.pack("=iHH8s", self.index, _MR_PROMISC, 0, b"")
        self.socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, everything)
        self.socket.bind((name, _ETH_P_ALL))

    def mac(self) -> str:
        """The interface's own address."""
        return ":".join(f"{byte:02x}" for byte in self.socket.getsockname()[4])

    def block(self) -> bytes | None:
        """The next block that the kernel has finished, which gets it back; None if there is none."""
        start = self.position * BLOCK_SIZE
        (status,) = struct.unpack_from("=I", self.ring, start + _STATUS_AT)
        if not status & _STATUS_USER:
            return None
        (used,) = struct.unpack_from("=I", self.ring, start + _USED_AT)
        taken = self.ring[start : start + used]
        struct.pack_into("=I", self.ring, start + _STATUS_AT, _STATUS_KERNEL)
        self.position = (self.position + 1) % self.blocks
        return taken

    def is_gone(self) -> bool:
        """After an error on the socket: whether the interface is gone, or was only switched off."""
        self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading it clears it
        try:
            return socket.if_nametoindex(self.name) != self.index
        except OSError:
            return True

    def counts(self) -> list[int]:
        """How many frames there were for us since the beginning, and how many of them were dropped."""
        said = self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 12)
        return list(struct.unpack("=3I", said)[:2])


def attach(sock: socket.socket, program: list[list[int]]) -> None:
    """Give a socket a filter (struct sock_fprog, linux/filter.h)."""
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)


class Sniffer:
    """The links, and what waits to be written."""

    def __init__(self, names: list[str], program: list[list[int]]) -> None:
        size = max(min(RING_MAX, RINGS_MAX // max(len(names), 1)), RING_MIN)
        self.waiting: deque[memoryview] = deque()
        self.held = 0
        self.links: dict[int, Link] = {}
        for number, name in enumerate(names):
            try:
                socket.if_nametoindex(name)
            except OSError:
                continue
            self.links[number] = Link(number, name, program, size)
        self.watched = {link.socket.fileno(): link for link in self.links.values()}
        self.names = names
        macs = [self.links[number].mac() if number in self.links else None for number in range(len(names))]
        self.say(READY, 0, json.dumps({"macs": macs}).encode())

    def say(self, kind: int, number: int, body: bytes) -> None:
        """Put a record at the end of what waits."""
        for part in (HEAD.pack(kind, number, len(body)), body):
            if part:
                self.waiting.append(memoryview(part))
                self.held += len(part)

    def collect(self, link: Link) -> None:
        """Take over every finished block of a link, as far as there is room."""
        while self.held < WAITING_MAX and (block := link.block()) is not None:
            self.say(BLOCK, link.number, block)

    def write(self) -> None:
        """Write what the reader takes."""
        try:
            while self.waiting:
                part = self.waiting[0]
                done = os.write(1, part)
                self.held -= done
                if done == len(part):
                    self.waiting.popleft()
                else:
                    self.waiting[0] = part[done:]
        except BlockingIOError:
            pass

    def ready(self, timeout: int, *, ordered: bool) -> dict[int, int]:
        """Wait for something to do; `ordered`: or for the end of standard input."""
        poll = select.poll()
        if ordered:
            poll.register(0, select.POLLIN)
        for descriptor in self.watched:
            poll.register(descriptor, select.POLLIN if self.held < WAITING_MAX else 0)
        poll.register(1, select.POLLOUT if self.waiting else 0)
        return dict(poll.poll(timeout))

    def round(self, timeout: int = BEAT_MS, *, ordered: bool = True) -> bool:
        """Wait, collect, write. False: nobody wants any more."""
        events = self.ready(timeout, ordered=ordered)
        now = time.time_ns()
        for descriptor, what in events.items():
            link = self.watched.get(descriptor)
            if link is None:
                continue
            self.collect(link)
            if what & ~select.POLLIN and link.is_gone():
                del self.watched[descriptor]
                self.say(GONE, link.number, b"")
        if events.get(1, 0) & (select.POLLERR | select.POLLHUP):
            raise BrokenPipeError
        if self.held < WAITING_MAX:
            self.say(TIME, 0, struct.pack("=Q", now))
        self.write()
        return 0 not in events

    def run(self) -> None:
        """Hand frames on until standard input ends, then the rest of them, and the counts."""
        while self.round():
            pass
        # What came before the end is in blocks that the kernel finishes within RETIRE_MS.
        for _ in range(3):
            self.round(RETIRE_MS, ordered=False)
            select.select([], [], [], RETIRE_MS / 1000)
        while True:
            for link in self.links.values():
                self.collect(link)
            if self.held < WAITING_MAX:
                break
            self.round(1000, ordered=False)
        counts = [self.links[n].counts() if n in self.links else [0, 0] for n in range(len(self.names))]
        self.say(END, 0, json.dumps(counts).encode())
        os.set_blocking(1, True)
        self.write()


def main() -> None:
    """Read the order, and obey."""
    # A Ctrl-C is for the one that reads us: it closes our standard input when it has had enough.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:
            return
        line += more
    order = json.loads(line)
    os.set_blocking(1, False)
    try:
        Sniffer(order["interfaces"], order["filter"]).run()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        print(f"{error.strerror or error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
