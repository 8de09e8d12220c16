"""Why a packet did not leave a station: at its source, or at one that should pass it on."""

from __future__ import annotations

from vmlan.addressing import interface_name
from vmlan.model import HOST_SIDE, Place
from vmlan.observe.links import OUTSIDE
from vmlan.observe.trace import mend
from vmlan.observe.trace.case import Case, device
from vmlan.observe.trace.neighbours import link_down, nobody_answers
from vmlan.observe.trace.stations import INTERNET, STACK
from vmlan.observe.trace.values import Verdict
from vmlan.observe.trace.way import Leg
from vmlan.observe.trace.world import Route
from vmlan.plan import coexist
from vmlan.plan import topology as topo
from vmlan.reasons import Reason

#: ICMP's words for "a rule forbids it" (RFC 1812, 5.2.7.1), and the one that nft's `reject` sends by itself.
_FORBIDDEN = {(3, 9), (3, 10), (3, 13)}
_NO_WAY = {(3, 0), (3, 6), (3, 11)}


def why_not(case: Case, leg: Leg) -> Verdict:
    """Why it was not seen to leave `leg.station`."""
    if leg.station == HOST_SIDE:
        return _host(case, leg)
    if leg.station in (OUTSIDE, INTERNET, STACK):
        return _outside(case, leg)
    return _guest(case, leg)


def _host(case: Case, leg: Leg) -> Verdict:
    world, passing = case.world, leg.came is not None
    if case.dropped_here is not None:
        return _by_rule(case, leg)
    if passing and not world.forwards(case.way.address):
        why = "the host side passes nothing on: net.ipv4.ip_forward is 0"
        if ":" in case.way.address:
            why = "the host side passes nothing on: net.ipv6.conf.all.forwarding is 0"
        fix = mend.forwarding(case.way.address)
        return Verdict(Reason.NOT_FORWARDED, HOST_SIDE, why, fix, case.answer)
    if passing and (found := _reverse_path(case, leg)):
        return found
    if leg.trouble is not None:
        if (down := _uplink_down(case)) is not None:
            return down
        why = f"the host side has no route to {case.way.address}: {leg.trouble.words}"
        fix = mend.host_route(world.scene.lab, case.way.address)
        return Verdict(Reason.NO_ROUTE_ON_HOST, HOST_SIDE, why, fix, case.answer)
    if not passing and case.said is not None and "not permitted" in case.said.words:
        why = f"the host side's own rules keep it in: {case.said.words}"
        return Verdict(Reason.FILTERED, HOST_SIDE, why, ("vmlan host -- nft -a list ruleset",), case.answer)
    return _at_the_cable(case, leg)


def _uplink_down(case: Case) -> Verdict | None:
    """Whether the way out is switched off: its routes go with it."""
    outward = topo.outward(case.world.scene.lab)
    ports = [port for port in case.world.map.of(HOST_SIDE) if port.device == outward]
    return link_down(case, ports[0]) if ports else None


def _by_rule(case: Case, leg: Leg) -> Verdict:
    dropped = case.dropped_here
    assert dropped is not None
    why = f"a rule in {dropped.chain} drops {case.what}: {dropped.rule}"
    fix = _theirs(case, leg) or mend.rule(dropped)
    return Verdict(Reason.FILTERED, HOST_SIDE, why, fix, case.answer, dropped.rule)


def _theirs(case: Case, leg: Leg) -> tuple[str, ...]:
    """On a real host a rule may be somebody else's, and is not to go: what its owner provides instead."""
    lab, dropped = case.world.scene.lab, case.dropped_here
    assert dropped is not None
    if lab.host.place is not Place.HOST or dropped.chain.split()[1].startswith("vmlan_"):
        return ()
    own = {interface_name(net.name) for net in lab.networks}
    for port in (leg.came, leg.out):
        if port is not None and port.device in own:
            hook: coexist.Hook = "forward" if leg.came is not None and leg.out is not None else "input"
            return coexist.mends(case.world.ruleset, dropped.chain, port.device, hook)
    return (f"nft -a list chain {dropped.chain}",)


