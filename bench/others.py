"""What vmlan is compared with besides a script by hand: which of it is here."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Where `bench/setup-others` puts it.
FOLDER = Path(__file__).resolve().parents[1] / ".tools/bench"

#: What to do where it is not.
HINT = "`make bench` fetches it, or bench/setup-others"


@dataclass(frozen=True)
class Other:
    """A competitor: its script's environment; or why it cannot be measured."""

    env: dict[str, str]
    version: str = ""
    missing: str = ""


def libvirt(env: dict[str, str], folder: Path = FOLDER) -> Other:
    """Installed, or Debian's packages unpacked."""
    if shutil.which("libvirtd", path=env["PATH"]) and shutil.which("virsh", path=env["PATH"]):
        return Other({}, f"libvirt {_version(['libvirtd'], env)}")
    unpacked = folder / "libvirt"
    daemon = unpacked / "usr/sbin/libvirtd"
    if not daemon.exists():
        return Other({}, missing=f"there is no libvirt here: {HINT}")
    libraries = ":".join(str(each) for each in unpacked.glob("usr/lib/*-linux-gnu"))
    version = _version([str(daemon)], {**env, "LD_LIBRARY_PATH": libraries})
    return Other({"LIBVIRT": str(unpacked)}, f"libvirt {version}")


def munet(env: dict[str, str], folder: Path = FOLDER) -> Other:
    """In an environment of its own."""
    program = folder / "munet/bin/munet"
    if not program.exists():
        return Other({}, missing=f"there is no munet here: {HINT}")
    return Other({"MUNET": str(program)}, f"munet {_version([str(program)], env)}")


def _version(program: list[str], env: dict[str, str]) -> str:
    done = subprocess.run([*program, "--version"], env=env, capture_output=True, text=True)
    return (done.stdout.split() or ["of an unknown version"])[-1]
