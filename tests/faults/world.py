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
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vmlan.errors import CommandFailed, KeeperGone
from vmlan.host.machine_starts import Started
from vmlan.plan.layout import Layout
from vmlan.plan.steps import BridgeNic, Command, MakeTemplate, Space, Start, StartKeeper

Mode = Literal["refuse", "half", "crash", "late", "torn", "full"]


class ProcessGone(BaseException):
    """The process that asked for an effect was killed (kill -9)."""


class World:
    """What is there on the host, apart from files."""

    def __init__(self, root: Path, *, host: bool = False) -> None:
        book = root / "book" / "lab" if host else None
        self.layout = Layout(run=root / "run" / "lab", state=root / "state" / "lab", book=book)
        self.root = root
        self.altnames: dict[str, set[str]] = {}
        self.switches = {"net.ipv4.ip_forward": "0"}
        self.boot = 1
        self.keeper = False
        self.programs: set[str] = set()
        self.interfaces: set[str] = set()
        self.tables: set[str] = set()

    def power_cut(self) -> None:
        """The keeper dies, and with it all that was in the lab; what is in a real host's network stays."""
        self.keeper = False
        self.programs = set()
        if not self.layout.on_host:
            self.interfaces, self.tables = set(), set()

    def reboot(self) -> None:
        """The host starts anew: its network is as it was, and /run is empty."""
        self.power_cut()
        self.boot += 1
        self.interfaces, self.tables, self.altnames = set(), set(), {}
        self.switches = {"net.ipv4.ip_forward": "0"}
        shutil.rmtree(self.layout.run, ignore_errors=True)

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

    def make_folder(self, path: Path, owner: str = "", pipes: tuple[str, ...] = ()) -> None:
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

    def settle(self) -> None:
        """What is begun here has ended when it returns."""

    def end_keeper(self) -> None:
        failing = self._effect()
        self._world.power_cut()
        self._after(failing)

    def run(self, command: Command) -> None:
        failing = self._effect()
        stays = command.space is Space.HERE or (command.space is Space.HOST and self._world.layout.on_host)
        if not stays and not self._world.keeper:
            raise KeeperGone("no keeper")
        lines = command.stdin.splitlines()
        lines = lines[: len(lines) // 2] if failing and self._half else lines
        if command.argv[0] == "ip" and "-batch" not in command.argv:
            self._ip([" ".join(command.argv[1:])], force=False)
        elif command.argv[0] == "ip":
            self._ip(lines, force="-force" in command.argv)
        elif command.argv[:2] == ("nft", "-f") and not (failing and self._half):
            self._world.tables.add(command.stdin.split()[2])
        elif command.argv[:2] == ("nft", "delete"):
            self._world.tables.discard(command.argv[-1])
        elif command.argv[0] == "sysctl":
            for word in command.argv[3:]:
                name, _, value = word.partition("=")
                self._world.switches[name] = value
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
            elif words[:3] == ["link", "property", "add"]:
                self._world.altnames.setdefault(words[4], set()).add(words[6])
            elif words[:2] == ["link", "set"] and words[4:5] == ["name"]:
                self._world.interfaces.remove(words[3])
                self._world.interfaces.add(words[5])
                self._world.altnames[words[5]] = self._world.altnames.pop(words[3])
            elif words[:2] == ["link", "del"]:
                found = [name for name, others in self._world.altnames.items() if words[3] in others]
                name = found[0] if found else words[3]
                if name not in self._world.interfaces and not force:
                    raise CommandFailed(("ip",), 1, "Cannot find device")
                self._world.interfaces.discard(name)
                self._world.altnames.pop(name, None)

    def start(self, step: Start) -> None:
        failing = self._effect()
        if not self._world.keeper:
            raise KeeperGone("no keeper")
        assert step.name not in self._world.programs, f"{step.name} started twice"
        self._world.programs.add(step.name)
        self._after(failing)

    def start_machines(self, steps: Sequence[Start]) -> Started:
        for step in steps:
            self.start(step)
        return Started()

    def make_template(self, step: MakeTemplate) -> str:
        failing = self._effect()
        if not self._world.keeper:
            raise KeeperGone("no keeper")
        if not (failing and self._half):
            step.folder.mkdir(parents=True)
        self._after(failing)
        return ""

    def template_is_whole(self, step: MakeTemplate) -> bool:
        return step.folder.exists()

    def stop(self, step: Start | MakeTemplate) -> None:
        failing = self._effect()
        self._world.programs.discard(step.name)
        self._after(failing)

    def running(self) -> frozenset[str]:
        if self._gone:
            raise ProcessGone
        if not self._world.keeper:
            raise KeeperGone("no keeper")
        return frozenset(self._world.programs)

    def world(self) -> str:
        return str(self._world.boot) if self._world.layout.on_host else ""

    def switch(self, name: str) -> str | None:
        return self._world.switches.get(name)

    def others_hold(self, name: str) -> bool:
        return False

    def interfaces(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(self._world.altnames.get(name, ())) for name in self._world.interfaces}

    def tables(self) -> list[tuple[str, str]]:
        return [("ip", name) for name in self._world.tables]

    def bridge_nic(self, step: BridgeNic) -> None:
        self._after(self._effect())

    def unbridge_nic(self) -> tuple[str, ...]:
        self._after(self._effect())
        return ()
