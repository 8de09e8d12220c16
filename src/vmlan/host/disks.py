"""Making, describing and removing disk images: what `vmlan disk` does.

No name of a file can be an option or a protocol to qemu-img: every name that it is given is absolute,
and a name that begins with a slash is a file to it (QEMU, block.c, path_has_protocol). The format is
always said. Nothing is ever written over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmlan.catalogue import CATALOGUE
from vmlan.errors import Busy, RequestError, VmlanError
from vmlan.host import backing, bases, images, lock, named, paths, qcow2
from vmlan.host.run import find, need, run
from vmlan.plan.facts import ImageFacts

#: What a raw image may be called; a raw one is any bytes, so that its name must say that it is one.
_IMAGE_NAMES = {".img", ".raw", ".iso", ".dd", ".qcow2", ".ima", ".vfd", ".flp"}


@dataclass(frozen=True)
class Made:
    """A disk that was made, of `virtual_size` bytes, in so many milliseconds; `base`: what it is over."""

    path: Path
    virtual_size: int
    base: Path | None
    milliseconds: float


@dataclass(frozen=True)
class Link:
    """An image below another."""

    path: Path
    format: str


@dataclass(frozen=True)
class Info:
    """A disk image. Sizes in bytes; `allocated`: what it takes on this machine's disk.

    `chain`: what it is over; `overlays`: what vmlan made over it; `users`: who has it open, as far as
    this user may see. `lab` and `machine`: whose disk it is, if vmlan made it for one.
    """

    path: Path
    format: Literal["qcow2", "raw"]
    medium: Literal["disk", "cdrom", "floppy"]
    virtual_size: int
    allocated: int
    chain: tuple[Link, ...]
    overlays: tuple[Path, ...]
    users: tuple[str, ...]
    lab: str | None
    machine: str | None


@dataclass(frozen=True)
class Row:
    """A disk in a list. `kind` "lab": of a lab's machine; "clone"; "base": of known overlays; "image".

    `problem`: why it cannot be used, for which nothing else may be known of it.
    """

    path: Path
    kind: Literal["lab", "clone", "base", "image"]
    virtual_size: int | None
    allocated: int
    base: Path | None = None
    lab: str | None = None
    machine: str | None = None
    problem: str | None = None


def resolve(name: str, progress: Callable[[str], None] = lambda _: None) -> Path:
    """The file that a name of the catalogue, or a path, stands for; absolute, links not followed.

    An image of the catalogue is fetched or built if need be. Raises `RequestError`.
    """
    if name in CATALOGUE:
        files = named.files(name, progress)
        if "image" not in files:
            raise RequestError(
                f"{name} is a kernel, and no disk", hint=f"a machine boots it as image: {name}"
            )
        return files["image"].absolute()
    if not name:
        raise RequestError("the name of a file is empty")
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:
        return Path(name).absolute()


def create(path: Path, size: int) -> Made:
    """Make an empty qcow2 disk of `size` bytes. Raises `RequestError` if there is something already."""
    need("qemu-img")
    if path.suffix in _IMAGE_NAMES - {".qcow2"}:
        raise RequestError(
            f"{path.name} would be a qcow2 image, and is called otherwise",
            hint=f"call it {path.stem}.qcow2; an empty raw disk is made by: truncate -s SIZE {path.name}",
        )
    began = time.perf_counter()
    with _new(path):
        run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size)])
    return Made(path, _size(path), None, _since(began))


def clone(base: Path, targets: Sequence[Path], size: int | None = None, *, full: bool = False) -> list[Made]:
    """Make copies of an image: overlays of it, or, if `full`, disks of their own. All of them, or none.

    Overlays have the base's real path in them, so that a link that later leads elsewhere does not put
    another disk below them. `size`: more bytes than the base has. Raises `RequestError`, `Busy`.
    """
    need("qemu-img")
    found = images.look(base, written=False)
    real = Path(os.path.realpath(base))
    _can_be_over(found, real, size, full)
    made: list[Made] = []
    try:
        for target in targets:
            began = time.perf_counter()
            with _new(target):
                if full:
                    _copy(found, real, target, size)
                else:
                    _overlay(found, real, target, size)
            made.append(Made(target, _size(target), None if full else real, _since(began)))
    except BaseException:
        for one in made:
            one.path.unlink(missing_ok=True)
            bases.forget(one.path)
        raise
    return made


def info(path: Path) -> Info:
    """What an image is, what it is over, what is over it and who uses it. It may be in use."""
    found = images.look(path, written=False, shared=True)
    users = tuple(images.holders(path))
    if not users:
        images.refuse_if_cut(path)
    known = list(bases.overlays())
    itself = next((each for each in known if bases.same_file(each.path, path)), None)
    return Info(
        path=path,
        format=found.format,
        medium=found.medium,
        virtual_size=found.virtual_size,
        allocated=_allocated(path),
        chain=tuple(Link(link.path, link.format) for link in found.chain),
        overlays=tuple(each.path for each in known if bases.same_file(each.base, path)),
        users=users,
        lab=itself.lab if itself else _lab_of(path)[0],
        machine=itself.machine if itself else _lab_of(path)[1],
    )


def known() -> list[Row]:
    """Every disk that vmlan knows of: its labs' kept disks, the clones that it made, and their bases."""
    found = list(bases.overlays())
    over = {each.path: each for each in found}
    rows = [_row(disk, "lab", over[disk].base if disk in over else None) for disk in _lab_disks()]
    rows += [_row(each.path, "clone", each.base) for each in found if each.lab is None]
    listed = {row.path for row in rows}
    roots = sorted({each.base for each in found} - listed)
    return rows + [_row(base, "base", bases.backing(base)) for base in roots]


