"""What a diagnosis touches of a machine, so that a test can hand in another one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from vmlan.host import paths
from vmlan.host.run import Result, find, run
from vmlan.qemu.facts import KvmVerdict, QemuFacts
from vmlan.qemu.kvm import try_kvm
from vmlan.qemu.probe import probe


class Host(Protocol):
    """A machine that is diagnosed."""

    def user(self) -> int:
        """The user's id; 0 is root."""

    def find(self, program: str) -> Path | None:
        """Where a program is."""

    def run(self, argv: Sequence[str], *, timeout: float, stdin: str = "") -> Result:
        """Run a program to its end, whatever that is; `timeout` in seconds."""

    def read(self, path: Path) -> str:
        """A file's text, or "" if it cannot be read."""

    def names(self, folder: Path) -> tuple[str, ...]:
        """What is in a folder; nothing if it cannot be read."""

    def exists(self, path: Path) -> bool:
        """Whether something is there."""

    def open_error(self, device: Path) -> str:
        """Why this user cannot open it for reading and writing, or "" if that works."""

    def runtime(self) -> Path:
        """The folder of running labs. Raises `HostError`."""

    def qemu(self, binary: Path) -> QemuFacts:
        """What a QEMU can do. Raises `HostError`."""

    def kvm(self, binary: Path) -> KvmVerdict:
        """Whether KVM runs a guest. Raises `HostError`."""


class ThisHost:
    """The machine that we run on."""

    def user(self) -> int:
        """The user's id."""
        return os.getuid()

    def find(self, program: str) -> Path | None:
        """Where a program is."""
        return find(program)

    def run(self, argv: Sequence[str], *, timeout: float, stdin: str = "") -> Result:
        """Run a program; its words are English, whatever the user's language."""
        return run(argv, stdin=stdin, timeout=timeout, check=False, env={"LC_ALL": "C"})

    def read(self, path: Path) -> str:
        """A file's text."""
        try:
            return path.read_text(errors="replace")
        except OSError:
            return ""

    def names(self, folder: Path) -> tuple[str, ...]:
        """What is in a folder."""
        try:
            return tuple(sorted(entry.name for entry in folder.iterdir()))
        except OSError:
            return ()

    def exists(self, path: Path) -> bool:
        """Whether something is there."""
        return path.exists()

    def open_error(self, device: Path) -> str:
        """Opening is the only proof: a container's rules are seen nowhere else."""
        try:
            os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def runtime(self) -> Path:
        """The folder of running labs; without `$XDG_RUNTIME_DIR` it is made now, as `up` would."""
        return paths.runtime_root()

    def qemu(self, binary: Path) -> QemuFacts:
        """What a QEMU can do."""
        return probe(binary, paths.cache_root())

    def kvm(self, binary: Path) -> KvmVerdict:
        """Whether KVM runs a guest; tried now, since something may have been mended."""
        return try_kvm(binary, paths.cache_root(), fresh=True)
