"""Capturing links of a running lab: every frame of all of them, in the order of their times.

    with Capture(layout, chosen, "icmp") as capture:
        for frames in capture.batches():
            …                       # until capture.stop(), or the end of the lab
    capture.counts                  # what the kernel had for us, and dropped

Interfaces are read by a sniffer in the lab (`host.sniffer`), NICs without one inside QEMU (`observe.dump`).
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from vmlan.errors import HostError, NotRunning
from vmlan.host import enter, sniffer
from vmlan.host.sniffer_client import SnifferProcess, compile_filter
from vmlan.observe import bpf, ring
from vmlan.observe.dump import Dump, runs
from vmlan.observe.links import Tapped
from vmlan.observe.ring import Frame, InOrder
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Space

#: How old a frame may be when its block is finished (ns): some times what the kernel waits for it to fill.
PATIENCE = 5 * sniffer.RETIRE_MS * 1_000_000
#: How often to look what QEMU has written (seconds).
_LOOK = 0.02
#: How long it may take until a lab whose programs end has ended itself (seconds).
_LAB_ENDS = 2.0


@dataclass(frozen=True)
class Count:
    """How many frames of a link the filter let through, and how many of these were lost."""

    received: int
    dropped: int


class Capture:
    """A capture of some links, from `__enter__` to `__exit__`.

    Raises `NotRunning` without a lab, `MissingProgram` and `RequestError` for a filter (`compile_filter`),
    `HostError` where frames cannot be read.
    """

    def __init__(self, layout: Layout, links: Sequence[Tapped], filter: str = "") -> None:
        self.links = tuple(links)
        #: The links that are not there, by number: their machines do not run, or their interfaces are gone.
        self.missing: set[int] = set()
        #: The MAC of each link's interface.
        self.macs: dict[int, str] = {}
        self.counts: dict[int, Count] = {}
        #: Whether the lab ended before the capture did: then nobody knows what was dropped.
        self.lab_ended = False
        self._layout = layout
        self._filter = filter
        self._stack = ExitStack()
        self._sniffers: list[tuple[SnifferProcess, list[int]]] = []
        self._dumps: dict[int, Dump] = {}
        self._order = InOrder()
        #: Until when each sniffer has told everything, by what it is heard on.
        self._told_until: dict[int, int] = {}
        self._stopping = False
        #: Whether it can be stopped.
        self.running = False

    def __enter__(self) -> Capture:
        with ExitStack() as stack:
            with enter.keeper(self._layout) as client:
                self._keeper = os.pidfd_open(client.pid)
            stack.callback(os.close, self._keeper)
            self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, self._wake_read)
            stack.callback(os.close, self._wake_write)
            self._start_sniffers(stack)
            self._start_dumps(stack)
            for process, numbers in self._sniffers:
                for number, mac in zip(numbers, process.wait_ready(), strict=True):
                    if mac is None:
                        self.missing.add(number)
                    else:
                        self.macs[number] = mac
            self._stack = stack.pop_all()
        self.running = True
        return self

    def __exit__(self, *_: object) -> None:
        self.running = False
        self._stack.close()

    def stop(self) -> None:
        """Capture no more; what has been seen still comes. May be called from a signal's handler."""
        self._stopping = True
        os.write(self._wake_write, b"!")

    def batches(self, until: float | None = None) -> Iterator[list[Frame]]:
        """Frames, as they come, in order; `until`: stop at that time (`time.monotonic`)."""
        told = False
        while True:
            if until is not None and time.monotonic() >= until:
                self._stopping = True
            if self._stopping and not told:
                told = True
                self._tell_to_stop()
            heard = self._wait(until, told)
            self._order.add(heard)
            if batch := self._order.take(self._complete()):
                yield batch
            if all(process.ended for process, _ in self._sniffers) and (told or self.lab_ended):
                break
        self._order.add([frame for dump in self._dumps.values() for frame in dump.read()])
        self.counts.update({number: Count(dump.received, 0) for number, dump in self._dumps.items()})
        if batch := self._order.take(None):
            yield batch

    def _start_sniffers(self, stack: ExitStack) -> None:
        for space in (Space.HOST, Space.OUTSIDE):
            numbers = [number for number, link in enumerate(self.links) if link.space is space]
            if not numbers:
                continue
            program = self._program("interface")
            names = [self.links[number].interface for number in numbers]
            process = SnifferProcess(self._layout, space, names, program)
            stack.callback(process.close)
            self._sniffers.append((process, numbers))

    def _start_dumps(self, stack: ExitStack) -> None:
        for number, link in enumerate(self.links):
            if link.space is not None:
                continue
            dump = Dump(number, link, self._layout, self._program("file"))
            stack.callback(dump.close)
            stack.callback(dump.stop)
            if runs(dump):
                self._dumps[number] = dump
            else:
                self.missing.add(number)

    def _program(self, kind: Literal["interface", "file"]) -> bpf.Program:
        return bpf.parse(compile_filter(self._layout, self._filter, kind)) if self._filter else ()

    def _tell_to_stop(self) -> None:
        for process, _ in self._sniffers:
            process.stop()
        for dump in self._dumps.values():
            dump.stop()

    def _complete(self) -> int:
        """The time until which every frame has been heard of (ns)."""
        told = [self._told_until.get(each.fileno(), 0) for each, _ in self._sniffers if not each.ended]
        return min(told, default=time.time_ns()) - PATIENCE

    def _wait(self, until: float | None, told: bool) -> list[Frame]:
        """What comes next; nothing, where it is time to look at something else."""
        timeout = _LOOK if self._dumps else None
        if until is not None and not told:
            left = max(until - time.monotonic(), 0)
            timeout = left if timeout is None else min(timeout, left)
        going = {
            process.fileno(): (process, numbers) for process, numbers in self._sniffers if not process.ended
        }
        sources = [*going, *([] if self.lab_ended else [self._keeper]), *([] if told else [self._wake_read])]
        if told and not going:
            return []
        readable, _, _ = select.select(sources, [], [], timeout)
        if self._keeper in readable:
            self.lab_ended = True
        frames: list[Frame] = []
        for descriptor in readable:
            if descriptor in going:
                frames += self._hear(*going[descriptor])
        for dump in self._dumps.values():
            frames += dump.read()
        return frames

    def _hear(self, process: SnifferProcess, numbers: list[int]) -> list[Frame]:
        frames: list[Frame] = []
        for kind, number, body in process.hear():
            if kind == sniffer.BLOCK:
                frames += ring.frames(body, numbers[number])
            elif kind == sniffer.TIME:
                self._told_until[process.fileno()] = int.from_bytes(body, sys.byteorder)
            elif kind == sniffer.GONE:
                self.missing.add(numbers[number])
            elif kind == sniffer.END:
                for own, (received, dropped) in zip(numbers, json.loads(body), strict=True):
                    self.counts[own] = Count(received, dropped)
        if process.ended and numbers[0] not in self.counts:
            self._died(process)
        return frames

    def _died(self, process: SnifferProcess) -> None:
        """A sniffer has ended that nobody told to: with its lab, or something is wrong."""
        self.lab_ended = self.lab_ended or bool(select.select([self._keeper], [], [], _LAB_ENDS)[0])
        if not self.lab_ended:
            raise HostError(f"frames cannot be read any more: {process.words() or 'the reader was killed'}")


def require(capture: Capture, asked: bool) -> list[Tapped]:
    """The links that are not there. Raises `NotRunning` if they were `asked` for, or if none is."""
    absent = [capture.links[number] for number in sorted(capture.missing)]
    if absent and (asked or len(absent) == len(capture.links)):
        what = ", ".join(link.name for link in absent)
        raise NotRunning(
            f"there is nothing to see on {what}: not there, or its machine is not running", hint="vmlan up"
        )
    return absent
