"""What every check has: attempts, a finding, and the patience with which something is tried."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from vmlan.errors import NotRunning, VmlanError
from vmlan.host import enter
from vmlan.model import Check, Lab, ReachCheck
from vmlan.observe.checks.tools import Hands
from vmlan.plan.layout import Layout
from vmlan.plan.topology import Topology

if TYPE_CHECKING:
    from vmlan.observe.trace.values import Trace

#: How long something that is to be reachable may take to become so (seconds).
PATIENCE = 6.0

#: How many attempts in a row must stay unanswered before we say "unreachable".
PROBES = 2

#: How far apart attempts begin (seconds).
PAUSE = 0.5

Outcome: TypeAlias = Literal["reachable", "unreachable", "wrong answer", "shown", "not shown", "not tried"]


@dataclass(frozen=True)
class Attempt:
    """One try at one address: the command as it was run, and what it said that matters.

    `wrong`: it was answered, but not as the check's `is:` has it. `times`: how often in a row it went so.
    """

    address: str
    command: tuple[str, ...]
    answered: bool
    words: str
    wrong: bool = False
    times: int = 1


@dataclass(frozen=True)
class Sighting:
    """One frame of a check's own, where it was seen: `seconds` after the first attempt began."""

    link: str
    seconds: float
    words: str


@dataclass(frozen=True)
class Seen:
    """What was seen of a check on a link of its `seen-on` (`wanted`) or `not-seen-on`, in order."""

    link: str  #: as the check names it; it may be several
    wanted: bool
    sightings: tuple[Sighting, ...]

    @property
    def right(self) -> bool:
        """Whether it is as the check has it."""
        return self.wanted == bool(self.sightings)


@dataclass(frozen=True)
class Finding:
    """A check's result: `outcome` is what was found, whatever was expected.

    `unmet` is what else was expected and is not so, in words. `trace` is there where the check asks for a
    reason, or fails in a way that a trace can explain; `no_trace` says why it could not be made.
    """

    check: Check
    passed: bool
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    why: str = ""  #: what a screen showed; or, where nothing could be tried, what was in the way
    seconds: float = 0.0
    seen: tuple[Seen, ...] = ()
    unmet: tuple[str, ...] = ()
    trace: Trace | None = None
    no_trace: str = ""


@dataclass(frozen=True)
class Scene:
    """What checks are made in: the lab, where it runs, its links, and hands in its machines."""

    lab: Lab
    layout: Layout
    links: Topology
    hands: Hands

    def must_run(self, name: str) -> None:
        """Raise `NotRunning` for a machine that does not: that nobody reaches it would prove nothing."""
        if self.lab.machine(name) is None:
            return
        kept = enter.machine_process(self.layout, name)
        if kept is None or kept.exit is not None:
            raise NotRunning(f"machine {name} is not running")


class NothingToTry(VmlanError):
    """There is no address to try. `never`: it is known without a try that it cannot be reached."""

    def __init__(self, what: str, *, never: bool = False) -> None:
        super().__init__(what)
        self.never = never


#: Something to try, once: it gives what came of it.
Aim: TypeAlias = Callable[[], Attempt]


def judge(check: ReachCheck, aims: Callable[[], Sequence[Aim]]) -> Finding:
    """Try each aim until it is as it should be, or patience ends. An error is a failed check, with its words.

    Reached is who answers on one of several addresses; unreachable, who answers on none.
    """
    attempts: list[Attempt] = []
    try:
        for aim in aims():
            attempts += _pursue(check, aim)
            if attempts[-1].answered:
                break
    except NothingToTry as nothing:
        if nothing.never:
            return Finding(check, not check.reachable, "unreachable", (), nothing.what)
        return Finding(check, False, "not tried", (), nothing.what)
    except VmlanError as error:
        return Finding(check, False, "not tried", tuple(attempts), error.what)
    last = attempts[-1]
    outcome: Outcome = "unreachable"
    if last.answered:
        outcome = "wrong answer" if last.wrong else "reachable"
    return Finding(check, not last.wrong and last.answered == check.reachable, outcome, tuple(attempts))


def _pursue(check: ReachCheck, aim: Aim) -> list[Attempt]:
    """Attempts until one is as expected: an answer at once, silence when it lasted."""
    patience = check.within if check.within is not None else PATIENCE if check.reachable else 0.0
    deadline = time.monotonic() + patience
    tries: list[Attempt] = []
    silent = 0
    while True:
        began = time.monotonic()
        attempt = aim()
        _add(tries, attempt)
        silent = 0 if attempt.answered else silent + 1
        good = attempt.answered and not attempt.wrong if check.reachable else silent >= PROBES
        # A first silence is never the last word: it takes a second to be believed.
        unsure = not check.reachable and 0 < silent < PROBES
        if good or (time.monotonic() > deadline and not unsure):
            return tries
        time.sleep(max(0.0, PAUSE - (time.monotonic() - began)))


def _add(tries: list[Attempt], attempt: Attempt) -> None:
    """Note an attempt; one that went as the one before is counted with it."""
    if tries and replace(tries[-1], times=1) == attempt:
        tries[-1] = replace(attempt, times=tries[-1].times + 1)
    else:
        tries.append(attempt)
