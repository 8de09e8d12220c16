"""Running a lab's checks: who reaches whom, and what a machine shows: what was tried, what came of it.

Each kind of check is a module of `observe.checks`; this is their front.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from vmlan.model import ArpCheck, Check, DnsCheck, Lab, PingCheck, ScreenCheck, SeenCheck, TcpCheck
from vmlan.observe.checks import arp, dhcp, dns, explained, ping, screen, tcp
from vmlan.observe.checks.base import Attempt, Finding, Outcome, Scene
from vmlan.observe.checks.tools import Hands
from vmlan.observe.checks.watch import Watch, wants_to_see, watched
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout

__all__ = ["Attempt", "Finding", "Outcome", "run_checks", "scene_of", "shows"]


def scene_of(lab: Lab, layout: Layout) -> Scene:
    """What a lab's checks are made in."""
    return Scene(lab, layout, topo.survey(lab), Hands(layout))


def run_checks(lab: Lab, layout: Layout, checks: tuple[Check, ...]) -> Iterator[Finding]:
    """Run checks one after the other, and tell each result as it comes."""
    scene = scene_of(lab, layout)
    for check in checks:
        began = time.monotonic()
        found = explained.explained(_find(check, scene), scene)
        yield replace(found, seconds=time.monotonic() - began)


def _find(check: Check, scene: Scene) -> Finding:
    if isinstance(check, ScreenCheck):
        return screen.find(check, scene)
    if isinstance(check, DnsCheck):
        return dns.find(check, scene)
    if wants_to_see(check):
        return watched(check, scene, lambda watch: _reach(check, scene, watch))
    return _reach(check, scene, None)


def _reach(check: SeenCheck, scene: Scene, watch: Watch | None) -> Finding:
    if isinstance(check, PingCheck):
        return ping.find(check, scene, watch)
    if isinstance(check, TcpCheck):
        return tcp.find(check, scene, watch)
    if isinstance(check, ArpCheck):
        return arp.find(check, scene, watch)
    return dhcp.find(check, scene, watch)


def shows(check: ScreenCheck, lab: Lab, layout: Layout, *, patience: float = screen.PATIENCE) -> Finding:
    """Look at a machine's screen and serial console until the text is there, or patience ends."""
    return screen.find(check, scene_of(lab, layout), patience)