def _reverse_path(case: Case, leg: Leg) -> Verdict | None:
    """Whether the kernel would not take it in, since it would answer by another interface (ip-sysctl)."""
    world, came = case.world, leg.came
    first = case.sighting(came.link) if came is not None else None
    if came is None or came.device is None or first is None or ":" in first.packet.source:
        return None
    source = first.packet.source
    back = world.route(HOST_SIDE, source, None, None)
    modes = [world.sysctl(f"net.ipv4.conf.{each}.rp_filter") for each in ("all", came.device)]
    mode = max((int(each) for each in modes if each.isdigit()), default=0)
    elsewhere = not isinstance(back, Route) or back.device != came.device
    if mode == 0 or not elsewhere or (mode == 2 and isinstance(back, Route)):
        return None
    where = f"leads by {back.device}" if isinstance(back, Route) else "there is none"
    why = (
        f"the host side does not take it in at {came.device}: the way back to {source}"
        f" {where}, and rp_filter is {mode}"
    )
    return Verdict(Reason.REVERSE_PATH, HOST_SIDE, why, mend.reverse_path(came.device), case.answer)


def _guest(case: Case, leg: Leg) -> Verdict:
    world, machine = case.world, leg.station
    words = case.said.words if case.said is not None and leg.came is None else ""
    if leg.came is None and "not permitted" in words:
        why = f"{machine}'s own rules keep it in: {words}"
        return Verdict(Reason.FILTERED_IN_GUEST, machine, why, (), case.answer)
    if leg.came is not None and not case.answer:
        said = world.ask_guest(machine, "cat", "/proc/sys/net/ipv4/ip_forward")
        if said is not None and said.stdout.strip() == "0":
            why = f"{machine} passes nothing on: its net.ipv4.ip_forward is 0"
            return Verdict(Reason.NOT_FORWARDED, machine, why, mend.guest_forwarding(machine))
    if leg.trouble is not None:
        return _no_way(case, leg)
    return _at_the_cable(case, leg)


def _no_way(case: Case, leg: Leg) -> Verdict:
    """A guest knows no way: it has no card or address, its cable is out, or there is no route."""
    world, machine, address = case.world, leg.station, case.way.address
    assert leg.trouble is not None
    ports = [port for port in world.map.of(machine) if port.nic is not None]
    if not ports:
        why = f"{machine} has no NIC that leads anywhere"
        return Verdict(Reason.NO_PATH, machine, why, ("lab.yaml: give it nics:",), case.answer)
    for port in ports:
        if (down := link_down(case, port)) is not None:
            return down
    if world.commandable(machine) and not world.addresses(machine):
        why = f"{machine} has no address"
        wanted = next((str(port.nic.address.ip) for port in ports if port.nic and port.nic.address), None)
        fix: tuple[str, ...] = ("lab.yaml: give the NIC an address:",)
        if wanted is not None:
            name = device(ports[0], world)
            fix = (f"vmlan exec {machine} -- ip addr add {ports[0].nic.address} dev {name}",)  # type: ignore[union-attr]
        return Verdict(Reason.NO_ADDRESS, machine, why, fix, case.answer)
    reason = Reason.NO_ROUTE_BACK if case.answer else Reason.NO_ROUTE_IN_GUEST
    why = f"{machine} has no route to {address}: {leg.trouble.words}"
    fix = mend.guest_route(machine, next(filter(None, map(mend.gateway_of, ports)), None))
    return Verdict(reason, machine, why, fix, case.answer)


def _at_the_cable(case: Case, leg: Leg) -> Verdict:
    """The station wants to send: is the cable in, and does anybody take it over there?"""
    assert leg.out is not None
    if (down := link_down(case, leg.out)) is not None:
        return down
    if case.unanswered(leg):
        return nobody_answers(case, leg)
    if leg.station == HOST_SIDE and (found := _forbidden(case)):
        return found
    words = f" ({case.said.words})" if case.said is not None and leg.came is None else ""
    why = f"{case.what} did not leave {leg.station} by {case.name(leg.out.link)}, and nothing says why{words}"
    return Verdict(Reason.LOST, leg.station, why, answer=case.answer)


def _forbidden(case: Case) -> Verdict | None:
    """What the host side itself said of the packet (ICMP)."""
    for error in case.seen.errors:
        if error.packet.code in _FORBIDDEN:
            why = f"{error.packet.source} says that a rule forbids it"
            fix = ("vmlan host -- nft -a list ruleset",)
            return Verdict(Reason.FILTERED, HOST_SIDE, why, fix, case.answer)
    return None


def _outside(case: Case, leg: Leg) -> Verdict:
    """What a router outside says, which we can only listen to."""
    for error in case.seen.errors:
        if error.packet.code in _NO_WAY:
            why = f"{error.packet.source} says that it has no route to {case.way.address}"
            return Verdict(Reason.NO_ROUTE_OUTSIDE, leg.station, why, (), case.answer)
    if leg.trouble is not None:
        why = f"nothing is known of a way to {case.way.address}: {leg.trouble.words}"
        return Verdict(Reason.NO_ROUTE_OUTSIDE, leg.station, why, (), case.answer)
    return _at_the_cable(case, leg)
