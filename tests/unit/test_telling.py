"""What a guest that goes on from a template is told to do, and what is read from its answer."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from vmlan.guest import calls, rtnetlink, telling
from vmlan.plan.steps import Card, Told

LEASED = Card("52:54:00:00:00:0a", "192.0.2.10/24", "192.0.2.1", lessor="lan")
FIXED = Card("52:54:00:00:00:0b", "198.51.100.11/24")
OWN = Card("52:54:00:00:00:0c")
HERE = Path("/run/vmlan/here")
PLACES = telling.Places(2, ("virtio2", "virtio3"))
_CALL, _BUFFER = struct.Struct("<q6Qq"), 0x401000
_RESULT = _CALL.size - 8


def told(
    *cards: Card, bound: bool = True, elsewhere: int = 0, disks: tuple[str, ...] = ()
) -> telling.Telling:
    about = Told(
        "vm1",
        "vmlan.hostname=vm1",
        cards,
        bound,
        elsewhere,
        disks,
        "lab.internal",
        30,
        HERE,
        (),
        HERE,
    )
    places = telling.Places(2, PLACES.names[: len(cards)])
    return telling.telling(about, places, seed=bytes(range(32)), now=1764387600.5, later=95.7)


def asked(one: telling.Telling) -> list[tuple[int, tuple[int, ...], bytes]]:
    """Each call: its number, its arguments, and what is where one of them points to."""
    request, found, place = one.request.built(), [], 8
    while (row := _CALL.unpack_from(request, place))[0] >= 0:
        at = next(
            (each - _BUFFER for each in row[1:7] if _BUFFER < each < _BUFFER + len(request)), len(request)
        )
        found.append((row[0], row[1:7], request[at:]))
        place += _CALL.size
    return found


def written(one: telling.Telling) -> dict[int, list[bytes]]:
    """What is written, by descriptor."""
    found: dict[int, list[bytes]] = {}
    for number, arguments, data in asked(one):
        if number == calls.WRITE and arguments[0] != 1:
            found.setdefault(arguments[0], []).append(data[: arguments[2]])
    return found


def answer(one: telling.Telling, change: Callable[[bytearray], None] = lambda _: None) -> bytes:
    """As a guest answers in which all went well: ethN is interface 2 + N, and has the Nth card's MAC."""
    reply = bytearray(one.request.built())
    for which, (number, arguments, data) in enumerate(asked(one)):
        result = 0
        if number == calls.RECVFROM:
            result = -11
        if number == calls.IOCTL:
            card = int(data[3:4])
            value = {
                0x8933: struct.pack("=i", 2 + card),
                0x8927: bytes([1, 0, 0x52, 0x54, 0, 0, 0, 0x0A + card]),
            }
            place = arguments[2] - _BUFFER + 16
            reply[place : place + 8] = value[arguments[1]].ljust(8, b"\0")
        struct.pack_into("<q", reply, 8 + which * _CALL.size + _RESULT, result)
    change(reply)
    return bytes(reply)


def returns(one: telling.Telling, number: int, result: int, data: bytes = b"") -> Callable[[bytearray], None]:
    """Have the first call of that number return this, and this be where it points to."""
    which, (_, arguments, _) = next(
        (which, each) for which, each in enumerate(asked(one)) if each[0] == number
    )

    def change(reply: bytearray) -> None:
        struct.pack_into("<q", reply, 8 + which * _CALL.size + _RESULT, result)
        place = arguments[1] - _BUFFER
        reply[place : place + len(data)] = data

    return change


def test_who_it_is_is_written_where_it_belongs() -> None:
    one = told(LEASED, FIXED)
    assert written(one) == {
        3: [b"vmlan: vm1 is up\n"],
        4: [bytes(range(32))],
        5: [b"000102030405060708090a0b0c0d0e0f\n"],
        6: [
            b"vmlan.hostname=vm1 vmlan.domain=lab.internal vmlan.served=eth0 vmlan.ask=eth0,192.0.2.10/24,192.0.2.1"
            b" vmlan.served=eth1 vmlan.cards=2\n"
        ],
        7: [b"search lab.internal\nnameserver 192.0.2.1\n"],
    }
    (clock,) = [data[:16] for number, _, data in asked(one) if number == calls.CLOCK_SETTIME]
    assert struct.unpack("=qq", clock) == (1764387600, 500000000)
    assert one.known(answer(one)) == {LEASED.mac, FIXED.mac}


