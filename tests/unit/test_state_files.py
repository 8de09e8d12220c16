"""A state of a machine: where MACs stand in it, others in their places, and pages of memory that are added."""

from __future__ import annotations

import os

import pytest

from vmlan.qemu import state_files

ONE, TWO = "52:54:00:76:6d:00", "52:54:00:76:6d:01"
OCTETS = {mac: bytes.fromhex(mac.replace(":", "")) for mac in (ONE, TWO)}
#: As QEMU writes it when memory is a file: the section begins, with its blocks, and ends.
BEGIN = b"QEVM\0\0\0\3" + b"\1\0\0\0\2\3ram\0\0\0\0\0\0\0\4" + b"\6pc.ram"
END = b"\3\0\0\0\2"
LAST = b"\0\0\0\0\0\0\0\x10\x7e\0\0\0\2"


def test_other_macs_stand_wherever_the_first_did() -> None:
    state = b"a" + OCTETS[ONE] + b"b" + OCTETS[TWO] + OCTETS[ONE] + b"c"
    where = state_files.places(state, [ONE, TWO])
    assert where == [[1, 14], [8]]
    changed = state_files.with_macs(state, where, ["52:54:00:00:00:aa", "52:54:00:00:00:bb"])
    a, b = bytes.fromhex("5254000000aa"), bytes.fromhex("5254000000bb")
    assert changed == b"a" + a + b"b" + b + a + b"c"


def test_without_cards_nothing_changes() -> None:
    assert state_files.with_macs(b"state", state_files.places(b"state", []), []) == b"state"


def test_a_mac_that_is_nowhere_is_told() -> None:
    with pytest.raises(ValueError, match=TWO):
        state_files.places(OCTETS[ONE], [ONE, TWO])


def test_pages_are_added_where_the_section_for_memory_ends() -> None:
    state = BEGIN + b"more" + END + LAST + b"devices"
    first, second = os.urandom(4096), os.urandom(4096)
    found = state_files.with_pages(state, {0x5000: second, 0x1000: first})
    records = b"\0\0\0\0\0\0\x10\x08\6pc.ram" + first + b"\0\0\0\0\0\0\x50\x08\6pc.ram" + second
    assert found == BEGIN + b"more" + END + records + LAST + b"devices"


@pytest.mark.parametrize(
    "state",
    [
        b"nothing",
        BEGIN + b"cut short",
        BEGIN + END + b"a page" + LAST,
        BEGIN + END + LAST + END + LAST,
        b"\3ram" + END + LAST,
    ],
)
def test_a_section_for_memory_that_is_another_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match="section for memory"):
        state_files.with_pages(state, {0: bytes(4096)})
