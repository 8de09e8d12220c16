"""Sending one packet and following it: what `vmlan trace` does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from vmlan.errors import GuestError, NotRunning, RequestError, VmlanError
from vmlan.host import enter
from vmlan.model import HOST_SIDE
from vmlan.observe import links as lab_links
from vmlan.observe.capture import Capture
from vmlan.observe.checks.base import Scene
from vmlan.observe.links import OUTSIDE
from vmlan.observe.packets import Kind, Packet, parse
from vmlan.observe.ring import Frame
from vmlan.observe.trace import ends, probe, stations
from vmlan.observe.trace import way as ways
from vmlan.observe.trace.case import Case, Said
from vmlan.observe.trace.diagnose import diagnose
from vmlan.observe.trace.probe import Probe
from vmlan.observe.trace.rules import Dropped, RuleWatch
from vmlan.observe.trace.sightings import Seen, Sightings, sort_out
from vmlan.observe.trace.unsent import unsent
from vmlan.observe.trace.values import Hop, Sighting, Trace, Verdict
from vmlan.observe.trace.way import Way
from vmlan.observe.trace.world import World
from vmlan.plan.steps import Space
from vmlan.reasons import Reason

#: How long a source that takes no commands is watched, if nobody says otherwise (seconds).
WATCH = 10.0

#: A lab with more links than this is captured only where the packet should pass.
_ALL = 24

#: How long an answer may still come after the command has ended, and how often one looks (seconds).
_AFTER, _LOOK = 0.05, 0.05

#: A client that has asked so often by DHCP, unanswered, will not get an address while we watch.
_IN_VAIN = 3


def trace(
    scene: Scene,
    source: str,
    target: str,
    *,
    via: str | None = None,
    port: int | None = None,
    watch: float | None = None,
) -> Trace:
    """Send one ping (or open one connection to `port`), follow it, and say what became of it.

    `via`: the network whose address of a target machine is meant. `watch`: wait so many seconds for the
    source to send such a packet itself; a source that takes no commands is always watched.
    Raises `NotRunning`, `UnknownName`, `RequestError`, and `GuestError` where the guest has no `ping`.
    """
    began = time.monotonic()
    tapped = lab_links.all_links(scene.lab, scene.links)
    world = World(scene, stations.survey(scene.lab, scene.links, tapped))
    ends.known(world, source, address=False)
    ends.known(world, target, address=True)
    if scene.lab.machine(source) is not None and not world.runs(source):
        raise NotRunning(f"machine {source} is not running", hint=f"vmlan up {source}")
    aim = ends.aim(world, source, target, via)
    found = Trace(source, target, aim.address, port, (), "", (), (), aim.verdict or _NOTHING)
    if aim.verdict is None:
        found = _follow(world, found, watch)
    return replace(found, seconds=time.monotonic() - began)


_NOTHING = Verdict(Reason.LOST, "", "nothing was sent")


def _follow(world: World, asked: Trace, watch: float | None) -> Trace:
    way = ways.find(world, asked.source, asked.address)
    if world.owns(asked.source, asked.address) and asked.source not in (OUTSIDE,):
        raise RequestError(f"{asked.address} is {asked.source}'s own address: it would not leave it")
    commandable = asked.source in (HOST_SIDE, OUTSIDE) or world.commandable(asked.source)
    watching = watch is not None or not commandable
    if watching and asked.port is None:
        sent = Probe(asked.address)
    else:
        sent = Probe(asked.address, asked.port) if asked.port is not None else probe.ping(asked.address)
    following = _Following(world, sent, asked.source, way)
    if watching:
        seconds = WATCH if watch is None else watch
        following.watch(seconds)
        words = "asked to" if commandable else f"{asked.source} takes no commands"
        notes: tuple[str, ...] = (f"only watched, for up to {seconds:g} s: {words}",)
    else:
        following.send()
        notes = ()
    case = Case(
        world, sent, asked.source, asked.target, way, following.seen, following.said, following.dropped
    )
    verdict = unsent(case) if watching and case.seen.first is None else diagnose(case)
    return replace(
        asked,
        command=following.command,
        said=following.said.words if following.said is not None else "",
        stations=way.stations,
        hops=_hops(case),
        verdict=verdict,
        notes=notes,
    )


class _Following:
    """One packet, sent or waited for while the links are captured; what came of it is in its fields."""

    def __init__(self, world: World, sent: Probe, source: str, way: Way) -> None:
        self.command: tuple[str, ...] = ()
        self.said: Said | None = None
        self.dropped: tuple[Dropped, ...] = ()
        self.seen = Sightings()
        self._world = world
        self._probe = sent
        self._source = source
        self._links = _relevant(world, way)
        self._macs: dict[int, str] = {}
        self._frames: list[Frame] = []
        self._began = 0

    def send(self) -> None:
        """Send it, and see where it goes."""
        self.command, run = _sender(self._world, self._source, self._probe)

        def act() -> None:
            self.said = run()
            time.sleep(_AFTER)

        self._record(act)

    def watch(self, seconds: float) -> None:
        """Wait until the source sends one, and as long again as an answer may take."""

        def act() -> None:
            deadline, looked, asks = time.monotonic() + seconds, 0, 0
            while time.monotonic() < deadline:
                time.sleep(_LOOK)
                fresh = self._frames[looked:]
                looked += len(fresh)
                for frame in fresh:
                    seen = Seen(frame.time, self._links[frame.link], parse(frame.data))
                    if seen.time < self._began:
                        continue
                    if self._probe.begins(seen.packet) and self._is_own(seen):
                        time.sleep(probe.WAIT)
                        return
                    asks += seen.packet.kind is Kind.DHCP_ASK and self._is_own(seen)
                    asks -= seen.packet.kind is Kind.DHCP_ANSWER
                if asks >= _IN_VAIN:
                    return

        self._record(act)

    def _record(self, act: Callable[[], None]) -> None:
        scene = self._world.scene
        tapped = [self._world.map.links[number] for number in self._links]
        with (
            RuleWatch(scene.layout, self._probe) as rules,
            Capture(scene.layout, tapped, self._probe.filter) as capture,
        ):
            # The links are heard one after the other: what passed before all are, not all have seen.
            self._began = time.time_ns()
            self._macs = {self._links[number]: mac for number, mac in capture.macs.items()}
            reader = threading.Thread(target=self._read, args=(capture,), daemon=True)
            reader.start()
            try:
                act()
            finally:
                capture.stop()
                reader.join()
            self.dropped = rules.dropped()
        heard = (frame for frame in self._frames if frame.time >= self._began)
        frames = [frame._replace(link=self._links[frame.link]) for frame in heard]
        self.seen = sort_out(frames, self._probe, self._is_own)

    def _read(self, capture: Capture) -> None:
        for batch in capture.batches():
            self._frames += batch

    def _is_own(self, seen: Seen) -> bool:
        """Whether the source itself sent this."""
        for port in self._world.map.of(self._source):
            mac = port.nic.mac if port.nic is not None else self._macs.get(port.link)
            if port.link == seen.link and seen.packet.source_mac == mac:
                return True
        return False


def _relevant(world: World, way: Way) -> list[int]:
    """The links to capture: all, or in a large lab those where the packet and its answer may pass."""
    if len(world.map.links) <= _ALL:
        return list(range(len(world.map.links)))
    stations_ = set(way.stations)
    own = [port.link for port in world.map.ports if port.station in stations_]
    return sorted({*way.links, *own})


def _sender(world: World, source: str, sent: Probe) -> tuple[tuple[str, ...], Callable[[], Said]]:
    """The command that sends the probe from a source, and how to run it."""
    if sent.port is None:
        command = probe.ping_command(sent)
    elif source in (HOST_SIDE, OUTSIDE):
        command = probe.connect_from_host(sent)
    else:
        command = probe.connect_command(sent, world.scene.hands.tools(source), source)

    def run() -> Said:
        if source in (HOST_SIDE, OUTSIDE):
            space = Space.HOST if source == HOST_SIDE else Space.OUTSIDE
            done = enter.run_on_host_side(world.scene.layout, command, space)
            return Said(done.ok, _line(done.stdout + done.stderr))
        try:
            said = world.scene.hands.run(source, command, probe.WAIT + 10.0)
        except VmlanError as error:
            return Said(False, error.what)
        if "not found in the guest" in said.words:
            raise GuestError(f"machine {source} has no {command[0]} to send a packet with", hint=_HINT)
        return Said(said.ok, _line(said.words))

    return command, run


_HINT = "vmlan trace --watch 30 waits for what the guest sends by itself"

#: What of a command's words matters, in this order.
_MARKS = ("bytes from", "not permitted", "nreachable", "o route", "efused", "imed out", "100% packet loss")


def _line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    for mark in _MARKS:
        for line in lines:
            if mark in line:
                return line
    return lines[-1] if lines else ""


def _hops(case: Case) -> tuple[Hop, ...]:
    """The way's links in order, and then those beside it where the packet was seen too."""
    seen = case.seen
    # A bridge that is captured hands up what it passes on between its ports; that is no hop.
    passed = {leg.out.segment for leg in case.way.legs if leg.out is not None}
    bridges = {port.link for port in case.world.map.of(HOST_SIDE) if port.segment in passed}
    beside = sorted({*seen.question, *seen.answer} - {*case.way.links, *bridges})
    return tuple(
        Hop(
            case.name(link),
            _sighting(seen.question.get(link)),
            _sighting(seen.answer.get(link)),
            beside=link in beside,
        )
        for link in (*case.way.links, *beside)
    )


def _sighting(seen: Seen | None) -> Sighting | None:
    return None if seen is None else Sighting(seen.time, _words(seen.packet))


def _words(packet: Packet) -> str:
    ports = packet.ports
    if ports is None:
        return f"{packet.kind.value} {packet.source} → {packet.target}"
    return f"{packet.kind.value} {packet.source}:{ports[0]} → {packet.target}:{ports[1]}"
