"""Why nobody takes a packet over on a segment: cables, interfaces, addresses, and who was asked."""

from __future__ import annotations

from vmlan.model import HOST_SIDE, BridgeNetwork
from vmlan.observe.links import OUTSIDE
from vmlan.observe.trace import mend
from vmlan.observe.trace.case import Case, device, tap_of
from vmlan.observe.trace.stations import INTERNET, STACK, Port
from vmlan.observe.trace.values import Verdict
from vmlan.observe.trace.way import Leg
from vmlan.plan.topology import host_vlan, untagged_vlan
from vmlan.reasons import Reason


def link_down(case: Case, port: Port) -> Verdict | None:
    """Whether a port's cable is pulled, or its interface on the host side is gone or switched off."""
    world = case.world
    if port.station in (OUTSIDE, INTERNET, STACK):
        return None
    tap = tap_of(port)
    if port.nic is not None:
        if not world.runs(port.station):
            return None
        if not world.plugged(port):
            why = f"the cable of {port.station}'s NIC {port.nic.index} is pulled"
            return Verdict(Reason.LINK_DOWN, port.station, why, mend.cable(port), case.answer)
    if tap is not None and not world.switched_on(tap):
        there = tap in world.interfaces
        why = f"{tap} on the host side is {'switched off' if there else 'gone'}"
        fix = mend.interface(tap) if there else ("vmlan down, vmlan up",)
        return Verdict(Reason.LINK_DOWN, HOST_SIDE, why, fix, case.answer)
    return _guests_own(case, port) if port.nic is not None else None


def _guests_own(case: Case, port: Port) -> Verdict | None:
    """Whether the guest itself has switched its card off."""
    name = case.world.guest_device(port)
    if name is None:
        return None
    said = case.world.ask_guest(port.station, "cat", f"/sys/class/net/{name}/flags")
    if said is None or not said.ok or int(said.stdout.strip() or "0x1", 16) & 1:  # IFF_UP (netdevice(7))
        return None
    why = f"{port.station} has switched its own {name} off"
    return Verdict(Reason.LINK_DOWN, port.station, why, mend.guest_interface(port.station, name), case.answer)


def nobody_answers(case: Case, leg: Leg) -> Verdict:
    """The verdict where it was asked who has the next address, and nobody said so."""
    assert leg.out is not None
    to, address, segment = leg.to, leg.hand_to, leg.out.segment
    at = case.name(leg.out.link)
    asked = f"{leg.station} asks on {at} who has {address}"
    if to is None:
        owner = _somewhere_else(case, address)
        also = f"; {owner} has it, on another network" if owner else ""
        why = f"{asked}, and nobody on {segment} has it{also}"
        return Verdict(Reason.NO_ARP_ANSWER, at, why, _other_gateway(case, leg), case.answer)
    if to.station == INTERNET:
        why = f"{asked}, and nobody beyond the uplink answers"
        return Verdict(Reason.NO_ARP_ANSWER, at, why, _other_gateway(case, leg), case.answer)
    found = _of_owner(case, leg, to)
    if found is not None:
        return found
    if _apart(leg.out, to):
        why = f"{asked}; {to.station} has it, and is in another VLAN of {segment}"
        return Verdict(Reason.NO_ARP_ANSWER, at, why, (f"lab.yaml: vlan: of {to.name}",), case.answer)
    lost = case.seen.asked(leg.out.link, address) and not case.seen.asked(to.link, address)
    if lost and to.link != leg.out.link:
        why = f"{asked}; the question was not seen at {case.name(to.link)}, behind which {to.station} has it"
        return Verdict(Reason.LOST, case.name(to.link), why, answer=case.answer)
    why = f"{asked}; {to.station} should have it, was asked, and does not answer"
    return Verdict(Reason.NO_ARP_ANSWER, at, why, answer=case.answer)


def _of_owner(case: Case, leg: Leg, to: Port) -> Verdict | None:
    """What is wrong with the one who should have said that he has the address."""
    world, address = case.world, leg.hand_to
    if to.nic is not None and not world.runs(to.station):
        why = f"{address} is {to.station}'s, which is not running"
        return Verdict(Reason.NOT_RUNNING, to.station, why, (f"vmlan up {to.station}",), case.answer)
    down = link_down(case, to)
    if down is not None:
        return down
    return lacks_address(case, to, address)


def lacks_address(case: Case, to: Port, address: str) -> Verdict | None:
    """Whether a station has not, or no more, the address that it should have."""
    world = case.world
    if to.station == HOST_SIDE and address not in world.addresses(HOST_SIDE):
        assert to.device is not None
        network = world.scene.lab.network(to.segment)
        why = f"the host side's {to.device} has lost {address}"
        fix = mend.host_address(network, to.device)
        return Verdict(Reason.NO_ADDRESS, HOST_SIDE, why, fix, case.answer)
    if to.nic is None or not world.commandable(to.station) or address in world.addresses(to.station):
        return None
    own = [each for each, mac in world.addresses(to.station).items() if mac == to.nic.mac]
    has = f"it has {', '.join(own)}" if own else "it has none"
    why = f"{to.station} does not have {address} on {device(to, world)}: {has}"
    fix = (mend.guest_address(to, address)[0].replace("NIC", device(to, world)),)
    return Verdict(Reason.NO_ADDRESS, to.station, why, fix, case.answer)


def _somewhere_else(case: Case, address: str) -> str | None:
    """Who has an address, on whatever network."""
    for station in dict.fromkeys(port.station for port in case.world.map.ports):
        if station not in (STACK, INTERNET) and case.world.owns(station, address):
            return station
    return None


def _other_gateway(case: Case, leg: Leg) -> tuple[str, ...]:
    """Where a guest's gateway is nobody's: the one that there is."""
    gateway = mend.gateway_of(leg.out)
    if leg.out is None or leg.out.nic is None or leg.hand_to == case.probe.address or gateway == leg.hand_to:
        return ()
    if gateway is None:
        return ()
    station = leg.station
    return (
        f"vmlan exec {station} -- ip route replace default via {gateway}",
        f"lab.yaml: gateway: {gateway}",
    )


def _apart(one: Port, other: Port) -> bool:
    """Whether two ports of a bridge are in different VLANs."""
    network = (one.nic or other.nic).network if one.nic or other.nic else None  # type: ignore[union-attr]
    if not isinstance(network, BridgeNetwork):
        return False
    vlans = [
        untagged_vlan(port.nic.nic) if port.nic is not None else host_vlan(network) for port in (one, other)
    ]
    return vlans[0] != vlans[1]


def other_owner(case: Case, leg: Leg) -> Verdict | None:
    """Whether the packet was handed to somebody else, who has the same address."""
    if leg.out is None or leg.to is None or leg.to.nic is None:
        return None
    handed = case.sighting(leg.out.link)
    owners = case.seen.owners(leg.out.link, leg.hand_to)
    wrong = [mac for mac in owners if mac != leg.to.nic.mac]
    if handed is not None and handed.packet.target_mac != leg.to.nic.mac:
        wrong.insert(0, handed.packet.target_mac)
    if not wrong:
        return None
    whose = {port.nic.mac: port.station for port in case.world.map.ports if port.nic is not None}
    if wrong[0] not in whose:
        return None
    why = f"{leg.hand_to} is {leg.to.station}'s; {whose[wrong[0]]} ({wrong[0]}) says that it has it too"
    fix = (f"vmlan exec {whose[wrong[0]]} -- ip addr",)
    return Verdict(Reason.DUPLICATE_ADDRESS, case.name(leg.out.link), why, fix, case.answer)
