"""Real machines: each test has its own runtime, state and lab folders, and must leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

VMLAN = Path(sys.executable).with_name("vmlan")
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Bench:
    """A place to run vmlan in: a lab's folder, and runtime and state folders of its own."""

    folder: Path
    runtime: Path
    state: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, text: str) -> None:
        (self.folder / "lab.yaml").write_text(text)

    def example(self, name: str) -> None:
        shutil.copy(EXAMPLES / name / "lab.yaml", self.folder / "lab.yaml")

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([str(VMLAN), *words], cwd=self.folder, env=self.env, text=True, **options)

    def vmlan(self, *words: str, stdin: str = "", timeout: float = 200) -> Done:
        done = subprocess.run(
            [str(VMLAN), *words],
            cwd=self.folder,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, **options: Any) -> str:
        done = self.vmlan(*words, **options)
        assert done.code == 0, f"vmlan {' '.join(words)} ended with {done.code}:\n{done.out}\n{done.err}"
        return done.out

    def processes(self) -> list[str]:
        """Every process that has to do with this bench: by its command line or its environment."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                line = (process / "cmdline").read_bytes()
                if str(self.runtime).encode() in line + (process / "environ").read_bytes():
                    found.append(f"{process.name}: {line.replace(bytes(1), b' ').decode(errors='replace')}")
            except OSError:
                continue
        return found

    def left(self) -> list[str]:
        """What of a lab is still there: processes and files (disks not counted)."""
        return self.processes() + [str(path) for path in self.runtime.rglob("*")]


def host_network() -> dict[str, Any]:
    """This machine's own network, as far as an ordinary user sees it."""
    views = {view: json.loads(_ip(view)) for view in ("link", "addr", "route", "rule")}
    for address in (info for link in views["addr"] for info in link["addr_info"]):
        address.pop("valid_life_time", None)
        address.pop("preferred_life_time", None)
    return views


def _ip(view: str) -> str:
    return subprocess.run(
        ["/usr/sbin/ip", "-j", view, "show"], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(autouse=True, scope="session")
def ordinary_user() -> None:
    if os.getuid() == 0:
        pytest.fail(
            "the real ring proves that labs need no root: run it as an ordinary user (make test does)"
        )


@pytest.fixture
def bench() -> Iterator[Bench]:
    yield from _bench()


@pytest.fixture(scope="module")
def shared_bench() -> Iterator[Bench]:
    yield from _bench()


def _bench() -> Iterator[Bench]:
    before = host_network()
    root = Path(tempfile.mkdtemp(prefix="vm-", dir="/tmp"))
    folder, runtime, state = root / "lab", root / "run", root / "state"
    for path in (folder, runtime, state):
        path.mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(state), "TERM": "dumb"}
    bench = Bench(folder, runtime, state, env)
    try:
        yield bench
        bench.vmlan("down", "--now", "--disks")
        deadline = time.monotonic() + 2  # whoever waited for a lab's process needs a moment to see it gone
        while bench.left() != [str(runtime / "vmlan")] and bench.left() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [line for line in bench.left() if line != str(runtime / "vmlan")] == []
        assert list((state / "vmlan").rglob("*")) == []
        assert host_network() == before
    finally:
        for line in bench.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.partition(":")[0]), 9)
        shutil.rmtree(root, ignore_errors=True)
