"""Which lab file is meant."""

from __future__ import annotations

from pathlib import Path

from vmlan.errors import RequestError
from vmlan.host import paths


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
