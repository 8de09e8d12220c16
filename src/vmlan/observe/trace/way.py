"""The way that a packet should take, by what its stations say of their routes."""

from __future__ import annotations

from dataclasses import dataclass

from vmlan.observe.trace.stations import Port
from vmlan.observe.trace.world import NoRoute, World

#: More stations than any lab's packet passes; routes that lead in a circle end here.
_MOST = 16


@dataclass(frozen=True)
class Leg:
    """From one station to the next, over one segment.

    `out` None: the station knows no way (`trouble`), or one that leaves the lab's own interfaces.
    `to` None: nobody on the segment has the address that it is handed to.
    """

    station: str
    came: Port | None  #: where the packet came in; None: it is the station's own
    out: Port | None
    hand_to: str = ""  #: the address at the other end: the router's, or the target's own
    to: Port | None = None
    links: tuple[int, ...] = ()
    trouble: NoRoute | None = None


@dataclass(frozen=True)
class Way:
    """A whole way. `arrives`: its last leg ends with who has the address."""

    address: str
    legs: tuple[Leg, ...]
    arrives: bool

    @property
    def links(self) -> tuple[int, ...]:
        """Every link of it, in order, each once."""
        return tuple(dict.fromkeys(link for leg in self.legs for link in leg.links))

    @property
    def stations(self) -> tuple[str, ...]:
        """Who is passed, the first and the last included."""
        last = self.legs[-1].to if self.legs else None
        names = [*(leg.station for leg in self.legs), *([last.station] if last else [])]
        return tuple(dict.fromkeys(names))


def find(
    world: World, station: str, address: str, source: str | None = None, came: Port | None = None
) -> Way:
    """The way from a station to an address, as far as it can be told. `source`: whom the packet is from."""
    legs: list[Leg] = []
    for _ in range(_MOST):
        if legs and world.owns(station, address):
            return Way(address, tuple(legs), arrives=True)
        route = world.route(station, address, source, came)
        if isinstance(route, NoRoute):
            legs.append(Leg(station, came, None, trouble=route))
            break
        out = world.port(station, route.device)
        if out is None:
            legs.append(Leg(station, came, None, trouble=NoRoute(f"it leaves by {route.device}")))
            break
        hand_to = route.via or address
        to = world.port_of(hand_to, out.segment, out)
        legs.append(Leg(station, came, out, hand_to, to, world.map.between(out, to)))
        if to is None:
            break
        source = source or route.source
        station, came = to.station, to
    return Way(address, tuple(legs), arrives=False)