def folder(where: Path) -> list[Row]:
    """The images in a folder: what is qcow2, or is named as an image is."""
    if not where.is_dir():
        raise RequestError(f"{where} is no folder", hint=f"vmlan disk info {where} describes a file")
    found = list(bases.overlays())
    rows: list[Row] = []
    for path in sorted(where.iterdir()):
        if not path.is_file() or not _is_image(path):
            continue
        one = next((each for each in found if bases.same_file(each.path, path)), None)
        is_base = any(bases.same_file(each.base, path) for each in found)
        kind: Literal["clone", "base", "image"] = "clone" if one else "base" if is_base else "image"
        rows.append(_row(path, kind, one.base if one else bases.backing(path)))
    return rows


def remove(targets: Sequence[Path]) -> list[Path]:
    """Remove images, and what is known of them; all are looked at before the first is removed.

    Raises `RequestError` for what is no image, `Busy` for one that is in use or is the base of overlays
    that stay. An overlay that is gone already is forgotten.
    """
    with lock.exclusive(bases.registry(), wait=5.0):
        gone = [path for path in targets if not os.path.lexists(path) and bases.forget(path)]
        there = [path for path in targets if path not in gone]
        for path in there:
            _can_go(path, there)
        for path in sorted(there, key=_depth, reverse=True):  # no base before what is over it
            path.unlink()
            bases.forget(path)
            _leave_nothing(path)
    return list(targets)


@contextmanager
def _new(path: Path) -> Iterator[None]:
    """A place for a file that is not there yet; what was made there is removed if it fails."""
    try:
        with path.open("xb"):
            pass
    except FileExistsError:
        raise RequestError(
            f"there is already something at {path}, and it stays as it is",
            hint="choose another name, or remove it: vmlan disk rm",
        ) from None
    except OSError as error:
        raise RequestError(f"{path} cannot be made: {error.strerror}") from None
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        bases.forget(path)
        raise


def _can_be_over(base: ImageFacts, real: Path, size: int | None, full: bool) -> None:
    if size is not None and size < base.virtual_size:
        raise RequestError(
            f"{base.path} has {base.virtual_size} bytes, and the copy cannot have less: {size}",
            hint="leave --size out: a copy is as large as what it is a copy of",
        )
    if not full and len(os.fsencode(real)) > qcow2.NAME_MAX:
        raise RequestError(
            f"the path of {base.path} is longer than the {qcow2.NAME_MAX} bytes that an overlay has for it",
            hint="move it to a shorter path, or make an independent copy: --full",
        )


