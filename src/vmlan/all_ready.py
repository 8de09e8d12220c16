"""Waiting until all machines of a lab that start are there, at once, and telling of each."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from vmlan.catalogue import has_agent
from vmlan.errors import NotRunning, VmlanError
from vmlan.host.executor import Outcome
from vmlan.host.lab_file import machine
from vmlan.model import Lab
from vmlan.observe import ready
from vmlan.plan import topology
from vmlan.plan.layout import Layout
from vmlan.progress import Progress


def wait_for_all(
    lab: Lab,
    layout: Layout,
    outcome: Outcome,
    known: Mapping[str, frozenset[str]],
    progress: Progress,
    timeout: float,
) -> tuple[ready.Ready, ...]:
    """Wait for every machine at once; the first error is raised when all have been waited for.

    `known`: machines whose guests have said so already, with the MACs of the cards that have their addresses.
    """
    links = topology.survey(lab)

    def wait(name: str) -> ready.Ready | None:
        one, files, ran = machine(lab, name), layout.machine(name), name in outcome.running
        if not has_agent(one):
            progress.machine(name, "runs (it has no agent that we know of, so nobody waited for it)")
            return None
        if name in known and (at_once := ready.known(name, links.of(name), known[name])) is not None:
            progress.machine(name, "ready, from its template")
            return at_once
        if not ran and name not in known:
            progress.machine(name, "boots")
        try:
            found = ready.wait_ready(
                one,
                links.of(name),
                files,
                timeout,
                lambda state: None if ran else progress.machine(name, state),
            )
        except NotRunning:
            raise ready.ended(name, files) from None
        progress.machine(name, "ran already" if ran else f"ready after {found.seconds:.1f} s")
        return found

    found: list[ready.Ready] = []
    errors: list[VmlanError] = []
    for name, result in _at_once(wait, [*outcome.started, *outcome.running]):
        if isinstance(result, VmlanError):
            errors.append(result)
            progress.machine(name, "not ready")
        elif isinstance(result, BaseException):
            raise result
        elif result is not None:
            found.append(result)
    if errors:
        for error in errors[1:]:
            errors[0].add_note(str(error))
        raise errors[0]
    return tuple(sorted(found, key=lambda one: one.machine))


def _at_once(
    work: Callable[[str], ready.Ready | None], names: Sequence[str]
) -> Iterator[tuple[str, ready.Ready | BaseException | None]]:
    """Do some work for each name in a thread of its own, and give the results as they come.

    The threads are daemons: whoever presses Ctrl-C does not wait for machines that still boot.
    """
    done: queue.SimpleQueue[tuple[str, ready.Ready | BaseException | None]] = queue.SimpleQueue()

    def run(name: str) -> None:
        try:
            done.put((name, work(name)))
        except BaseException as error:
            done.put((name, error))

    for name in names:
        threading.Thread(target=run, args=(name,), daemon=True).start()
    for _ in names:
        yield done.get()
