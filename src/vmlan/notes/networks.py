"""The networks of all the lines of a page: the ones that were one on the host are one in the lab."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmlan.model import (
    BridgeNetwork,
    Forward,
    HubNetwork,
    Network,
    NoNetwork,
    SocketNetwork,
    TapNetwork,
    UserNetwork,
)
from vmlan.notes import names


@dataclass
class Networks:
    """What the lab has so far. A `key` is what makes two backends the same network."""

    every: list[Network] = field(default_factory=list)
    by_key: dict[tuple[object, ...], str] = field(default_factory=dict)

    def _add(self, key: tuple[object, ...], wanted: str, make: type[Network]) -> str:
        if key in self.by_key:
            return self.by_key[key]
        name = names.unique(wanted, [network.name for network in self.every], names.NETWORKS)
        self.every.append(make(name))
        self.by_key[key] = name
        return name

    def tap(self, wanted: str) -> str:
        """A new tap: a cable has one guest."""
        return self._add(("tap", object()), wanted, TapNetwork)

    def bridge(self, wanted: str) -> str:
        """The bridge of that name."""
        return self._add(("bridge", wanted), wanted, BridgeNetwork)

    def socket(self, place: str) -> str:
        """The network of all who meet at this place (a port, a group, a path)."""
        return self._add(("socket", place), "link", SocketNetwork)

    def nowhere(self) -> str:
        """The network that leads nowhere."""
        return self._add(("none",), "nowhere", NoNetwork)

    def user(self, wanted: str, forwards: tuple[Forward, ...], *, hub: bool) -> str:
        """User-mode networking; machines share the description unless it publishes ports."""
        kind = HubNetwork if hub else UserNetwork
        if not forwards:
            return self._add((kind, wanted), wanted, kind)
        name = self._add((kind, object()), wanted, kind)
        self.every = [kind(name, forwards) if network.name == name else network for network in self.every]
        return name

    @property
    def published(self) -> list[Forward]:
        """Every port of the host that leads to a machine."""
        return [
            forward
            for network in self.every
            if isinstance(network, UserNetwork | HubNetwork)
            for forward in network.forward
        ]
