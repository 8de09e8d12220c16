"""Making a template: a machine is booted, stopped when its guest has nothing left to do, and kept."""

from __future__ import annotations

import contextlib
import mmap
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from vmlan.errors import HostError, Timeout
from vmlan.guest import installed
from vmlan.guest.agent import Agent
from vmlan.guest.pipes import Pipes
from vmlan.host import identity, starts, templates
from vmlan.host.lock import waiting
from vmlan.host.run import run
from vmlan.plan.facts import RunAs
from vmlan.plan.layout import Layout
from vmlan.plan.steps import MakeTemplate
from vmlan.qemu import state_files
from vmlan.qemu.monitor import Monitor

#: How long a template's guest may take to boot, and to have nothing left to do then (seconds): at the first
#: try, and at the second. On a busy host an emulated machine was once seen to hang while it booted, and
#: another try costs less than to boot every machine.
_PATIENCE = (45.0, 120.0)
#: The same for an installed system, which does more.
_PATIENCE_INSTALLED = (300.0,)
#: How long saving the state of its devices may take (seconds): without its memory, that is 0.3 MB.
_SAVE_TIMEOUT = 30.0

#: How long a guest that has done it all is left alone, so that nothing is under way in it (seconds): whoever
#: goes on from there would have to do that first.
_REST = 1.0


def make(layout: Layout, step: MakeTemplate) -> None:
    """Boot, stop and keep it, unless somebody else did meanwhile. Raises `VmlanError`, `OSError`."""
    user, most = identity.owner_of(step.command.user), templates.limit()
    new = templates.made_in(step.folder)
    with contextlib.ExitStack() as held:
        with identity.acting(user):
            held.enter_context(waiting(step.folder.with_name(f"{step.key}.lock")))
            if templates.is_whole(step.folder):
                return
            templates.remove(step.folder)
        try:
            patience = _PATIENCE if step.disk is None else _PATIENCE_INSTALLED
            said = _try(layout, step, new, user, patience)
            with identity.acting(user):
                macs = find_macs(new, step.macs, bound=step.bound)
                templates.finish(new, step.folder, templates.About(dict(step.parts), said, macs))
                templates.keep_within(step.folder.parent, most, spare=step.key)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _try(
    layout: Layout, step: MakeTemplate, new: Path, user: RunAs | None, patience: tuple[float, ...]
) -> str:
    """Boot it, and once more if its guest is not done in time. Returns, raises as `_boot_and_save`."""
    *others, last = patience
    for each in others:
        with contextlib.suppress(Timeout):
            return _boot_and_save(layout, step, new, user, each)
    return _boot_and_save(layout, step, new, user, last)


def _boot_and_save(layout: Layout, step: MakeTemplate, new: Path, user: RunAs | None, patience: float) -> str:
    """Boot and stop it; what its guest says. Raises `Timeout` if that is not done within so many seconds."""
    with identity.acting(user):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if step.disk is not None:
            run(step.disk.argv)
    deadline = time.monotonic() + patience
    with starts.Program(layout, step.name, step.command, step.log) as program:
        try:
            program.wait_until(lambda: starts.qemu_answers(step.qmp))
            with Agent(step.agent, step.name, patience) as agent:
                if step.disk is None:
                    _settle(agent, deadline)
                else:
                    _seal(agent, step.name, patience)
            said = _said(step.identity, deadline) if step.disk is None else ""
            time.sleep(_REST)
            with Monitor(step.qmp, _SAVE_TIMEOUT) as monitor:
                monitor.do(step.save)
                monitor.migrated(_SAVE_TIMEOUT)
        finally:
            program.end(signal.SIGKILL)  # its memory is a file that has been written: nothing is lost
    return said


def _settle(agent: Agent, deadline: float) -> None:
    """Wait until the guest has done all that it does by itself after booting."""
    while agent.run(["test", "-e", "/run/settled"]).code != 0:
        if time.monotonic() > deadline:
            raise Timeout("the template's guest has booted, and is busy all the time")
        time.sleep(0.05)


def _seal(agent: Agent, name: str, patience: float) -> None:
    """Wait until an installed system has started, and let it let go of what is to be each machine's own."""
    agent.run(installed.STARTED, timeout=patience)
    done = agent.run(["sh"], installed.SEAL, timeout=patience)
    if done.code != 0:
        raise HostError(f"{name}: its guest cannot be one that others go on from: {done.stderr.strip()}")


def _said(identity: Path, deadline: float) -> str:
    """The line that its guest says of itself. Raises `Timeout`."""
    try:
        with contextlib.closing(Pipes(identity, deadline)) as pipes:
            said = pipes.receive_until(lambda said: said.endswith(b"\n"), deadline)
    except TimeoutError:
        raise Timeout("the template's guest does not say where it has places for cards") from None
    return said.decode(errors="replace")


def find_macs(new: Path, macs: Sequence[str], *, bound: bool) -> list[list[int]]:
    """Where its cards' MACs stand in the state of its devices, and, if they are `bound`, in its memory.

    What of its memory is to differ goes into the state too. Raises `HostError`.
    """
    file = new / "state"
    try:
        state = file.read_bytes()
        if bound:
            state = state_files.with_pages(state, _pages(new / "memory", macs))
            file.write_bytes(state)
        return state_files.places(state, macs)
    except ValueError as error:
        raise HostError(f"the state of the template's devices is not as expected: {error}") from None


def _pages(file: Path, macs: Sequence[str]) -> dict[int, bytes]:
    """The pages of a memory in which these MACs stand. Raises `ValueError` where one is over two pages."""
    pages = {}
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        for mac in macs:
            for place in state_files.occurrences(memory, mac):
                page = place // state_files.PAGE * state_files.PAGE
                if place + 6 > page + state_files.PAGE:
                    raise ValueError(f"{mac} is over two pages")
                pages[page] = memory[page : page + state_files.PAGE]
    return pages
