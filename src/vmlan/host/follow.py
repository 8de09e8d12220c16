"""Run a long program, hear each line that it says at once, and let it clean up when we are interrupted.

`host.run` waits in silence, and kills what it waits for when the user has had enough. That will do for
programs that leave nothing behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vmlan.host.interrupts import uninterrupted
from vmlan.host.run import SEARCH_PATH, Result, need

#: How many lines a failure can show.
_KEPT = 200

#: How long a program may take to clean up before it is killed, in seconds.
_PATIENCE = 20.0


def follow(
    argv: Sequence[str],
    heard: Callable[[str], None],
    *,
    env: Mapping[str, str],
    cwd: Path,
    pass_fds: Sequence[int] = (),
) -> Result:
    """Run a program to its end, with `heard` called for each line of its output and errors (one stream).

    `env` is its whole environment. It has a session of its own: a Ctrl-C reaches it through us, once, as
    SIGTERM to it and all that it started, and we wait until it has cleaned up. `Result.stderr` has its
    last lines. Raises `MissingProgram`.
    """
    need(argv[0])
    last: deque[str] = deque(maxlen=_KEPT)
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**env, "PATH": SEARCH_PATH},
        cwd=cwd,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last.append(line.rstrip())
                heard(line.rstrip())
            code = process.wait()
        except BaseException:
            _end(process)
            raise
    return Result(tuple(argv), code, "", "\n".join(last))


def _end(process: subprocess.Popen[str]) -> None:
    """Let it end itself; further Ctrl-C are not heard meanwhile, since what they want is under way."""
    with uninterrupted(), contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
