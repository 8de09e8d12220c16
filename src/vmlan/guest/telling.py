"""Telling the tiny guest who it is, when it goes on from a template: the system calls that make it so. Pure.

The guest's side is `tiny_files/identity`, which opens what is written to here.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from vmlan.guest import calls, rtnetlink
from vmlan.plan.steps import Card, Told

#: What `tiny_files/identity` has opened for the program, by descriptor.
_CONSOLE, _RANDOM, _MACHINE_ID, _WORDS, _RESOLVER, _ROUTES, _BIND = 3, 4, 5, 6, 7, 8, 9

_SIOCGIFHWADDR, _SIOCGIFINDEX = 0x8927, 0x8933  # netdevice(7)
#: struct ifreq: a name, and what is asked for.
_IFREQ, _ASKED = 40, 16
_CLOCK_REALTIME = 0  # clock_gettime(2)
_DONTWAIT = 0x40  # recv(2)
_EAGAIN = -11
_ARPHRD_ETHER = 1  # netdevice(7)
#: How long to wait before looking whether a disk is there, each time (nanoseconds).
_LOOK_AGAIN = 2_000_000
#: Room for the kernel's answer: an error, and the message that it is about.
_ANSWER = 256

#: With what the program ends: all is done, or there are cards for the guest itself to see to.
_DONE, _NOT_DONE = 0, 3


class Untold(Exception):
    """The guest did not do what it was told, or is another than was thought."""


@dataclass(frozen=True)
class Places:
    """What a template's guest says of itself: its virtio cards, by name, and the next interface's number."""

    index: int
    names: tuple[str, ...]

    @staticmethod
    def read(line: str) -> Places:
        """Read the guest's line, `places INDEX NAME...`. Raises `Untold`."""
        word, *rest = line.split() or [""]
        if word != "places" or not rest or not rest[0].isdigit():
            raise Untold(f"its guest says {line.strip()!r}, not where it has places for cards")
        return Places(int(rest[0]), tuple(rest[1:]))


@dataclass(frozen=True)
class _SetUp:
    """A card that the calls set up; its interface's number; the calls that ask for that and for its MAC."""

    card: Card
    nic: str
    index: int
    number: int
    hardware: int

    def is_there(self, results: calls.Results) -> bool:
        mac = bytes.fromhex(self.card.mac.replace(":", ""))
        return (
            _asked(results, self.number, 4) == struct.pack("=i", self.index)
            and _asked(results, self.hardware, 8) == struct.pack("=H", _ARPHRD_ETHER) + mac
        )

    def messages(self) -> list[bytes]:
        """What the kernel is sent for it."""
        assert self.card.address is not None
        made = [
            rtnetlink.up(self.index),
            rtnetlink.address(self.index, IPv4Interface(self.card.address)),
        ]
        if self.card.gateway is not None:
            # A metric as of tiny_files/nic: the routes of several cards do not fight.
            gateway = IPv4Address(self.card.gateway)
            made.append(rtnetlink.default_route(self.index, gateway, 100 + self.index))
        return made

    def words(self) -> list[str]:
        """What the guest's scripts are told of it."""
        leased = f"vmlan.ask={self.nic},{self.card.address},{self.card.gateway}"
        return [f"vmlan.served={self.nic}", *([leased] if self.card.lessor else [])]


@dataclass(frozen=True)
class Telling:
    """What a guest is sent, and who is read from what it answers."""

    request: calls.Request
    _cards: tuple[_SetUp, ...]
    _heard: int | None  #: the call that hears what the kernel did not take

    def known(self, reply: bytes) -> frozenset[str]:
        """The MACs of the cards that have their addresses. Raises `Untold`."""
        results = self.request.results(reply)
        for which, number in enumerate(results.numbers):
            if number < 0 and which != self._heard:
                raise Untold(
                    f"its guest could not do what it was told: {os.strerror(-number)} (call {which})"
                )
        for each in self._cards:
            if not each.is_there(results):
                raise Untold(f"its card {each.card.mac} is not where it was thought to be")
        # The kernel says nothing of what it has done, so that nothing is what is expected.
        if self._heard is not None and results.numbers[self._heard] != _EAGAIN:
            raise Untold(self._why_not(results.written[self._heard][0]))
        return frozenset(each.card.mac for each in self._cards)

    def _why_not(self, answer: bytes) -> str:
        error = rtnetlink.first_error(answer)
        if error is None:
            return "its cards were not set up, and no reason is told"
        number, why = error
        owners = [each.card.mac for each in self._cards for _ in each.messages()]
        return f"its card {owners[number]} was not set up: {why}"


