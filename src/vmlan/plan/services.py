"""What runs beside a network and serves it: dnsmasq, for the outside and for bridges."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan import addressing
from vmlan.model import BridgeNetwork, Lab, Uplink
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts, HostFacts
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Space, Start, Step
from vmlan.plan.topology import Topology

#: The DNS server that `uplink: internet` brings.
INTERNET_DNS = "10.0.2.3"

#: Each dnsmasq stays in the foreground, where the keeper holds it, and keeps its user: a lab has
#: one user only (--no-daemon). It does not ping an address before it leases it, which costs seconds.
_ALONE = "--no-daemon"
_DNSMASQ = ("dnsmasq", "--conf-file=/dev/null", _ALONE, "--bind-interfaces", "--except-interface=lo",
            "--no-resolv", "--no-hosts", "--no-ping", "--dhcp-authoritative")  # fmt: skip


def outside_dhcp(layout: Layout) -> Step:
    """The outside's own DHCP."""
    first, last = topo.OUTSIDE_LEASES
    folder = layout.network("outside")
    return Start(
        "dnsmasq outside",
        f"the outside's DHCP: {first} to {last}",
        "dnsmasq-outside",
        Command(
            (
                *_DNSMASQ,
                "--port=0",
                f"--interface={topo.OUTSIDE_NIC}",
                f"--dhcp-range={first},{last},{topo.OUTSIDE_ROUTER.network.netmask},1h",
                f"--dhcp-leasefile={folder / 'leases'}",
            ),
            space=Space.OUTSIDE,
        ),
        folder / "dnsmasq.log",
    )


def dhcp(lab: Lab, net: BridgeNetwork, links: Topology, facts: Facts) -> Step:
    """A dnsmasq with a reservation for each NIC; its folders are watched, so a machine can join later."""
    assert net.host is not None, "labfile: dhcp needs host:"
    layout = facts.layout
    folder, share = layout.network(net.name), links.leases[net.name]
    also = "" if net.host6 is None else ", router advertisements (IPv6)"
    return Start(
        f"dnsmasq {net.name}",
        f"{net.name}: addresses (DHCP){also} and the machines' names (DNS)",
        f"dnsmasq-{net.name}",
        Command(
            (
                *_dnsmasq(lab, facts.host),
                f"--interface={addressing.interface_name(net.name)}",
                f"--dhcp-range={share.first},{share.last},{net.host.network.netmask},1h",
                *_advertisements(net),
                f"--dhcp-hostsdir={folder / 'reservations'}",
                f"--hostsdir={layout.names}",
                f"--domain={topo.domain(lab)}",
                f"--local=/{topo.domain(lab)}/",
                "--expand-hosts",
                *((f"--server={INTERNET_DNS}",) if lab.host.uplink is Uplink.INTERNET else ()),
                f"--dhcp-leasefile={folder / 'leases'}",
            )
        ),
        folder / "dnsmasq.log",
    )


def _dnsmasq(lab: Lab, host: HostFacts | None) -> Iterator[str]:
    """On a real host it is not root either; where packets go on, so do questions that it cannot answer."""
    for word in _DNSMASQ:
        if word == _ALONE and host is not None and host.user is not None:
            yield from ("--keep-in-foreground", "--log-facility=-", f"--user={host.user.name}")
            yield f"--group={host.user.group}"
        elif word != "--no-resolv" or host is None or not lab.host.forwarding:
            yield word


def _advertisements(net: BridgeNetwork) -> Iterator[str]:
    """Guests make themselves an address of the prefix (SLAAC), and may ask for more (dnsmasq(8))."""
    if net.host6 is not None:
        prefix = net.host6.network
        yield "--enable-ra"
        yield f"--dhcp-range={prefix.network_address},ra-stateless,{prefix.prefixlen},1h"
