"""Starting machines, several at a time: booting each, or letting it go on from its template.

How many at a time is bounded: under emulation a guest that boots takes a core, and too many of them starve
each other, until the timers of some go wrong. One that boots has its turn until its agent answers; one that
goes on from a template, until it has been told who it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vmlan.errors import HostError, VmlanError
from vmlan.guest.agent import Agent
from vmlan.host import starts, templates, warm, warm_installed
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Installed, Saved, Start
from vmlan.qemu.monitor import Monitor

#: How long QEMU may take for an answer, and for loading the state of a template's devices (seconds).
_ANSWER_TIMEOUT = 30.0
#: The same for all of a machine's memory, from a disk that may be slow.
_LOAD_TIMEOUT = 300.0
#: For how long a guest that boots keeps others from booting (seconds).
_PATIENCE = 60.0


@dataclass(frozen=True)
class Started:
    """What is known of machines that were started.

    `notes`: on those that boot although they have a template. `known`: of each machine whose guest has said
    that it knows who it is, the MACs of the cards that have their addresses.
    """

    notes: tuple[str, ...] = ()
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)


def at_once() -> int:
    """How many machines are started at a time: while one waits for its disk or a timer, another works."""
    return 2 * len(os.sched_getaffinity(0))


def start_all(layout: Layout, steps: Sequence[Start], useless: frozenset[str] = frozenset()) -> Started:
    """Start machines, in order.

    `useless`: keys of templates that are none. Raises the first error, when no machine is being started
    any more.
    """
    return _Starts(layout, steps, useless).run()


class _Starts:
    def __init__(self, layout: Layout, steps: Sequence[Start], useless: frozenset[str]) -> None:
        self._layout = layout
        self._steps = steps
        self._useless = set(useless)
        self._turns = threading.BoundedSemaphore(at_once())
        self._all_at_once = len(steps) <= at_once()
        self._errors: list[BaseException] = []
        self._notes: list[str] = []
        self._known: dict[str, frozenset[str]] = {}

    def run(self) -> Started:
        begun: list[threading.Event] = []
        try:
            for step in self._steps:
                self._turns.acquire()
                if self._errors:
                    break
                started = threading.Event()
                threading.Thread(target=self._work, args=(step, started), daemon=True).start()
                begun.append(started)
        except BaseException as error:  # Ctrl-C: what has begun is undone when nothing begins any more
            self._errors.insert(0, error)
        for started in begun:
            while not started.is_set():
                try:
                    started.wait()
                except BaseException as error:
                    self._errors.insert(0, error)
        if self._errors:
            raise self._errors[0]
        return Started(tuple(self._notes), self._known)

    def _work(self, step: Start, started: threading.Event) -> None:
        """One machine, in a thread of its own: it has started at once, and its turn ends later."""
        try:
            try:
                self._start(step)
            except BaseException as error:
                self._errors.append(error)
            finally:
                started.set()
            boots = step.saved is None and step.machine not in self._known
            if boots and step.boots is not None and not self._all_at_once and not self._errors:
                with contextlib.suppress(VmlanError):
                    Agent(step.boots, step.machine or step.name, _PATIENCE).close()
        finally:
            self._turns.release()

    def _start(self, step: Start) -> None:
        if step.saved is not None:
            _load(self._layout, step, step.saved)
            return
        if step.warm is None or step.warm.template in self._useless:
            starts.start(self._layout, step)
            return
        try:
            go_on = warm_installed.go_on if isinstance(step.warm.told, Installed) else warm.go_on
            self._known[step.machine or step.name] = go_on(self._layout, step, step.warm)
        except warm.NotPlugged as error:  # what is wrong with it is told where it cannot boot either
            self._notes.append(f"{step.machine} boots, since it could not go on from its template: {error}")
            starts.start(self._layout, step)
        except warm.Unusable as error:
            if self._errors:  # whatever it was, the lab is being taken down: no fault of the template
                raise
            # Each time: a QEMU that was just starting may have made the file of its memory anew (qemu(1)).
            templates.remove(step.warm.folder)
            if step.warm.template not in self._useless:
                self._useless.add(step.warm.template)
                self._notes.append(f"template {step.warm.template} did not work, and is removed: {error}")
            starts.start(self._layout, step)


def _load(layout: Layout, step: Start, saved: Saved) -> None:
    """Start a machine with a state of its own; it stays stopped. Raises `HostError` if QEMU refuses it."""
    assert step.ready is not None, step.id
    with starts.Program(layout, step.name, saved.command, step.log, step.machine or "") as program:
        qmp = step.ready
        program.wait_until(lambda: starts.qemu_answers(qmp))
        try:
            with Monitor(qmp, _ANSWER_TIMEOUT) as monitor:
                monitor.do(saved.load)
                monitor.migrated(_LOAD_TIMEOUT)
        except (VmlanError, OSError) as error:
            program.end(signal.SIGKILL)
            words = step.log.read_text(errors="replace").strip()
            raise HostError(
                f"machine {step.machine}: QEMU does not take its saved state: {error}"
                + "".join(f"\n    {line}" for line in words.splitlines()[-5:])
            ) from None
