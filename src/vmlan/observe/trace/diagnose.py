"""The verdict: the first hop of its way at which a packet was not seen, and why."""

from __future__ import annotations

from dataclasses import replace

from vmlan.model import HOST_SIDE
from vmlan.observe.packets import Kind
from vmlan.observe.trace import way as ways
from vmlan.observe.trace.arriving import silent
from vmlan.observe.trace.case import Case
from vmlan.observe.trace.leaving import why_not
from vmlan.observe.trace.neighbours import lacks_address, link_down, nobody_answers, other_owner
from vmlan.observe.trace.sightings import Seen
from vmlan.observe.trace.stations import INTERNET
from vmlan.observe.trace.values import Verdict
from vmlan.observe.trace.way import Leg, Way
from vmlan.plan import topology as topo
from vmlan.reasons import Reason


def diagnose(case: Case) -> Verdict:
    """What became of a packet, and of its answer."""
    came_back = _came_back(case)
    if came_back is not None:
        return _delivered(case, came_back)
    return _misled(case) or _lost(case)


def _misled(case: Case) -> Verdict | None:
    """Whether its way leads past the machine that it is for, since the host side is off that network."""
    world = case.world
    theirs = {port.segment for port in world.map.of(case.target)}
    passed = {leg.out.segment for leg in case.way.legs if leg.out is not None}
    if not theirs or theirs & passed or not any(leg.station == HOST_SIDE for leg in case.way.legs):
        return None
    for port in world.map.of(HOST_SIDE):
        if port.segment not in theirs:
            continue
        if (down := link_down(case, port)) is not None:
            return down
        network = world.scene.lab.network(port.segment)
        own = topo.host_address(network) if network is not None else None
        if own is not None and (lacking := lacks_address(case, port, str(own.ip))) is not None:
            return lacking
    return None


def _lost(case: Case) -> Verdict:
    for leg in case.way.legs:
        if (found := _lost_on(case, leg)) is not None:
            return found
    if not case.way.arrives:  # its routes lead in a circle
        why = f"its way does not end: {' → '.join(case.way.stations)}"
        return Verdict(Reason.LOST, case.way.legs[-1].station, why)
    for leg in case.way.legs:
        if (twice := other_owner(case, leg)) is not None:
            return twice
    back = _way_back(case)
    if not case.seen.answer:
        return silent(case, back)
    return _answer_lost(case, back)


def _came_back(case: Case) -> Seen | None:
    """The answer, where it was seen at the source."""
    own = [port.link for port in case.world.map.of(case.source)]
    seen = [case.seen.answer[link] for link in own if link in case.seen.answer]
    if case.source == HOST_SIDE and case.said is not None and not case.said.ok:
        # The host side's links are passed by others' packets too: its own word counts.
        return next((each for each in seen if each.packet.kind is Kind.RST), None)
    return min(seen, default=None)


def _delivered(case: Case, came_back: Seen) -> Verdict:
    first = case.seen.first
    assert first is not None
    for leg in case.way.legs:
        if (twice := other_owner(case, leg)) is not None:
            return twice
    if came_back.link not in case.way.links and case.said is not None and not case.said.ok:
        where = case.name(came_back.link)
        why = f"the answer came by {where}, another way than the question went; {case.source} did not take it"
        return Verdict(Reason.ASYMMETRIC, case.source, why, answer=True)
    if came_back.packet.kind is Kind.RST and (forged := _forged(case)) is not None:
        return forged
    if came_back.packet.kind is Kind.RST:
        why = f"it arrived, and {case.target} refuses: nobody listens on port {case.probe.port} there"
        return Verdict(Reason.REFUSED, case.target, why)
    took = (came_back.time - first.time) / 1e6
    why = f"it arrived, and was answered after {took:.1f} ms"
    if case.said is not None and not case.said.ok:
        leg = case.way.legs[0]
        if leg.out is not None and (down := link_down(case, leg.out)) is not None:
            return replace(down, answer=True)
        if took < 900:
            why = f"the answer was seen at {case.source}, which did not take it: {case.said.words}"
            return Verdict(Reason.FILTERED_IN_GUEST, case.source, why, answer=True)
        why += f", which was too late for {case.source}: {case.said.words}"
    return Verdict(Reason.DELIVERED, case.target, why)


