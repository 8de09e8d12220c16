"""`vmlan snapshot restore` of a lab, against the same lab's cold start."""

from __future__ import annotations

import time
from dataclasses import dataclass

import starts
from place import Failed, Place

COLD = starts.COLD
RESTORE = "vmlan snapshot restore"
WAYS = (COLD, RESTORE)
MACHINES = 4

_NAME = "bench"


@dataclass(frozen=True)
class Saved:
    """A lab with a snapshot, and what its machines' addresses are."""

    place: Place
    hosts: list[str]
    onto: bool  #: it is restored onto the running lab, and not from nothing


def missing(place: Place) -> str:
    """Why it cannot be measured, if so."""
    return "" if place.offers("snapshot", "restore") else "this vmlan has no `snapshot restore`"


def prepare(place: Place) -> Saved:
    """Save one, and find out how it is restored: when nothing runs, or else onto the lab that runs."""
    there = place.beside("snapshot")
    there.write(starts.lab(MACHINES))
    hosts = starts.addresses(there.json("up"))
    there.call("snapshot", "save", _NAME)
    there.call("down", "--now")
    try:
        there.call("snapshot", "restore", _NAME)
    except Failed:
        return Saved(there, hosts, onto=True)
    there.call("down", "--now")
    return Saved(there, hosts, onto=False)


def measure(saved: Saved, way: str) -> dict[str, float]:
    """Seconds until all have answered a ping; for the restored, from the start of its command."""
    place = saved.place
    if way == COLD:
        return starts.up(MACHINES, place, cold=True)
    try:
        if saved.onto:
            place.call("up")
        began = time.monotonic()
        place.call("snapshot", "restore", _NAME)
        starts.ping(place, saved.hosts)
        return {starts.SECONDS: time.monotonic() - began}
    finally:
        place.call("down", "--now")
