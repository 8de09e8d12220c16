"""What follows from a lab before any command is thought of: names, MACs, addresses, ports.

`survey(lab)` gives every NIC its link: the interface or socket it ends at, its MAC, and the
address that it will have. Everything later (commands, checks, `ps`) reads it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from vmlan import addressing
from vmlan.catalogue import CATALOGUE
from vmlan.errors import RequestError
from vmlan.model import (
    ORDINARY_VLAN,
    BridgeNetwork,
    Forward,
    HostNic,
    HubNetwork,
    Lab,
    Machine,
    MacvtapNetwork,
    Named,
    Network,
    Nic,
    Place,
    SocketNetwork,
    TapNetwork,
    Uplink,
    UserNetwork,
)

#: The simulated outside (RFC 5737 documentation addresses).
OUTSIDE_ROUTER = IPv4Interface("198.51.100.1/24")
OUTSIDE_HOST = IPv4Interface("198.51.100.2/24")
OUTSIDE_LEASES = (IPv4Address("198.51.100.100"), IPv4Address("198.51.100.199"))
INTERNET_HOST = IPv4Interface("203.0.113.68/32")

#: The host side's NIC to the outside, and the outside's end of it.
UPLINK = "eth0"
OUTSIDE_NIC = "out0"

#: The first UDP port of `socket` networks, on the host side's loopback.
SOCKET_PORT = 40000


@dataclass(frozen=True)
class Link:
    """One NIC of a machine and where it leads."""

    machine: str
    index: int
    nic: Nic
    network: Network
    mac: str
    interface: str | None  #: the tap on the host side, if its network has any
    address: IPv4Interface | None  #: what it will have, if that is ours to say
    gateway: IPv4Address | None
    ports: tuple[int, ...] = ()  #: `socket`: (own UDP port, peer's), or (group's port,)
    hub: int = 0  #: `hub`, `none`: the number of its hub within the machine
    first_on_hub: bool = True  #: whether it is the machine's first NIC on that network
    address6: IPv6Interface | None = None  #: likewise
    gateway6: IPv6Address | None = None  #: where the lab says so; a router advertisement is more usual

    @property
    def leased_elsewhere(self) -> bool:
        """Whether it gets an address that somebody else chooses: QEMU's stack, or the outside's DHCP."""
        if isinstance(self.network, BridgeNetwork):
            return (
                self.network.uplink
                and self.nic.address is None
                and untagged_vlan(self.nic) == host_vlan(self.network)
            )
        if isinstance(self.network, MacvtapNetwork):
            return self.nic.address is None
        return isinstance(self.network, UserNetwork | HubNetwork)


@dataclass(frozen=True)
class Topology:
    """A lab's links, and how each DHCP network is shared out."""

    links: tuple[Link, ...]
    leases: dict[str, addressing.Leases]

    def of(self, machine: str) -> tuple[Link, ...]:
        """A machine's links, by NIC."""
        return tuple(link for link in self.links if link.machine == machine)

    def on(self, network: str) -> tuple[Link, ...]:
        """A network's links, in file order."""
        return tuple(link for link in self.links if link.network.name == network)


def domain(lab: Lab) -> str:
    """The DNS domain of a lab's machines; `.internal` is reserved for private use (ICANN, 2024)."""
    return f"{lab.name.lower().replace('_', '-')}.internal"


def name_lines(lab: Lab, link: Link) -> list[str]:
    """A machine's names and a NIC's addresses, as /etc/hosts has them (hosts(5))."""
    own = [address.ip for address in (link.address, link.address6) if address is not None]
    return [f"{address} {link.machine} {link.machine}.{domain(lab)}" for address in own]


def published(lab: Lab) -> tuple[Forward, ...]:
    """Every port that the lab publishes on the real host."""
    return tuple(
        forward
        for network in lab.networks
        if isinstance(network, UserNetwork | HubNetwork)
        for forward in network.forward
        if lab.nics_on(network.name)
    )


def host_address(network: Network) -> IPv4Interface | None:
    """The host side's own address on a network, if it has one there that is ours to say."""
    if isinstance(network, BridgeNetwork) and network.uplink:
        return OUTSIDE_HOST if network.nic is None else None
    return network.host if isinstance(network, TapNetwork | BridgeNetwork) else None


def host_address6(network: Network) -> IPv6Interface | None:
    """The host side's own IPv6 address on a network, if it has one there."""
    return network.host6 if isinstance(network, TapNetwork | BridgeNetwork) else None


def uplink_nic(lab: Lab) -> str | None:
    """The host side's NIC to the outside, if it has one."""
    if isinstance(lab.host.uplink, HostNic):
        return lab.host.uplink.name
    return None if lab.host.uplink is Uplink.NONE else UPLINK


def outward(lab: Lab) -> str | None:
    """The host side's interface that has the address and the routes to the outside: NIC or bridge."""
    bridges = (net for net in lab.networks if isinstance(net, BridgeNetwork) and net.uplink)
    return next((addressing.interface_name(net.name) for net in bridges), None) or uplink_nic(lab)


def knows_vlans(lab: Lab, network: BridgeNetwork) -> bool:
    """Whether a bridge keeps VLANs apart: one of its ports, or the host side's own, is given one."""
    nics = (nic for _, _, nic in lab.nics_on(network.name))
    return network.vlan is not None or any(nic.vlan is not None or nic.trunk for nic in nics)


def host_vlan(network: BridgeNetwork) -> int:
    """The VLAN that the host side's own port of a bridge is in."""
    return network.vlan or ORDINARY_VLAN


def untagged_vlan(nic: Nic) -> int | None:
    """The VLAN of a NIC's untagged frames; None where it has none."""
    return nic.vlan or (None if nic.trunk else ORDINARY_VLAN)


