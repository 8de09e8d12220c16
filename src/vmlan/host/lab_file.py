"""Which lab file is meant, and which machine of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmlan.errors import RequestError, UnknownName
from vmlan.host import paths
from vmlan.spelling import did_you_mean

if TYPE_CHECKING:  # not every command looks at the lab
    from vmlan.model import Lab, Machine


def find_file(given: Path | None = None) -> Path:
    """The lab file: the one given, or lab.yaml in this folder; or of the machine that `vmlan run` calls so.

    Raises `RequestError`.
    """
    file = file_of(given)
    if not file.exists():
        if given is not None and given.name == str(given) and not given.suffix:
            what = f"there is no lab file '{given}', and no machine that `vmlan run` calls so"
            raise RequestError(what, hint="vmlan ls shows what runs")
        where = f"there is no file '{given}'" if given else "there is no lab.yaml in this folder"
        raise RequestError(where, hint="`vmlan init` writes one to start from; -f FILE names another")
    return file


def file_of(given: Path | None = None) -> Path:
    """Where the lab file is or was, whether it is there or not (`find_file`)."""
    file = (given or Path("lab.yaml")).absolute()
    if file.is_dir():
        return file / "lab.yaml"
    if given is not None and given.name == str(given) and not file.exists():
        single = paths.single(given.name)
        return single if single.exists() else file
    return file


def machine(lab: Lab, name: str) -> Machine:
    """The lab's machine of that name. Raises `UnknownName` with the nearest."""
    found = lab.machine(name)
    if found is None:
        names = [machine.name for machine in lab.machines]
        hint = did_you_mean(name, names, f"it has: {', '.join(names) or 'none'}")
        raise UnknownName(f"lab {lab.name} has no machine '{name}'", hint=hint)
    return found
