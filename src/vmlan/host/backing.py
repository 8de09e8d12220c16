"""What an overlay is over, link by link, and whether QEMU may open that.

A qcow2 image names the file below it, and QEMU opens whatever is named: a stranger's image can name
a file of yours, which its guest then reads, or a server on the network. So a name is followed only
inside the folder where the overlay really is, unless vmlan made the overlay or the user names the base.
Links are followed for this: what counts is where a file is, not how it is called.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from vmlan.errors import RequestError
from vmlan.host import bases, qcow2
from vmlan.host.qcow2 import Header
from vmlan.plan.facts import Backing

#: More links than anybody makes on purpose.
LONGEST = 64

#: QEMU takes what stands before a colon for a protocol, unless a slash comes first (QEMU, block.c,
#: path_has_protocol); `json:` is one of them.
_PROTOCOL = re.compile(r"[^/:]*:")

#: Names of raw media. A guest writes all bytes of its raw disk, so it can write a header as well.
_RAW_NAMES = {".img", ".raw", ".iso", ".dd", ".bin", ".ima", ".vfd", ".flp"}


def follow(
    path: Path, header: Header, *, who: str = "", trusted: Collection[Path] = ()
) -> tuple[Backing, ...]:
    """The chain below the image at `path`, whose header this is; nearest first.

    `who` stands before every message; `trusted`: bases that the user names. Raises `RequestError` if a
    link leads to where it may not, is missing, or is of no format that vmlan takes.
    """
    chain: list[Backing] = []
    seen = [path]
    _whole(path, header, who)
    recorded = False
    while header.backing is not None:
        base = _base(path, header.backing, header.backing_format, who, trusted, guessed=not recorded)
        if any(bases.same_file(base, other) for other in seen):
            raise RequestError(f"{who}{seen[0]} is over itself: {base} is in its chain twice")
        if len(chain) == LONGEST:
            raise RequestError(
                f"{who}{seen[0]} has more than {LONGEST} images below it",
                hint=f"vmlan disk clone --full {_word(seen[0].name)} NEW.qcow2 makes one of them all",
            )
        format_, recorded = _format(path, base, header, who), header.backing_format is not None
        chain.append(Backing(base, format_))
        seen.append(base)
        if format_ == "raw":
            break
        path, header = base, read(base, who)
    return tuple(chain)


def header(path: Path, who: str = "") -> Header | None:
    """The header of a qcow2 image, None for what is none. Raises `RequestError` if it makes no sense."""
    try:
        return qcow2.read(path)
    except qcow2.Broken as broken:
        raise RequestError(
            f"{who}{path} begins as a qcow2 image, but {broken}", hint="is it a whole copy of the image?"
        ) from None


def read(path: Path, who: str = "") -> Header:
    """The header of a qcow2 image that vmlan takes. Raises `RequestError`."""
    found = header(path, who)
    if found is None:
        raise RequestError(f"{who}{path} is no qcow2 image, though an overlay says that it is")
    _whole(path, found, who)
    return found


def _whole(path: Path, header: Header, who: str) -> None:
    if header.version == 1:
        raise RequestError(
            f"{who}{path} is a qcow image of version 1, and vmlan takes qcow2 and raw images",
            hint=f"qemu-img convert -f qcow -O qcow2 {_word(path.name)} {_word(path.stem + '-2.qcow2')}",
        )
    if header.external_data is not None:
        what = f"{shown(header.external_data)}" if header.external_data else "a file that it does not name"
        raise RequestError(
            f"{who}{path} keeps its data in another file, and would make QEMU open {what}",
            hint="vmlan takes images of one file; if you trust it, `qemu-img convert -O qcow2` makes one",
        )
    if header.encrypted:
        raise RequestError(
            f"{who}{path} is encrypted, and vmlan has no way to be told its key",
            hint="qemu-img convert, given the key, makes an image that is not encrypted",
        )


def _base(
    path: Path, name: str, format_: str | None, who: str, trusted: Collection[Path], *, guessed: bool
) -> Path:
    """The file that an overlay names. Raises `RequestError` if it may not be opened for it."""
    if _PROTOCOL.match(name) or not name:
        raise RequestError(
            f"{who}{path} would make QEMU open {shown(name)} below it, which is not the name of a file",
            hint="vmlan opens files alone; if you know what it should be over: "
            + _rebase(path, "BASE", format_),
        )
    base = path.absolute().parent / name
    hidden = guessed and path.suffix.lower() in _RAW_NAMES
    if (hidden or not _stays(path, base)) and not _is_known(path, base, trusted):
        raise _refusal(path, base, name, format_, who)
    if not (base.is_file() or base.is_block_device()):
        raise RequestError(
            f"{who}{path} is over {base}, and there is no such file",
            hint="if the base was moved: " + _rebase(path, "BASE", format_),
        )
    if not os.access(base, os.R_OK):
        raise RequestError(
            f"{who}{path} is over {base}, which you may not read", hint=f"ls -l {_word(str(base))}"
        )
    return base


def _is_known(path: Path, base: Path, trusted: Collection[Path]) -> bool:
    """Whether the user says that the image is over this base, or vmlan made it so."""
    if any(bases.same_file(base, one) for one in trusted):
        return True
    made = bases.made_over(path)
    return made is not None and bases.same_file(made, base)


def _stays(path: Path, base: Path) -> bool:
    """Whether the base is in the overlay's own folder or below it, and not in what is hidden there."""
    folder, there = Path(os.path.realpath(path)).parent, Path(os.path.realpath(base))
    return there.is_relative_to(folder) and not any(
        part.startswith(".") for part in there.relative_to(folder).parts
    )


