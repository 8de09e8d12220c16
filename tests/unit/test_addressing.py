from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlan import addressing

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)


@given(NAMES, NAMES, st.integers(-1, 30))
def test_macs_are_unicast_qemu_macs_and_depend_on_names_alone(lab: str, machine: str, nic: int) -> None:
    mac = addressing.mac_address(lab, machine, nic)
    assert mac == addressing.mac_address(lab, machine, nic)
    octets = bytes.fromhex(mac.replace(":", ""))
    assert octets[:3] == b"\x52\x54\x00" and len(octets) == 6
    assert not octets[0] & 1


def test_macs_differ_by_lab_machine_and_nic() -> None:
    macs = {
        addressing.mac_address(lab, vm, nic) for lab in ("a", "b") for vm in ("x", "y") for nic in range(4)
    }
    assert len(macs) == 16
    assert addressing.mac_address("ab", "c", 0) != addressing.mac_address("a", "bc", 0)


@given(NAMES, NAMES)
def test_interface_names_fit_and_stay_apart(one: str, other: str) -> None:
    names = {addressing.interface_name(one), addressing.interface_name(other)}
    assert all(0 < len(name) <= 15 for name in names)
    assert len(names) == len({one, other})


def test_a_long_port_name_keeps_its_beginning() -> None:
    assert addressing.port_name("vm1", "lan", 1, 0) == "vm1-lan"
    assert addressing.port_name("vm1", "lan", 2, 1) == "vm1-lan.1"
    assert addressing.port_name("database-frontend", "lan", 1, 0).startswith("database-f~")


@given(st.integers(1, 0xFFFFFF), st.integers(22, 29), st.integers(0, 3), st.data())
def test_leases_are_usable_distinct_and_avoid_what_is_taken(
    base: int, prefix: int, nics: int, data: st.DataObject
) -> None:
    network = IPv4Interface(f"{IPv4Address(0x0A000000 | base)}/{prefix}").network
    host = data.draw(st.sampled_from(list(network.hosts())[:8]))
    static = data.draw(st.lists(st.sampled_from(list(network.hosts())), max_size=2))
    share = addressing.share_out(IPv4Interface(f"{host}/{prefix}"), static, nics)
    if share is None:
        assert network.num_addresses <= 8
        return
    usable = set(network.hosts())
    assert len(set(share.reserved)) == nics
    assert set(share.reserved) <= usable - {host, *static}
    assert share.first in usable and share.last in usable and share.first <= share.last


def test_a_slash_24_is_numbered_as_people_do() -> None:
    share = addressing.share_out(IPv4Interface("10.2.0.1/24"), [IPv4Address("10.2.0.12")], 2)
    assert share == addressing.Leases(
        (IPv4Address("10.2.0.11"), IPv4Address("10.2.0.13")),
        IPv4Address("10.2.0.100"),
        IPv4Address("10.2.0.199"),
    )


@pytest.mark.parametrize("nics", [6, 100])
def test_a_small_subnet_runs_out(nics: int) -> None:
    assert addressing.share_out(IPv4Interface("10.2.0.1/29"), [], nics) is None