def _served(nic: Nic, network: Network) -> bool:
    """Whether a NIC hears the DHCP and the router advertisements of the host side."""
    return (
        isinstance(network, BridgeNetwork)
        and network.dhcp
        and network.host is not None
        and untagged_vlan(nic) == host_vlan(network)
    )


def _makes_eui64(machine: Machine) -> bool:
    """Whether we know that the guest makes its IPv6 address of its MAC.

    Linux does by itself, and systemd-networkd; NetworkManager and Windows make others (RFC 7217).
    """
    image = machine.image
    return machine.kernel is None and (
        image == "tiny" or (isinstance(image, Named) and CATALOGUE[image.name].agent)
    )


def survey(lab: Lab) -> Topology:
    """Work out every link of a lab. Raises `RequestError` where the numbers do not work out."""
    leases = {
        network.name: _share_out(lab, network)
        for network in lab.networks
        if isinstance(network, BridgeNetwork) and network.dhcp
    }
    waiting = {name: iter(share.reserved) for name, share in leases.items()}
    links: list[Link] = []
    for machine in lab.machines:
        for index, nic in enumerate(machine.nics):
            network = lab.network(nic.network)
            if network is None:
                raise RequestError(f"machine {machine.name}: there is no network '{nic.network}'")
            address, gateway = nic.address, nic.gateway
            first = next(number for number, each in enumerate(machine.nics) if each.network == nic.network)
            host, served = host_address(network), _served(nic, network)
            if address is None and host is not None and served:
                address = IPv4Interface(f"{next(waiting[network.name])}/{host.network.prefixlen}")
                gateway = host.ip
            mac = nic.mac or addressing.mac_address(lab.name, machine.name, index)
            address6, host6 = nic.address6, host_address6(network)
            if address6 is None and host6 is not None and served and _makes_eui64(machine):
                address6 = addressing.eui64(host6, mac)
            links.append(
                Link(
                    machine=machine.name,
                    index=index,
                    nic=nic,
                    network=network,
                    mac=mac,
                    interface=_interface(machine, index, network),
                    address=address,
                    gateway=gateway,
                    ports=_ports(lab, machine, index, network),
                    hub=first if isinstance(network, HubNetwork) else index,
                    first_on_hub=first == index,
                    address6=address6,
                    gateway6=nic.gateway6,
                )
            )
    topology = Topology(tuple(links), leases)
    _refuse_twins(lab, topology)
    return topology


def _share_out(lab: Lab, network: BridgeNetwork) -> addressing.Leases:
    assert network.host is not None, "labfile: dhcp needs host:"
    nics = [nic for _, _, nic in lab.nics_on(network.name) if _served(nic, network)]
    static = [nic.address.ip for nic in nics if nic.address]
    share = addressing.share_out(network.host, static, sum(1 for nic in nics if nic.address is None))
    if share is None:
        raise RequestError(
            f"network {network.name}: {network.host.network} has too few addresses for {len(nics)} NICs",
            hint="give it a shorter prefix, e.g. /24",
        )
    return share


def _interface(machine: Machine, index: int, network: Network) -> str | None:
    if isinstance(network, TapNetwork):
        return addressing.interface_name(network.name)
    if isinstance(network, BridgeNetwork | MacvtapNetwork):
        among = sum(1 for nic in machine.nics if nic.network == network.name)
        return addressing.port_name(machine.name, network.name, among, index)
    return None


def _ports(lab: Lab, machine: Machine, index: int, network: Network) -> tuple[int, ...]:
    """Two NICs talk over a pair of UDP ports; more share a multicast group on one."""
    if not isinstance(network, SocketNetwork):
        return ()
    base = _first_port(lab) + 2 * [other.name for other in lab.networks].index(network.name)
    members = [(other.name, number) for other, number, _ in lab.nics_on(network.name)]
    if len(members) > 2:
        return (base,)
    mine = members.index((machine.name, index))
    return (base + mine, base + 1 - mine)


def _first_port(lab: Lab) -> int:
    """Where a lab's own ports begin. On a real host the loopback is everybody's: each lab begins elsewhere.

    Below 32768, from where Linux chooses ports for others by itself (ip(7), ip_local_port_range).
    """
    if lab.host.place is Place.PRIVATE:
        return SOCKET_PORT
    return 20000 + 32 * (int(addressing.short_digest(str(lab.folder), lab.name), 16) % 380)


def _refuse_twins(lab: Lab, topology: Topology) -> None:
    """No two links may share a MAC or an interface: derived names could collide with given ones."""
    owner: dict[str, str] = {"lo": "the loopback interface", uplink_nic(lab) or UPLINK: "the uplink"}
    for network in lab.networks:
        if isinstance(network, BridgeNetwork | TapNetwork):
            _claim(owner, addressing.interface_name(network.name), f"network {network.name}")
    for link in topology.links:
        who = f"machine {link.machine}, NIC {link.index}"
        _claim(owner, link.mac, who)
        if link.interface and not isinstance(link.network, TapNetwork):
            _claim(owner, link.interface, who)
    for forward in published(lab):
        # Whatever address it has outside, inside the lab it is this port of the loopback.
        port = f"{forward.protocol} port {forward.host_port}"
        _claim(owner, port, f"the forward to {forward.guest_port}")


def _claim(owner: dict[str, str], thing: str, who: str) -> None:
    if thing in owner:
        kind = "" if " " in thing else "MAC " if ":" in thing else "interface name "
        hint = "choose another port" if " " in thing else "rename one, or give it a mac:"
        raise RequestError(f"{who} and {owner[thing]} would both have the {kind}{thing}", hint=hint)
    owner[thing] = who
