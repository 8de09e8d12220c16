"""`ping:` one side pings another."""

from __future__ import annotations

from functools import partial

from vmlan.errors import GuestError
from vmlan.model import PingCheck
from vmlan.observe.checks import aims
from vmlan.observe.checks.base import Attempt, Finding, Scene, judge
from vmlan.observe.checks.sought import Echo
from vmlan.observe.checks.watch import Watch

#: How long one probe is waited for (seconds).
WAIT = 1

_UNANSWERED = ("nreachable", "bad address", "not known", "rror", "100% packet loss")


def find(check: PingCheck, scene: Scene, watch: Watch | None = None) -> Finding:
    """Ping each address that is meant, until it is as it should be, or patience ends."""
    return judge(
        check,
        lambda: [partial(_probe, check, scene, address, watch) for address in aims.addresses(check, scene)],
    )


def _probe(check: PingCheck, scene: Scene, address: str, watch: Watch | None) -> Attempt:
    options: tuple[str, ...] = ()
    if watch is not None:
        options = watch.sign.ping_options
        watch.sent(Echo(address, watch.sign))
    command = ("ping", "-c", "1", "-W", str(WAIT), *options, address)
    said = scene.hands.run(check.source, command, WAIT + 10.0)
    if options and not said.ok and "option" in said.words:
        raise GuestError(f"cannot check: the ping of {check.source} has no -s or no -p")
    words = said.line("bytes from") if said.ok else said.line(*_UNANSWERED)
    return Attempt(address, command, said.ok, words)
