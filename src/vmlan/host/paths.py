"""Where labs live on this machine: what ends with a lab, what outlives it, what all labs share.

    $XDG_RUNTIME_DIR/vmlan/ID  (else /tmp/vmlan-UID/ID)   sockets, logs, the journal: gone with the lab
    $XDG_STATE_HOME/vmlan/ID   (else ~/.local/state)      disks: kept until `vmlan down --disks`
    $XDG_STATE_HOME/vmlan/run, images, overlays           `vmlan run`'s files, built images, known overlays
    $XDG_CACHE_HOME/vmlan      (else ~/.cache)            the tiny guest, what QEMU can do: can be deleted

ID is the name of the lab file's folder and a digest of the file's path: two folders of one name are
two labs, and a lab is found again even when its file has changed or cannot be read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from vmlan.errors import HostError
from vmlan.plan.layout import Layout

#: What a runtime folder's path may consist of. It is handed to programs that give other characters a
#: meaning of their own (ip, socat, QEMU); a folder with others is not used.
_PLAIN = re.compile(r"[A-Za-z0-9/._@%+~-]+")


def runtime_root() -> Path:
    """The folder of all running labs of this user. Raises `HostError` if somebody else owns it.

    XDG_RUNTIME_DIR is used as its specification has it: absolute, and this user's alone.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/") and _PLAIN.fullmatch(given) and _is_ours_alone(Path(given)):
        root = Path(given) / "vmlan"
    else:
        root = Path("/tmp") / f"vmlan-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if not _is_ours_alone(root):
        raise HostError(
            f"{root} is not a folder of yours alone, so a lab in it could not be trusted",
            hint="remove it, or set XDG_RUNTIME_DIR to a folder of yours alone (mode 700)",
        )
    return root


def _is_ours_alone(path: Path) -> bool:
    """Whether this is a folder (not a link to one) of this user, which nobody else can enter."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def state_root() -> Path:
    """The folder of what outlives labs."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "vmlan"


def images_root() -> Path:
    """The folder of the images that were built here: disks are over them, so that it is no cache."""
    return state_root() / "images"


def cache_root() -> Path:
    """The folder of what can be made again."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "vmlan"


def _xdg(variable: str, otherwise: str) -> Path:
    given = os.environ.get(variable)
    if given and Path(given).is_absolute():
        return Path(given)
    try:
        return Path.home() / otherwise
    except RuntimeError:
        raise HostError("you have no home folder", hint=f"set HOME, or {variable}") from None


def lab_id(file: Path) -> str:
    """A lab file's id: its folder's name (made plain, at most 20 characters) and a digest of its path.

    The folder's own path is followed to where it really is; the file's is not: two folders whose
    lab.yaml is a link to one and the same are two labs.
    """
    folder = os.path.realpath(file.parent)
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", Path(folder).name).strip("-")[:20] or "lab"
    digest = hashlib.sha256(os.fsencode(folder) + b"/" + os.fsencode(file.name)).hexdigest()
    return f"{plain}-{digest[:6]}"


def layout(file: Path) -> Layout:
    """Where the lab that this file describes has its files."""
    return Layout(run=runtime_root() / lab_id(file), state=state_root() / lab_id(file))


def single(name: str) -> Path:
    """The lab file of the one machine of that name that `vmlan run` made."""
    return state_root() / "run" / name / "lab.yaml"


def all_layouts() -> list[Layout]:
    """Every lab of this user that is running or has left something to clean up."""
    root = runtime_root()
    if not root.is_dir():
        return []
    return [
        Layout(run=path, state=state_root() / path.name) for path in sorted(root.iterdir()) if path.is_dir()
    ]
