"""What would mend it: the command, or what to change in lab.yaml. Pure."""

from __future__ import annotations

import shlex
from ipaddress import ip_address

from vmlan.host.settings import POLICY_TABLE
from vmlan.model import BridgeNetwork, Lab, Network, TapNetwork, Uplink
from vmlan.observe.trace.rules import Dropped
from vmlan.observe.trace.stations import Port
from vmlan.plan import topology as topo


def forwarding(address: str) -> tuple[str, ...]:
    """The host side is to pass packets on."""
    if ip_address(address).version == 6:
        return ("vmlan host -- sysctl -w net.ipv6.conf.all.forwarding=1", "host: {forwarding: true}")
    return ("vmlan set host.forwarding on", "lab.yaml: host: {forwarding: true}")


def guest_forwarding(machine: str) -> tuple[str, ...]:
    """A machine is to be a router."""
    return (f"vmlan exec {machine} -- sysctl -w net.ipv4.ip_forward=1",)


def rule(dropped: Dropped) -> tuple[str, ...]:
    """A rule is to go."""
    if f" {POLICY_TABLE} " in f" {dropped.chain} ":
        return ("vmlan set host.forward-policy accept",)
    return (f"vmlan host -- {dropped.undo}",) if dropped.undo else ("vmlan host -- nft -a list ruleset",)


def cable(port: Port) -> tuple[str, ...]:
    """A machine's cable is to be put in."""
    assert port.nic is not None
    return (f"vmlan link {port.station}:{port.nic.index} up",)


def interface(device: str) -> tuple[str, ...]:
    """An interface of the host side is to be switched on."""
    return (f"vmlan host -- ip link set dev {device} up",)


def guest_interface(machine: str, device: str) -> tuple[str, ...]:
    """A guest's own interface is to be switched on."""
    return (f"vmlan exec {machine} -- ip link set dev {device} up",)


def nat(network: Network | None) -> tuple[str, ...]:
    """What leaves a network is to have the host side's address."""
    if isinstance(network, BridgeNetwork) and network.host is not None:
        return (f"vmlan set {network.name}.nat on", f"lab.yaml: {network.name}: {{nat: true}}")
    name = network.name if network is not None else "the network"
    return (f"lab.yaml: {name}: {{kind: bridge, nat: true}} (NAT is for a bridge with host:)",)


def guest_route(machine: str, gateway: str | None) -> tuple[str, ...]:
    """A guest is to know the way."""
    if gateway is None:
        return ("lab.yaml: give the NIC a gateway:",)
    return (
        f"vmlan exec {machine} -- ip route add default via {gateway}",
        f"lab.yaml: give the NIC gateway: {gateway}",
    )


def host_route(lab: Lab, address: str) -> tuple[str, ...]:
    """The host side is to know the way; most often, its address outside is gone, and the route with it."""
    if lab.host.uplink is Uplink.NONE:
        return ("lab.yaml: host: {uplink: simulated}, or internet",)
    if lab.host.uplink is Uplink.SIMULATED:
        return (f"vmlan set host.uplink.address {topo.OUTSIDE_HOST}",)
    return (f"vmlan host -- ip route add {address} via ROUTER",)


def guest_address(port: Port, address: str) -> tuple[str, ...]:
    """A guest is to have its address."""
    assert port.nic is not None
    meant = next(
        (
            each
            for each in (port.nic.address, port.nic.address6)
            if each is not None and str(each.ip) == address
        ),
        None,
    )
    return (f"vmlan exec {port.station} -- ip addr add {meant or address} dev NIC",)


def host_address(network: Network | None, device: str) -> tuple[str, ...]:
    """The host side is to have its address on a network."""
    if isinstance(network, TapNetwork | BridgeNetwork) and network.host is not None:
        return (f"vmlan host -- ip addr add {network.host} dev {device}",)
    return (f"vmlan host -- ip addr show dev {device}",)


def reverse_path(device: str) -> tuple[str, ...]:
    """The host side is to take packets whose answers it would send another way (ip-sysctl, rp_filter)."""
    switches = [f"net.ipv4.conf.{each}.rp_filter=2" for each in (device,)]
    return (f"vmlan host -- sysctl -w {shlex.join(switches)}",)


def gateway_of(port: Port | None) -> str | None:
    """The gateway that a NIC could have: the host side's address on its network."""
    if port is None or port.nic is None:
        return None
    if port.nic.gateway is not None:
        return str(port.nic.gateway)
    network = port.nic.network
    if isinstance(network, BridgeNetwork) and network.uplink:
        return str(topo.OUTSIDE_ROUTER.ip)
    host = topo.host_address(network)
    return str(host.ip) if host is not None else None
