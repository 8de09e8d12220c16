"""A host that is not there: it keeps what happened to it, and fails when it is told to.

Folders and files are real (below a temporary folder); the keeper, the programs and the interfaces
are only remembered. The n-th effect fails in one of several ways:

    refuse   nothing happens, and the caller is told
    half     half of it happens (some lines of a batch, a file cut short), and the caller is told
    crash    nothing happens, and the calling process is gone: nothing it does afterwards has an effect
    late     all of it happens, and the calling process is gone before it learns so
    torn     half of it happens, and the calling process is gone
    full     nothing happens, since there is no room (an OSError, which nobody translates)
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Literal

from vmlan.errors import CommandFailed, KeeperGone
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Space, Start, StartKeeper

Mode = Literal["refuse", "half", "crash", "late", "torn", "full"]


class ProcessGone(BaseException):
    """The process that asked for an effect was killed (kill -9)."""


class World:
    """What is there on the host, apart from files."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(run=root / "run" / "lab", state=root / "state" / "lab")
        self.root = root
        self.keeper = False
        self.programs: set[str] = set()
        self.interfaces: set[str] = set()
        self.tables: set[str] = set()

    def power_cut(self) -> None:
        """The keeper dies, and with it all that was in the lab."""
        self.keeper = False
        self.programs, self.interfaces, self.tables = set(), set(), set()

    def left(self) -> list[str]:
        """Everything that is there now."""
        files = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
        things = [*self.programs, *self.interfaces, *self.tables]
        return files + sorted(things) + (["keeper"] if self.keeper else [])


class FakeEffects:
    """One process's hands on a `World`."""

    def __init__(self, world: World, fail_at: int = 0, mode: Mode = "refuse") -> None:
        self._world = world
        self._fail_at = fail_at
        self._mode = mode
        self._gone = False
        self.count = 0

    def _effect(self) -> bool:
        """Count an effect; whether only half of it is to happen. Raises what is to be raised before it."""
        if self._gone:
            raise ProcessGone
        self.count += 1
        if self.count != self._fail_at:
            return False
        if self._mode == "crash":
            self._gone = True
            raise ProcessGone
        if self._mode == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self._mode == "refuse":
            raise CommandFailed(("false",), 1, "told to fail")
        return True

    def _after(self, failing: bool) -> None:
        if failing:
            if self._mode in ("late", "torn"):
                self._gone = True
                raise ProcessGone
            raise CommandFailed(("false",), 1, "told to fail halfway")

    @property
    def _half(self) -> bool:
        return self._mode in ("half", "torn")

    def make_folder(self, path: Path) -> None:
        failing = self._effect()
        path.mkdir(parents=True, exist_ok=True)
        self._after(failing)

    def remove_folder(self, path: Path, *, if_empty: bool = False) -> None:
        failing = self._effect()
        if not if_empty:
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        self._after(failing)

    def empty_folder(self, path: Path) -> None:
        failing = self._effect()
        for entry in list(path.iterdir()) if path.is_dir() else []:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._after(failing)

    def write_file(self, path: Path, text: str) -> None:
        failing = self._effect()
        path.write_text(text[: len(text) // 2] if failing and self._half else text)
        self._after(failing)

    def remove_file(self, path: Path) -> None:
        failing = self._effect()
        path.unlink(missing_ok=True)
        self._after(failing)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def start_keeper(self, step: StartKeeper) -> None:
        failing = self._effect()
        assert not self._world.keeper, "a second keeper"
        self._world.keeper = True
        self._after(failing)

    def keeper_answers(self) -> bool:
        if self._gone:
            raise ProcessGone
        return self._world.keeper

    def end_keeper(self) -> None:
        failing = self._effect()
        self._world.power_cut()
        self._after(failing)

    def run(self, command: Command) -> None:
        failing = self._effect()
        if command.space is not Space.HERE and not self._world.keeper:
            raise KeeperGone("no keeper")
        lines = command.stdin.splitlines()
        lines = lines[: len(lines) // 2] if failing and self._half else lines
        if command.argv[0] == "ip":
            self._ip(lines, force="-force" in command.argv)
        elif command.argv[:2] == ("nft", "-f") and not (failing and self._half):
            self._world.tables.add(command.stdin.split()[2])
        elif command.argv[:2] == ("nft", "delete"):
            self._world.tables.discard(command.argv[-1])
        elif command.argv[:2] == ("qemu-img", "create"):
            Path(command.argv[-2]).write_text("half a disk" if failing and self._half else "a disk")
        self._after(failing)

    def _ip(self, lines: list[str], force: bool) -> None:
        for line in lines:
            words = line.split()
            if words[:1] == ["#"]:
                continue
            if words[:2] in (["link", "add"], ["tuntap", "add"]):
                name = words[3]
                if name in self._world.interfaces:
                    raise CommandFailed(("ip",), 1, f"RTNETLINK answers: File exists ({name})")
                self._world.interfaces.add(name)
            elif words[:2] == ["link", "del"]:
                if words[3] not in self._world.interfaces and not force:
                    raise CommandFailed(("ip",), 1, "Cannot find device")
                self._world.interfaces.discard(words[3])

    def start(self, step: Start) -> None:
        failing = self._effect()
        if not self._world.keeper:
            raise KeeperGone("no keeper")
        assert step.name not in self._world.programs, f"{step.name} started twice"
        self._world.programs.add(step.name)
        self._after(failing)

    def stop(self, step: Start) -> None:
        failing = self._effect()
        self._world.programs.discard(step.name)
        self._after(failing)

    def running(self) -> frozenset[str]:
        if self._gone:
            raise ProcessGone
        if not self._world.keeper:
            raise KeeperGone("no keeper")
        return frozenset(self._world.programs)
