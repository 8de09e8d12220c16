"""Uplinks, VLANs and IPv6, from the file to the steps."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Interface

import pytest

from tests import labs
from vmlan import addressing
from vmlan.errors import HostError
from vmlan.labfile import loads
from vmlan.labfile.write import dumps
from vmlan.model import Lab
from vmlan.plan import topology as topo
from vmlan.plan.build import plan
from vmlan.plan.steps import Interfaces, Start, batches

UPLINK = """
name: pub
host: {uplink: simulated}
networks: {pub: {kind: bridge, uplink: true}}
machines: {vm1: {nics: [pub]}, vm2: {nics: [{network: pub, address: 198.51.100.9/24, vlan: 5}]}}
"""

VLANS = """
networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, vlan: 20}}
machines:
  vm1: {nics: [{network: lan, vlan: 10}, {network: lan, vlan: 20}]}
  vm2: {nics: [{network: lan, trunk: [10, 20]}, {network: lan, vlan: 10, trunk: [1]}, lan]}
"""

IPV6 = """
name: six
host: {forwarding: true}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, host6: auto, dhcp: true}
  wire: {kind: tap, host6: "fd00:1::1/64"}
machines:
  vm1: {nics: [lan, {network: wire, address6: "fd00:1::2/64", gateway6: "fd00:1::1"}]}
  old: {disks: [{size: 1G}], nics: [lan]}
