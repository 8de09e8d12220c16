"""Letting an installed system go on from its template, with a copy of its disk; then its agent tells it."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path
from typing import BinaryIO

from vmlan.errors import HostError, KeeperGone, VmlanError
from vmlan.guest import installed
from vmlan.guest.agent import Agent
from vmlan.host import starts, warm
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Installed, Start, Warm
from vmlan.qemu.monitor import Monitor

#: How long QEMU may take for an answer, and for loading the state of a template's devices (seconds).
_ANSWER_TIMEOUT = 30.0
#: How long a guest may take to become another (seconds): it starts its journal and its network anew.
_BECOME_TIMEOUT = 120.0


def go_on(layout: Layout, step: Start, way: Warm) -> frozenset[str]:
    """Let a machine go on from its template; the MACs of the cards that have their addresses: none yet.

    They ask for them as when it boots. Raises `warm.Unusable` when QEMU has ended again, and its disk is as
    it was.
    """
    told = way.told
    assert step.ready is not None and isinstance(told, Installed), step.id
    unwritten = told.disk.read_bytes()
    try:
        _put(told.template, told.disk)
    except OSError as error:
        _put_back(unwritten, told.disk)
        raise warm.Unusable(f"its disk cannot be copied: {error}") from None
    with starts.Program(layout, step.name, way.command, step.log, step.machine or "") as program:
        try:
            qmp = step.ready
            program.wait_until(lambda: starts.qemu_answers(qmp))
            with Monitor(qmp, _ANSWER_TIMEOUT) as monitor:
                monitor.do(way.load)
                monitor.migrated(_ANSWER_TIMEOUT)
                monitor.do(("cont",))
                _tell(told, step.machine or step.name)
                warm.plug(monitor, way)
            return frozenset()
        except KeeperGone:  # the lab has ended, and the machine with it
            raise
        except (VmlanError, OSError, warm.NotPlugged) as error:
            warm.end(program, step)
            _put_back(unwritten, told.disk)
            if isinstance(error, warm.NotPlugged):
                raise
            raise warm.Unusable(error) from None


def _tell(told: Installed, machine: str) -> None:
    """Tell the guest that it is another, with a seed that no other has, and the time. Raises `VmlanError`."""
    with Agent(told.agent, machine, _BECOME_TIMEOUT) as agent:
        script = installed.become(secrets.token_hex(32), time.time())
        done = agent.run(["sh"], script, _BECOME_TIMEOUT)
    if done.code != 0:
        raise HostError(f"its guest did not become another: {done.stderr.strip()}")


def _put(template: Path, disk: Path) -> None:
    """Let a disk be what its template's is. It stays the same file: it may be another user's."""
    with template.open("rb") as source, _opened(disk) as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _put_back(content: bytes, disk: Path) -> None:
    with _opened(disk) as target:
        target.write(content)


def _opened(disk: Path) -> BinaryIO:
    return os.fdopen(os.open(disk, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC), "wb")
