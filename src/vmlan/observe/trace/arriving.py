"""Why a packet that arrived was not answered."""

from __future__ import annotations

from dataclasses import replace

from vmlan.model import HOST_SIDE, HostNic
from vmlan.observe.links import OUTSIDE
from vmlan.observe.trace import mend, stations
from vmlan.observe.trace.case import Case, is_private
from vmlan.observe.trace.leaving import why_not
from vmlan.observe.trace.neighbours import lacks_address, link_down, nobody_answers
from vmlan.observe.trace.stations import INTERNET, STACK, Port
from vmlan.observe.trace.values import Verdict
from vmlan.observe.trace.way import Way
from vmlan.reasons import Reason


def silent(case: Case, back: Way) -> Verdict:
    """Why there is no answer from who got it; `case` is the question's, `back` the answer's way."""
    leg = case.way.legs[-1]
    to = leg.to
    assert to is not None
    if to.station == OUTSIDE:
        return _outside(case, to)
    if to.station in (INTERNET, STACK):
        return _beyond(case, to)
    down = link_down(case, to)
    if down is not None:
        return down
    if to.station == HOST_SIDE and case.dropped_here is not None:
        return why_not(case, back.legs[0])
    lacking = lacks_address(case, to, case.probe.address)
    if lacking is not None:
        return lacking
    return _answers_not(case, to, back)


def _answers_not(case: Case, to: Port, back: Way) -> Verdict:
    """It has the address, and its cable is in: does it know the way back?"""
    first = back.legs[0]
    returning = _turned(case, back)
    if first.trouble is not None and to.station == HOST_SIDE:
        why = f"the host side got it, and has no route back to {back.address}: {first.trouble.words}"
        fix = mend.host_route(case.world.scene.lab, back.address)
        return Verdict(Reason.NO_ROUTE_BACK, HOST_SIDE, why, fix, answer=True)
    if first.trouble is not None and case.world.commandable(to.station):
        return why_not(returning, first)
    if first.out is not None and returning.unanswered(first):
        lost = nobody_answers(returning, first)
        if first.out == to:
            return lost
        why = f"{to.station} would answer by {case.name(first.out.link)}, another way, and cannot: {lost.why}"
        return replace(lost, reason=Reason.ASYMMETRIC, why=why)
    if case.dropped and to.station == HOST_SIDE:
        return why_not(returning, first)
    return Verdict(Reason.NO_ANSWER, to.station, f"{to.station} got it and said nothing{_hint(case, to)}")


def _turned(case: Case, back: Way) -> Case:
    return Case(
        case.world,
        case.probe,
        case.source,
        case.target,
        back,
        case.seen,
        case.said,
        case.dropped,
        answer=True,
    )


def _hint(case: Case, to: Port) -> str:
    """What makes it say nothing, where it can be told."""
    ignores = "net.ipv4.icmp_echo_ignore_all"
    if case.probe.port is None:
        if to.station == HOST_SIDE:
            value = case.world.sysctl(ignores)
        else:
            said = case.world.ask_guest(to.station, "cat", "/proc/sys/net/ipv4/icmp_echo_ignore_all")
            value = said.stdout.strip() if said is not None and said.ok else ""
        if value == "1":
            return f": its {ignores} is 1"
    if to.station != HOST_SIDE:
        said = case.world.ask_guest(to.station, "nft", "list", "ruleset")
        if said is not None and said.ok and "drop" in said.stdout:
            return "; it has rules of its own that drop packets"
    return ""


def _outside(case: Case, to: Port) -> Verdict:
    """The simulated outside answers whom it knows a way to: its own wire."""
    seen = case.seen.question.get(to.link)
    source = seen.packet.source if seen is not None else ""
    if source and is_private(source):
        leg = next((each for each in case.way.legs if each.out and each.out.nic), None)
        port = leg.out if leg is not None else None
        network = case.world.scene.lab.network(port.segment) if port is not None else None
        why = f"it got outside as from {source}, a private address, which nobody outside can answer"
        return Verdict(Reason.NO_NAT, OUTSIDE, why, mend.nat(network))
    if source and not stations.outside_reaches(source):
        why = f"outside got it, and knows no way back to {source}"
        leg = next((each for each in case.way.legs if each.out and each.out.nic), None)
        network = case.world.scene.lab.network(leg.out.segment) if leg is not None and leg.out else None
        return Verdict(Reason.NO_ROUTE_BACK, OUTSIDE, why, mend.nat(network), answer=True)
    return Verdict(Reason.NO_ANSWER, OUTSIDE, "outside got it and said nothing")


def _beyond(case: Case, to: Port) -> Verdict:
    """Beyond what we see: who got it there, or did not, is not known."""
    if to.station == STACK:
        why = f"{STACK} took it, and gave no answer: it answers itself only as 10.0.2.2 and 10.0.2.3"
        if case.probe.port is None:
            why += ", and may not ping others unless net.ipv4.ping_group_range lets it"
        return Verdict(Reason.NO_ANSWER, STACK, why)
    if (found := _unmasked(case, to)) is not None:
        return found
    return Verdict(Reason.NO_ANSWER, INTERNET, "it left by the uplink, and no answer came back")


def _unmasked(case: Case, to: Port) -> Verdict | None:
    """Whether the host passed it on by its real NIC with a private source, to an address that is not private.

    That is likely, and not seen: a router out there could know the way back, and the target be silent.
    """
    seen, first = case.seen.question.get(to.link), case.seen.first
    passed = any(leg.station == HOST_SIDE and leg.came is not None for leg in case.way.legs)
    lab = case.world.scene.lab
    if not isinstance(lab.host.uplink, HostNic) or is_private(case.probe.address):
        return None
    if not passed or seen is None or first is None:
        return None
    source = seen.packet.source
    if source != first.packet.source or not is_private(source):
        return None
    leg = case.way.legs[0]
    network = lab.network(leg.out.segment) if leg.out is not None else None
    why = f"it left by the uplink as from {source}, a private address, which nobody out there can answer"
    return Verdict(Reason.NO_NAT, INTERNET, why, mend.nat(network))
