"""A place to measure in: folders of its own for what vmlan keeps, and vmlan itself, as a program."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
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

    def offers(self, verb: str, option: str) -> bool:
        """Whether this vmlan has a verb, and the verb an option."""
        try:
            return (
                re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", self.call(verb, "--help")) is not None
            )
        except Failed:
            return False

    def beside(self, name: str) -> Place:
        """A folder for another lab, which shares all else with this one."""
        folder = self.folder.with_name(name)
        folder.mkdir(exist_ok=True)
        return replace(self, folder=folder)


@contextmanager
def open_place(vmlan: Path) -> Iterator[Place]:
    """A new place, removed at the end with whatever labs still run in it. The cache is the user's own."""
    root = Path(tempfile.mkdtemp(prefix="vmlan-bench-"))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _labs(root, vmlan) as place:
            yield place
    finally:
        shutil.rmtree(root)
        signal.signal(signal.SIGTERM, before)


@contextmanager
def fresh(place: Place, tiny: Path) -> Iterator[Place]:
    """A place of which vmlan knows nothing yet but its tiny guest, in `tiny`, and what QEMU and KVM can do.

    So nothing is there that an earlier `up` has made, and nothing that is made here stays.
    """
    given = place.env.get("XDG_CACHE_HOME") or Path(place.env.get("HOME") or Path.home()) / ".cache"
    cache = Path(given) / "vmlan"
    root = Path(tempfile.mkdtemp(prefix="fresh-", dir=place.folder.parent))
    (root / "cache/vmlan").mkdir(parents=True)
    shutil.copytree(tiny, root / "cache/vmlan" / tiny.name)
    for known in cache.glob("*.json"):
        shutil.copy2(known, root / "cache/vmlan")
    try:
        with _labs(root, place.vmlan, XDG_CACHE_HOME=str(root / "cache")) as found:
            yield found
    finally:
        shutil.rmtree(root)


@contextmanager
def _labs(root: Path, vmlan: Path, **more: str) -> Iterator[Place]:
    """A place in an empty folder. At the end no lab of it runs any more."""
    env = {
        **os.environ,
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]),
        "LC_ALL": "C",
        **more,
    }
    for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
        (root / name).mkdir(mode=0o700)
        env[variable] = str(root / name)
    (root / "bench").mkdir()
    try:
        yield Place(root / "bench", vmlan, env)
    finally:
        for lab in root.glob("*/lab.yaml"):
            with suppress(Failed):  # what is left of it ends with its runtime folder
                Place(lab.parent, vmlan, env).call("down", "--now")


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
