"""Letting guests shut down before their lab ends: to pull the plug could cost them data."""

from __future__ import annotations

import time
from collections.abc import Sequence

from vmlan.errors import VmlanError
from vmlan.guest.agent import Agent, AgentSilent
from vmlan.host.effects import HostEffects
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Start, Step
from vmlan.progress import Progress

#: How long a guest whose agent was asked may take before it is switched off (seconds).
PATIENCE = 60.0

#: The same for one whose power button was pressed: many (a boot loader, an installer) do not look at it.
PATIENCE_WITH_THE_BUTTON = 20.0


def shut_down_guests(layout: Layout, effects: HostEffects, steps: Sequence[Step], progress: Progress) -> None:
    """Ask each guest that has a disk to shut down, and wait: pulling its plug could cost it data."""
    running = effects.running()
    asked: dict[str, tuple[str, float]] = {}
    for step in steps:
        if isinstance(step, Start) and step.machine and step.name in running and writes(step):
            progress.machine(step.machine, "shuts down (down --now would not wait for it)")
            if patience := _ask_to_shut_down(layout, step.machine):
                asked[step.name] = step.machine, patience
    began = time.monotonic()
    while asked:
        time.sleep(0.05)
        running = effects.running()
        for name, (machine, patience) in list(asked.items()):
            late = time.monotonic() - began > patience
            if late:
                progress.note(
                    f"machine {machine} did not shut down within {patience:.0f} s: it is switched off"
                )
            if late or name not in running:
                del asked[name]


def writes(step: Start) -> bool:
    """Whether the machine has a medium that it writes to."""
    drives = (word for word in step.command.argv if word.startswith("if=none,"))
    return any("readonly=on" not in word.split(",") for word in drives)


def _ask_to_shut_down(layout: Layout, name: str) -> float:
    """By its agent, else by the power button: how long it may take then; 0 if nothing can be asked."""
    from vmlan.qemu import qmp

    files = layout.machine(name)
    try:
        with Agent(files.agent, name, timeout=1.0) as agent:
            agent.call("guest-shutdown", timeout=1.0, mode="powerdown")
        return PATIENCE
    except AgentSilent as silent:
        if silent.asked:  # it is silent because it does what it was asked (qemu-ga, guest-shutdown)
            return PATIENCE
    except (VmlanError, OSError):
        pass
    try:
        qmp.command(files.qmp, name, "system_powerdown")
        return PATIENCE_WITH_THE_BUTTON
    except (VmlanError, OSError):
        return 0.0