"""


def lines(lab: Lab, program: str = "ip") -> list[str]:
    steps = plan(lab, labs.facts()).steps
    return [
        line
        for step in steps
        if isinstance(step, Interfaces) and step.program == program
        for line in step.lines
    ]


def test_the_nic_gives_the_bridge_its_mac_its_address_and_its_route() -> None:
    """F28, F29: in the order in which one would write it."""
    own = addressing.mac_address("pub", "host", 0)
    found = lines(labs.lab(UPLINK.replace(", vlan: 5", "")))
    first = found.index(f"link add name pub address {own} type bridge")
    assert found[first : first + 7] == [
        f"link add name pub address {own} type bridge",
        "link set dev eth0 addrgenmode none master pub",
        "addr del 198.51.100.2/24 dev eth0",
        "addr flush dev eth0 scope link",
        "addr add 198.51.100.2/24 dev pub",
        "link set dev pub up",
        "route add default via 198.51.100.1 dev pub",
    ]


def test_undoing_gives_the_nic_everything_back() -> None:
    steps = [step for step in plan(labs.lab(UPLINK), labs.facts()).steps if isinstance(step, Interfaces)]
    undone = [line for step in reversed(steps) if step.id.endswith(" pub") for line in step.undo]
    assert undone == [
        "route del default via 198.51.100.1 dev pub",
        "addr del 198.51.100.2/24 dev pub",
        "addr add 198.51.100.2/24 dev eth0",
        "route add default via 198.51.100.1 dev eth0",
        "link set dev eth0 nomaster",
        "link del dev pub",
    ]


def test_guests_of_the_outside_have_whatever_address_it_gives() -> None:
    first, second = topo.survey(labs.lab(UPLINK)).links
    assert first.address is None and first.leased_elsewhere
    assert str(second.address) == "198.51.100.9/24" and not second.leased_elsewhere
    assert topo.host_address(first.network) == topo.OUTSIDE_HOST
    assert topo.outward(labs.lab(UPLINK)) == "pub"
    assert topo.outward(labs.lab(labs.LAN)) == "eth0"
    assert topo.outward(labs.lab("machines: {vm1: }")) is None


def test_each_port_is_told_its_vlans_by_one_process() -> None:
    lab = labs.lab(VLANS)
    assert lines(lab, "bridge") == [
        "vlan del dev lan vid 1 self",
        "vlan add dev lan vid 20 pvid untagged self",
        "vlan del dev vm1-lan.0 vid 1",
        "vlan add dev vm1-lan.0 vid 10 pvid untagged",
        "vlan del dev vm1-lan.1 vid 1",
        "vlan add dev vm1-lan.1 vid 20 pvid untagged",
        "vlan del dev vm2-lan.0 vid 1",
        "vlan add dev vm2-lan.0 vid 10",
        "vlan add dev vm2-lan.0 vid 20",
        "vlan add dev vm2-lan.1 vid 10 pvid untagged",
        "vlan add dev vm2-lan.1 vid 1",
    ]
    groups = batches(plan(lab, labs.facts()).steps)
    assert (
        len([group for group in groups if isinstance(group[0], Interfaces) and group[0].program == "bridge"])
        == 1
    )
    assert any("vlan_filtering 1" in line for line in lines(lab))


def test_only_who_shares_the_host_sides_vlan_hears_its_dhcp() -> None:
    found = {(link.machine, link.index): link.address for link in topo.survey(labs.lab(VLANS)).links}
    assert str(found.pop(("vm1", 1))) == "10.2.0.11/24"
    assert set(found.values()) == {None}
    steps = [step.id for step in plan(labs.lab(VLANS), labs.facts()).steps]
    assert [id for id in steps if id.startswith("reservation ")] == ["reservation vm1.1"]


def test_addresses_are_a_vlans_own() -> None:
    text = (
        "networks: {lan: {kind: bridge, host: 10.2.0.1/24}}\nmachines:\n"
        "  vm1: {nics: [{network: lan, vlan: 10, address: 192.168.1.1/24}]}\n"
        "  vm2: {nics: [{network: lan, vlan: 20, address: 192.168.1.1/24}]}\n"
    )
    assert len(labs.lab(text).machines) == 2


def test_a_bridge_without_vlans_is_as_ever() -> None:
    lab = labs.lab(labs.LAN)
    assert not lines(lab, "bridge")
    assert not any("vlan" in line for line in lines(lab))
    plan(lab, labs.facts(bridge_vlans=False))


def test_a_kernel_without_vlans_is_told_before_anything_starts() -> None:
    with pytest.raises(HostError, match="network lan has VLANs") as caught:
        plan(labs.lab(VLANS), labs.facts(bridge_vlans=False))
    assert "CONFIG_BRIDGE_VLAN_FILTERING" in str(caught.value.hint)


def test_ipv6_stands_beside_ipv4() -> None:
    lab = labs.lab(IPV6)
    links = {(link.machine, link.index): link for link in topo.survey(lab).links}
    host6 = addressing.local_ipv6("six", "lan")
    assert links["vm1", 0].address6 == addressing.eui64(host6, links["vm1", 0].mac)
    assert str(links["vm1", 0].address) == "10.2.0.11/24"
    assert links["old", 0].address6 is None, "what is on that disk may make itself another address"
    assert str(links["vm1", 1].address6) == "fd00:1::2/64"
    steps = {step.id: step for step in plan(lab, labs.facts()).steps}
    name = steps["names vm1"].text  # type: ignore[union-attr]
    assert f"{links['vm1', 0].address6.ip} vm1 vm1.six.internal\n" in name
    machine, served = steps["machine vm1"], steps["dnsmasq lan"]
    assert isinstance(machine, Start) and isinstance(served, Start)
    append = machine.command.argv[machine.command.argv.index("-append") + 1]
    assert f"vmlan.nic={links['vm1', 1].mac},fd00:1::2/64,fd00:1::1" in append.split()
    assert f"--dhcp-range={host6.network.network_address},ra-stateless,64,1h" in served.command.argv
    assert f"addr add {host6} dev lan nodad" in lines(
        lab
    ) and "addr add fd00:1::1/64 dev wire nodad" in lines(lab)
    forwarding = steps["forwarding"].command.argv  # type: ignore[union-attr]
    assert forwarding[-2:] == ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


@pytest.mark.parametrize("text", [UPLINK, VLANS, IPV6])
def test_what_is_written_reads_the_same(text: str) -> None:
    lab = labs.lab(text)
    assert loads(dumps(lab), folder=lab.folder) == lab


def test_derived_prefixes_are_private_and_a_networks_own() -> None:
    """RFC 4193: fd, 40 bits of the lab, 16 of the network."""
    one, two = addressing.local_ipv6("a", "lan"), addressing.local_ipv6("a", "wire")
    other = addressing.local_ipv6("b", "lan")
    assert one == addressing.local_ipv6("a", "lan")
    assert one in IPv6Interface("fd00::1/8").network and one.network.prefixlen == 64
    assert int(one) & 0xFFFFFFFFFFFFFFFF == 1
    assert int(one) >> 80 == int(two) >> 80 != int(other) >> 80
    assert one.network != two.network


def test_eui64_is_the_one_of_the_rfc() -> None:
    """RFC 4291, appendix A: the example's identifier, 0234:56FF:FE78:9ABC for 00:34:56:78:9A:BC."""
    made = addressing.eui64(IPv6Interface("fd00:1::1/64"), "00:34:56:78:9a:bc")
    assert made.ip == IPv6Address("fd00:1::234:56ff:fe78:9abc") and made.network.prefixlen == 64