def _refusal(path: Path, base: Path, name: str, format_: str | None, who: str) -> RequestError:
    if _stays(path, base):
        return RequestError(
            f"{who}{path} is called a raw image, and has the header of an overlay of {shown(name)}:"
            " a guest can write one onto its own disk, to read files of yours",
            hint=f"if it is an overlay, call it {_word(path.stem + '.qcow2')}",
        )
    there = Path(os.path.realpath(base))
    lies = f" (which is {there})" if str(there) != name else ""
    return RequestError(
        f"{who}{path} would make QEMU open {shown(name)}{lies} below it, which is hidden or outside of the"
        " image's folder: with such a name somebody else's image can have its guest read any file of yours",
        hint=f"if it is yours: in a lab file, {{file: {shown(path.name)}, base: {shown(name)}}}; or move the"
        f" base into {Path(os.path.realpath(path)).parent}, and " + _rebase(path, there.name, format_),
    )


def _format(path: Path, base: Path, header: Header, who: str) -> Literal["qcow2", "raw"]:
    """A base's format: as the overlay records it, else told by its first bytes, for QEMU to be told."""
    if header.backing_format in ("qcow2", "raw"):
        return "raw" if header.backing_format == "raw" else "qcow2"
    if header.backing_format is not None:
        raise RequestError(
            f"{who}{path} is over {base} as {shown(header.backing_format)},"
            " and vmlan takes qcow2 and raw images",
            hint=f"if you trust it: qemu-img convert -O qcow2 {_word(path.name)} NEW.qcow2",
        )
    with base.open("rb") as file:
        return "qcow2" if file.read(len(qcow2.MAGIC)) == qcow2.MAGIC else "raw"


def _rebase(path: Path, base: str, format_: str | None) -> str:
    return f"qemu-img rebase -u -F {_word(format_ or 'qcow2')} -b {_word(base)} {_word(path.name)}"


def _word(text: str) -> str:
    """A name as one word of a command line that can be pasted."""
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def shown(text: str) -> str:
    """A name out of a header, in quotes, shortened, with nothing that a terminal obeys."""
    cut = text[:200] + "…" if len(text) > 200 else text
    return "'" + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut) + "'"
