"""A lab whose host side is the real host: what it must not collide with, its switches, what to know of it."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan import addressing
from vmlan.errors import HostError
from vmlan.model import BridgeNetwork, HostNic, Lab, MacvtapNetwork, TapNetwork
from vmlan.plan import coexist, lan, macvtaps, marks
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts, HostFacts
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Step, Switch
from vmlan.plan.topology import Topology

IP_FORWARD = "net.ipv4.ip_forward"


def forwarding(lab: Lab, host: HostFacts) -> Iterator[Step]:
    """Forwarding is the whole host's: it is switched on if asked for, and put back as it was."""
    if not lab.host.forwarding:
        return
    before = host.switches.get(IP_FORWARD, "0")
    also = tuple(
        (name, value)
        for name, value in sorted(host.switches.items())
        if name.startswith("net/ipv4/conf/") and value != before
    )
    was = "it does so already" if before == "1" else "it did not before, and will not after `vmlan down`"
    yield Switch(
        "forwarding",
        f"this host passes packets on between all of its networks ({was})",
        IP_FORWARD,
        "1",
        before,
        also,
    )


def refuse_collisions(lab: Lab, links: Topology, facts: Facts) -> None:
    """Raise `HostError` where the lab would make what the host has already, and name it."""
    host, layout = facts.host, facts.layout
    assert host is not None
    taken = {each.name for each in host.interfaces if not marks.is_marked(layout, each.altnames)}
    if isinstance(lab.host.uplink, HostNic) and lab.host.uplink.name not in {x.name for x in host.interfaces}:
        raise macvtaps.no_such_nic("uplink", lab.host.uplink.name, host)
    problems = [*_interfaces(lab, links, taken), *_ranges(lab, layout, host), *_tables(lab, layout, host)]
    if problems:
        what, hint = problems[0]
        others = "".join(f"\n    and {other}" for other, _ in problems[1:])
        raise HostError(f"{what}{others}", hint=hint)


def _interfaces(lab: Lab, links: Topology, taken: set[str]) -> Iterator[tuple[str, str]]:
    made = {
        addressing.interface_name(net.name): f"network {net.name}"
        for net in lab.networks
        if isinstance(net, TapNetwork) or (isinstance(net, BridgeNetwork) and net.nic is None)
    }
    made |= {link.interface: f"machine {link.machine}" for link in links.links if link.interface}
    for name, whose in made.items():
        if name in taken:
            yield f"{whose}: this host has an interface {name} already", "choose another name"


def _ranges(lab: Lab, layout: Layout, host: HostFacts) -> Iterator[tuple[str, str]]:
    ours = {each.name for each in host.interfaces if marks.is_marked(layout, each.altnames)}
    for net in lab.networks:
        for address in (topo.host_address(net), topo.host_address6(net)):
            if address is None:
                continue
            for reach in host.reaches:
                same = reach.network.version == address.version
                if same and reach.interface not in ours and reach.network.overlaps(address.network):
                    yield (
                        f"network {net.name}: {address.network} overlaps {reach.network}, which this host"
                        f" reaches by {reach.interface}",
                        "take another range: this host's own way there would be lost",
                    )


def _tables(lab: Lab, layout: Layout, host: HostFacts) -> Iterator[tuple[str, str]]:
    for net in lab.networks:
        table = marks.table(layout, net.name)
        if isinstance(net, BridgeNetwork) and net.nat and ("ip", table) in host.tables:
            yield (
                f"network {net.name}: this host has a table ip {table} already",
                f"nft list table ip {table}",
            )


def notes(lab: Lab, links: Topology, facts: Facts) -> Iterator[str]:
    """What the user of a real host should know before anything is done to it."""
    host = facts.host
    assert host is not None
    if host.user is None:
        yield (
            "place: host: QEMU runs as root, since no other user asked for it; `sudo vmlan up` from an"
            " account of yours runs it as you"
        )
    nets = tuple(net for net in lab.networks if isinstance(net, MacvtapNetwork) and links.on(net.name))
    yield from macvtaps.notes(nets)
    for net in lab.networks:
        if isinstance(net, BridgeNetwork) and net.nic is not None and host.lan is not None:
            bridge = addressing.interface_name(net.name)
            yield from lan.preview(host.lan.snapshot, net.nic, bridge, host.lan.nic)
    yield from _forwarding_notes(lab, host)
    if host.rules is None:
        yield "what a firewall of this host would drop is not known: only root may see its rules"
        return
    for finding in coexist.findings(host.rules, host.switches, coexist.needs(lab), host.legacy):
        yield f"{finding.what}. What would mend it: {'; '.join(finding.mend)}"


def details(lab: Lab, facts: Facts) -> Iterator[str]:
    """What `explain` says besides: every route that moves with a NIC."""
    lan_facts = facts.host.lan if facts.host is not None else None
    for net in lab.networks:
        if isinstance(net, BridgeNetwork) and net.nic is not None and lan_facts is not None:
            yield from lan.ways(lan_facts.snapshot, net.nic, addressing.interface_name(net.name))


def _forwarding_notes(lab: Lab, host: HostFacts) -> Iterator[str]:
    own = [net for net in lab.networks if topo.host_address(net) is not None]
    nic = topo.uplink_nic(lab) or "NIC"
    if own and not lab.host.forwarding and host.switches.get(IP_FORWARD) == "1":
        yield (
            "this host passes packets on by itself (net.ipv4.ip_forward is 1); the lab leaves that as it is,"
            " though its forwarding is off"
        )
    if lab.host.forwarding and any(topo.host_address6(net) for net in lab.networks):
        yield (
            "forwarding is for IPv4 only here: a host that passes on IPv6 no longer listens to its own router"
            " (accept_ra), and could lose its way out. To switch it on by hand:"
            f" sysctl -w net.ipv6.conf.{nic}.accept_ra=2 net.ipv6.conf.all.forwarding=1"
        )