def _overlay(base: ImageFacts, real: Path, target: Path, size: int | None) -> None:
    larger = (str(size),) if size is not None else ()
    with lock.exclusive(bases.registry(), wait=5.0):
        run(
            [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-b",
                str(real),
                "-F",
                base.format,
                str(target),
                *larger,
            ]
        )
        bases.record(target, real)


def _copy(base: ImageFacts, real: Path, target: Path, size: int | None) -> None:
    """An independent qcow2 copy: shared with the base by the file system where it can, else converted."""
    if base.format == "qcow2" and not base.chain and find("cp"):
        run(["cp", "--reflink=auto", "--sparse=auto", "--", str(real), str(target)])
        target.chmod(0o666 & ~_umask())
    else:
        formats = [base.format, *base.backing]
        drivers = ",".join(f"{'backing.' * depth}driver={name}" for depth, name in enumerate(formats))
        source = f"{drivers},file.filename={str(real).replace(',', ',,')}"
        run(["qemu-img", "convert", "-q", "--image-opts", "-O", "qcow2", source, str(target)])
    if size is not None:
        run(["qemu-img", "resize", "-q", "-f", "qcow2", str(target), str(size)])


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _can_go(path: Path, others: Sequence[Path]) -> None:
    if path.is_symlink():
        raise RequestError(f"{path} is a link to {path.readlink()}", hint="name the image itself")
    if not path.exists():
        raise RequestError(f"there is no image {path}")
    if not path.is_file():
        raise RequestError(f"{path} is no file", hint="vmlan disk rm removes image files alone")
    if not _is_image(path):
        raise RequestError(
            f"{path} does not look like a disk image", hint="vmlan disk rm removes nothing else; rm(1) does"
        )
    if users := images.holders(path):
        raise Busy(f"{path} is in use: {'; '.join(users)}", hint="stop it first")
    if images.in_use(path):
        raise Busy(f"{path} is in use by another process", hint="stop it first")
    bases.protect(path, doing="removed", but=[other for other in others if other != path])


def _depth(path: Path) -> int:
    """How many images a disk is over, as far as they are there."""
    depth, base = 0, bases.backing(path)
    while base is not None and depth < backing.LONGEST:
        depth, base = depth + 1, bases.backing(base)
    return depth


def _is_image(path: Path) -> bool:
    """Whether a file is a qcow2 image, or can be a raw one: by its name, or a mark that disks have."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(qcow2.MAGIC):
        return True
    size = path.stat().st_size
    boots = len(head) == 512 and head[510:] == b"\x55\xaa"  # a boot sector's last bytes
    return size > 0 and size % 512 == 0 and (boots or path.suffix.lower() in _IMAGE_NAMES)


def _leave_nothing(path: Path) -> None:
    """The folders of a lab's disks go with the last of them."""
    for parent in (path.parent, path.parent.parent):
        if paths.state_root() not in parent.parents or any(parent.iterdir()):
            return
        parent.rmdir()


def _lab_disks() -> list[Path]:
    return sorted(paths.state_root().glob("*/*/*.qcow2"))


def _lab_of(path: Path) -> tuple[str, str] | tuple[None, None]:
    """The lab's id and the machine whose disk this is."""
    if any(bases.same_file(path, disk) for disk in _lab_disks()):
        return path.parent.parent.name, path.parent.name
    return None, None


def _row(path: Path, kind: Literal["lab", "clone", "base", "image"], base: Path | None) -> Row:
    lab, machine = (path.parent.parent.name, path.parent.name) if kind == "lab" else (None, None)
    try:
        found = images.look(path, written=False, shared=True)
    except (VmlanError, OSError) as error:
        problem = error.what if isinstance(error, VmlanError) else str(error.strerror)
        return Row(path, kind, None, _allocated(path), base, lab, machine, problem)
    return Row(path, kind, found.virtual_size, _allocated(path), base, lab, machine)


def _size(path: Path) -> int:
    header = qcow2.read(path)
    assert header is not None
    return header.virtual_size


def _allocated(path: Path) -> int:
    """What a file takes on its disk: st_blocks counts in 512 bytes (stat(2))."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
