"""Bringing labs up and down: what `vmlan up`, `vmlan down` and the Python API do."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmlan import all_ready, labfile, shutdown
from vmlan.errors import Busy, HostError, RequestError, VmlanError
from vmlan.host import (
    bases,
    identity,
    images,
    journal,
    kept_lab,
    memory,
    nic_change,
    paths,
    snapshots,
    templates,
)
from vmlan.host import facts as host_facts
from vmlan.host.effects import HostEffects
from vmlan.host.executor import Executor, Outcome
from vmlan.host.lab_file import file_of as file_of
from vmlan.host.lab_file import find_file as find_file
from vmlan.host.lab_file import machine as machine
from vmlan.host.lock import exclusive
from vmlan.host.nic_change import NicChange
from vmlan.model import Lab, Place
from vmlan.observe import ready
from vmlan.plan import admission
from vmlan.plan.build import plan as make_plan
from vmlan.plan.facts import Facts
from vmlan.plan.layout import Layout
from vmlan.plan.steps import BridgeNic, MakeTemplate, Plan, Run, Start, Step
from vmlan.progress import Progress

#: How long `vmlan confirm` may take where this host's NIC was changed (seconds).
CONFIRM_WITHIN = 60.0


@dataclass(frozen=True)
class UpReport:
    """What a bring-up did and found."""

    lab: Lab
    started: tuple[str, ...]
    running: tuple[str, ...]
    ready: tuple[ready.Ready, ...]
    seconds: float


def is_running(layout: Layout) -> bool:
    """Whether the lab's keeper answers."""
    effects = HostEffects(layout)
    try:
        return effects.keeper_answers()
    finally:
        effects.close()


def plan_file(file: Path, progress: Progress | None = None, *, cold: bool = False) -> tuple[Lab, Facts, Plan]:
    """Read a lab file and plan it for this host; `cold`: without templates. Nothing is started."""
    progress = progress or Progress()
    lab = labfile.load(file)
    layout = paths.layout(file, lab.host.place)
    facts = host_facts.gather(lab, layout, running=is_running(layout), cold=cold, progress=progress.preparing)
    return lab, facts, make_plan(lab, facts)


def plan_lab(lab: Lab, layout: Layout) -> tuple[Facts, Plan]:
    """Plan a lab that is there, or was: without templates."""
    facts = host_facts.gather(lab, layout, running=is_running(layout), cold=True)
    return facts, make_plan(lab, facts)


def up(
    file: Path,
    machines: Sequence[str] = (),
    progress: Progress | None = None,
    timeout: float = ready.BOOT_TIMEOUT,
    confirm_within: float = CONFIRM_WITHIN,
    *,
    overcommit: bool = False,
    cold: bool = False,
) -> UpReport:
    """Bring the lab up (or only some of its machines) and return when every machine is ready.

    `cold`: every machine boots; else those that can go on from a template of their kind, made if need be.

    `confirm_within`: where this host's NIC is changed, how many seconds `vmlan confirm` may take; 0: the
    change is kept at once. `overcommit`: start even what does not fit into memory (`plan.admission`). What
    runs already is left as it is. Raises `LabFileError`, `RequestError` or
    `HostError` before or after undoing everything, and `Timeout` if a machine does not get ready: then the
    lab stays up.
    """
    progress = progress or Progress()
    began = time.monotonic()
    text = labfile.read_file(file)
    described = labfile.parse_file(text, file)  # its errors come before anything else
    layout = layout_of(described, file)
    wanted = _Wanted(machines, confirm_within, overcommit, cold)
    with exclusive(layout.run):
        effects = HostEffects(layout)
        try:
            executor = Executor(effects, layout)
            lab, outcome = _start(file, layout, effects, executor, wanted, progress)
            kept_lab.keep(layout, file, text, described)
            for note in executor.notes:
                progress.note(note)
        finally:
            effects.close()
    try:
        found = all_ready.wait_for_all(lab, layout, outcome, executor.known, progress, timeout)
    except VmlanError:
        if effects.nic is not None and (reason := nic_change.taken_back(effects.nic)):
            raise reason from None
        raise
    except KeyboardInterrupt:
        progress.note("the machines boot on; `vmlan ps` shows them, `vmlan down` ends the lab")
        raise
    return UpReport(lab, tuple(outcome.started), tuple(outcome.running), found, time.monotonic() - began)


