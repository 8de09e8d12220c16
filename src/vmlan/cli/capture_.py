"""`vmlan capture`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import FrameType

import click

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.errors import RequestError
from vmlan.host import kept_lab, paths
from vmlan.observe import links as lab_links
from vmlan.observe import pcapng
from vmlan.observe.capture import Capture, require
from vmlan.observe.links import Tapped
from vmlan.observe.ring import Frame
from vmlan.observe.rows import Names, Rows, as_json
from vmlan.plan import topology as topo

#: More links than these are counted rather than listed, and quiet ones left out of the sum.
LISTED = 12
#: One colour a link, in turn.
COLOURS = ("cyan", "green", "yellow", "magenta", "blue")


@click.command("capture")
@common.file_option
@click.option(
    "-w",
    "--write",
    "target",
    metavar="FILE.pcapng",
    help="Write a file for Wireshark instead of rows; - is standard output.",
)
@click.option("-c", "--count", type=click.IntRange(1), help="End after so many frames.")
@click.option("--for", "seconds", type=common.SECONDS, help="End after so many seconds.")
@click.option(
    "--filter",
    "words",
    default="",
    metavar="FILTER",
    help="Only these frames, in tcpdump's words: 'icmp or arp'.",
)
@common.quiet_option
@common.json_option
@click.argument("links", nargs=-1, metavar="[LINK]...")
def command(
    file: Path | None,
    target: str | None,
    count: int | None,
    seconds: float | None,
    words: str,
    quiet: bool,
    as_json: bool,
    links: tuple[str, ...],
) -> None:
    """Every frame on LINKs, or on all links of the lab, until Ctrl-C or the end of the lab.

    A LINK is a machine (vm1: all of its NICs), one of its NICs (vm1:0), a network (of a bridge: what its
    host side sends and hears), uplink, or outside. With --json, each frame is one line of JSON.
    """
    path = lifecycle.find_file(file)
    lab, layout = kept_lab.load(path, paths.layout(path)), paths.layout(path)
    survey = topo.survey(lab)
    chosen = lab_links.choose(links, lab, lab_links.all_links(lab, survey))
    names = Names(*lab_links.names(lab, survey))
    with contextlib.ExitStack() as stack:
        capture = Capture(layout, chosen, words)
        stopped = stack.enter_context(_stops(capture))
        stack.enter_context(capture)
        absent = require(capture, bool(links))
        for number, mac in capture.macs.items():
            names.own(mac, chosen[number])
        sinks: list[Sink] = []
        if target:
            sinks.append(File(_open(target, stack), capture, names, words))
        if as_json:
            sinks.append(Lines(chosen, names))
        elif not target:
            sinks.append(Table(chosen, names))
        if not quiet:
            _greet(chosen, absent)
        shown = _pass_on(capture, sinks, count, seconds, stopped)
    if capture.lab_ended and not quiet:
        print("the lab has ended", file=sys.stderr)
    if not quiet or any(each.dropped for each in capture.counts.values()):
        _sum_up(capture, shown)


class Sink:
    """Where frames go."""

    def take(self, frames: list[Frame]) -> None:
        """Show or keep frames."""

    def end(self, shown: list[int], capture: Capture) -> None:
        """There will be no more."""


class Table(Sink):
    """Rows, for people."""

    def __init__(self, links: tuple[Tapped, ...], names: Names) -> None:
        self._rows = Rows(links, names)
        self._colours = COLOURS if common.is_terminal() else None

    def take(self, frames: list[Frame]) -> None:
        """Print a row for each."""
        colours = self._colours
        for frame in frames:
            before, link, after = self._rows.row(frame)
            if colours:
                link = click.style(link, fg=colours[frame.link % len(colours)])
            sys.stdout.write(f"{before}{link}{after}\n")
        sys.stdout.flush()


class Lines(Sink):
    """One JSON object a frame, for programs."""

    def __init__(self, links: tuple[Tapped, ...], names: Names) -> None:
        self._links = links
        self._names = names

    def take(self, frames: list[Frame]) -> None:
        """Print a line for each."""
        for frame in frames:
            sys.stdout.write(as_json(frame, self._links[frame.link], self._names) + "\n")
        sys.stdout.flush()


class File(Sink):
    """A pcapng file, which is whole after every batch."""

    def __init__(self, target: int, capture: Capture, names: Names, words: str) -> None:
        self._target = target
        self._began = time.time_ns()
        interfaces = [
            pcapng.Interface(link.name, f"{link.about} ({link.interface})", capture.macs.get(number), words)
            for number, link in enumerate(capture.links)
        ]
        self._write(pcapng.header(f"vmlan {metadata.version('vmlan')}", interfaces, names.addresses))

    def take(self, frames: list[Frame]) -> None:
        """Write them."""
        self._write(pcapng.packets(frames))

    def end(self, shown: list[int], capture: Capture) -> None:
        """Write how many each link had, and lost, as far as it is known."""
        now = time.time_ns()
        self._write(
            b"".join(
                pcapng.statistics(number, self._began, now, known.received, known.dropped, shown[number])
                for number, known in sorted(capture.counts.items())
            )
        )

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._target, rest) :]


def _open(target: str, stack: contextlib.ExitStack) -> int:
    if target == "-":
        if sys.stdout.isatty():
            raise RequestError(
                "a capture is not for a terminal", hint="vmlan capture -w - | wireshark -k -i -"
            )
        return sys.stdout.fileno()
    try:
        opened = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RequestError(f"{target} cannot be written: {error.strerror}") from error
    stack.callback(os.close, opened)
    return opened


@contextlib.contextmanager
def _stops(capture: Capture) -> Iterator[list[bool]]:
    """The first Ctrl-C (or SIGTERM) ends the capture in order; a second one, at once."""
    stopped: list[bool] = []

    def stop(number: int, _: FrameType | None) -> None:
        if stopped or not capture.running:
            raise KeyboardInterrupt
        stopped.append(True)
        capture.stop()

    before = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(
    capture: Capture, sinks: list[Sink], count: int | None, seconds: float | None, stopped: list[bool]
) -> list[int]:
    """Hand frames to the sinks until it is enough; how many there were of each link."""
    shown = [0] * len(capture.links)
    left = count
    for frames in capture.batches(None if seconds is None else time.monotonic() + seconds):
        if left is not None:
            frames = frames[:left]
            left -= len(frames)
        if frames:
            for frame in frames:
                shown[frame.link] += 1
            for sink in sinks:
                sink.take(frames)
        if left == 0 and not stopped:
            stopped.append(True)
            capture.stop()
    for sink in sinks:
        sink.end(shown, capture)
    return shown


def _greet(chosen: tuple[Tapped, ...], absent: list[Tapped]) -> None:
    for link in absent:
        print(f"note: {link.name} is not there, or its machine is not running", file=sys.stderr)
    there = [link.name for link in chosen if link not in absent]
    listed = ", ".join(there) if len(there) <= LISTED else f"{len(there)} links"
    print(f"capturing on {listed}; Ctrl-C ends it", file=sys.stderr, flush=True)


def _sum_up(capture: Capture, shown: list[int]) -> None:
    """How many frames of each link; and how many were lost, which is never kept quiet."""
    parts = []
    for number, link in enumerate(capture.links):
        known = capture.counts.get(number)
        quiet = not shown[number] and not (known and known.dropped)
        if quiet and (number in capture.missing or len(capture.links) > LISTED):
            continue
        lost = f", {known.dropped} LOST" if known and known.dropped else ""
        parts.append(f"{link.name} {shown[number]}{lost}")
    total = sum(shown)
    where = f": {'; '.join(parts)}" if parts else ""
    print(f"{total} frame{'' if total == 1 else 's'}{where}", file=sys.stderr)
