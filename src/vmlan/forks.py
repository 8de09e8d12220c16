"""A running machine forked into a new one, with a name, MACs and addresses of its own."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from vmlan import lifecycle
from vmlan.catalogue import can_be_told, is_installed
from vmlan.errors import GuestError, RequestError
from vmlan.guest import installed
from vmlan.guest.agent import Agent
from vmlan.host import clones, identity, kept_lab, lab_file, memory, paths
from vmlan.host.effects import HostEffects
from vmlan.host.executor import Executor
from vmlan.host.interrupts import uninterrupted
from vmlan.host.lock import exclusive
from vmlan.host.stopped import Stopped, links_off
from vmlan.model import BridgeNetwork, HubNetwork, Lab, Machine, NoNetwork, UserNetwork
from vmlan.observe import ready
from vmlan.plan import admission, states, tiny_cmdline, topology
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import static
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Plan, Start, Step
from vmlan.progress import Progress

#: How long the guest may take to become somebody else (seconds).
_BECOME_TIMEOUT = 60.0


@dataclass(frozen=True)
class Report:
    """The new machine, and how long the other stood still for it (seconds)."""

    machine: ready.Ready
    stood_still: float
    seconds: float


def fork(
    file: Path, of: str, name: str, progress: Progress | None = None, timeout: float = ready.BOOT_TIMEOUT
) -> Report:
    """Make a running machine's copy, and return when it is ready; it is of the lab until `down`.

    Raises `UnknownName`, `NotRunning`; `RequestError` for a name that is taken, and for a machine that cannot
    be copied, with the reason; `Timeout`, and then the copy stays up.
    """
    progress = progress or Progress()
    began = time.monotonic()
    path, layout = file, paths.layout(file)
    with exclusive(layout.run, wait=5.0):
        lab = kept_lab.load(path, layout)
        origin = lab_file.machine(lab, of)
        with Stopped(layout, _running(layout, of)) as original:
            _refuse(lab, origin, name)
            own = (*clones.read(layout), (name, of))
            lab = clones.added(lab, own)
            facts, plan = lifecycle.plan_lab(lab, layout)
            effects = HostEffects(layout)
            try:
                executor = Executor(effects, layout)
                todo = executor.missing(plan)
                if (room := memory.room()) is not None:
                    admission.refuse(lab, todo, facts, room)
                with lifecycle.interruptible(), _copied(original, origin, name, layout, facts) as copied:
                    form, stood = original.form(of), copied
                    plan = _only(plan, lab, name, form, layout, facts)
                    executor.bring_up(plan, lab.name, path, listener=lifecycle.tell(progress))
                    try:
                        executor.go_on(partial(_become, lab, origin, name, layout))
                    except BaseException:
                        with uninterrupted():
                            executor.recover()  # it has not gone on, so it ends
                        raise
                    clones.write(layout, own)
            finally:
                effects.close()
    machine, links = lab_file.machine(lab, name), topology.survey(lab).of(name)
    found = ready.wait_ready(
        machine, links, layout.machine(name), timeout, lambda state: progress.machine(name, state)
    )
    progress.machine(name, f"ready after {found.seconds:.1f} s")
    return Report(found, stood, time.monotonic() - began)


def _running(layout: Layout, of: str) -> tuple[str, ...]:
    from vmlan.errors import NotRunning
    from vmlan.snapshots import running_machines

    if of not in running_machines(layout):
        copied = dict(clones.read(layout)).get(of)
        hint = f"vmlan up {of}" if copied is None else f"vmlan clone {copied} makes another copy"
        raise NotRunning(f"machine {of} is not running", hint=hint)
    return (of,)


def _refuse(lab: Lab, origin: Machine, name: str) -> None:
    """Raise `RequestError` where there cannot be such a copy."""
    if lab.machine(name) is not None or lab.network(name) is not None:
        raise RequestError(f"lab {lab.name} has a '{name}' already", hint="choose another name")
    if not can_be_told(origin):
        raise RequestError(
            f"machine {origin.name} cannot be forked: nobody knows how its guest could be told who it is",
            hint="vmlan disk clone copies its disk for a machine of its own",
        )
    for nic in origin.nics:
        network = lab.network(nic.network)
        if isinstance(network, UserNetwork | HubNetwork) and network.forward:
            what = f"network {network.name} publishes ports, and two machines cannot have the same"
        elif isinstance(network, BridgeNetwork | UserNetwork | HubNetwork | NoNetwork):
            continue
        else:
            what = (
                f"network {nic.network} (kind: {network.kind if network else '?'}) has no place for one more"
            )
        raise RequestError(f"machine {origin.name} cannot be forked: {what}", hint="a bridge has one")


@contextlib.contextmanager
def _copied(original: Stopped, origin: Machine, name: str, layout: Layout, facts: Facts) -> Iterator[float]:
    """The state of the machine, and its disks, for the new one; gives how long it stood still for that.

    Afterwards the state is gone; the disks too, where what follows fails.
    """
    where, state = layout.machine(name), _state_file(layout, name)
    disks = original.disks(origin.name)
    with identity.acting(identity.invoker() if layout.on_host else None):
        state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if disks:
            where.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    copies = [where.state / disk.file.name for disk in disks]
    if there := [copy for copy in copies if copy.exists()]:
        raise RequestError(
            f"there is a disk {there[0]} already, of an earlier '{name}'", hint="choose another name"
        )
    try:
        began = time.monotonic()
        with original.standing_still() as interrupted:
            original.save({origin.name: states.save(state, facts.qemu)}, interrupted)
            with identity.acting(identity.invoker() if layout.on_host else None):
                for disk, copy in zip(disks, copies, strict=True):
                    shutil.copyfile(disk.file, copy)
        yield time.monotonic() - began
    except BaseException:
        for copy in copies:
            copy.unlink(missing_ok=True)
        raise
    finally:
        state.unlink(missing_ok=True)
        for folder in (state.parent, where.state, layout.state):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _state_file(layout: Layout, name: str) -> Path:
    return layout.snapshots / f".fork-{name}" / f"{name}.state"


def _only(plan: Plan, lab: Lab, name: str, form: states.Form, layout: Layout, facts: Facts) -> Plan:
    """The plan without the starts of other machines; the new one goes on from the state."""
    machine, links = lab_file.machine(lab, name), topology.survey(lab).of(name)

    def steps() -> Iterator[Step]:
        for step in plan.steps:
            if not isinstance(step, Start) or step.machine is None:
                yield step
            elif step.machine == name:
                saved = states.saved(lab, machine, links, form, _state_file(layout, name), facts)
                yield msgspec.structs.replace(step, saved=saved)

    return Plan(tuple(steps()), plan.notes, plan.details)


def _become(lab: Lab, origin: Machine, name: str, layout: Layout) -> None:
    """Let the copy go on, without carriers until it knows that it is somebody else. Raises `GuestError`."""
    files, survey = layout.machine(name), topology.survey(lab)
    was, now = survey.of(origin.name), survey.of(name)
    macs = [(old.mac, new.mac) for old, new in zip(was, now, strict=True)]
    seed = secrets.token_hex(32)
    links_off(files, len(now), off=True)
    with Stopped(layout, (name,)) as copy:
        copy.go_on()
    if is_installed(origin):
        argv, said = ["sh"], installed.fork(seed, time.time(), macs)
    else:
        words = [tiny_cmdline.identity(name, static(now)), *(f"vmlan.mac={old},{new}" for old, new in macs)]
        words += [f"vmlan.seed={seed}", f"vmlan.time={time.time():.0f}"]
        argv, said = ["/lib/vmlan/become"], f"{' '.join(words)}\n".encode()
    with Agent(files.agent, name, _BECOME_TIMEOUT) as agent:
        done = agent.run(argv, said, _BECOME_TIMEOUT)
    if done.code != 0:
        raise GuestError(f"machine {name}: its guest did not become somebody else: {done.stderr.strip()}")
    links_off(files, len(now), off=False)