@dataclass(frozen=True)
class _Wanted:
    """What `up` was asked for, besides the lab."""

    machines: Sequence[str]
    confirm_within: float
    overcommit: bool
    cold: bool


def _start(
    file: Path,
    layout: Layout,
    effects: HostEffects,
    executor: Executor,
    wanted: _Wanted,
    progress: Progress,
) -> tuple[Lab, Outcome]:
    """Undo what an earlier vmlan left, plan, and do what is missing. The caller holds the lab's lock."""
    for note in nic_change.recover(layout):
        progress.note(note)
    if executor.recover():
        progress.note("an earlier vmlan was cut short; what it left has been undone")
    lab, facts, plan = plan_file(file, progress, cold=wanted.cold)
    for note in plan.notes:
        progress.note(note)
    selected = _select(lab, plan, wanted.machines)
    todo = executor.missing(selected)
    _tell_of_templates(plan, todo, progress)
    if not wanted.overcommit and (room := memory.room()) is not None:
        admission.refuse(lab, todo, facts, room)
    effects.nic = _nic_change(facts, file, todo, wanted.confirm_within, progress)
    with interruptible():
        outcome = executor.bring_up(selected, lab.name, file, listener=tell(progress))
        if effects.nic is not None:
            _release(effects.nic, executor)
    return lab, outcome


def layout_of(lab: Lab, file: Path) -> Layout:
    """Where the lab will be. Raises `HostError` without the rights, `RequestError` if it is elsewhere now."""
    if lab.host.place is Place.PRIVATE:
        if paths.is_on_host(paths.lab_id(file)):
            raise RequestError(
                "this lab is up, or was left, with place: host, and its file says otherwise now",
                hint="sudo vmlan down, then vmlan up; the disks are kept",
            )
        return paths.layout(file, Place.PRIVATE)
    identity.need_root()
    layout = paths.layout(file, Place.HOST)
    paths.make_host_folders(layout)
    return layout


def _nic_change(
    facts: Facts, file: Path, missing: Sequence[Step], confirm_within: float, progress: Progress
) -> NicChange | None:
    """How this host's NIC will be changed, if it will. Raises `RequestError` where it must not be."""
    if not any(isinstance(step, BridgeNic) for step in missing):
        return None
    from vmlan.plan import lan

    assert facts.host is not None and facts.host.lan is not None, "plan: it was made without them"
    if reason := lan.why_not_now(confirm_within, terminal=sys.stdin.isatty()):
        raise RequestError(reason)
    return NicChange(facts.layout, file, facts.host.lan.snapshot, confirm_within, progress.note)


def _release(nic: NicChange, executor: Executor) -> None:
    """Let the guard go on alone. If it has put the NIC back by now, it left ending the lab to us."""
    try:
        nic.release()
    except HostError as error:
        try:
            executor.take_down()
        except (VmlanError, OSError) as residue:
            error.add_note(f"and the lab could not be ended: {residue}; `vmlan down` tries again")
        raise


def _select(lab: Lab, plan: Plan, machines: Sequence[str]) -> Plan:
    """The plan without the starts of machines that were not asked for."""
    for name in machines:
        machine(lab, name)
    if not machines:
        return plan
    steps = (
        step
        for step in plan.steps
        if not (isinstance(step, Start) and step.machine and step.machine not in machines)
    )
    return Plan(tuple(steps), plan.notes, plan.details)