def _forged(case: Case) -> Verdict | None:
    """A refusal that the host side's rules sent in the target's name (nft(8), `reject with tcp reset`)."""
    leg = next((each for each in case.way.legs if each.station == HOST_SIDE), None)
    if leg is None or case.dropped_here is None or case.way.links[-1] in case.seen.answer:
        return None
    return why_not(case, leg)


def _lost_on(case: Case, leg: Leg) -> Verdict | None:
    """Why it was not seen on a link of this leg; None if it was seen on all."""
    if leg.out is None:
        return why_not(case, leg)
    if case.sighting(leg.out.link) is None:
        return why_not(case, leg)
    for link in leg.links[1:]:
        if case.sighting(link) is None:
            return _not_across(case, leg, link)
    if leg.to is None:
        return nobody_answers(case, leg) if case.unanswered(leg) else _nobody(case, leg)
    return None


def _nobody(case: Case, leg: Leg) -> Verdict:
    """It was sent to an address that nobody has, as if somebody had it (an old entry of ARP's)."""
    assert leg.out is not None
    at = case.name(leg.out.link)
    why = f"{leg.station} sends it on {at} to {leg.hand_to}, which nobody has there"
    return Verdict(Reason.NO_ARP_ANSWER, at, why, answer=case.answer)


def _not_across(case: Case, leg: Leg, link: int) -> Verdict:
    """It was seen at one port of a segment and not at the other."""
    assert leg.out is not None and leg.to is not None
    for port in (leg.to, leg.out):
        if (down := link_down(case, port)) is not None:
            return down
    if (twice := other_owner(case, leg)) is not None:
        return twice
    if case.dropped_here is not None:
        return why_not(replace(case), Leg(HOST_SIDE, leg.out, leg.out, leg.hand_to, leg.to, leg.links))
    handed = case.sighting(leg.out.link)
    mac = handed.packet.target_mac if handed is not None else "?"
    before, after = case.name(leg.out.link), case.name(link)
    why = f"{case.what} was seen on {before}, sent to {mac}, and not on {after}; nothing says why"
    return Verdict(Reason.LOST, after, why, answer=case.answer)


def _way_back(case: Case) -> Way:
    """The way that the answer should take: to whom it seemed to come from, and back through NAT."""
    last = case.way.legs[-1]
    assert last.to is not None and case.seen.first is not None
    source = case.seen.first.packet.source
    seen = case.seen.question.get(last.to.link)
    shown = seen.packet.source if seen is not None else source
    if last.to.station == INTERNET and last.out is not None and last.out.link in case.seen.answer:
        # Nobody can ask a router there for its way; but the answer has found it.
        return ways.find(case.world, last.station, source, case.probe.address, last.out)
    back = ways.find(case.world, last.to.station, shown, case.probe.address)
    if shown != source and back.legs and back.legs[-1].to is not None:
        router = back.legs[-1].to
        rest = ways.find(case.world, router.station, source, case.probe.address, router)
        return Way(source, (*back.legs, *rest.legs), rest.arrives)
    return back


def _answer_lost(case: Case, back: Way) -> Verdict:
    """The answer was seen, and not at the source."""
    returning = replace(case, way=back, answer=True)
    away = [link for link in case.seen.answer if link not in case.way.links]
    for leg in back.legs:
        found = _lost_on(returning, leg)
        if found is None:
            continue
        if away:
            where = ", ".join(case.name(link) for link in away)
            why = f"the answer went by {where}, another way than the question came, and got lost: {found.why}"
            return replace(found, reason=Reason.ASYMMETRIC, why=why)
        return found
    return Verdict(
        Reason.LOST, case.source, "the answer was seen everywhere, and did not arrive", answer=True
    )
