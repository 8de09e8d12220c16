"""Everything that a verdict is found from: the way, what was seen, and the lab as it is."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from vmlan.model import HOST_SIDE
from vmlan.observe.trace.probe import Probe
from vmlan.observe.trace.rules import Dropped
from vmlan.observe.trace.sightings import Seen, Sightings
from vmlan.observe.trace.stations import Port
from vmlan.observe.trace.way import Leg, Way
from vmlan.observe.trace.world import World

#: Addresses that nobody outside knows a way to (RFC 1918, RFC 6598, RFC 4193).
_PRIVATE = [ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
_UNIQUE_LOCAL = ip_network("fc00::/7")


@dataclass(frozen=True)
class Said:
    """What the command that sent the probe said: whether it was answered, and its words."""

    ok: bool
    words: str


@dataclass(frozen=True)
class Case:
    """One packet's case. `answer`: it is the answer's way that is looked at, not the question's."""

    world: World
    probe: Probe
    source: str
    target: str
    way: Way
    seen: Sightings
    said: Said | None = None  #: None: we only watched
    dropped: tuple[Dropped, ...] = ()  #: by rules of the host side
    answer: bool = False

    def sighting(self, link: int) -> Seen | None:
        """Where what this case is about was seen first on a link."""
        return (self.seen.answer if self.answer else self.seen.question).get(link)

    def name(self, link: int) -> str:
        """A link's name."""
        return self.world.map.links[link].name

    def unanswered(self, leg: Leg) -> bool:
        """Whether it was asked on a leg who has the next address, and nobody said so."""
        if leg.out is None:
            return False
        link = leg.out.link
        if self.seen.owners(link, leg.hand_to):
            return False
        asked = bool(self.seen.asked(link, leg.hand_to))
        return asked or self.world.unresolved(leg.station, leg.hand_to)

    @property
    def what(self) -> str:
        """What is looked at, in words."""
        return "the answer" if self.answer else "the packet"

    @property
    def dropped_here(self) -> Dropped | None:
        """The rule that dropped what this case is about."""
        return next((each for each in self.dropped if each.answer == self.answer), None)


def device(port: Port, world: World) -> str:
    """What a port's interface is called where its station is."""
    if port.nic is not None:
        return world.guest_device(port) or f"NIC {port.nic.index}"
    return port.device or port.station


def tap_of(port: Port) -> str | None:
    """The interface on the host side at which a NIC's cable ends, if it has one."""
    return port.nic.interface if port.nic is not None else port.device if port.station == HOST_SIDE else None


def is_private(address: str) -> bool:
    """Whether an address is one that nobody outside knows a way to."""
    own = ip_address(address)
    if own.version == 6:
        return own in _UNIQUE_LOCAL
    return any(own in each for each in _PRIVATE)
