"""Templates on this host: knowing whether one is whole, and keeping them within bounds.

    CACHE/templates/KEY/memory       what was the machine's memory, mapped by all who go on from it
                        state        the state of its devices, and what of its memory differs
                        about.json   what shaped it, what its guest said, where in its state its cards' MACs
                                     are, and what the other files were like when it was whole
    CACHE/templates/KEY.lock         held while it is made

A template is made under another name and renamed when all of it is on the disk: there is no half of one. One
whose files are not as they were then (cut short, written to, copied) is not used, and made anew.
All of it can be deleted at any time: whoever goes on from a template has its memory open.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlan.errors import Busy, HostError, UnknownName
from vmlan.guest.telling import Places, Untold
from vmlan.qemu import state_files
from vmlan.spelling import did_you_mean

#: How much all templates together may take (bytes), unless VMLAN_TEMPLATES says otherwise.
LIMIT = 4 << 30

_ABOUT = "about.json"

#: What a template is called while it is made, after its key (`plan.templates`).
_UNFINISHED = ".new"


@dataclass(frozen=True)
class Kept:
    """A template that is there. `size`: what it takes on the disk (bytes); `used`: when last (Unix time).

    `whole`: its files are as they were made. `unfinished`: it has not got its name yet.
    """

    key: str
    folder: Path
    parts: Mapping[str, str]
    size: int
    used: float
    whole: bool
    unfinished: bool


def made_in(folder: Path) -> Path:
    """Where a template is while it is made."""
    return folder.with_name(f"{folder.name}{_UNFINISHED}")


@dataclass(frozen=True)
class About:
    """What shaped a template; what its guest said of itself; where in its state the MACs of its cards are."""

    parts: Mapping[str, str]
    said: str
    macs: Sequence[Sequence[int]]


def finish(new: Path, folder: Path, about: About) -> None:
    """Make a template of what is in `new`: all of it to the disk, what it is like then, and its name."""
    names = sorted(file.name for file in new.iterdir() if file.name != _ABOUT)
    for name in names:
        _to_disk(new / name)
    files = {name: _stamp(new / name) for name in names}
    told = {"parts": dict(about.parts), "guest": about.said, "macs": list(about.macs), "files": files}
    (new / _ABOUT).write_text(json.dumps(told, indent=1) + "\n")
    _to_disk(new / _ABOUT)
    new.rename(folder)
    _to_disk(folder.parent)


def state(folder: Path, macs: Sequence[str]) -> tuple[bytes, Places]:
    """A template's state with a machine's own MACs, and what its guest said of itself.

    Raises `Untold`, `OSError`, `ValueError`.
    """
    about = json.loads((folder / _ABOUT).read_bytes())
    try:
        where, said = about["macs"], about["guest"]
    except (KeyError, TypeError):
        raise Untold("its description is not as it was made") from None
    return state_files.with_macs((folder / "state").read_bytes(), where, macs), Places.read(said)


def _to_disk(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _stamp(path: Path) -> list[int]:
    """What changes when somebody writes to a file, or puts another in its place (stat(2))."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def is_whole(folder: Path) -> bool:
    """Whether a template is there as it was made; then it counts as used now."""
    about = _about(folder)
    if about is None or not _as_made(folder, about):
        return False
    with contextlib.suppress(OSError):
        os.utime(folder / _ABOUT)
    return True


def _about(folder: Path) -> dict[str, dict[str, list[int]]] | None:
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        dict(about["parts"]), dict(about["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found: dict[str, dict[str, list[int]]] = about
    return found


def _as_made(folder: Path, about: Mapping[str, Mapping[str, list[int]]]) -> bool:
    try:
        return all(_stamp(folder / name) == stamp for name, stamp in about["files"].items())
    except OSError:
        return False


def remove(folder: Path) -> None:
    """Remove a template; machines that went on from it go on."""
    with contextlib.suppress(OSError):
        (folder / _ABOUT).unlink()  # first: from then on it is none
    shutil.rmtree(folder, ignore_errors=True)


def kept(root: Path) -> list[Kept]:
    """The templates that are there, whole or not, the last used first."""
    found = []
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.suffix == ".lock" or not folder.is_dir():
            continue
        unfinished = folder.suffix == _UNFINISHED
        about = None if unfinished else _about(folder)
        with contextlib.suppress(OSError):
            used = (folder if about is None else folder / _ABOUT).stat().st_mtime
            size = sum(file.stat().st_blocks * 512 for file in folder.iterdir())
            parts = {name: str(value) for name, value in about["parts"].items()} if about is not None else {}
            whole = about is not None and _as_made(folder, about)
            found.append(Kept(folder.stem, folder, parts, size, used, whole, unfinished))
    return sorted(found, key=lambda each: -each.used)


def limit() -> int:
    """How much they may take together: VMLAN_TEMPLATES, a size with a unit ("2G"); else `LIMIT`."""
    given = os.environ.get("VMLAN_TEMPLATES")
    if not given:
        return LIMIT
    from vmlan.labfile import values

    try:
        return values.size("1M")(given)
    except values.Wrong as wrong:
        raise HostError(f"VMLAN_TEMPLATES: {wrong.what}", hint=wrong.hint) from None


def keep_within(root: Path, most: int, spare: str = "") -> list[Kept]:
    """Remove what is no template, and then those not used for longest, until the others fit.

    `spare` stays in any case. Returns what was removed. One that is being made just now stays too.
    """
    gone: list[Kept] = []
    left = most
    for each in kept(root):
        if each.unfinished:
            if not is_being_made(each):
                gone.append(each)
            continue
        left -= each.size
        if each.key != spare and (left < 0 or not each.whole):
            left += each.size
            gone.append(each)
    for each in gone:
        remove(each.folder)
    _remove_locks(root)
    return gone


def discard(root: Path, keys: Sequence[str]) -> list[Kept]:
    """Remove these templates, or what there is of them. Raises `UnknownName`, `Busy`; then nothing was."""
    there = kept(root)
    for key in keys:
        found = [each for each in there if each.key == key]
        if not found:
            known = {each.key for each in there}
            raise UnknownName(
                f"there is no template {key}", hint=did_you_mean(key, known, "vmlan template ls lists them")
            )
        if any(each.unfinished and is_being_made(each) for each in found):
            raise Busy(f"template {key} is being made just now", hint="try again when that `up` is done")
    gone = [each for each in there if each.key in keys]
    for each in gone:
        remove(each.folder)
    _remove_locks(root)
    return gone


def is_being_made(unfinished: Kept) -> bool:
    """Whether somebody is at it, rather than was when he was killed."""
    try:
        with unfinished.folder.with_suffix(".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _remove_locks(root: Path) -> None:
    """Those of templates that are gone, and which nobody holds."""
    for path in root.glob("*.lock") if root.is_dir() else ():
        folder = path.with_suffix("")
        if folder.exists() or made_in(folder).exists():
            continue
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def differences(root: Path, parts: Mapping[str, str]) -> str:
    """Why a template has to be made, in words: in what the most similar one is another."""
    best: tuple[int, str] | None = None
    for each in kept(root):
        if each.parts == parts:
            return f"there is one, {each.key}, but its files are not as they were made"
        differing = [name for name, value in parts.items() if each.parts.get(name) != value]
        # What follows from another part says nothing by itself.
        told = [name for name in differing if name != "command line"] or differing
        words = ", ".join(f"{name} ({each.parts.get(name, 'none')} there)" for name in told)
        if each.parts and (best is None or len(told) < best[0]):
            best = (len(told), f"the nearest is {each.key}, with another {words}")
    return best[1] if best else "there is none yet"
