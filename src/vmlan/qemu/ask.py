"""Starting a QEMU to ask it something, and never waiting longer than we said.

Unlike `host.run`, this ends a whole process group at the deadline: "QEMU" is often a script that
starts the real one, and a guest that hangs must not outlive the question.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from vmlan.errors import HostError

#: How QEMU opens its messages: with its own name, and since 4.0 with what kind of message it is.
_OPENING = re.compile(r"^(\S*qemu\S*: )?(error: )?")


@dataclass(frozen=True)
class Answer:
    """What it said, and how it ended: negative, the signal that killed it; None, us at the deadline."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The first line in which it says what is wrong, without QEMU's name; "" if none."""
        for line in self.stderr.splitlines():
            words = _OPENING.sub("", line).strip()
            if words and not words.startswith("warning:"):
                return words
        return ""


def ask(argv: Sequence[str], *, stdin: str = "", timeout: float, pass_fds: Sequence[int] = ()) -> Answer:
    """Run a program to its end or to the deadline (seconds). Raises `HostError` if it cannot be started."""
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise HostError(f"{argv[0]} cannot be started: {error.strerror}") from None
    with process:
        _no_core(process.pid)
        try:
            out, err = process.communicate(stdin, timeout)
            return Answer(process.returncode, out, err)
        except subprocess.TimeoutExpired:
            _end(process)
            return Answer(None, *_rest(process))
        except BaseException:
            _end(process)
            raise


def _no_core(pid: int) -> None:
    """A QEMU that aborts while it is asked leaves no core file behind."""
    with suppress(OSError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it said before it was ended. A child that left the group may hold the pipes: not waited for."""
    try:
        return process.communicate(timeout=0.2)
    except subprocess.TimeoutExpired:
        return "", ""


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the process and its children. It is not reaped yet, so its group cannot be a stranger's."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