def _tell_of_templates(plan: Plan, todo: Sequence[Step], progress: Progress) -> None:
    for detail in plan.details:
        progress.detail(detail)
    for step in todo:
        if isinstance(step, MakeTemplate):
            why = templates.differences(step.folder.parent, dict(step.parts))
            progress.detail(f"{', '.join(step.machines)}: template {step.key} has to be made: {why}")


def tell(progress: Progress) -> Callable[[tuple[Step, ...]], None]:
    """What tells of each step while it runs."""

    def listener(steps: tuple[Step, ...]) -> None:
        if isinstance(steps[0], MakeTemplate):
            progress.preparing(f"boots a machine once, for this and every later start ({steps[0].key})")
        progress.step(steps)
        for step in steps:
            if isinstance(step, Start) and step.machine:
                progress.machine(step.machine, "starts")

    return listener


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP undo what was begun, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class DownReport:
    """What ending a lab did: whether there was one, and which disks of it are kept."""

    ended: bool
    kept: tuple[Path, ...]
    removed: tuple[Path, ...]
    notes: tuple[str, ...] = ()  #: what of this host was left as it is, and why
    residue: bool = False  #: something could not be undone, and was forgotten (`force`)
    snapshots: tuple[str, ...] = ()  #: the names of those that are kept


def down(
    file: Path,
    *,
    disks: bool = False,
    now: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> DownReport:
    """End the lab that this file described, running or crashed. Its disks are kept, unless `disks`.

    Guests with disks shut down first, unless `now`; those without are switched off. The file itself is
    not read: it may have changed, or be gone. `force`: what cannot be undone is told, and forgotten.
    """
    progress = progress or Progress()
    layout = paths.layout(file)
    if layout.on_host and not identity.is_root():
        raise HostError("this lab is in this machine's own network (place: host)", hint="sudo vmlan down")
    with exclusive(layout.run, wait=5.0):
        story = journal.read(layout.journal)
        effects = HostEffects(layout)
        try:
            alive = effects.keeper_answers()
            if story is not None and alive and not now and not force:
                shutdown.shut_down_guests(layout, effects, [entry.step for entry in story.entries], progress)
            executor = Executor(effects, layout)
            executor.notes += nic_change.recover(layout)
            executor.take_down(force=force)
        finally:
            effects.close()
        for note in executor.notes:
            progress.note(note)
        user = identity.invoker() if layout.on_host else None
        with identity.acting(user):
            found, gone = _disks(layout, remove=disks)
    kept = (*(() if disks else found), *_disks_elsewhere(layout, story))
    stay = tuple(each.name for each in snapshots.kept(layout))
    return DownReport(alive or story is not None, kept, gone, tuple(executor.notes), executor.gave_up, stay)


def _disks_elsewhere(layout: Layout, story: journal.Story | None) -> tuple[Path, ...]:
    """The disks of a lab that somebody else began: they are his, and he alone removes them."""
    made = [entry.step for entry in story.entries] if story is not None else []
    disks = (step.creates for step in made if isinstance(step, Run) and step.creates is not None)
    return tuple(disk for disk in disks if disk.exists() and not disk.is_relative_to(layout.state))


def _disks(layout: Layout, *, remove: bool) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """A lab's disks, and those of them that were removed, where that was asked for."""
    found = tuple(sorted(layout.state.rglob("*.qcow2")))
    if remove and layout.state.exists():
        known = tuple(bases.overlays())
        for disk in found:
            if images.in_use(disk):
                raise Busy(
                    f"{disk} is in use, so no disk was removed",
                    hint="does the lab run in another session, with another XDG_RUNTIME_DIR?",
                )
            bases.protect(disk, doing="removed", but=found, among=known)
        shutil.rmtree(layout.state)
    elif layout.state.is_dir() and not any(layout.state.iterdir()):
        layout.state.rmdir()
    return found, found if remove else ()
