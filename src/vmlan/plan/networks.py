"""The host side of a lab, and its networks one by one; each kind's own affairs are in the modules beside."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan import addressing
from vmlan.model import BridgeNetwork, Lab, MacvtapNetwork, Network, TapNetwork
from vmlan.plan import bridges, macvtaps, marks, real
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts, HostFacts
from vmlan.plan.spaces import namespace, put_over, real_host
from vmlan.plan.steps import Command, Interfaces, Run, Space, Step, WriteFile
from vmlan.plan.topology import Topology


def host_side(lab: Lab, links: Topology, facts: Facts) -> Iterator[Step]:
    """The lab's own side: its namespace, what it sees of names, and whether it forwards."""
    layout = facts.layout
    if facts.host is not None:
        yield from real_host(layout)
        yield from bridges.with_real_nic(lab, facts)
    else:
        yield from namespace(Space.HOST, layout, "the lab's host side: a network namespace of its own")
        yield Run(
            "sysfs",
            "let /sys/class/net show the host side's interfaces",
            Command(("mount", "-t", "sysfs", "sysfs", "/sys")),
            undo=(Command(("umount", "/sys")),),
        )
    yield WriteFile(
        "hosts-file",
        "the machines' names, for commands on the host side",
        layout.hosts,
        _hosts(lab, links, facts.host),
        live=True,
    )
    if "hosts" in facts.etc:
        yield put_over(layout.hosts.as_posix(), "/etc/hosts")
    if facts.host is not None:
        yield from real.forwarding(lab, facts.host)
        return
    yield Interfaces("lo", "the host side's loopback", ("link set dev lo up",))
    value = "1" if lab.host.forwarding else "0"
    what = (
        "the host side passes packets on between its networks, and no rule of its own turns any away"
        if lab.host.forwarding
        else "the host side passes nothing on"
    )
    switches = [f"net.ipv4.ip_forward={value}"]
    if any(topo.host_address6(net) for net in lab.networks):
        switches.append(f"net.ipv6.conf.all.forwarding={value}")
    yield Run("forwarding", what, Command(("sysctl", "-q", "-w", *switches)))


def _hosts(lab: Lab, links: Topology, host: HostFacts | None) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    if host is not None and host.hosts.strip():
        lines = host.hosts.splitlines()
    lines += [line for link in links.links for line in topo.name_lines(lab, link)]
    return "\n".join(lines) + "\n"


def network(lab: Lab, net: Network, links: Topology, facts: Facts) -> Iterator[Step]:
    """One network: its interfaces on the host side, its rules and its services."""
    if isinstance(net, TapNetwork):
        yield _tap(net, facts)
    elif isinstance(net, BridgeNetwork):
        yield from bridges.bridge(lab, net, links, facts)
    elif isinstance(net, MacvtapNetwork):
        yield from macvtaps.network(net, links, facts)


def _tap(net: TapNetwork, facts: Facts) -> Step:
    name, layout = addressing.interface_name(net.name), facts.layout
    lines = (
        *marks.making(layout, name, bridges.tap(facts)),
        *bridges.own_addresses(net, name),
        f"link set dev {name} up",
    )
    reason = f"{net.name}: a tap, the host side's end of a cable to one guest"
    return Interfaces(
        f"network {net.name}",
        reason,
        lines,
        marks.removing(layout, name),
        makes=marks.makes(layout, name),
    )
