"""Bridges: their ports, VLANs and NAT, and the host side's NIC as one of their ports."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan import addressing
from vmlan.errors import HostError
from vmlan.model import ORDINARY_VLAN, BridgeNetwork, Lab, Network
from vmlan.plan import lan, lan_facts, marks, services
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts
from vmlan.plan.layout import Layout
from vmlan.plan.steps import BridgeNic, Command, Interfaces, Run, Step
from vmlan.plan.topology import Link, Topology


def bridge(lab: Lab, net: BridgeNetwork, links: Topology, facts: Facts) -> Iterator[Step]:
    """A bridge with its ports and its services. Raises `HostError` for VLANs that this kernel lacks."""
    name, vlans = addressing.interface_name(net.name), topo.knows_vlans(lab, net)
    if vlans and not facts.bridge_vlans:
        raise HostError(
            f"network {net.name} has VLANs, and this kernel's bridges cannot keep them apart",
            hint="it takes a kernel with CONFIG_BRIDGE_VLAN_FILTERING (a part of its module bridge); or give"
            " each VLAN a bridge of its own",
        )
    if net.uplink and net.nic is None:
        yield from _uplinked(lab, net, name, vlans=vlans)
    elif not net.uplink:
        yield _alone(lab, net, name, facts.layout, vlans=vlans)
    for link in links.on(net.name):
        yield _port(link, name, facts)
    if vlans:
        yield from _own_vlan(net, name)
        for link in links.on(net.name):
            yield from _vlans(link)
    if net.nat:
        yield nat_step(net, name, facts.layout)
    if net.dhcp:
        yield services.dhcp(lab, net, links, facts)


def _type(*, vlans: bool) -> str:
    return "type bridge vlan_filtering 1" if vlans else "type bridge"


def _alone(lab: Lab, net: BridgeNetwork, name: str, layout: Layout, *, vlans: bool) -> Step:
    mac = addressing.mac_address(lab.name, net.name, -1)
    add = f"link add name {{}} address {mac} {_type(vlans=vlans)}"
    lines = (*marks.making(layout, name, add), *own_addresses(net, name), f"link set dev {name} up")
    reason = f"{net.name}: a bridge, which is a switch" + (", here with VLANs" if vlans else "")
    undo, made = marks.removing(layout, name), marks.makes(layout, name)
    return Interfaces(f"network {net.name}", reason, lines, undo, makes=made)


def own_addresses(net: Network, name: str) -> Iterator[str]:
    """The lines that give the host side its addresses on a network's interface.

    `nodad`: the address is usable at once; looking whether somebody has it already takes a second, and a
    carrier, which a bridge has only once a guest runs (ip-address(8)).
    """
    if host := topo.host_address(net):
        yield f"addr add {host} dev {name}"
    if host6 := topo.host_address6(net):
        yield f"addr add {host6} dev {name} nodad"


def _uplinked(lab: Lab, net: BridgeNetwork, name: str, *, vlans: bool) -> Iterator[Step]:
    """The host side's NIC becomes a port; what it was to the host side, the bridge now is.

    A port has no address of its own: `addrgenmode none` keeps it without one of IPv6 too, and takes
    effect on an interface that comes up (ip-link(8)), so what it has already is flushed.
    """
    nic, mac = topo.UPLINK, addressing.mac_address(lab.name, "host", 0)
    address, router = topo.OUTSIDE_HOST, topo.OUTSIDE_ROUTER.ip
    yield Interfaces(
        f"network {net.name}",
        f"{net.name}: a bridge, which is a switch; with {nic}'s MAC, since it is the host side's station now",
        (f"link add name {name} address {mac} {_type(vlans=vlans)}",),
        (f"link del dev {name}",),
    )
    yield Interfaces(
        f"uplink-port {net.name}",
        f"{nic} becomes a port of {net.name}: guests on it are stations of the outside",
        (f"link set dev {nic} addrgenmode none master {name}",),
        (f"link set dev {nic} nomaster",),
    )
    yield Interfaces(
        f"uplink-address {net.name}",
        f"the host side's address moves from {nic} to {net.name}: a port is no station, and has none",
        (
            f"addr del {address} dev {nic}",
            f"addr flush dev {nic} scope link",
            f"addr add {address} dev {name}",
            f"link set dev {name} up",
        ),
        (
            f"addr del {address} dev {name}",
            f"addr add {address} dev {nic}",
            f"route add default via {router} dev {nic}",
        ),
    )
    yield Interfaces(
        f"uplink-route {net.name}",
        f"the way out went with {nic}'s address; it leads through {net.name} now",
        (f"route add default via {router} dev {name}",),
        (f"route del default via {router} dev {name}",),
    )


def with_real_nic(lab: Lab, facts: Facts) -> Iterator[Step]:
    """The real host's NIC as a port: `plan.lan` says what changes, `host.lan` does it under guard.

    It comes before whatever else changes in the host's network: what is proved and put back is that alone.
    """
    for net in lab.networks:
        if isinstance(net, BridgeNetwork) and net.nic is not None:
            yield _with_real_nic(lab, net, net.nic, facts)


def _with_real_nic(lab: Lab, net: BridgeNetwork, nic: str, facts: Facts) -> Step:
    found = facts.host.lan if facts.host is not None else None
    assert found is not None, "facts: the NIC's were not gathered"
    bridge = addressing.interface_name(net.name)
    if refused := lan_facts.refusals(found.snapshot, nic, found.nic, bridge):
        rest = "".join(f"\n    and {other.what}" for other in refused[1:])
        what = f"{nic} cannot become a port of {net.name}: {refused[0].what}{rest}"
        raise HostError(what, hint=refused[0].hint)
    mark = marks.altname(facts.layout, bridge)
    parts = lan.bridged(found.snapshot, nic, bridge, lab.name, mark)
    return BridgeNic(
        f"network {net.name}",
        f"{net.name}: a bridge, which is a switch; {nic} is a port of it, and the bridge this host's station",
        nic,
        bridge,
        lab.name,
        tuple(part for part in parts if isinstance(part, Interfaces | Run)),
    )


def tap(facts: Facts) -> str:
    """The line that makes a tap; on a real host QEMU, which opens it, is not root (ip-tuntap(8), user)."""
    user = facts.host.user if facts.host is not None else None
    return "tuntap add dev {} mode tap" + (f" user {user.uid} group {user.gid}" if user else "")


def _port(link: Link, bridge: str, facts: Facts) -> Step:
    assert link.interface is not None
    return Interfaces(
        f"port {link.machine}.{link.index}",
        f"{link.machine}'s NIC {link.index}: a tap, and a port of {link.network.name}, so without an address",
        (
            *marks.making(facts.layout, link.interface, tap(facts)),
            f"link set dev {link.interface} addrgenmode none master {bridge}",
            f"link set dev {link.interface} up",
        ),
        marks.removing(facts.layout, link.interface),
        makes=marks.makes(facts.layout, link.interface),
    )


def _own_vlan(net: BridgeNetwork, name: str) -> Iterator[Step]:
    vlan = topo.host_vlan(net)
    if vlan == ORDINARY_VLAN:
        return
    yield Interfaces(
        f"vlan {net.name}",
        f"the host side itself is in VLAN {vlan} of {net.name}",
        (
            f"vlan del dev {name} vid {ORDINARY_VLAN} self",
            f"vlan add dev {name} vid {vlan} pvid untagged self",
        ),
        program="bridge",
    )


def _vlans(link: Link) -> Iterator[Step]:
    """A port's VLANs; one that is given none stays in the ordinary one."""
    vlan, trunk, port = topo.untagged_vlan(link.nic), link.nic.trunk, link.interface
    lines = [] if ORDINARY_VLAN in {vlan, *trunk} else [f"vlan del dev {port} vid {ORDINARY_VLAN}"]
    if vlan not in {None, ORDINARY_VLAN}:
        lines.append(f"vlan add dev {port} vid {vlan} pvid untagged")
    lines += [f"vlan add dev {port} vid {each}" for each in trunk]
    if not lines:
        return
    words = [f"VLAN {vlan} without tags"] if vlan is not None else []
    words += [f"{', '.join(map(str, trunk))} with tags"] if trunk else []
    yield Interfaces(
        f"vlan {link.machine}.{link.index}",
        f"{link.machine}'s NIC {link.index} is in {' and '.join(words)}",
        tuple(lines),
        program="bridge",
    )


def nat_step(net: BridgeNetwork, bridge: str, layout: Layout) -> Run:
    """What gives a network NAT, and what takes it away (`vmlan set` does both while the lab runs)."""
    assert net.host is not None, "labfile: nat needs host:"
    table = marks.table(layout, net.name)
    rules = (
        f"table ip {table} {{\n"
        f"  chain postrouting {{\n"
        f"    type nat hook postrouting priority srcnat; policy accept;\n"
        f'    ip saddr {net.host.network} oifname != "{bridge}" masquerade\n'
        f"  }}\n"
        f"}}\n"
    )
    return Run(
        f"nat {net.name}",
        f"{net.name}: what leaves it takes the host side's address, so that it can be answered",
        Command(("nft", "-f", "-"), rules),
        (Command(("nft", "delete", "table", "ip", table)),),
    )
