"""Who runs vmlan: an ordinary user; or root, on behalf of one (sudo), for labs of host placement.

What such a lab keeps belongs to the one who called sudo, and QEMU runs as him: root is for the network alone.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vmlan.errors import HostError

if TYPE_CHECKING:  # it takes longer to load than all of this, and only root needs it
    from vmlan.plan.facts import RunAs


def is_root() -> bool:
    """Whether this process may change this machine's own network."""
    return os.geteuid() == 0


def need_root() -> None:
    """Raise `HostError` for an ordinary user."""
    if not is_root():
        raise HostError(
            "place: host changes this machine's own network, which takes root",
            hint="sudo vmlan up (QEMU then runs as you all the same); or place: private, which takes none",
        )


def invoker() -> RunAs | None:
    """On whose behalf root acts (sudo(8), SUDO_UID); None: root's own, or nobody is root here.

    Raises `HostError` for a user that this system does not know.
    """
    if not is_root():
        return None
    given = os.environ.get("SUDO_UID", "")
    if not given.isdecimal() or given == "0":
        return None
    try:
        user = pwd.getpwuid(int(given))
        group = grp.getgrgid(user.pw_gid).gr_name
    except KeyError:
        raise HostError(
            f"this system does not know user {given}, who called sudo",
            hint="log in as root, and unset SUDO_UID",
        ) from None
    from vmlan.plan.facts import RunAs

    return RunAs(user.pw_uid, user.pw_gid, user.pw_name, group, Path(user.pw_dir))


@contextlib.contextmanager
def acting(user: RunAs | None) -> Iterator[None]:
    """Be that user for a while, in this process and in what it starts; None: stay who we are.

    The real and the effective user change, so that a program that is started is that user for good; the
    saved one stays root, which leads back (setresuid(2)).
    """
    if user is None:
        yield
        return
    groups, home = os.getgroups(), os.environ.get("HOME")
    try:
        os.setgroups(os.getgrouplist(user.name, user.gid))
        os.setresgid(user.gid, user.gid, 0)
        os.setresuid(user.uid, user.uid, 0)
        os.environ["HOME"] = str(user.home)
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)
        if home is None:
            os.environ.pop("HOME", None)
        else:
            os.environ["HOME"] = home


def owner_of(words: str) -> RunAs | None:
    """The user that a step's "UID:GID" names; None for "": who runs vmlan."""
    if not words:
        return None
    uid, gid = (int(word) for word in words.split(":"))
    user = pwd.getpwuid(uid)
    from vmlan.plan.facts import RunAs

    return RunAs(uid, gid, user.pw_name, str(gid), Path(user.pw_dir))


def make_folder(path: Path, owner: str, pipes: tuple[str, ...] = ()) -> None:
    """Make a folder for that user ("UID:GID") alone, with its parents, as he would himself where he may.

    Where he may not, its last part is made for him in a folder that is there, and of root's. The named pipes
    in it he makes himself: in a folder of his, root could be led elsewhere.
    """
    as_user = owner_of(owner)
    assert as_user is not None
    try:
        with acting(as_user):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            os.chown(path, as_user.uid, as_user.gid, follow_symlinks=False)
    with acting(as_user):
        make_pipes(path, pipes)


def make_pipes(folder: Path, names: tuple[str, ...]) -> None:
    """Make named pipes that only this user can open (mkfifo(3)); those that are there stay."""
    for name in names:
        try:
            os.mkfifo(folder / name, 0o600)
        except FileExistsError:
            if not (folder / name).is_fifo():
                raise
