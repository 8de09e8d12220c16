"""What a plan's steps do to this machine: the only code that carries them out.

`Effects` is what the executor asks for; `HostEffects` does it. Tests hand in another one,
which counts, and fails when it is told to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from vmlan.errors import CommandFailed, HostError, KeeperGone, VmlanError
from vmlan.host import (
    identity,
    machine_starts,
    messages,
    nic_change,
    real_host,
    starts,
    template_making,
    templates,
    world,
)
from vmlan.host.keeper_client import KeeperClient
from vmlan.host.machine_starts import Started
from vmlan.host.run import SEARCH_PATH, need, run
from vmlan.plan.layout import Layout
from vmlan.plan.steps import BridgeNic, Command, MakeTemplate, Space, Start, StartKeeper, spaced


class Effects(Protocol):
    """Everything that a lab's coming and going does to the machine it runs on."""

    def make_folder(self, path: Path, owner: str = "", pipes: tuple[str, ...] = ()) -> None:
        """Make a folder for this user alone, and its parents; one that is there stays as it is.

        `owner`: "UID:GID" of whom it is for, where that is somebody else (`MakeFolder.owner`). `pipes`: the
        names of named pipes in it; those that are there stay too.
        """

    def remove_folder(self, path: Path, *, if_empty: bool = False) -> None:
        """Remove a folder with all that is in it (or only if nothing is); one that is gone is fine."""

    def empty_folder(self, path: Path) -> None:
        """Remove all that is in a folder, and leave the folder; one that is gone is fine."""

    def write_file(self, path: Path, text: str) -> None:
        """Write a text file in place: one that is mounted elsewhere changes there too."""

    def remove_file(self, path: Path) -> None:
        """Remove a file; one that is gone is fine."""

    def exists(self, path: Path) -> bool:
        """Whether a file is there."""

    def start_keeper(self, step: StartKeeper) -> None:
        """Start the lab's PID 1, and wait until it answers."""

    def keeper_answers(self) -> bool:
        """Whether the lab's PID 1 is there."""

    def settle(self) -> None:
        """Wait until what a vmlan that was killed had begun in the lab has ended; a dead lab is fine."""

    def end_keeper(self) -> None:
        """End the lab's PID 1, and wait until all that was in the lab is gone; a dead one is fine."""

    def run(self, command: Command) -> None:
        """Run a program to its end. Raises `CommandFailed`."""

    def start(self, step: Start) -> None:
        """Start a program that stays, and wait until it is ready. Raises `CommandFailed`."""

    def start_machines(self, steps: Sequence[Start]) -> Started:
        """Start machines, several at a time.

        Raises `CommandFailed` for the first that does not start, when no other is being started any more.
        """

    def make_template(self, step: MakeTemplate) -> str:
        """Make a template. Where that cannot be, its machines will boot: a note that says why, else ""."""

    def template_is_whole(self, step: MakeTemplate) -> bool:
        """Whether a template is there, as it was made."""

    def stop(self, step: Start | MakeTemplate) -> None:
        """Stop a program that was started; one that is gone is fine."""

    def running(self) -> frozenset[str]:
        """The names of the programs that run in the lab now."""

    # Of a lab whose host side is the real host (`place: host`)

    def world(self) -> str:
        """Which host's network it is in (`vmlan.host.world`); empty for a lab that has one of its own."""

    def switch(self, name: str) -> str | None:
        """How a switch of the kernel's is (sysctl(8)); None: it has none of that name."""

    def others_hold(self, name: str) -> bool:
        """Whether another lab has set that switch too, and not put it back."""

    def interfaces(self) -> dict[str, frozenset[str]]:
        """The host's interfaces, each with its alternative names."""

    def tables(self) -> list[tuple[str, str]]:
        """The host's tables of rules (nftables): family and name."""

    def bridge_nic(self, step: BridgeNic) -> None:
        """Make the host's NIC a port, under guard. Raises `HostError` after all is as it was."""

    def unbridge_nic(self) -> tuple[str, ...]:
        """Put the host's NIC back as it was; notes on what differs. One that is back already is fine."""


