"""`ping:` one side pings another."""

from __future__ import annotations

from functools import partial

from vmlan.model import PingCheck
from vmlan.observe.checks import aims
from vmlan.observe.checks.base import Attempt, Finding, Scene, judge

#: How long one probe is waited for (seconds).
WAIT = 1

_UNANSWERED = ("nreachable", "bad address", "not known", "rror", "100% packet loss")


def find(check: PingCheck, scene: Scene) -> Finding:
    """Ping each address that is meant, until it is as it should be, or patience ends."""
    return judge(
        check,
        lambda: [partial(_probe, check, scene, address) for address in aims.addresses(check, scene)],
    )


def _probe(check: PingCheck, scene: Scene, address: str) -> Attempt:
    command = ("ping", "-c", "1", "-W", str(WAIT), address)
    said = scene.hands.run(check.source, command, WAIT + 10.0)
    words = said.line("bytes from") if said.ok else said.line(*_UNANSWERED)
    return Attempt(address, command, said.ok, words)
