"""`vmlan up` with a template: how long, and how much memory, for few machines and for many."""

from __future__ import annotations

import starts
from place import Place


def missing(place: Place) -> str:
    """Why it cannot be measured, if so."""
    return "" if place.offers("up", "--cold") else starts.NO_TEMPLATES


def prepare(place: Place) -> None:
    """Have the template made. What that takes is measured as the very first `up`."""
    starts.up(1, place)


def name(count: int) -> str:
    return f"{count} machine{'s' * (count > 1)}"


def measure(place: Place, way: str) -> dict[str, float]:
    count = int(way.partition(" ")[0])
    found = starts.up(count, place)
    return {**found, "s each": found[starts.SECONDS] / count}
