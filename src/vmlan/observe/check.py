"""Running a lab's checks: who reaches whom, and what a machine shows: what was tried, what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from vmlan.errors import NotRunning, RequestError, VmlanError
from vmlan.guest.agent import Agent
from vmlan.host import enter
from vmlan.model import HOST_SIDE, Check, Lab, PingCheck, ScreenCheck
from vmlan.observe import screen, wait
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout
from vmlan.plan.topology import Topology

#: How long something that is to be reachable may take to become so (seconds).
PATIENCE = 6.0

#: How long a machine may take to show what it is to show: booting counts (seconds).
SCREEN_PATIENCE = 120.0

#: How many probes must stay unanswered, and how long each is waited for, before we say "unreachable".
PROBES, PROBE_WAIT = 2, 1


@dataclass(frozen=True)
class Attempt:
    """One probe of one address: the command as it was run, and what it said that matters."""

    address: str
    command: tuple[str, ...]
    answered: bool
    words: str


@dataclass(frozen=True)
class Finding:
    """A check's result: `outcome` is what was found, whatever was expected."""

    check: Check
    passed: bool
    outcome: Literal["reachable", "unreachable", "shown", "not shown", "not tried"]
    attempts: tuple[Attempt, ...]
    why: str = ""  #: what a screen showed; or, where nothing could be tried, what was in the way


def run_checks(lab: Lab, layout: Layout, checks: tuple[Check, ...]) -> Iterator[Finding]:
    """Run checks one after the other, and tell each result as it comes."""
    links = topo.survey(lab)
    for check in checks:
        if isinstance(check, ScreenCheck):
            yield shows(check, lab, layout)
        else:
            yield ping(check, lab, layout, links)


def shows(check: ScreenCheck, lab: Lab, layout: Layout, *, patience: float = SCREEN_PATIENCE) -> Finding:
    """Look at a machine's screen and serial console until the text is there, or patience ends."""
    deadline = time.monotonic() + patience
    while True:
        try:
            _must_run(check.on, lab, layout)
            seen = _seen(check, layout)
            if seen:
                return Finding(check, True, "shown", (), seen)
            if time.monotonic() > deadline:
                return Finding(check, False, "not shown", (), _shown_instead(check, layout, patience))
        except VmlanError as error:
            return Finding(check, False, "not tried", (), error.what)
        time.sleep(wait.SCREEN_PAUSE)


def _seen(check: ScreenCheck, layout: Layout) -> str | None:
    files = layout.machine(check.on)
    line = wait.serial_line(files, check.text)
    if line is not None:
        return f"serial console: {line}"
    try:
        line = screen.line_with(check.text, check.on, files)
    except NotRunning:
        raise
    except RequestError:  # it has no screen, so its serial console must do
        return None
    return f"screen: {line}" if line is not None else None


def _shown_instead(check: ScreenCheck, layout: Layout, waited_for: float) -> str:
    """What the machine shows now, in a line."""
    waited = f"not within {waited_for:g} s"
    try:
        now = screen.take(check.on, layout.machine(check.on))
    except NotRunning:
        raise
    except RequestError as error:
        return f"{waited}; {error.what}, and its serial console did not show it"
    if now.text is None:
        return f"{waited}; {now.why_no_text}"
    last = next((row.strip() for row in reversed(now.text.rows) if row), "")
    return f"{waited}; the last line of the screen is: {last}" if last else f"{waited}; the screen is empty"


def ping(check: PingCheck, lab: Lab, layout: Layout, links: Topology) -> Finding:
    """Ping until it is as it should be, or patience ends. An error is a failed check, with its words."""
    try:
        for name in (check.source, check.target):
            _must_run(name, lab, layout)
        addresses = targets(check, lab, layout, links)
        own = _own_addresses(check.source, lab, layout, links)
    except VmlanError as error:
        return Finding(check, False, "not tried", (), error.what)
    foreign = [address for address in addresses if address not in own]
    if addresses and not foreign:
        why = f"{check.target}'s address there, {addresses[0]}, is {check.source}'s own too: it means itself"
        return Finding(check, not check.reachable, "unreachable", (), why)
    if not foreign:
        return Finding(check, False, "not tried", (), f"{check.target} has no address{_where(check, links)}")
    attempts: list[Attempt] = []
    for address in foreign:
        try:
            attempts.append(_probe(check, layout, address))
        except VmlanError as error:
            return Finding(check, False, "not tried", tuple(attempts), error.what)
        if attempts[-1].answered:
            break
    answered = attempts[-1].answered
    outcome: Literal["reachable", "unreachable"] = "reachable" if answered else "unreachable"
    return Finding(check, answered == check.reachable, outcome, tuple(attempts))


