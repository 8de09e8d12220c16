"""Looking at image files before anything is started: what they are, and whether somebody uses them."""

from __future__ import annotations

import json
import os
import re
import shlex
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmlan.errors import Busy, HostError, RequestError
from vmlan.host import backing, bases, qcow2
from vmlan.host.run import Result, run
from vmlan.plan.facts import ImageFacts
from vmlan.spelling import nearest

#: Where an ISO 9660 volume descriptor says that it is one (ECMA-119, 8.4).
ISO_MARK, _ISO_AT = b"CD001", 32769

#: Floppy sizes in bytes: 160K to 2.88M (QEMU, hw/block/fdc.c).
_FLOPPY_SIZES = {
    kib * 1024
    for kib in (160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 1743, 2880, 3120, 3200, 3360, 3444)
}


@dataclass(frozen=True)
class _Other:
    """A kind of file that is no image for us; `format`: what qemu-img calls it; `unpack`: what opens it.

    `at`: where its mark is, from the end if negative.
    """

    mark: bytes
    name: str
    format: str | None = None
    unpack: str | None = None
    at: int = 0


#: Images that we know to be neither, and whose bytes must not become a guest's raw disk by accident.
#: (Each mark: what QEMU's driver of that name probes for, block/*.c; a DMG has only a trailer. LUKS is not
#: among them: a guest that encrypts its whole raw disk makes one, and it is a raw disk all the same.)
_OTHERS = (
    _Other(b"KDMV", "a VMDK image", "vmdk"),
    _Other(b"COWD", "a VMDK image", "vmdk"),
    _Other(b"# Disk DescriptorFile", "the descriptor of a VMDK image", "vmdk"),
    _Other(b"vhdxfile", "a VHDX image", "vhdx"),
    _Other(b"conectix", "a VHD image", "vpc"),
    _Other(b"QED\0", "a QED image", "qed"),
    _Other(b"\x7f\x10\xda\xbe", "a VDI image", "vdi", at=0x40),
    _Other(b"WithoutFreeSpace", "a Parallels image", "parallels"),
    _Other(b"WithouFreSpacExt", "a Parallels image", "parallels"),
    _Other(b"Bochs Virtual HD Image", "a Bochs image", "bochs"),
    _Other(b"#!/bin/sh\n#V2.0 Format\n", "a cloop image", "cloop"),
    _Other(b"koly", "a DMG image", "dmg", at=-512),
    _Other(b"\x7fELF", "an ELF program"),
)

#: What is packed: as a raw disk has whole sectors, and what is packed has them by chance alone, a disk on
#: which a guest wrote an archive is not taken for one. (RFC 1952, RFC 8878, xz-file-format, APPNOTE.TXT.)
_PACKED = (
    _Other(b"\x1f\x8b", "packed with gzip", unpack="gzip -dk"),
    _Other(b"\xfd7zXZ\0", "packed with xz", unpack="xz -dk"),
    _Other(b"\x28\xb5\x2f\xfd", "packed with zstd", unpack="zstd -d"),
    _Other(b"BZh", "packed with bzip2", unpack="bzip2 -dk"),
    _Other(b"PK\3\4", "a ZIP archive", unpack="unzip"),
    _Other(b"7z\xbc\xaf\x27\x1c", "a 7z archive", unpack="7z x"),
)
_PACKED_NAMES = {".gz", ".xz", ".zst", ".bz2", ".zip", ".7z", ".tgz"}
_SECTOR = 512


def look(
    path: Path,
    *,
    who: str | None = None,
    written: bool,
    shared: bool = False,
    trusted: Collection[Path] = (),
) -> ImageFacts:
    """What the image at `path` is; `who` names the machine in errors, `written` says that it will be written.

    `shared`: it may be open elsewhere, because the lab that asks is running. `trusted`: bases that the
    user names for it, which then may be in other folders.

    Raises `RequestError` if there is no such image, or it would make QEMU open what it must not
    (`host.backing`); `Busy` if it is open elsewhere, or would be written and is the base of overlays.
    """
    by = f"machine {who}: " if who else ""
    _is_readable(path, written, by)
    _refuse_others(path, by)
    header = backing.header(path, by)
    # A raw disk has whole sectors, whatever it is called; a web server's error page has them by chance alone.
    if header is None and path.suffix == ".qcow2" and path.is_file() and path.stat().st_size % _SECTOR:
        raise RequestError(
            f"{by}{path} is called a qcow2 image, and is none",
            hint=f"look at it (head -c 200 {path.name}); if it is a raw disk, call it {path.stem}.img",
        )
    if header is not None and not shared:
        refuse_if_cut(path, by)
    chain = backing.follow(path, header, who=by, trusted=trusted) if header else ()
    for link in chain:
        if link.format == "raw":
            _refuse_others(link.path, by)
    format_: Literal["qcow2", "raw"] = "qcow2" if header else "raw"
    size = _virtual_size(path, format_, by, ["-U"] if shared else [])
    if written and not shared:
        bases.protect(path, doing="written to", who=by)
    # The real path: a disk over this image has it inside, and must not lose it with a link or a folder.
    return ImageFacts(Path(os.path.realpath(path)), format_, _medium(path, format_, size), size, chain)