def test_its_cards_are_set_up_by_one_message_each_and_in_their_order() -> None:
    (batch,) = [data for number, _, data in asked(told(LEASED, FIXED)) if number == calls.SENDTO]
    from ipaddress import IPv4Address, IPv4Interface

    expected = [
        rtnetlink.up(2),
        rtnetlink.address(2, IPv4Interface("192.0.2.10/24")),
        rtnetlink.default_route(2, IPv4Address("192.0.2.1"), 102),
        rtnetlink.up(3),
        rtnetlink.address(3, IPv4Interface("198.51.100.11/24")),
    ]
    assert batch.startswith(rtnetlink.numbered(expected))


def test_who_has_all_sleeps_and_who_has_not_ends_at_once() -> None:
    """What it ends with says whether there are cards for the guest itself to see to."""
    ends = {}
    for name, one in {
        "all": told(LEASED),
        "own": told(LEASED, OWN),
        "else": told(LEASED, elsewhere=1),
    }.items():
        rows = asked(one)
        sleeps = any(number == calls.NANOSLEEP for number, _, _ in rows)
        ends[name] = sleeps, rows[-1][0] == calls.EXIT_GROUP and rows[-1][1][0]
    assert ends == {"all": (True, 0), "own": (False, 3), "else": (False, 3)}


def test_its_disks_are_waited_for_before_it_answers() -> None:
    rows = asked(told(LEASED, disks=("/dev/vda", "/dev/vdb")))
    looked = [which for which, (number, _, _) in enumerate(rows) if number == calls.ACCESS]
    assert [rows[which][2][:9] for which in looked] == [b"/dev/vda\0", b"/dev/vdb\0"]
    replied = next(
        which for which, (number, given, _) in enumerate(rows) if (number, given[0]) == (calls.WRITE, 1)
    )
    assert max(looked) < replied


def test_with_cards_elsewhere_it_sees_to_all_of_them_itself() -> None:
    one = told(LEASED, bound=False, elsewhere=1)
    assert written(one)[6] == [b"vmlan.hostname=vm1 vmlan.domain=lab.internal vmlan.cards=2 vmlan.later=96\n"]
    assert 9 not in written(one) and not any(number == calls.SENDTO for number, _, _ in asked(one))
    assert one.known(answer(one)) == frozenset()


def test_cards_without_drivers_get_them_first() -> None:
    assert written(told(LEASED, OWN, bound=False))[9] == [b"virtio2\n", b"virtio3\n"]
    assert 9 not in written(told(LEASED, OWN))


def test_a_machine_full_of_cards_has_room() -> None:
    cards = tuple(
        Card(f"52:54:00:00:01:{n:02x}", f"192.0.2.{n}/24", "192.0.2.1", lessor="lan") for n in range(28)
    )
    about = Told(
        "m" * 63,
        "w" * 2000,
        cards,
        False,
        0,
        ("/dev/vda",) * 28,
        "lab.internal",
        30,
        HERE,
        (),
        HERE,
    )
    places = telling.Places(2, tuple(f"virtio{n}" for n in range(28)))
    assert telling.telling(about, places, bytes(32), 0.0, 30.0).request.built()


def test_a_call_that_fails_is_told() -> None:
    one = told(LEASED)
    with pytest.raises(telling.Untold, match=r"Operation not permitted \(call 0\)"):
        one.known(answer(one, returns(one, calls.SETHOSTNAME, -1)))


def test_a_card_that_is_another_is_told() -> None:
    one = told(LEASED)
    other = returns(one, calls.IOCTL, 0)
    reply = bytearray(answer(one, other))
    place = reply.index(bytes.fromhex("5254000000") + b"\x0a")
    reply[place + 5] = 0xFF
    with pytest.raises(telling.Untold, match=f"{LEASED.mac} is not where"):
        one.known(bytes(reply))


def test_a_card_that_was_not_set_up_is_told_with_the_kernels_reason() -> None:
    one = told(LEASED, FIXED)
    # An error (EEXIST) about message 4, which is the second card's address.
    error = struct.pack("=IHHIIi", 36, 2, 0, 4, 0, -17) + struct.pack("=IHHII", 16, 20, 0, 4, 0)
    with pytest.raises(telling.Untold, match=rf"{FIXED.mac} was not set up: File exists \(EEXIST\)"):
        one.known(answer(one, returns(one, calls.RECVFROM, 36, error)))


@pytest.mark.parametrize("line", ["", "place 2", "places", "places two virtio2", "known 52:54"])
def test_a_guest_that_says_something_else_is_told(line: str) -> None:
    with pytest.raises(telling.Untold, match="not where it has places"):
        telling.Places.read(line)
    assert telling.Places.read("places 2 virtio2 virtio3\n") == PLACES
