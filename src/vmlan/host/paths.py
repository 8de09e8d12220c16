"""Where labs live on this machine: what ends with a lab, what outlives it, what all labs share.

    $XDG_RUNTIME_DIR/vmlan/ID  (else /tmp/vmlan-UID/ID)   sockets, logs, the journal: gone with the lab
    $XDG_STATE_HOME/vmlan/ID   (else ~/.local/state)      disks: kept until `vmlan down --disks`
    $XDG_STATE_HOME/vmlan/run, images, overlays           `vmlan run`'s files, built images, known overlays
    $XDG_CACHE_HOME/vmlan      (else ~/.cache)            the tiny guest, templates, what QEMU can do: can
                                                          be deleted

Labs of host placement (`place: host`) are root's, and known to this machine rather than to a user:

    /run/vmlan/ID              sockets and logs
    /var/lib/vmlan/ID          the journal, which survives a reboot; gone with the lab
    the disks are in the folder of whoever called sudo, as those of the lab's other placement are

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
from vmlan.host import identity
from vmlan.model import Place
from vmlan.plan.layout import Layout

#: Where the labs of host placement are (hier(7)).
HOST_RUN, HOST_BOOKS = Path("/run/vmlan"), Path("/var/lib/vmlan")

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


def templates_root() -> Path:
    """The folder of machines that have booted once, and from which others go on."""
    return cache_root() / "templates"


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


def layout(file: Path, place: Place | None = None) -> Layout:
    """Where the lab that this file describes has its files.

    `place` None: that of the lab as it is now, which may differ from what its file says.
    """
    id_ = lab_id(file)
    if place is Place.HOST or (place is None and (is_on_host(id_) or _kept_by_its_user(id_))):
        return host_layout(id_)
    return Layout(run=runtime_root() / id_, state=state_root() / id_)


def host_layout(id_: str) -> Layout:
    """The same for a lab of host placement."""
    with identity.acting(identity.invoker()):
        state = state_root() / id_
    return Layout(run=HOST_RUN / id_, state=state, book=HOST_BOOKS / id_)


def is_on_host(id_: str) -> bool:
    """Whether there is a lab of host placement of that id, running or left behind."""
    return (HOST_BOOKS / id_).is_dir() or (HOST_RUN / id_).is_dir()


def _kept_by_its_user(id_: str) -> bool:
    """Whether root acts for a user who has kept disks of that lab, and root has none of his own."""
    user = identity.invoker()
    if user is None or (state_root() / id_).exists():
        return False
    with identity.acting(user):
        return (state_root() / id_).exists()


def make_host_folders(layout: Layout) -> None:
    """The folders of all labs of host placement: all may look, root alone may write.

    Raises `HostError` if somebody else may.
    """
    assert layout.book is not None
    for folder in (HOST_RUN, HOST_BOOKS):
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o755)  # whatever the umask is
    for folder in (HOST_RUN, HOST_BOOKS, layout.run, layout.book):
        if not folder.exists():
            continue
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise HostError(f"{folder} is not a folder of root's alone, so a lab in it could not be trusted")


def single(name: str) -> Path:
    """The lab file of the one machine of that name that `vmlan run` made."""
    return state_root() / "run" / name / "lab.yaml"


def all_layouts() -> list[Layout]:
    """Every lab of this user that is running or has left something to clean up.

    For root these are those of host placement too.
    """
    root = runtime_root()
    own = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    found = [Layout(run=path, state=state_root() / path.name) for path in own]
    return found + ([host_layout(id_) for id_ in host_ids()] if identity.is_root() else [])


def host_ids() -> list[str]:
    """The ids of the labs of host placement, running or left behind."""
    return sorted({path.name for root in (HOST_BOOKS, HOST_RUN) if root.is_dir() for path in root.iterdir()})
