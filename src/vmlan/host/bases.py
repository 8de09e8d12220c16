"""Which overlays of a base are known: those that vmlan made, in labs and by `vmlan disk clone`.

    $XDG_STATE_HOME/vmlan/overlays/DIGEST.json   an overlay that `disk clone` made, and its base
    $XDG_STATE_HOME/vmlan/ID/MACHINE/*.qcow2     the disks of labs

Nothing of it is believed without a look: an overlay counts while the file is there and its header
names the base. A base whose bytes change makes nonsense of its overlays (qemu-img(1), "Warning:
Never use qemu-img to modify images in use"; docs/system/images: overlays), so it is protected.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vmlan.errors import Busy
from vmlan.host import paths, qcow2


@dataclass(frozen=True)
class Overlay:
    """A copy-on-write disk that vmlan made, and the image that it is over (as it is now).

    `lab` is the lab's id and `machine` the machine whose disk it is; None for a clone.
    """

    path: Path
    base: Path
    lab: str | None = None
    machine: str | None = None

    def __str__(self) -> str:
        return f"{self.path} (machine {self.machine} of lab {self.lab})" if self.lab else str(self.path)


def registry() -> Path:
    """The folder of the clones' entries; it is there while there are any."""
    return paths.state_root() / "overlays"


def record(overlay: Path, base: Path) -> None:
    """Remember that vmlan made `overlay` over `base`."""
    text = json.dumps({"overlay": str(overlay), "base": str(base), "device": overlay.parent.stat().st_dev})
    fd, name = _new_file(registry())
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
        Path(name).replace(_entry(overlay))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def forget(overlay: Path) -> bool:
    """Remember an overlay no longer; False if nothing was known of it."""
    entry = _entry(overlay)
    known = entry.exists()
    entry.unlink(missing_ok=True)
    _tidy()
    return known


def overlays() -> Iterator[Overlay]:
    """Every overlay that vmlan made and that is there. Entries of vanished ones are removed."""
    clones = (_read(entry) for entry in registry().glob("*.json"))
    yield from sorted((clone for clone in clones if clone), key=lambda clone: clone.path)
    for disk in sorted(paths.state_root().glob("*/*/*.qcow2")):
        if base := backing(disk):
            yield Overlay(disk, base, disk.parent.parent.name, disk.parent.name)


def overlays_of(base: Path) -> list[Overlay]:
    """The known overlays of an image; it may be spelled in any way, or be a link to the same file."""
    return [each for each in overlays() if same_file(each.base, base)]


def made_over(overlay: Path) -> Path | None:
    """The base of an overlay that vmlan itself made; None for an image of somebody else's."""
    return next((each.base for each in overlays() if same_file(each.path, overlay)), None)


def protect(
    base: Path,
    *,
    doing: str,
    who: str = "",
    but: Collection[Path] = (),
    among: Collection[Overlay] | None = None,
) -> None:
    """Raise `Busy` if overlays of `base` are known. `doing`: what it is protected from, as "removed".

    `who` stands before the message; `but`: overlays that do not count, as they go too. `among`: the
    overlays to look at, for who asks about many bases at once: finding them reads every one's header.
    """
    known = overlays() if among is None else among
    held = [
        each
        for each in known
        if same_file(each.base, base) and not any(same_file(each.path, path) for path in but)
    ]
    if not held:
        return
    shown = "".join(f"\n    {each}" for each in held[:10])
    more = f"\n    and {len(held) - 10} more" if len(held) > 10 else ""
    labs = any(each.lab for each in held)
    raise Busy(
        f"{who}{base} cannot be {doing}: it is the base of {_count(held)},"
        f" which would be lost with it:{shown}{more}",
        hint="remove them first ("
        + ("`vmlan down --disks` in the lab's folder, " if labs else "")
        + "`vmlan disk rm`), or make one independent: `vmlan disk clone --full`",
    )


def backing(disk: Path) -> Path | None:
    """The file that a qcow2 image says it is over, as a path; None if it has none or cannot be read."""
    try:
        header = qcow2.read(disk)
    except (OSError, qcow2.Broken):
        return None
    return disk.parent / header.backing if header and header.backing else None


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file; where there is none, whether they are spelled alike."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _read(entry: Path) -> Overlay | None:
    """What an entry says, if it still holds; the entry of an overlay that is no more is removed."""
    try:
        said = json.loads(entry.read_text())
        overlay, base, device = Path(said["overlay"]), Path(said["base"]), int(said["device"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    now = backing(overlay)
    if now is not None and same_file(now, base):
        return Overlay(overlay, base)
    if now is None and _is_away(overlay, device):
        return Overlay(overlay, base)
    entry.unlink(missing_ok=True)
    _tidy()
    return None


def _is_away(overlay: Path, device: int) -> bool:
    """Whether a file cannot be seen now rather than being gone: not ours to look at, or not mounted."""
    try:
        overlay.stat()
        return not os.access(overlay, os.R_OK)
    except PermissionError:
        return True
    except OSError:
        there = next(folder for folder in overlay.parents if folder.exists())
        return there.stat().st_dev != device


def _entry(overlay: Path) -> Path:
    """The entry's name: a digest of the overlay's path, whose folder is followed to where it really is."""
    where = os.path.realpath(overlay.parent)
    return registry() / f"{hashlib.sha256(os.fsencode(f'{where}/{overlay.name}')).hexdigest()[:16]}.json"


def _new_file(folder: Path) -> tuple[int, str]:
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return tempfile.mkstemp(dir=folder)
        except FileNotFoundError:
            continue  # another vmlan has just forgotten the last entry


def _tidy() -> None:
    with suppress(OSError):  # it is not empty, or not there
        registry().rmdir()


def _count(held: list[Overlay]) -> str:
    return "an overlay" if len(held) == 1 else f"{len(held)} overlays"
