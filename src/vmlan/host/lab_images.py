"""A lab's images and disks, looked at before anything starts: fetched, readable, as the file has them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from vmlan.catalogue import CATALOGUE, Role
from vmlan.errors import RequestError
from vmlan.host import bases, images
from vmlan.host import named as host_named
from vmlan.host.run import run
from vmlan.model import FileDisk, Lab, Machine, Medium, Named, NewDisk, OverlayDisk
from vmlan.plan.facts import Facts, ImageFacts
from vmlan.plan.hardware import all_disks


def fetch(lab: Lab, progress: Callable[[str], None]) -> dict[str, dict[Role, Path]]:
    """The files of each image of the catalogue that the lab uses, fetched if need be."""
    names = {
        medium.name
        for machine in lab.machines
        for medium in (
            *(medium for medium, _ in media_of(machine)),
            *(disk.base for disk in machine.disks if isinstance(disk, FileDisk)),
            machine.kernel,
            machine.initrd,
        )
        if isinstance(medium, Named)
    }
    return {name: host_named.files(name, progress) for name in sorted(names)}


def look(
    lab: Lab, named: dict[str, dict[Role, Path]], *, shared: bool
) -> Iterator[tuple[Medium, ImageFacts]]:
    """Each image of the lab. A file may be many machines' base, or one machine's disk, and not both."""
    writers = _writers(lab)
    for machine in lab.machines:
        _check_kernel(machine)
        for medium, written in media_of(machine):
            if isinstance(medium, Path):
                yield medium, _look_at_file(machine, medium, written, writers, named, shared=shared)
            elif "image" in named[medium.name]:
                path = named[medium.name]["image"]
                found = images.look(path, who=machine.name, written=False, shared=shared)
                yield medium, replace(found, medium=CATALOGUE[medium.name].medium or found.medium)
            elif medium is not machine.image:
                raise RequestError(
                    f"machine {machine.name}: {medium} is a kernel, and no disk or medium",
                    hint=f"write image: {medium}",
                )


def _writers(lab: Lab) -> dict[str, str]:
    """Which machine writes to each file of the user's, by the file's real path; one only may."""
    writers: dict[str, str] = {}
    for machine in lab.machines:
        for medium, written in media_of(machine):
            if not (written and isinstance(medium, Path)):
                continue
            real = os.path.realpath(medium)
            if writers.get(real) == machine.name:
                raise RequestError(f"machine {machine.name} has {medium} twice, and would write to it")
            if real in writers:
                raise RequestError(
                    f"machines {writers[real]} and {machine.name} would both write to {medium}",
                    hint="give each a copy-on-write disk: {base: …}",
                )
            writers[real] = machine.name
    return writers


def _check_kernel(machine: Machine) -> None:
    for file in (machine.kernel, machine.initrd):
        if isinstance(file, Path) and not os.access(file, os.R_OK):
            raise RequestError(f"machine {machine.name}: there is no readable file {file}")
    if isinstance(machine.kernel, Path) and isinstance(machine.initrd, Path):
        images.check_initrd(machine.kernel, machine.initrd, who=machine.name)


def _look_at_file(
    machine: Machine,
    path: Path,
    written: bool,
    writers: dict[str, str],
    named: dict[str, dict[Role, Path]],
    *,
    shared: bool,
) -> ImageFacts:
    writer = writers.get(os.path.realpath(path))
    if not written and writer is not None:
        raise RequestError(
            f"machine {machine.name} uses {path} as a base, and machine {writer} would write to it",
            hint="a base must stay as it is: give both a copy-on-write disk",
        )
    trusted = _bases_said(machine, path, named)
    found = images.look(path, who=machine.name, written=written, shared=shared, trusted=trusted)
    if trusted and not found.chain:
        raise RequestError(
            f"machine {machine.name}: {path} is over no base, and the file says that it is over {trusted[0]}",
            hint="leave base: out; a copy-on-write disk over it would be {base: …} alone",
        )
    return found


def _bases_said(machine: Machine, image: Path, named: dict[str, dict[Role, Path]]) -> list[Path]:
    """What the file says that an image of the user's is over: `{file: …, base: …}`."""
    said = [disk.base for disk in machine.disks if isinstance(disk, FileDisk) and disk.path == image]
    return [
        base if isinstance(base, Path) else named[base.name]["image"] for base in said if base is not None
    ]


def media_of(machine: Machine) -> Iterator[tuple[Medium, bool]]:
    """A machine's images, and whether it writes to each."""
    if isinstance(machine.image, Path | Named):
        yield machine.image, False
    for disk in machine.disks:
        if isinstance(disk, FileDisk):
            yield disk.path, not disk.read_only
        elif isinstance(disk, OverlayDisk):
            yield disk.base, False
    for cdrom in machine.cdrom:
        yield cdrom, False
    for medium in (*machine.floppy, *machine.usb):
        yield medium, isinstance(medium, Path)


def check_disks(lab: Lab, facts: Facts) -> None:
    """Disks are as the file has them: a new one is large enough, a kept one the same; none is remade.

    Raises `RequestError`, or `Busy` for a kept one that is the base of another.
    """
    known = tuple(bases.overlays())
    for machine in lab.machines:
        for index, disk in all_disks(machine, facts):
            if isinstance(disk, OverlayDisk):
                _holds_its_base(machine, index, disk, facts.images[disk.base])
            path = facts.layout.machine(machine.name).disk(index)
            if isinstance(disk, FileDisk) or not path.exists():
                continue
            bases.protect(path, doing="written to", who=f"machine {machine.name}: ", among=known)
            what = json.loads(
                run(["qemu-img", "info", "-U", "--output=json", "-f", "qcow2", str(path)]).stdout
            )
            _same_disk(machine, index, disk, what, facts)


def _holds_its_base(machine: Machine, index: int, disk: OverlayDisk, base: ImageFacts) -> None:
    if disk.size is not None and disk.size < base.virtual_size:
        raise RequestError(
            f"machine {machine.name}, disk {index}: {disk.size} bytes are less than its base has"
            f" ({base.virtual_size}), and would cut off its end",
            hint="leave size: out, or write a larger one",
        )


def _same_disk(
    machine: Machine, index: int, disk: NewDisk | OverlayDisk, what: dict[str, object], facts: Facts
) -> None:
    base = str(facts.images[disk.base].path) if isinstance(disk, OverlayDisk) else None
    kept_base = what.get("backing-filename")
    if (kept_base is None) != (base is None) or not (
        base is None or bases.same_file(Path(str(kept_base)), Path(base))
    ):
        said, kept = f"over {base}" if base else "a new one", what.get("backing-filename") or "a new one"
        problem = f"the file says {said}, but the disk that was kept is {kept}"
    elif disk.size and what.get("virtual-size") != -(-disk.size // 512) * 512:  # qemu-img makes whole sectors
        problem = (
            f"the file says {disk.size} bytes, but the disk that was kept has {what.get('virtual-size')}"
        )
    else:
        return
    raise RequestError(
        f"machine {machine.name}, disk {index}: {problem}",
        hint="`vmlan down --disks` removes kept disks, with all that is on them",
    )
