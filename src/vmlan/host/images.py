"""Looking at image files before anything is started: what they are, and whether somebody uses them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Literal

from vmlan.errors import Busy, HostError, RequestError
from vmlan.host.run import Result, run
from vmlan.plan.facts import ImageFacts

#: The first bytes of a qcow2 image (QEMU, docs/interop/qcow2.txt).
_QCOW2 = b"QFI\xfb"

#: Where an ISO 9660 volume descriptor says that it is one (ECMA-119, 8.4).
_ISO_MARK, _ISO_AT = b"CD001", 32769

#: Floppy sizes in bytes: 160K to 2.88M (QEMU, hw/block/fdc.c).
_FLOPPY_SIZES = {
    kib * 1024
    for kib in (160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 1743, 2880, 3120, 3200, 3360, 3444)
}

#: Images that we know to be neither, and whose bytes must not become a guest's raw disk by accident.
_OTHERS = {
    b"KDMV": "VMDK",
    b"vhdxfile": "VHDX",
    b"conectix": "VHD",
    b"\x7fELF": "an ELF program",
    b"QED\0": "QED",
}


def look(path: Path, *, who: str, written: bool, shared: bool = False) -> ImageFacts:
    """What the image at `path` is; `who` names the machine in errors, `written` says that it will be written.

    `shared`: it may be open elsewhere, because the lab that asks is running.

    Raises `RequestError` if there is no such image, `Busy` if it is open elsewhere.
    """
    if not path.exists():
        raise RequestError(f"machine {who}: there is no image {path}", hint=_similar(path))
    if path.is_dir():
        raise RequestError(f"machine {who}: {path} is a folder, not an image")
    if not (path.is_file() or path.is_block_device()):
        raise RequestError(f"machine {who}: {path} is neither a file nor a block device")
    mode = os.R_OK | (os.W_OK if written else 0)
    if not os.access(path, mode):
        need = "read and write" if written else "read"
        raise RequestError(
            f"machine {who}: you may not {need} {path}", hint=f"ls -l {path} shows whose it is"
        )
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(_ISO_AT)
        mark = file.read(len(_ISO_MARK))
    if not head:
        raise RequestError(f"machine {who}: {path} is empty", hint="a new disk is written {size: 8G}")
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise RequestError(
                f"machine {who}: {path} is {name}, and vmlan takes qcow2 and raw images",
                hint=f"qemu-img convert -O qcow2 {path.name} {path.stem}.qcow2",
            )
    format_: Literal["qcow2", "raw"] = "qcow2" if head.startswith(_QCOW2) else "raw"
    size = _virtual_size(path, format_, who, ["-U"] if shared else [])
    medium: Literal["disk", "cdrom", "floppy"] = "disk"
    if mark == _ISO_MARK:
        medium = "cdrom"
    elif format_ == "raw" and size in _FLOPPY_SIZES:
        medium = "floppy"
    return ImageFacts(path, format_, medium, size)


def _virtual_size(path: Path, format_: str, who: str, share: list[str]) -> int:
    """Ask qemu-img, which also takes the image's locks, and so finds out whether it is in use."""
    result = run(["qemu-img", "info", *share, "--output=json", "-f", format_, str(path)], check=False)
    _refuse_if_locked(result, path, who)
    if not result.ok:
        raise HostError(
            f"machine {who}: qemu-img cannot read {path}:\n    {result.stderr.strip()}",
            hint="qemu-img check says more",
        )
    return int(json.loads(result.stdout)["virtual-size"])


def is_locked(result: Result) -> bool:
    """Whether qemu-img failed because somebody has the image open (QEMU, block/file-posix.c)."""
    return not result.ok and re.search(r'Failed to get (shared )?"\w+" lock', result.stderr) is not None


def in_use(disk: Path) -> bool:
    """Whether a qcow2 disk of ours is open in some QEMU."""
    return is_locked(run(["qemu-img", "info", "-f", "qcow2", str(disk)], check=False))


def _refuse_if_locked(result: Result, path: Path, who: str) -> None:
    if is_locked(result):
        holders = "; ".join(_holders(path)) or "another process"
        raise Busy(
            f"machine {who}: {path} is open elsewhere: {holders}",
            hint="two writers would destroy it; stop the other one, or take a copy-on-write disk: {base: …}",
        )


def _holders(path: Path) -> list[str]:
    """Who has the file open, as far as this user may see: `NAME (pid N)`."""
    there = path.stat()
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            files = [fd.stat() for fd in (process / "fd").iterdir() if fd.exists()]
            if any((file.st_dev, file.st_ino) == (there.st_dev, there.st_ino) for file in files):
                found.append(f"{_title(process)} (pid {process.name})")
        except OSError:
            continue  # somebody else's process, or one that has just ended
    return found


def _title(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if "-name" in words:
        return f"machine {words[words.index('-name') + 1]}"
    return Path(words[0]).name


def _similar(path: Path) -> str | None:
    import difflib

    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    close = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()], n=1)
    return f"did you mean {folder / close[0]}?" if close else None