def _asked(results: calls.Results, which: int, size: int) -> bytes:
    return results.written[which][0][_ASKED : _ASKED + size]


def telling(told: Told, places: Places, seed: bytes, now: float, later: float) -> Telling:
    """Put it together. `seed`: 32 bytes that nobody else is given; `now`: Unix time; `later`: seconds.

    Cards elsewhere come first in a machine that boots, so then the guest itself sees to all of them.
    """
    request = calls.Request()
    name = told.name.encode()
    request.call(calls.SETHOSTNAME, name, len(name))
    # The kernel makes its randomness anew by itself (vmgenid); this is besides.
    _write(request, _RANDOM, seed)
    _write(request, _MACHINE_ID, f"{seed[:16].hex()}\n".encode())
    cards = () if told.elsewhere else _bind(request, told, places)
    heard = _set_up(request, cards)
    for disk in told.disks:  # plugged in, they are there a moment later than in a machine that boots
        request.call(calls.NANOSLEEP, _timespec(0, _LOOK_AGAIN), 0)
        request.call(calls.ACCESS, f"{disk}\0".encode(), 0, again=1)
    if leased := [each.card for each in cards if each.card.lessor]:
        lines = [f"search {told.domain}", *(f"nameserver {card.gateway}" for card in leased)]
        _write(request, _RESOLVER, "".join(f"{line}\n" for line in lines).encode())
    count = len(told.cards) + told.elsewhere
    urgent = len(cards) < count
    words = [told.words, f"vmlan.domain={told.domain}"]
    words += [*(word for each in cards for word in each.words()), f"vmlan.cards={count}"]
    words += [f"vmlan.later={later:.0f}"] if urgent else []
    _write(request, _WORDS, f"{' '.join(words)}\n".encode())
    seconds, rest = divmod(now, 1)
    request.call(calls.CLOCK_SETTIME, _CLOCK_REALTIME, _timespec(int(seconds), int(rest * 1e9)))
    request.reply()
    _write(request, _CONSOLE, f"vmlan: {told.name} is up\n".encode())
    if not urgent:
        request.call(calls.NANOSLEEP, _timespec(int(later), 0), 0)
    request.call(calls.EXIT_GROUP, _NOT_DONE if urgent else _DONE)
    return Telling(request, cards, heard)


def _write(request: calls.Request, descriptor: int, data: bytes) -> None:
    request.call(calls.WRITE, descriptor, data, len(data))


def _timespec(seconds: int, nanoseconds: int) -> bytes:
    return struct.pack("=qq", seconds, nanoseconds)


def _bind(request: calls.Request, told: Told, places: Places) -> tuple[_SetUp, ...]:
    """Have a driver for each card in its place; those whose addresses are known are to be set up."""
    found = []
    for number, (card, place) in enumerate(zip(told.cards, places.names, strict=True)):
        if not told.bound:
            _write(request, _BIND, f"{place}\n".encode())
        if card.address is not None:
            nic = f"eth{number}"
            asked = [
                request.call(calls.IOCTL, _ROUTES, ask, nic.encode().ljust(_IFREQ, b"\0"))
                for ask in (_SIOCGIFINDEX, _SIOCGIFHWADDR)
            ]
            found.append(_SetUp(card, nic, places.index + number, *asked))
    return tuple(found)


def _set_up(request: calls.Request, cards: tuple[_SetUp, ...]) -> int | None:
    """Bring them up, with addresses and routes. Returns the call that hears of what went wrong, if any."""
    messages = [message for each in cards for message in each.messages()]
    if not messages:
        return None
    batch = rtnetlink.numbered(messages)
    request.call(calls.SENDTO, _ROUTES, batch, len(batch))
    return request.call(calls.RECVFROM, _ROUTES, bytes(_ANSWER), _ANSWER, _DONTWAIT)
