"""The verdict where we only watched, and the source sent no such packet."""

from __future__ import annotations

from vmlan.observe.trace.case import Case
from vmlan.observe.trace.neighbours import link_down, nobody_answers
from vmlan.observe.trace.values import Verdict
from vmlan.reasons import Reason


def unsent(case: Case) -> Verdict:
    """It asks for an address that nobody gives it, or for a neighbour that nobody is; or it sent nothing."""
    for port in case.world.map.of(case.source):
        if (down := link_down(case, port)) is not None:
            return down
        if port.nic is None:
            continue
        asked, answered = case.seen.dhcp(port.link, port.nic.mac)
        if asked and not answered:
            why = f"{case.source} asks for an address by DHCP on {case.name(port.link)}, and nobody answers"
            fix = (f"lab.yaml: {port.segment}: {{dhcp: true}}, or an address in the guest",)
            return Verdict(Reason.NO_ADDRESS, case.source, why, fix)
    for leg in case.way.legs[:1]:
        if case.unanswered(leg):
            return nobody_answers(case, leg)
    what = "no ping" if case.probe.port is None else f"no connection to port {case.probe.port}"
    why = f"{case.source} sent {what} to {case.probe.address} while we watched"
    return Verdict(Reason.NOT_SENT, case.source, why, ("send one from the guest's console meanwhile",))
