"""What has been read of the file, with the places that cross-section checks point at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmlan.labfile.located import Mark
from vmlan.model import Check, Forward, Lab, Machine, Network, Nic

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Placed(Generic[T]):
    """A value of the model, where it stands, and where the value of each of its keys stands."""

    value: T
    at: Mark
    keys: Mapping[str, Mark]

    def where(self, key: str) -> Mark:
        """The place of a key's value; the whole's own when the key is not there."""
        return self.keys.get(key, self.at)


@dataclass(frozen=True, slots=True)
class PlacedMachine(Placed[Machine]):
    """A machine, and its NICs with their places."""

    nics: tuple[Placed[Nic], ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedNetwork(Placed[Network]):
    """A network, and its forwards with their places."""

    forwards: tuple[tuple[Forward, Mark], ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedCheck(Placed[Check]):
    """A check, and the links that it names: under which key, which link, and where."""

    links: tuple[tuple[str, str, Mark], ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that has been read: `lab` is good only if no problem was noted.

    `machine_names` and `network_names` have those with mistakes in them too: who names one of
    these has made no mistake.
    """

    lab: Lab
    machine_names: Mapping[str, Mark]
    network_names: Mapping[str, Mark]
    machines: tuple[PlacedMachine, ...]
    networks: tuple[PlacedNetwork, ...]
    checks: tuple[PlacedCheck, ...]
