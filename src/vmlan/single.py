"""One machine without a lab file of the user's: a lab of one, whose file vmlan writes and removes.

The file is STATE/run/NAME/lab.yaml, so that every other command finds the machine by its name
(`vmlan ps -f NAME`); `explain` shows it like any other lab.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from vmlan import labfile, lifecycle
from vmlan.errors import Busy
from vmlan.host import paths
from vmlan.labfile.write import dumps
from vmlan.model import Lab
from vmlan.progress import Progress


def write(lab: Lab, name: str) -> Path:
    """Write the lab file of a machine that `vmlan run` calls `name`, and say where it is.

    Raises `Busy` if one of that name runs.
    """
    file = paths.single(name)
    if file.exists() and lifecycle.is_running(paths.layout(file)):
        raise Busy(
            f"there is a machine '{name}' already",
            hint=f"vmlan down -f {name}, or give this one another name with --name",
        )
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_text(dumps(replace(lab, folder=file.parent)))
    labfile.load(file)
    return file


def end(file: Path, progress: Progress) -> None:
    """Switch the machine off, and remove all that was made for it: its file and its own disks."""
    lifecycle.down(file, disks=True, now=True, progress=progress)
    forget(file)


def forget(file: Path) -> None:
    """Remove the lab file, if it is one of ours and nothing of the lab is left."""
    folder = file.parent
    if folder.parent == paths.state_root() / "run" and not paths.layout(file).state.exists():
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # there are others
            folder.parent.rmdir()
