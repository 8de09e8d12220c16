"""Snapshots of a running lab: every machine at one instant, with its disks, and how the network was set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from vmlan import labfile, lifecycle
from vmlan.errors import NotRunning, RequestError, VmlanError
from vmlan.guest.agent import Agent
from vmlan.host import clones, journal, kept_lab, paths, settings, shaping
from vmlan.host import snapshots as on_disk
from vmlan.host.effects import HostEffects
from vmlan.host.executor import Executor
from vmlan.host.interrupts import uninterrupted
from vmlan.host.lock import exclusive
from vmlan.host.shapes import Shape
from vmlan.host.snapshots import About, Kept, SavedMachine
from vmlan.host.stopped import Stopped
from vmlan.model import Lab
from vmlan.plan import states, topology
from vmlan.plan.facts import Facts
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Plan, Start, Step
from vmlan.progress import Progress


@dataclass(frozen=True)
class Report:
    """What was saved or restored: these machines. `seconds`: of that, how long they stood still."""

    machines: tuple[str, ...]
    seconds: float
    size: int = 0


def save(
    file: Path, name: str, progress: Progress | None = None, done: Callable[[], None] = lambda: None
) -> Report:
    """Save all machines that run, at one instant, and let them go on.

    `done`: called when the snapshot is there, and no interrupt takes it away any more.
    Raises `NotRunning`; `RequestError` for a name that is taken, and for a machine that writes to what cannot
    be brought back; `HostError` if QEMU cannot save one. Then nothing is kept, and all go on.
    """
    progress = progress or Progress()
    layout = paths.layout(file)
    with exclusive(layout.run, wait=5.0):
        lab, running = kept_lab.load(file, layout), running_machines(layout)
        facts, _ = lifecycle.plan_lab(lab, layout)
        network = _network(lab, layout)
        with on_disk.unfinished(layout, name) as (folder, finish), Stopped(layout, running) as machines:
            disks = {each: machines.disks(each) for each in running}
            forms = {each: machines.form(each) for each in running}
            lines = {each: states.save(on_disk.state_file(folder, each), facts.qemu) for each in running}
            saved = tuple(
                SavedMachine(each, forms[each], _argv(lab, each, forms[each], facts), disks[each])
                for each in running
            )
            progress.preparing(f"saves {', '.join(running)}")
            if others := [each.name for each in lab.machines if each.name not in running]:
                progress.note(f"{', '.join(others)}: not in it, since not running")
            machines.drop_others([each.name for each in on_disk.kept(layout)])
            began = time.monotonic()
            try:
                with machines.standing_still() as interrupted:
                    machines.keep_disks(disks, name)
                    machines.save(lines, interrupted)
                    now, qemu, own = time.time(), facts.qemu.full_version, clones.read(layout)
                    finish(About(now, qemu, saved, network[0], network[1], own))
                    done()
            except BaseException:
                with uninterrupted():
                    machines.forget_disks(disks, name)
                raise
            stood = time.monotonic() - began
    return Report(running, stood, on_disk.one(layout, name).size)


def restore(file: Path, name: str, progress: Progress | None = None) -> Report:
    """Bring all machines back to where they were, from a running lab or from none.

    What they have done since is lost. Raises `UnknownName`; `RequestError` where a machine is not what it
    was; `HostError` if QEMU does not take a state: then no machine runs.
    """
    progress = progress or Progress()
    text = labfile.read_file(file)
    described = labfile.parse_file(text, file)
    layout = lifecycle.layout_of(described, file)
    began = time.monotonic()
    with exclusive(layout.run, wait=5.0):
        snapshot = on_disk.one(layout, name)
        lab = clones.added(described, snapshot.about.clones)
        effects = HostEffects(layout)
        try:
            executor = Executor(effects, layout)
            if executor.recover():
                progress.note("an earlier vmlan was cut short; what it left has been undone")
            facts, plan = lifecycle.plan_lab(lab, layout)
            plan = _from_states(plan, lab, snapshot, facts)
            refuse_nic_change(executor.missing(plan))
            names = tuple(each.name for each in snapshot.about.machines)
            others = [each for each in running_at_all(layout) if each not in names]
            try:
                with lifecycle.interruptible():
                    executor.end_machines()
                    on_disk.bring_back_disks(snapshot)
                    executor.bring_up(plan, lab.name, file, listener=lifecycle.tell(progress))
                    clones.write(layout, snapshot.about.clones)
                    kept_lab.keep(layout, file, text, described)
                    _set_network(lab, layout, snapshot.about)
                    with Stopped(layout, names) as machines:
                        executor.go_on(machines.go_on)
            except BaseException:
                with uninterrupted():
                    executor.end_machines()  # some stand still, and nobody else knows why
                again = f"vmlan snapshot restore {name} brings them back, vmlan up boots them"
                progress.note(f"no machine runs now: {again}")
                raise
            if others:
                progress.note(f"{', '.join(others)}: ended, since not in the snapshot")
            for note in executor.notes:
                progress.note(note)
        finally:
            effects.close()
    for each in names:
        set_clock(layout, each)
    return Report(names, time.monotonic() - began)


def running_machines(layout: Layout) -> tuple[str, ...]:
    """The machines that run, in the order in which they were started. Raises `NotRunning` for none."""
    if not (found := running_at_all(layout)):
        raise NotRunning("no machine of this lab runs", hint="vmlan up")
    return found


def running_at_all(layout: Layout) -> tuple[str, ...]:
    """The same, where there may be none."""
    story = journal.read(layout.journal)
    effects = HostEffects(layout)
    try:
        alive = effects.running() if story is not None and effects.keeper_answers() else frozenset()
    finally:
        effects.close()
    steps = [entry.step for entry in story.entries] if story is not None else []
    found = [step.machine for step in steps if isinstance(step, Start) and step.name in alive]
    return tuple(name for name in found if name is not None)


def _argv(lab: Lab, name: str, form: states.Form, facts: Facts) -> tuple[str, ...]:
    """With what a machine will go on: no path of a state is in it, so that it can be compared."""
    machine = lab.machine(name)
    assert machine is not None, name
    return states.saved(lab, machine, topology.survey(lab).of(name), form, Path("/"), facts).command.argv


def _from_states(plan: Plan, lab: Lab, snapshot: Kept, facts: Facts) -> Plan:
    """The plan of a lab whose machines go on from their states; those that it has not saved are left out."""
    links = topology.survey(lab)
    saved = {each.name: each for each in snapshot.about.machines}
    if gone := [name for name in saved if lab.machine(name) is None]:
        raise RequestError(
            f"snapshot {snapshot.name} has {', '.join(gone)}, which the lab file no longer has",
            hint=f"put it back, or vmlan snapshot rm {snapshot.name}",
        )

    def steps() -> list[Step]:
        found: list[Step] = []
        for step in plan.steps:
            if not isinstance(step, Start) or step.machine is None:
                found.append(step)
                continue
            was, machine = saved.get(step.machine), lab.machine(step.machine)
            if was is None or machine is None:
                continue
            file = on_disk.state_file(snapshot.folder, step.machine)
            state = states.saved(lab, machine, links.of(step.machine), was.form, file, facts)
            _must_be_as_it_was(was, state.command.argv, snapshot, facts)
            found.append(msgspec.structs.replace(step, saved=state))
        return found

    return Plan(tuple(steps()), plan.notes, plan.details)


def _must_be_as_it_was(was: SavedMachine, argv: tuple[str, ...], snapshot: Kept, facts: Facts) -> None:
    if was.argv == argv and snapshot.about.qemu == facts.qemu.full_version:
        return
    if snapshot.about.qemu != facts.qemu.full_version:
        why = f"QEMU was {snapshot.about.qemu}, and is {facts.qemu.full_version} now"
    else:
        old, new = (
            [word for word in was.argv if word not in argv],
            [word for word in argv if word not in was.argv],
        )
        why = (
            f"it was started with {' '.join(old) or 'less'}, and would be with {' '.join(new) or 'less'} now"
        )
    raise RequestError(
        f"machine {was.name} is not what it was when snapshot {snapshot.name} was made: {why}",
        hint="a state goes on only in the very machine that it was saved of: put the file back as it was",
    )


def refuse_nic_change(todo: list[Step]) -> None:
    """This host's NIC is changed under guard, by `up` alone."""
    from vmlan.plan.steps import BridgeNic

    if any(isinstance(step, BridgeNic) for step in todo):
        raise RequestError(
            "this host's NIC would have to be changed for that", hint="vmlan up first, then the snapshot"
        )


