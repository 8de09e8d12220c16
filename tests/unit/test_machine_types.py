"""Machine types that are not there, and what serves instead."""

from __future__ import annotations

import pytest

from vmlan.qemu import machine_types
from vmlan.qemu.facts import MachineType

#: As a QEMU 7.2 and an 11.1 have them: each family's, and some that are no PCs.
OLD = [f"pc-{family}-{version}" for family in ("i440fx", "q35") for version in ("2.4", "2.5", "4.0", "7.2")]
NEW = [f"pc-{family}-{version}" for family in ("i440fx", "q35") for version in ("6.1", "10.1", "11.1")]
OTHERS = ["isapc", "microvm", "none", "x-remote"]


def types(names: list[str]) -> list[MachineType]:
    return [MachineType(name) for name in [*names, *OTHERS]]


@pytest.mark.parametrize(
    ("asked", "old", "new"),
    [
        ("pc-q35-xenial", "pc-q35-2.5", "pc-q35-6.1"),
        ("pc-i440fx-trusty", "pc-i440fx-2.4", "pc-i440fx-6.1"),
        ("pc-i440fx-bionic-hpb", "pc-i440fx-4.0", "pc-i440fx-6.1"),
        ("pc-q35-3.1", "pc-q35-4.0", "pc-q35-6.1"),
        ("pc-q35-10.0", "pc-q35-7.2", "pc-q35-10.1"),
        ("pc-0.12", "pc-i440fx-2.4", "pc-i440fx-6.1"),
        ("pc-1.3", "pc-i440fx-2.4", "pc-i440fx-6.1"),
        ("pc-i440fx-99.0", "pc-i440fx-7.2", "pc-i440fx-11.1"),
        ("pc-i440fx-rhel7.6.0", "pc-i440fx-7.2", "pc-i440fx-11.1"),
        ("pc-q35-rhel8.6.0", "pc-q35-7.2", "pc-q35-11.1"),
        ("rhel6.6.0", "pc-i440fx-7.2", "pc-i440fx-11.1"),
        ("versatilepb", None, None),
        ("virt", None, None),
        ("pc-whatever", None, None),
        ("q35", None, None),  # an alias says no version: nothing is guessed
        ("", None, None),
    ],
)
def test_the_nearest(asked: str, old: str | None, new: str | None) -> None:
    assert machine_types.nearest(asked, types(OLD)) == old
    assert machine_types.nearest(asked, types(NEW)) == new


def test_versions_are_numbers() -> None:
    assert machine_types.version("pc-q35-10.1") == (10, 1)
    assert machine_types.version("pc-q35-9.2") == (9, 2)
    assert machine_types.version("pc") is None
