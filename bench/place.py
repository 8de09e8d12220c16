"""A place to measure in: folders of its own for what vmlan keeps, and vmlan itself, as a program."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: No single thing that is measured takes nearly as long (seconds).
PATIENCE = 300.0

#: Whatever becomes of this process, its child ends too.
LEASH = ("setpriv", "--pdeathsig", "KILL")


class Failed(Exception):
    """Something that was to be measured did not work; its words."""


def run(argv: Sequence[str], folder: Path, env: dict[str, str]) -> str:
    """Run a program to its end and return its output. Raises `Failed`; no child outlives this call."""
    command = [*LEASH, *argv]
    with subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, text=True
    ) as child:
        try:
            out, err = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{shlex.join(argv)}: not done after {PATIENCE:.0f} s") from late
        finally:
            child.kill()  # one that has ended is not there any more, and that is fine
    if child.returncode != 0:
        raise Failed(f"{shlex.join(argv)}: ended with {child.returncode}\n{err or out}")
    return out


@dataclass(frozen=True)
class Place:
    """A folder with a lab file, and the vmlan that is measured."""

    folder: Path
    vmlan: Path
    env: dict[str, str]

    def call(self, *words: str) -> str:
        """`vmlan WORDS…` here; what it printed."""
        return run([str(self.vmlan), *words], self.folder, self.env)

    def json(self, *words: str) -> Any:
        """The same, for a verb that speaks JSON."""
        return json.loads(self.call(*words, "--json"))

    def write(self, lab: str) -> None:
        """Let this be the lab file."""
        (self.folder / "lab.yaml").write_text(lab)


@contextmanager
def open_place(vmlan: Path) -> Iterator[Place]:
    """A new place, removed at the end with whatever lab still runs in it. The cache is the user's own."""
    root = Path(tempfile.mkdtemp(prefix="vmlan-bench-"))
    env = {
        **os.environ,
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]),
        "LC_ALL": "C",
    }
    for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
        (root / name).mkdir(mode=0o700)
        env[variable] = str(root / name)
    (root / "bench").mkdir()
    place = Place(root / "bench", vmlan, env)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield place
    finally:
        try:
            if (place.folder / "lab.yaml").exists():
                place.call("down", "--now")
        finally:
            shutil.rmtree(root)
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
