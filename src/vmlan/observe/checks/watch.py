"""Watching the links of a check's `seen-on` and `not-seen-on` while it is tried.

The capture runs before the first attempt begins, and for a moment after the last has ended: what is then
still on its way has time to arrive. "Not seen" is only said of a link that could be read all the time, and of
which no frame was lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeGuard

from vmlan.errors import HostError, NotRunning, VmlanError
from vmlan.model import HOST_SIDE, Check, DnsCheck, HubNetwork, ScreenCheck, SeenCheck, TcpCheck, UserNetwork
from vmlan.observe.capture import Capture
from vmlan.observe.checks.base import Finding, NothingToTry, Scene, Seen, Sighting
from vmlan.observe.checks.sought import Sight, Sign, Sought, own, words
from vmlan.observe.links import Tapped, all_links, choose
from vmlan.observe.packets import parse

#: How long after the last attempt a frame may take to arrive (seconds); the attempt has waited as well.
SETTLE = 1.0
_LOOK = 0.02


def wants_to_see(check: Check) -> TypeGuard[SeenCheck]:
    """Whether a check says where it must be seen, or must not."""
    return not isinstance(check, ScreenCheck | DnsCheck) and bool(check.seen_on or check.not_seen_on)


def watched(check: SeenCheck, scene: Scene, tried: Callable[[Watch], Finding]) -> Finding:
    """Try a check with its links watched; whatever came of it, it also fails by what was seen."""
    found = None
    try:
        with Watch(check, scene) as watch:
            found = tried(watch)
            if found.outcome == "not tried":
                return found
            if not found.attempts:
                # That it was not seen would say nothing.
                return replace(found, passed=False, outcome="not tried", why=f"nothing is sent: {found.why}")
            seen = watch.end()
    except VmlanError as error:
        attempts = found.attempts if found is not None else ()
        return Finding(check, False, "not tried", attempts, error.what)
    unmet = tuple(f"{'not ' if each.wanted else ''}seen on {each.link}" for each in seen if not each.right)
    return replace(found, passed=found.passed and not unmet, seen=seen, unmet=unmet)


@dataclass(frozen=True)
class _Place:
    """What a check calls a link, and the links that it means."""

    name: str
    wanted: bool
    links: frozenset[int]


class Watch:
    """The links of one check, from `__enter__` to `end`.

    Who tries something says first what is `sent`. Raises `NotRunning` where nothing can be seen, and whatever
    `Capture` raises.
    """

    def __init__(self, check: SeenCheck, scene: Scene) -> None:
        self.sign = Sign()
        self._scene = scene
        every = all_links(scene.lab, scene.links)
        asked = [(name, True) for name in check.seen_on] + [(name, False) for name in check.not_seen_on]
        meant = [choose([name], scene.lab, every) for name, _ in asked]
        # A connection is known by what it is on its source's own links.
        mine = _links_of(check.source, every) if isinstance(check, TcpCheck) else []
        chosen = list(dict.fromkeys([*(link for links in meant for link in links), *mine]))
        self._places = [
            _Place(name, wanted, frozenset(map(chosen.index, links)))
            for (name, wanted), links in zip(asked, meant, strict=True)
        ]
        self._own = frozenset(map(chosen.index, mine))
        self._capture = Capture(scene.layout, chosen)
        self._stack = ExitStack()
        self._sought: tuple[Sought, ...] = ()
        self._sights: list[Sight] = []
        self._error: Exception | None = None
        self._began = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._stopped = False

    def sent(self, sought: Sought) -> None:
        """Tell what is about to be sent."""
        if sought not in self._sought:
            self._sought = (*self._sought, sought)

    def __enter__(self) -> Watch:
        self._must_run()
        with ExitStack() as stack:
            stack.enter_context(self._capture)
            self._must_be_there()
            self._began = time.time_ns()
            self._reader.start()
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def end(self) -> tuple[Seen, ...]:
        """Wait for what is on its way, and tell what was seen on each link. Nothing is read any more."""
        until = time.monotonic() + SETTLE
        while time.monotonic() < until and self._error is None and not self._decided():
            time.sleep(_LOOK)
        self._stop()
        if self._error is not None:
            raise self._error
        found = self._found()
        self._must_be_certain(found)
        return tuple(
            Seen(
                place.name,
                place.wanted,
                tuple(self._sighting(each) for each in found if each.link in place.links),
            )
            for place in self._places
        )

    def _read(self) -> None:
        try:
            for batch in self._capture.batches():
                for frame in batch:
                    maybe = [each for each in self._sought if each.may_be(frame.data)]
                    packet = parse(frame.data) if maybe else None
                    if packet is not None and any(each.fits(frame.data, packet) for each in maybe):
                        self._sights.append(Sight(frame.time, frame.link, packet))
        except Exception as error:  # for `end`, which must not take it for silence
            self._error = error

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._capture.stop()
            self._reader.join()

    def _found(self) -> list[Sight]:
        return own(tuple(self._sights), self._sought)

    def _decided(self) -> bool:
        """Whether no further frame could change anything: what must be seen was, and nothing must not be."""
        links = {each.link for each in self._found()}
        return all(place.wanted and links & place.links for place in self._places)

    def _sighting(self, sight: Sight) -> Sighting:
        name = self._capture.links[sight.link].name
        return Sighting(name, (sight.time - self._began) / 1e9, words(sight.packet))

    def _must_run(self) -> None:
        """A cable shows nothing while the machine behind it is off; others than machines always are there."""
        for link in self._capture.links:
            self._scene.must_run(link.far)

    def _must_be_there(self) -> None:
        for number in sorted(self._capture.missing):
            name = self._capture.links[number].name
            raise NotRunning(f"nothing can be seen on {name}: it is not there, or its machine has ended")

    def _must_be_certain(self, found: Sequence[Sight]) -> None:
        """Raise unless "not seen" is true wherever it would be said."""
        seen = {each.link for each in found}
        silent = [place for place in self._places if not seen & place.links]
        if not silent:
            return
        if self._capture.lab_ended:
            raise NotRunning("the lab has ended")
        self._must_be_there()
        self._must_run()
        doubtful = self._own.union(*(place.links for place in silent))
        for number in sorted(doubtful):
            count = self._capture.counts.get(number)
            if count is None or count.dropped:
                lost = "some" if count is None else str(count.dropped)
                raise HostError(f"frames were lost on {self._capture.links[number].name} ({lost})")
        for number in self._own & seen:
            if self._is_a_stack(number) and any(place.links != {number} for place in silent):
                raise NothingToTry(
                    f"{self._capture.links[number].name} leads to QEMU's user-mode stack, which makes "
                    "connections of its own: those cannot be told from others"
                )

    def _is_a_stack(self, number: int) -> bool:
        link = self._capture.links[number]
        return any(
            isinstance(each.network, UserNetwork | HubNetwork)
            for each in self._scene.links.links
            if f"{each.machine}:{each.index}" == link.name
        )


def _links_of(source: str, every: Sequence[Tapped]) -> list[Tapped]:
    return [] if source == HOST_SIDE else [link for link in every if source in link.aliases]
