"""Letting a machine go on from its template: its state, its own cards and disks, and who it is."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import time
from pathlib import Path

from vmlan.errors import HostError, KeeperGone, VmlanError
from vmlan.guest import telling
from vmlan.guest.pipes import Pipes
from vmlan.host import identity, starts, templates
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Start, Told, Warm
from vmlan.qemu.monitor import Monitor, Refused

#: How long QEMU may take for an answer, and for loading the state of a template's devices (seconds).
_ANSWER_TIMEOUT = 30.0
#: How long a guest may take to do what it is told (seconds).
_TELL_TIMEOUT = 20.0
#: Over how long machines that started together spread what nobody waits for (seconds).
_SPREAD = 64.0


class Unusable(Exception):
    """A machine could not go on from its template."""


class NotPlugged(Unusable):
    """It could not be given a card or disk of its own: no other machine need fare so."""


def go_on(layout: Layout, step: Start, warm: Warm) -> frozenset[str]:
    """Let a machine go on from its template; the MACs of the cards that have their addresses.

    Raises `Unusable` when QEMU has ended again.
    """
    told = warm.told
    assert step.ready is not None and isinstance(told, Told), step.id
    with starts.Program(layout, step.name, warm.command, step.log, step.machine or "") as program:
        try:
            qmp = step.ready
            state, places = templates.state(warm.folder, told.macs)
            _put(state, told.state, warm.command.user)
            program.wait_until(lambda: starts.qemu_answers(qmp))
            with Monitor(qmp, _ANSWER_TIMEOUT) as monitor:
                monitor.do(warm.load)
                monitor.migrated(_ANSWER_TIMEOUT)
                told.state.unlink()
                plug(monitor, warm)
            return _tell(told, places)
        except NotPlugged:
            end(program, step)
            raise
        except KeeperGone:  # the lab has ended, and the machine with it
            raise
        except (VmlanError, OSError, ValueError, telling.Untold) as error:
            end(program, step)
            raise Unusable(error) from None


def _put(state: bytes, path: Path, user: str) -> None:
    """Write the state where QEMU, which may be another user's, reads it."""
    path.unlink(missing_ok=True)
    # Its folder is that user's too, who must not lead root to another file.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(state)
        if (owner := identity.owner_of(user)) is not None:
            os.fchown(fd, owner.uid, owner.gid)


def plug(monitor: Monitor, warm: Warm) -> None:
    """Give a machine its cards and disks. Raises `NotPlugged`."""
    try:
        monitor.do(warm.plug)
    except Refused as error:
        raise NotPlugged(error) from None


def end(program: starts.Program, step: Start) -> None:
    """End a machine that is to boot instead."""
    program.end(signal.SIGKILL)
    assert step.warm is not None and step.ready is not None, step.id
    told = step.warm.told
    for path in (step.ready, *((told.state,) if isinstance(told, Told) else ())):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _tell(who: Told, places: telling.Places) -> frozenset[str]:
    """Tell the guest who it is; with a seed that no other has, and the time, which has gone on without it.

    Returns the MACs of the cards that have their addresses, as the guest's kernel says.
    """
    told = telling.telling(
        who,
        places,
        seed=secrets.token_bytes(32),
        now=time.time(),
        later=who.later + random.uniform(0, _SPREAD),
    )
    request = told.request.built()
    deadline = time.monotonic() + _TELL_TIMEOUT
    try:
        with contextlib.closing(Pipes(who.identity, deadline)) as pipes:
            pipes.send(request, deadline)
            said = pipes.receive_until(lambda said: len(said) >= len(request), deadline)
    except TimeoutError:
        raise HostError(f"its guest did not answer within {_TELL_TIMEOUT:.0f} s") from None
    return told.known(said)
