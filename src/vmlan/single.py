"""One machine without a lab file of the user's: a lab of one, whose file vmlan writes and removes.

The file is STATE/run/NAME/lab.yaml, so that every other command finds the machine by its name
(`vmlan ps -f NAME`); `explain` shows it like any other lab.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from vmlan import lifecycle
from vmlan.errors import Busy
from vmlan.host import paths
from vmlan.host.lock import exclusive
from vmlan.labfile.write import dumps
from vmlan.model import Lab
from vmlan.progress import Progress


@contextmanager
def claimed(lab: Lab, name: str) -> Iterator[Path]:
    """Write the lab file of a machine that `vmlan run` calls `name`, for it to be brought up meanwhile.

    Nobody else brings one of that name up at the same time. If that fails, the file is as it was before.
    Raises `Busy` if there is such a machine, or about to be.
    """
    file = paths.single(name)
    try:
        with exclusive(file.parent):
            if file.exists() and lifecycle.is_running(paths.layout(file)):
                raise Busy(
                    f"there is a machine '{name}' already",
                    hint=f"vmlan down -f {name}, or give this one another name with --name",
                )
            before = file.read_bytes() if file.exists() else None
            try:
                file.write_text(dumps(replace(lab, folder=file.parent)))
                yield file
            except BaseException:
                if not lifecycle.is_running(paths.layout(file)):  # what runs must be found again
                    _put_back(file, before)
                raise
    finally:
        _tidy(file)


def _put_back(file: Path, before: bytes | None) -> None:
    if before is None:
        file.unlink(missing_ok=True)
    else:
        file.write_bytes(before)


def has_kept_disks(name: str) -> bool:
    """Whether an earlier machine of that name left disks: they are not this one's to remove."""
    return paths.layout(paths.single(name)).state.exists()


def end(file: Path, progress: Progress, *, disks: bool) -> None:
    """Switch the machine off, and remove what was made for it: its file, and with `disks` its own disks."""
    lifecycle.down(file, disks=disks, now=True, progress=progress)
    forget(file)


def forget(file: Path) -> None:
    """Remove the lab file, if it is one of ours and nothing of the lab is left."""
    folder = file.parent
    if folder.parent == paths.state_root() / "run" and not paths.layout(file).state.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _tidy(file)


def _tidy(file: Path) -> None:
    with suppress(OSError):  # there are others
        file.parent.parent.rmdir()
