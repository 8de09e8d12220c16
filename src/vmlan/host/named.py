"""The images of the catalogue on this machine: where each is, fetched if it can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vmlan.catalogue import CATALOGUE, Role
from vmlan.host import paths


def files(name: str, progress: Callable[[str], None] = lambda _: None) -> dict[Role, Path]:
    """An image's files. What Debian has a package of is fetched; what is built must have been.

    Raises `RequestError` with the command that builds it, `HostError` where it cannot be had.
    """
    if CATALOGUE[name].packages:
        from vmlan.guest import media

        return media.ensure(name, paths.cache_root(), progress)
    from vmlan.guest import debian

    return {"image": debian.built(paths.images_root())}


def present(name: str) -> dict[Role, Path] | None:
    """An image's files if they are on this machine, else None."""
    if CATALOGUE[name].packages:
        from vmlan.guest import media

        return media.present(name, paths.cache_root())
    from vmlan.guest import debian

    found = debian.present(paths.images_root())
    return {"image": found} if found else None