class HostEffects:
    """`Effects` on the real machine, for the lab at `layout`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._client: KeeperClient | None = None
        self._useless: set[str] = set()  #: the keys of templates that could not be made
        self.nic: nic_change.NicChange | None = None  #: how the host's NIC is to be changed, if it is

    def close(self) -> None:
        """Hang up on the keeper."""
        if self._client:
            self._client.close()
        self._client = None

    def keeper(self) -> KeeperClient:
        """The connection to the keeper. Raises `KeeperGone`."""
        if self._client is None:
            self._client = KeeperClient(self._layout.keeper)
        return self._client

    def make_folder(self, path: Path, owner: str = "", pipes: tuple[str, ...] = ()) -> None:
        if path == self._layout.run and self._layout.on_host:
            path.mkdir(
                mode=0o711, parents=True, exist_ok=True
            )  # whose sockets are in there, may come to them
            path.chmod(0o711)
        elif owner:
            identity.make_folder(path, owner, pipes)
        else:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            identity.make_pipes(path, pipes)

    def remove_folder(self, path: Path, *, if_empty: bool = False) -> None:
        if if_empty:
            with contextlib.suppress(OSError):
                path.rmdir()
        else:
            shutil.rmtree(path, ignore_errors=True)
            if path.exists():
                raise HostError(f"{path} could not be removed")

    def empty_folder(self, path: Path) -> None:
        for entry in list(path.iterdir()) if path.is_dir() else []:
            if entry.is_dir() and not entry.is_symlink():
                self.remove_folder(entry)
            else:
                entry.unlink()

    def write_file(self, path: Path, text: str) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(fd, "w") as file:
            file.write(text)

    def remove_file(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def start_keeper(self, step: StartKeeper) -> None:
        need(step.argv[0])
        step.socket.unlink(missing_ok=True)
        with step.log.open("wb") as log:
            process = subprocess.Popen(
                step.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": SEARCH_PATH},
            )
        assert process.stdout is not None
        said = process.stdout.read(6)
        process.stdout.close()
        if said != b"ready\n":
            words = step.log.read_text(errors="replace")
            code = process.wait()
            raise CommandFailed(step.argv, code, words, **messages.explain(step.argv, words))
        process.returncode = 0  # it outlives us: Popen need not warn that it still runs

    def keeper_answers(self) -> bool:
        try:
            self.keeper().processes()
        except KeeperGone:
            self.close()
            return False
        return True

    def settle(self) -> None:
        with contextlib.suppress(KeeperGone):
            self.keeper().settle()

    def end_keeper(self) -> None:
        with contextlib.suppress(KeeperGone):
            self.keeper().end()
        self.close()

    def run(self, command: Command) -> None:
        here = command.space is Space.HERE or self._on_host_without_keeper(command)
        argv = spaced(command, None if here else self._layout.net)
        if here:
            result = run(argv, stdin=command.stdin, check=False)
        else:
            need(command.argv[0])
            result = self.keeper().run(argv, command.stdin)
        if not result.ok:
            words = result.stderr or result.stdout
            meaning = messages.explain(command.argv, words)
            raise CommandFailed(argv, result.code, words, stdin=command.stdin, **meaning)

    def _on_host_without_keeper(self, command: Command) -> bool:
        """A real host's network is there without the lab: what is done to it then, this process does."""
        return self._layout.on_host and command.space is Space.HOST and not self.keeper_answers()

    def world(self) -> str:
        return world.network() if self._layout.on_host else ""

    def switch(self, name: str) -> str | None:
        return real_host.switch(name)

    def others_hold(self, name: str) -> bool:
        return any(name in switches for id_, switches in real_host.held_switches() if id_ != self._layout.id)

    def interfaces(self) -> dict[str, frozenset[str]]:
        return {each.name: each.altnames for each in real_host.interfaces()}

    def tables(self) -> list[tuple[str, str]]:
        return sorted(real_host.tables(real_host.rules() or ()))

    def bridge_nic(self, step: BridgeNic) -> None:
        assert self.nic is not None, "lifecycle: a plan with a NIC needs to know how long to wait"
        self.nic.apply(step)

    def unbridge_nic(self) -> tuple[str, ...]:
        return nic_change.undo(self._layout)

    def start(self, step: Start) -> None:
        starts.start(self._layout, step)

    def start_machines(self, steps: Sequence[Start]) -> Started:
        return machine_starts.start_all(self._layout, steps, frozenset(self._useless))

    def make_template(self, step: MakeTemplate) -> str:
        try:
            template_making.make(self._layout, step)
        except (VmlanError, OSError) as error:
            self._useless.add(step.key)
            return f"no template could be made, so {', '.join(step.machines)} will boot: {error}"
        return ""

    def template_is_whole(self, step: MakeTemplate) -> bool:
        return templates.is_whole(step.folder)

    def stop(self, step: Start | MakeTemplate) -> None:
        try:
            starts.end(self.keeper(), step.name)  # SIGTERM: QEMU flushes its images (system/runstate.c)
        except KeeperGone:
            self.close()
        made = step.ready if isinstance(step, Start) else step.qmp
        if made is not None:
            made.unlink(missing_ok=True)

    def running(self) -> frozenset[str]:
        return frozenset(name for name, kept in self.keeper().processes().items() if kept.exit is None)
