"""The host side of a lab, and its networks one by one; each kind's own affairs are in the modules beside."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan import addressing
from vmlan.model import BridgeNetwork, Lab, Network, TapNetwork
from vmlan.plan import bridges
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts
from vmlan.plan.spaces import namespace, put_over
from vmlan.plan.steps import Command, Interfaces, Run, Space, Step, WriteFile
from vmlan.plan.topology import Topology


def host_side(lab: Lab, links: Topology, facts: Facts) -> Iterator[Step]:
    """The lab's own side: its namespace, what it sees of names, and whether it forwards."""
    layout = facts.layout
    yield from namespace(Space.HOST, layout, "the lab's host side: a network namespace of its own")
    yield Run(
        "sysfs",
        "let /sys/class/net show the host side's interfaces",
        Command(("mount", "-t", "sysfs", "sysfs", "/sys")),
    )
    yield WriteFile(
        "hosts-file",
        "the machines' names, for commands on the host side",
        layout.hosts,
        _hosts(lab, links),
        live=True,
    )
    if "hosts" in facts.etc:
        yield put_over(layout.hosts.as_posix(), "/etc/hosts")
    yield Interfaces("lo", "the host side's loopback", ("link set dev lo up",))
    value = "1" if lab.host.forwarding else "0"
    what = (
        "the host side passes packets on between its networks"
        if lab.host.forwarding
        else "the host side passes nothing on"
    )
    switches = [f"net.ipv4.ip_forward={value}"]
    if any(topo.host_address6(net) for net in lab.networks):
        switches.append(f"net.ipv6.conf.all.forwarding={value}")
    yield Run("forwarding", what, Command(("sysctl", "-q", "-w", *switches)))


def _hosts(lab: Lab, links: Topology) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines += [line for link in links.links for line in topo.name_lines(lab, link)]
    return "\n".join(lines) + "\n"


def network(lab: Lab, net: Network, links: Topology, facts: Facts) -> Iterator[Step]:
    """One network: its interfaces on the host side, its rules and its services."""
    if isinstance(net, TapNetwork):
        yield _tap(net)
    elif isinstance(net, BridgeNetwork):
        yield from bridges.bridge(lab, net, links, facts)


def _tap(net: TapNetwork) -> Step:
    name = addressing.interface_name(net.name)
    lines = (f"tuntap add dev {name} mode tap", *bridges.own_addresses(net, name), f"link set dev {name} up")
    reason = f"{net.name}: a tap, the host side's end of a cable to one guest"
    return Interfaces(f"network {net.name}", reason, lines, (f"link del dev {name}",))