# The network


def _network(lab: Lab, layout: Layout) -> tuple[dict[str, str], dict[str, object]]:
    """How the network is set now: `vmlan set`'s settings, and how slow each cable is."""
    now = {each.name: each.now for each in settings.settings(lab, layout)}
    return now, {name: msgspec.to_builtins(shape) for name, shape in _slow(lab, layout).items()}


def _slow(lab: Lab, layout: Layout) -> dict[str, Shape]:
    """How slow each cable is; what `vmlan link` leads its packets through follows from that."""
    ends = {link.interface for link in topology.survey(lab).links}
    return {name: shape for name, shape in shaping.shapes(layout).items() if name in ends}


def _set_network(lab: Lab, layout: Layout, about: About) -> None:
    """Set the network as it was."""
    for each in settings.settings(lab, layout):
        if (was := about.settings.get(each.name)) is not None and was != each.now and "," not in was:
            settings.change(lab, layout, each.name, was)
    now = _slow(lab, layout)
    was_slow = {name: msgspec.convert(shape, Shape) for name, shape in about.shapes.items()}
    for name in now.keys() | was_slow.keys():
        if now.get(name) != was_slow.get(name):
            shaping.apply(layout, name, was_slow.get(name))


def set_clock(layout: Layout, machine: str) -> None:
    """Let a guest know what time it is: it has stood still. One that has no agent, or cannot, does not."""
    try:
        with Agent(layout.machine(machine).agent, machine, timeout=1.0) as agent:
            agent.tell("guest-set-time", time=time.time_ns())
    except VmlanError:
        pass