def _where(check: PingCheck, links: Topology) -> str:
    theirs = {link.network.name for link in links.of(check.target)}
    shared = {check.via} if check.via else theirs & {link.network.name for link in links.of(check.source)}
    return f" on {', '.join(sorted(shared))}" if shared else ""


def _must_run(name: str, lab: Lab, layout: Layout) -> None:
    """Raise `NotRunning` for a machine that does not: that nobody reaches it would prove nothing."""
    if lab.machine(name) is None:
        return
    kept = enter.machine_process(layout, name)
    if kept is None or kept.exit is not None:
        raise NotRunning(f"machine {name} is not running")


def targets(check: PingCheck, lab: Lab, layout: Layout, links: Topology) -> list[str]:
    """The addresses that a check's target means, the ones on a network shared with the source first."""
    try:
        return [str(IPv4Address(check.target))]
    except ValueError:
        pass
    if check.target == HOST_SIDE:
        return _host_addresses(check.source, lab, links)
    shared = {link.network.name for link in links.of(check.source)}
    if check.via:
        shared = {check.via}
    mine = links.of(check.target)
    on_shared = [link for link in mine if link.network.name in shared]
    chosen = on_shared if check.via else on_shared or list(mine)
    known = [str(link.address.ip) for link in chosen if link.address]
    return known or _observed(check.target, layout, {link.mac for link in chosen})


def _host_addresses(source: str, lab: Lab, links: Topology) -> list[str]:
    networks = [link.network for link in links.of(source)] or list(lab.networks)
    return [str(host.ip) for network in networks if (host := getattr(network, "host", None))]


def _observed(machine: str, layout: Layout, macs: set[str]) -> list[str]:
    """What the guest itself says of its addresses: where the lab does not decide them."""
    with Agent(layout.machine(machine).agent, machine) as agent:
        return [str(address.ip) for nic in agent.nics() if nic.mac in macs for address in nic.addresses]


def _own_addresses(source: str, lab: Lab, layout: Layout, links: Topology) -> set[str]:
    if source == HOST_SIDE:
        return set()
    return set(_observed(source, layout, {link.mac for link in links.of(source)}))


def _probe(check: PingCheck, layout: Layout, address: str) -> Attempt:
    """One address: probes until one is answered (if it should be), or all stay unanswered (if not)."""
    command = ("ping", "-c", "1", "-W", str(PROBE_WAIT), address)
    deadline = time.monotonic() + PATIENCE
    count = 0
    while True:
        began = time.monotonic()
        answered, words = _run(check.source, layout, command)
        count += 1
        attempt = Attempt(address, command, answered, _gist(words, answered))
        enough = time.monotonic() > deadline if check.reachable else count >= PROBES
        if answered or enough:
            return attempt
        time.sleep(max(0.0, 0.5 - (time.monotonic() - began)))


def _run(source: str, layout: Layout, command: tuple[str, ...]) -> tuple[bool, str]:
    if source == HOST_SIDE:
        result = enter.run_on_host_side(layout, command)
        return result.ok, result.stdout + result.stderr
    with Agent(layout.machine(source).agent, source) as agent:
        done = agent.run(command, timeout=PROBE_WAIT + 10.0)
    return done.code == 0, done.stdout + done.stderr


def _gist(words: str, answered: bool) -> str:
    """The line of ping's output that says it: the reply, the error, or the count of the unanswered."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    marks = (
        ("bytes from",)
        if answered
        else ("nreachable", "bad address", "not known", "rror", "100% packet loss")
    )
    for mark in marks:
        for line in lines:
            if mark in line:
                return line
    return lines[-1] if lines else "said nothing"
