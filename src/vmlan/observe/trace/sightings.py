"""Where a probe was seen: from the frames of all links to question, answer and neighbours. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from vmlan.observe.packets import Kind, Packet, parse
from vmlan.observe.ring import Frame
from vmlan.observe.trace.probe import Probe

#: How far two links' clocks may be apart: QEMU has its own for a NIC without an interface (ns).
_CLOCKS = 100_000_000


class Seen(NamedTuple):
    """One packet on one link, at a time (ns since 1970)."""

    time: int
    link: int
    packet: Packet


@dataclass(frozen=True)
class Sightings:
    """Everything seen that has to do with a probe. `question` and `answer`: the first time on each link."""

    every: tuple[Seen, ...] = ()
    first: Seen | None = None
    question: dict[int, Seen] = field(default_factory=dict)
    answer: dict[int, Seen] = field(default_factory=dict)
    errors: tuple[Seen, ...] = ()  #: what routers say of it

    def asked(self, link: int, address: str) -> list[Seen]:
        """When somebody on a link asked who has an address."""
        return [each for each in self._of(link, Kind.WHO_HAS) if each.packet.target == address]

    def owners(self, link: int, address: str) -> list[str]:
        """The MACs that said on a link that they have an address."""
        told = (each.packet.owner for each in self._of(link, Kind.IS_AT) if each.packet.target == address)
        return list(dict.fromkeys(told))

    def dhcp(self, link: int, mac: str) -> tuple[list[Seen], list[Seen]]:
        """What a client asked for by DHCP on a link, and what it was answered."""
        mine = [each for each in self.every if each.link == link and each.packet.owner == mac]
        asked = [each for each in mine if each.packet.kind is Kind.DHCP_ASK]
        return asked, [each for each in mine if each.packet.kind is Kind.DHCP_ANSWER]

    def _of(self, link: int, kind: Kind) -> Iterator[Seen]:
        return (each for each in self.every if each.link == link and each.packet.kind is kind)


def sort_out(frames: Iterable[Frame], probe: Probe, sent: Callable[[Seen], bool]) -> Sightings:
    """What the frames show of a probe. `sent`: whether a packet comes from the source itself."""
    every = tuple(Seen(frame.time, frame.link, parse(frame.data)) for frame in frames)
    first = next((each for each in every if probe.begins(each.packet) and sent(each)), None)
    if first is None:
        return Sightings(every)
    asked, answered = probe.asked_by(first.packet), probe.answered_by(first.packet)
    refused = probe.refused_by(first.packet)
    return Sightings(
        every,
        first,
        _first_on_each(each for each in every if each.time >= first.time - _CLOCKS and asked(each.packet)),
        _first_on_each(each for each in every if answered(each.packet)),
        tuple(each for each in every if refused(each.packet)),
    )


def _first_on_each(seen: Iterable[Seen]) -> dict[int, Seen]:
    found: dict[int, Seen] = {}
    for each in seen:
        found.setdefault(each.link, each)
    return found