def refuse_if_cut(path: Path, by: str = "") -> None:
    """Refuse half a copy of an image, whose missing half would read as zeros. Not for one that is in use."""
    if (end := qcow2.cut_at(path)) is not None:
        raise RequestError(
            f"{by}{path} is cut short: it ends after {end} bytes, and has data behind that",
            hint="copy or fetch it again; qemu-img check says more",
        )


def check_initrd(kernel: Path, initrd: Path, *, who: str) -> None:
    """Refuse an initrd's path that QEMU would take for several files, as it does for a Multiboot kernel.

    It then reads `FILE ARGUMENTS,FILE ARGUMENTS`; a comma can be doubled, a space cannot be written at
    all (QEMU, hw/i386/multiboot.c). For Linux the path is taken as it is. Raises `RequestError`.
    """
    with kernel.open("rb") as file:
        head = file.read(8192)
    is_linux = head[0x202:0x206] == b"HdrS"  # the boot protocol's mark, which QEMU looks for first
    if is_linux or not any(
        word == 0x1BADB002 and (word + flags + check) & 0xFFFFFFFF == 0
        for word, flags, check in (struct.unpack_from("<III", head, at) for at in range(0, len(head) - 12, 4))
    ):
        return
    if found := re.search("[, ]", str(initrd)):
        name = "comma" if found[0] == "," else "space"
        raise RequestError(
            f"machine {who}: {kernel.name} is a Multiboot kernel, for which QEMU would take the {name} in"
            f" {initrd} for the end of the file's name, and open another",
            hint="give the file, and the folders that it is in, names without commas and spaces",
        )


def _is_readable(path: Path, written: bool, by: str) -> None:
    if not path.exists():
        if path.is_symlink():
            raise RequestError(f"{by}{path} is a link to a file that is not there: {path.readlink()}")
        raise RequestError(f"{by}there is no image {path}", hint=_similar(path))
    if path.is_dir():
        raise RequestError(f"{by}{path} is a folder, not an image")
    if not (path.is_file() or path.is_block_device()):
        raise RequestError(f"{by}{path} is neither a file nor a block device")
    if not os.access(path, os.R_OK | (os.W_OK if written else 0)):
        need = "read and write" if written else "read"
        raise RequestError(f"{by}you may not {need} {path}", hint=f"ls -l {path} shows whose it is")


def _refuse_others(path: Path, by: str) -> None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise RequestError(f"{by}{path} is empty", hint="a new disk is written {size: 8G}")
        packed = size % _SECTOR != 0 or path.suffix.lower() in _PACKED_NAMES
        for other in (*_OTHERS, *(_PACKED if packed else ())):
            if other.at < -size:
                continue
            file.seek(other.at, os.SEEK_END if other.at < 0 else os.SEEK_SET)
            if file.read(len(other.mark)) == other.mark:
                raise RequestError(
                    f"{by}{path} is {other.name}, and vmlan takes qcow2 and raw images",
                    hint=_make(path, other),
                )


def _make(path: Path, other: _Other) -> str | None:
    """How an image is made of what is none."""
    name = shlex.quote(str(path))
    if other.unpack:
        return f"{other.unpack} {name}"
    target = shlex.quote(str(path.with_suffix(".qcow2")))
    return f"qemu-img convert -f {other.format} -O qcow2 {name} {target}" if other.format else None


def _medium(path: Path, format_: str, size: int) -> Literal["disk", "cdrom", "floppy"]:
    if format_ == "qcow2":
        return "disk"
    with path.open("rb") as file:
        file.seek(_ISO_AT)
        if file.read(len(ISO_MARK)) == ISO_MARK:
            return "cdrom"
    return "floppy" if size in _FLOPPY_SIZES else "disk"


def _virtual_size(path: Path, format_: str, by: str, share: list[str]) -> int:
    """Ask qemu-img, which also takes the image's locks, and so finds out whether it is in use."""
    result = run(
        ["qemu-img", "info", *share, "--output=json", "-f", format_, str(path.absolute())], check=False
    )
    _refuse_if_locked(result, path, by)
    if not result.ok:
        raise HostError(
            f"{by}qemu-img cannot read {path}:\n    {result.stderr.strip()}",
            hint="qemu-img check says more",
        )
    return int(json.loads(result.stdout)["virtual-size"])


def is_locked(result: Result) -> bool:
    """Whether qemu-img failed because somebody has the image open (QEMU, block/file-posix.c)."""
    return not result.ok and re.search(r'Failed to get (shared )?"\w+" lock', result.stderr) is not None


def in_use(disk: Path) -> bool:
    """Whether a qcow2 disk of ours is open in some QEMU."""
    return is_locked(run(["qemu-img", "info", "-f", "qcow2", str(disk.absolute())], check=False))


def _refuse_if_locked(result: Result, path: Path, by: str) -> None:
    if is_locked(result):
        who = "; ".join(holders(path)) or "another process"
        raise Busy(
            f"{by}{path} is open elsewhere: {who}",
            hint="two writers would destroy it; stop the other one, or take a copy-on-write disk: {base: …}",
        )


def holders(path: Path) -> list[str]:
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
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either"
    close = nearest(path.name, [entry.name for entry in folder.iterdir()])
    return f"did you mean {folder / close}?" if close else None
