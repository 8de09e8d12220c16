"""Images of the catalogue that Debian's packages have: fetched once, as an ordinary user, and kept.

    CACHE/media/NAME-KEY/     the files of an entry, and about.json, which says what they are

KEY is made of the catalogue's entry, so an image stays what it is, whatever newer packages there may
be: disks are made over these files, and a base must not change. Nothing here may be written to.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from vmlan import catalogue
from vmlan.catalogue import Entry, Role
from vmlan.errors import HostError, RequestError
from vmlan.guest import packages
from vmlan.guest.packages import Package
from vmlan.host.lock import waiting

Progress: TypeAlias = Callable[[str], None]

#: Unpacks the best of these packages that there is into a folder, and says which one it was.
Fetch: TypeAlias = Callable[[Sequence[str], Path], Package]

_ABOUT = "about.json"


def _silent(_message: str) -> None:
    pass


def fetch(names: Sequence[str], into: Path) -> Package:
    """Unpack the first of these packages that the lists have, and return it.

    Raises `HostError` where apt knows none of them, or cannot fetch it.
    """
    known = packages.look_up(names)
    package = next((known[name] for name in names if name in known), None)
    if package is None:
        raise packages.missing_from_lists(names)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=into.parent) as downloads:
        packages.unpack([package], Path(downloads), into)
    return package


def ensure(name: str, cache: Path, progress: Progress = _silent, *, fetch: Fetch = fetch) -> dict[Role, Path]:
    """The files of an entry, fetched first where they are absent or no longer whole.

    The folder `cache` is made when missing. Two at once wait for each other. Raises `UnknownName`,
    `RequestError` for what is built rather than fetched, `HostError` where it cannot be had.
    """
    entry = catalogue.entry(name)
    files = present(name, cache)
    if files is not None:
        return files
    if not entry.packages:
        raise RequestError(f"the image {name} is not here yet", hint=f"vmlan image build {name}")
    root = cache / "media"
    root.mkdir(parents=True, exist_ok=True)
    with waiting(root / f"{name}.lock"):
        files = present(name, cache)
        if files is None:
            progress(f"fetches {name}")
            _make(entry, folder(name, cache), fetch)
            files = present(name, cache)
    assert files is not None, f"{name} was made and is not there"
    return files


def present(name: str, cache: Path) -> dict[Role, Path] | None:
    """The files of an entry if they are here and whole, else None. Never fetches."""
    where = folder(name, cache)
    about = _about(where)
    if about is None:
        return None
    found: dict[Role, Path] = {}
    for role in catalogue.entry(name).files:
        path = where / about["files"].get(role, {}).get("file", "?")
        if not path.is_file() or path.stat().st_size != about["files"][role]["size"]:
            return None
        found[role] = path
    return found


def origin(name: str, cache: Path) -> str | None:
    """The package that an entry's files came from, with its version; None when they are not here."""
    about = _about(folder(name, cache))
    return f"{about['package']} {about['version']}" if about else None


def folder(name: str, cache: Path) -> Path:
    """Where an entry's files are kept, whether they are there or not. Raises `UnknownName`."""
    entry = catalogue.entry(name)
    digest = hashlib.sha256(json.dumps([entry.packages, sorted(entry.files.items())]).encode())
    return cache / "media" / f"{name}-{digest.hexdigest()[:8]}"


def _about(where: Path) -> dict[str, Any] | None:
    """What is kept in a folder: written last, so a folder without it is only half there."""
    try:
        about = json.loads((where / _ABOUT).read_text())
        return about if isinstance(about.get("files"), dict) else None
    except (FileNotFoundError, NotADirectoryError, ValueError, AttributeError):
        return None


def _make(entry: Entry, where: Path, fetch: Fetch) -> None:
    """Put the files together in a folder beside, and give it its name when it is whole."""
    # Who is killed here leaves this folder; the lock says that nobody else is at work on it.
    made = where.with_name(f"{entry.name}.part")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    try:
        unpacked = made / "unpacked"
        unpacked.mkdir()
        package = fetch(entry.packages, unpacked)
        kept = {}
        for role, pattern in entry.files.items():
            source = _find(unpacked, pattern, package)
            target = made / source.name
            shutil.move(source.resolve(), target)
            target.chmod(0o444)
            kept[role] = {"file": target.name, "size": target.stat().st_size}
        shutil.rmtree(unpacked)
        about = {"package": package.name, "version": package.version, "files": kept}
        (made / _ABOUT).write_text(json.dumps(about) + "\n")
        shutil.rmtree(where, ignore_errors=True)
        made.rename(where)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _find(root: Path, pattern: str, package: Package) -> Path:
    """The file of a package that a pattern means: links are followed, but not out of the package."""
    inside = root.resolve()
    for path in sorted(root.glob(pattern)):
        if path.is_file() and path.resolve().is_relative_to(inside):
            return path
    raise HostError(
        f"the package {package.name} {package.version} has no file {pattern}",
        hint="it may be made otherwise in this release of the distribution; give the file's own path instead",
    )
