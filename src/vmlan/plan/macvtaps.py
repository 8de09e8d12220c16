"""Guests on a real NIC's network by macvtap, which leaves the NIC as it is (`place: host`)."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan.errors import HostError, RequestError
from vmlan.model import MacvtapNetwork
from vmlan.plan import marks
from vmlan.plan.facts import Facts, HostFacts
from vmlan.plan.steps import FIRST_DEVICE, LAST_DEVICE, Command, Interfaces, Run, Step
from vmlan.plan.topology import Link, Topology

#: Whether the device file of an interface ($1) is its own. Files of that name are made for the interfaces
#: of every network namespace, and are told apart by an interface's number in its own (Linux, devtmpfs).
_IS_ITS_OWN = (
    "n=$(cat /sys/class/net/$1/ifindex) && want=$(cat /sys/class/net/$1/tap$n/dev) || exit 1; "
    "for try in 1 2 3 4 5 6 7 8 9 10; do [ -c /dev/tap$n ] && break; sleep 0.1; done; "
    'have=$(printf "%d:%d" $(stat -c "0x%t 0x%T" /dev/tap$n)); [ "$want" = "$have" ] || '
    '{ echo "/dev/tap$n is not the device $want of $1, but $have" >&2; exit 1; }'
)


def network(net: MacvtapNetwork, links: Topology, facts: Facts) -> Iterator[Step]:
    """An interface for each of its guests. Raises `HostError` for a NIC that cannot have any."""
    _check_parent(net, facts)
    for link in links.on(net.name):
        yield from _interface(net, link, facts)


def _interface(net: MacvtapNetwork, link: Link, facts: Facts) -> Iterator[Step]:
    name, layout, nic = link.interface, facts.layout, f"{link.machine}'s NIC {link.index}"
    assert name is not None
    add = f"link add link {net.parent} name {{}} address {link.mac} type macvtap mode bridge"
    yield Interfaces(
        f"port {link.machine}.{link.index}",
        f"{nic}: a macvtap, a second station on {net.parent}'s cable; {net.parent} itself stays as it is",
        (
            *marks.making(layout, name, add),
            f"link set dev {name} addrgenmode none",
            f"link set dev {name} up",
        ),
        marks.removing(layout, name),
        makes=marks.makes(layout, name),
    )
    yield Run(
        f"device {link.machine}.{link.index}",
        f"QEMU is to use {name} by its device file: see that it is there, and the right one",
        Command(("sh", "-c", _IS_ITS_OWN, "sh", name)),
    )


def devices(links: tuple[Link, ...]) -> tuple[str, ...]:
    """The macvtap interfaces of a machine, in the order of their device files' descriptors."""
    found = tuple(
        link.interface for link in links if isinstance(link.network, MacvtapNetwork) and link.interface
    )
    if len(found) > 1 + LAST_DEVICE - FIRST_DEVICE:
        raise RequestError(
            f"machine {links[0].machine} has {len(found)} NICs of kind macvtap, and can have"
            f" {1 + LAST_DEVICE - FIRST_DEVICE}",
            hint="a bridge with uplink: true has no such limit",
        )
    return found


def notes(nets: tuple[MacvtapNetwork, ...]) -> Iterator[str]:
    """What users of macvtap should know beforehand."""
    for net in nets:
        yield (
            f"{net.name} is a macvtap of {net.parent}: its guests reach each other and the outside; this host"
            " and they do not reach each other (ip-link(8), macvtap)"
        )


def _check_parent(net: MacvtapNetwork, facts: Facts) -> None:
    assert facts.host is not None, "labfile: macvtap needs place: host"
    parent = next((each for each in facts.host.interfaces if each.name == net.parent), None)
    if parent is None:
        raise no_such_nic(f"network {net.name}", net.parent, facts.host)
    if parent.wireless:
        raise HostError(
            f"network {net.name}: {net.parent} is Wi-Fi, which carries frames of its own MAC only",
            hint="kind: bridge with host: and nat: true works by any NIC",
        )
    if parent.master is not None:
        raise HostError(
            f"network {net.name}: {net.parent} is a port of {parent.master}, and so cannot have macvtaps",
            hint=f"parent: {parent.master}",
        )


def no_such_nic(where: str, name: str, host: HostFacts) -> HostError:
    """That this host has no such interface, with what it has; an alternative name is told as such."""
    for each in host.interfaces:
        if name in each.altnames:
            return HostError(f"{where}: {name} is another name of {each.name}", hint=f"write {each.name}")
    nics = ", ".join(each.name for each in host.interfaces if each.name != "lo") or "none"
    return HostError(f"{where}: this host has no NIC {name}", hint=f"it has: {nics}")
