"""The networks of a lab, and its host side: interfaces, addresses, rules and services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmlan import addressing
from vmlan.model import BridgeNetwork, Lab, Network, TapNetwork, Uplink
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Interfaces, Run, Space, Start, Step, WriteFile
from vmlan.plan.topology import Topology


def namespace(space: Space, layout: Layout, reason: str) -> Iterator[Step]:
    """A network namespace, held by a file; nobody outside of the lab sees it."""
    path = layout.net / space.value
    yield WriteFile(
        f"namespace-file net/{space.value}", f"the {space.value} namespace is held by this file", path, ""
    )
    yield Run(
        f"namespace {space.value}",
        reason,
        Command(("unshare", f"--net={path}", "true"), space=Space.LAB),
    )


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
        yield _put_over(layout.hosts.as_posix(), "/etc/hosts")
    yield Interfaces("lo", "the host side's loopback", ("link set dev lo up",))
    value = "1" if lab.host.forwarding else "0"
    what = (
        "the host side passes packets on between its networks"
        if lab.host.forwarding
        else "the host side passes nothing on"
    )
    yield Run("forwarding", what, Command(("sysctl", "-q", "-w", f"net.ipv4.ip_forward={value}")))


def _put_over(ours: str, theirs: str) -> Run:
    return Run(
        f"mount {theirs}",
        f"seen as {theirs} inside the lab, and only there",
        Command(("mount", "--bind", ours, theirs), space=Space.LAB),
    )


def _hosts(lab: Lab, links: Topology) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines += [
        f"{link.address.ip} {link.machine} {link.machine}.{topo.domain(lab)}"
        for link in links.links
        if link.address
    ]
    return "\n".join(lines) + "\n"


def uplink(lab: Lab, facts: Facts) -> Iterator[Step]:
    """The way out: none, a simulated outside, or the real network through user-mode sockets."""
    if lab.host.uplink is Uplink.SIMULATED:
        yield from _simulated(lab, facts.layout)
    elif lab.host.uplink is Uplink.INTERNET:
        yield from _internet(facts)


def _simulated(lab: Lab, layout: Layout) -> Iterator[Step]:
    yield from namespace(
        Space.OUTSIDE, layout, "the outside: one more namespace, so that no packet leaves this machine"
    )
    outside, nic = layout.net / Space.OUTSIDE.value, topo.OUTSIDE_NIC
    yield Interfaces(
        "uplink",
        "the host side's way out: a cable to the outside",
        (
            f"link add name {topo.UPLINK} address {addressing.mac_address(lab.name, 'host', 0)} type veth"
            f" peer name {nic} address {addressing.mac_address(lab.name, 'outside', 0)}",
            f"link set dev {nic} netns {outside}",
            f"addr add {topo.OUTSIDE_HOST} dev {topo.UPLINK}",
            f"link set dev {topo.UPLINK} up",
            f"route add default via {topo.OUTSIDE_ROUTER.ip}",
        ),
        (f"link del dev {topo.UPLINK}",),
    )
    yield Interfaces(
        "outside",
        f"a router that knows no private network, and {topo.INTERNET_HOST.ip}, a host on the internet",
        (
            "link set dev lo up",
            f"addr add {topo.OUTSIDE_ROUTER} dev {nic}",
            f"addr add {topo.INTERNET_HOST} dev lo",
            f"link set dev {nic} up",
        ),
        space=Space.OUTSIDE,
    )
    first, last = topo.OUTSIDE_LEASES
    folder = layout.network("outside")
    yield Start(
        "dnsmasq outside",
        f"the outside's DHCP: {first} to {last}",
        "dnsmasq-outside",
        Command(
            (
                *_DNSMASQ,
                "--port=0",
                f"--interface={nic}",
                f"--dhcp-range={first},{last},{topo.OUTSIDE_ROUTER.network.netmask},1h",
                f"--dhcp-leasefile={folder / 'leases'}",
            ),
            space=Space.OUTSIDE,
        ),
        folder / "dnsmasq.log",
    )


#: What the host side has when its way out is user-mode sockets: QEMU's own numbers, which people know.
_INTERNET_ADDRESS, _INTERNET_GATEWAY, INTERNET_DNS = "10.0.2.15", "10.0.2.2", "10.0.2.3"


def _internet(facts: Facts) -> Iterator[Step]:
    """An interface of the host side whose packets become ordinary sockets of the user's.

    Neither program may lead to the real host's loopback: `--no-map-gw` (passt(1)),
    `--disable-host-loopback` (slirp4netns(1)). Each has mounts of its own, so that it goes on reading
    the real /etc/resolv.conf when the lab puts its own over it.
    """
    layout = facts.layout
    folder = layout.network("uplink")
    argv, ready = (_slirp4netns if facts.internet == "slirp4netns" else _pasta)(layout, folder)
    yield Start(
        "uplink",
        "the way out: the real network, through ordinary sockets; this machine's loopback stays out of reach",
        "uplink",
        Command(("unshare", "--mount", *argv), space=Space.LAB),
        folder / "uplink.log",
        ready=ready,
    )
    yield WriteFile(
        "resolv-file", "names on the real network", layout.resolv_conf, f"nameserver {INTERNET_DNS}\n"
    )
    if "resolv.conf" in facts.etc:
        yield _put_over(layout.resolv_conf.as_posix(), "/etc/resolv.conf")


def _pasta(layout: Layout, folder: Path) -> tuple[tuple[str, ...], Path]:
    """The command for pasta, and the file that it makes when it is ready."""
    pid = folder / "pid"
    return (
        "pasta", "--foreground", "--stderr", "--pid", str(pid), "--config-net", "--ns-ifname", topo.UPLINK,
        "--address", _INTERNET_ADDRESS, "--netmask", "24", "--gateway", _INTERNET_GATEWAY,
        "--no-map-gw", "--dns-forward", INTERNET_DNS,
        "--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none",
        "--netns", str(layout.net / Space.HOST.value),
    ), pid  # fmt: skip


def _slirp4netns(layout: Layout, folder: Path) -> tuple[tuple[str, ...], Path]:
    """The command for slirp4netns, whose addresses are these by itself, and the file of its readiness."""
    api = folder / "api"
    return (
        "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--api-socket={api}",
        "--netns-type=path", str(layout.net / Space.HOST.value), topo.UPLINK,
    ), api  # fmt: skip


#: Each dnsmasq stays in the foreground, where the keeper holds it, and keeps its user: a lab has
#: one user only (--no-daemon). It does not ping an address before it leases it, which costs seconds.
_DNSMASQ = ("dnsmasq", "--conf-file=/dev/null", "--no-daemon", "--bind-interfaces", "--except-interface=lo",
            "--no-resolv", "--no-hosts", "--no-ping", "--dhcp-authoritative")  # fmt: skip


def network(lab: Lab, net: Network, links: Topology, facts: Facts) -> Iterator[Step]:
    """One network: its interfaces on the host side, its rules and its services."""
    if isinstance(net, TapNetwork):
        yield _tap(net)
    elif isinstance(net, BridgeNetwork):
        yield _bridge(lab, net)
        yield from _ports(net, links)
        if net.nat:
            yield _nat(net)
        if net.dhcp:
            yield from _dhcp(lab, net, links, facts.layout)


def _tap(net: TapNetwork) -> Step:
    name = addressing.interface_name(net.name)
    lines = [f"tuntap add dev {name} mode tap"]
    if net.host:
        lines.append(f"addr add {net.host} dev {name}")
    lines.append(f"link set dev {name} up")
    reason = f"{net.name}: a tap, the host side's end of a cable to one guest"
    return Interfaces(f"network {net.name}", reason, tuple(lines), (f"link del dev {name}",))


def _bridge(lab: Lab, net: BridgeNetwork) -> Step:
    name = addressing.interface_name(net.name)
    lines = [f"link add name {name} address {addressing.mac_address(lab.name, net.name, -1)} type bridge"]
    if net.host:
        lines.append(f"addr add {net.host} dev {name}")
    lines.append(f"link set dev {name} up")
    return Interfaces(
        f"network {net.name}",
        f"{net.name}: a bridge, which is a switch",
        tuple(lines),
        (f"link del dev {name}",),
    )


def _ports(net: BridgeNetwork, links: Topology) -> Iterator[Step]:
    bridge = addressing.interface_name(net.name)
    for link in links.on(net.name):
        yield Interfaces(
            f"port {link.machine}.{link.index}",
            f"{link.machine}'s NIC {link.index}: a tap, and a port of {net.name}",
            (
                f"tuntap add dev {link.interface} mode tap",
                f"link set dev {link.interface} master {bridge}",
                f"link set dev {link.interface} up",
            ),
            (f"link del dev {link.interface}",),
        )


def _nat(net: BridgeNetwork) -> Step:
    assert net.host is not None, "labfile: nat needs host:"
    table = f"vmlan_{net.name.replace('-', '_')}"
    bridge = addressing.interface_name(net.name)
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


def _dhcp(lab: Lab, net: BridgeNetwork, links: Topology, layout: Layout) -> Iterator[Step]:
    """A dnsmasq with a reservation for each NIC; its folders are watched, so a machine can join later."""
    assert net.host is not None, "labfile: dhcp needs host:"
    folder, share = layout.network(net.name), links.leases[net.name]
    yield Start(
        f"dnsmasq {net.name}",
        f"{net.name}: addresses (DHCP) and the machines' names (DNS)",
        f"dnsmasq-{net.name}",
        Command(
            (
                *_DNSMASQ,
                f"--interface={addressing.interface_name(net.name)}",
                f"--dhcp-range={share.first},{share.last},{net.host.network.netmask},1h",
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
