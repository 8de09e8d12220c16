"""Frames as rows for people, and as JSON for programs. Pure, but for the local time zone.

A row: time, link, direction (who sent it on that link, or who gets it), addresses, what it is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from vmlan.observe.frames import EVERYONE, Decoded, decode
from vmlan.observe.links import Tapped
from vmlan.observe.ring import OUTGOING, Frame

#: Addresses that say nothing of whose they are, beyond the link that they are seen on.
_LOCAL = ("fe80:", "169.254.")

#: As wide as the addresses' column grows for the sake of the rows that follow.
_WIDEST = 56


class Names:
    """Who has which address: what the lab knows, and what the frames tell (ARP, DHCP, neighbours)."""

    def __init__(self, macs: Mapping[str, str], addresses: Mapping[str, str]) -> None:
        self._macs = dict(macs)
        self.addresses = dict(addresses)
        #: by link, since every user-mode network has the same addresses
        self._learnt: dict[tuple[int, str], str] = {}

    def own(self, mac: str, link: Tapped) -> None:
        """Learn an interface's own MAC. That of a bridge's port is nobody's."""
        if not (link.space and link.name.partition(":")[2]):
            self._macs.setdefault(mac, link.near)

    def learn(self, frame: Frame, decoded: Decoded) -> None:
        """Learn what a frame says about addresses of machines that we know."""
        for mac, address in decoded.claims:
            if mac in self._macs and address not in self.addresses:
                self._learnt[frame.link, address] = self._macs[mac]

    def of_mac(self, mac: str) -> str | None:
        """Whose a MAC is."""
        return self._macs.get(mac)

    def of_address(self, link: int, address: str, mac: str) -> str | None:
        """Whose an IP address is; `mac`: the one that it came with, which is its owner's on its own link."""
        found = self.addresses.get(address) or self._learnt.get((link, address))
        if found is None and address.startswith(_LOCAL):
            return self._macs.get(mac)
        return found


def _end(names: Names, link: int, mac: str, address: str, port: int | None) -> str:
    """One end of a frame, in words."""
    if not address or address in ("0.0.0.0", "::"):
        return "everyone" if mac == EVERYONE else names.of_mac(mac) or mac
    if address == "255.255.255.255":
        return "everyone" + (f":{port}" if port is not None else "")
    name = names.of_address(link, address, mac)
    place = address if port is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{name} {place}" if name else place


def direction(frame: Frame, link: Tapped, names: Names, source_mac: str) -> str:
    """`NAME →`: it came from there; `→ NAME`: it went there."""
    if frame.kind == OUTGOING:
        return f"→ {link.far}" if link.far else f"{link.near} →"
    if link.far:
        return f"{link.far} →"
    sender = names.of_mac(source_mac)
    return f"{sender} →" if sender else f"→ {link.near}"


class Rows:
    """Rows whose columns stand below each other."""

    def __init__(self, links: tuple[Tapped, ...], names: Names) -> None:
        self._links = links
        self._names = names
        self._link_width = max(len(link.name) for link in links)
        self._direction_width = max(len(f"→ {link.far or link.near}") for link in links)
        self._width = 0
        self._second = -1
        self._clock = ""

    def row(self, frame: Frame) -> tuple[str, str, str]:
        """A frame's row, in three parts: before the link's name, the name, and behind it."""
        seen = decode(frame.data)
        names = self._names
        names.learn(frame, seen)
        link = self._links[frame.link]
        ends = (
            f"{_end(names, frame.link, seen.source_mac, seen.source, seen.source_port)}"
            f" → {_end(names, frame.link, seen.target_mac, seen.target, seen.target_port)}"
        )
        self._width = max(self._width, min(len(ends), _WIDEST))
        way = direction(frame, link, names, seen.source_mac).ljust(self._direction_width)
        self._direction_width = max(self._direction_width, len(way))
        what = what_it_is(seen)
        return (
            f"{self._time(frame.time)}  ",
            link.name.ljust(self._link_width),
            f"  {way}  {ends.ljust(self._width)}  {what}",
        )

    def _time(self, value: int) -> str:
        second, rest = divmod(value, 1_000_000_000)
        if second != self._second:
            self._second, self._clock = second, time.strftime("%H:%M:%S", time.localtime(second))
        return f"{self._clock}.{rest // 1000:06d}"


def what_it_is(seen: Decoded) -> str:
    """Protocol and words, with the VLAN before them if there is one."""
    tags = "".join(f"VLAN {vlan}: " for vlan in seen.vlans)
    return f"{tags}{seen.protocol} {seen.what}"


def as_json(frame: Frame, link: Tapped, names: Names) -> str:
    """A frame as one line of JSON."""
    seen = decode(frame.data)
    names.learn(frame, seen)
    return json.dumps(
        {
            "time_ns": frame.time,
            "link": link.name,
            "interface": link.interface,
            "direction": "out" if frame.kind == OUTGOING else "in",
            "source_mac": seen.source_mac,
            "target_mac": seen.target_mac,
            "vlans": seen.vlans,
            "source": seen.source or None,
            "source_port": seen.source_port,
            "source_name": _name(names, frame.link, seen.source_mac, seen.source),
            "target": seen.target or None,
            "target_port": seen.target_port,
            "target_name": _name(names, frame.link, seen.target_mac, seen.target),
            "protocol": seen.protocol,
            "what": seen.what,
            "length": frame.length,
        },
        ensure_ascii=False,
    )


def _name(names: Names, link: int, mac: str, address: str) -> str | None:
    if not address or address in ("0.0.0.0", "::"):
        return names.of_mac(mac)
    return names.of_address(link, address, mac)
