"""How this host can build a Debian system: by what means, from which archive, and why it went wrong.

mmdebstrap makes the system in a user namespace with the user's range of subordinate ids, so that its files
have their right owners without anybody being root (subuid(5), newuidmap(1)).
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from vmlan.errors import CommandFailed, HostError
from vmlan.host.run import find, run

Mode: TypeAlias = Literal["unshare", "root"]

#: What is asked when this host has no Debian archive of its own.
_ARCHIVE, _SECURITY = "http://deb.debian.org/debian", "http://deb.debian.org/debian-security"

#: What of this host's apt configuration says how an archive is reached, rather than what is kept of it.
_HOW = re.compile(
    r'Acquire::((https?)::.+|ForceIPv[46]|Retries|Check-Date|Check-Valid-Until|M(ax|in)-ValidTime)\s+"[^"]+";'
)

_SUBORDINATE = 65536  #: ids that a Debian system needs


@dataclass(frozen=True)
class Archive:
    """Where packages come from: the addresses of the archive and of its security updates."""

    main: str = _ARCHIVE
    security: str = _SECURITY

    def sources(self, suite: str) -> tuple[str, ...]:
        """The lines of a sources.list for a release."""
        return (
            f"deb {self.main} {suite} main",
            f"deb {self.main} {suite}-updates main",
            f"deb {self.security} {suite}-security main",
        )

    def without_passwords(self) -> Archive:
        """The same for others to see: no user and password in the addresses."""
        return Archive(_plain(self.main), _plain(self.security))


def _plain(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def archive() -> Archive:
    """The Debian archive that this host's apt uses, whatever release the host itself is."""
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    asked = run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"], check=False)
    return archive_in(asked.stdout.splitlines())


def archive_in(targets: Iterable[str]) -> Archive:
    """The archive among what apt says that it uses, as lines ORIGIN|LABEL|ADDRESS.

    An archive that is not on the network (a CD) may not have the release that is built: passed over.
    """
    found: dict[str, str] = {}
    for line in targets:
        origin, label, address = [*line.split("|", 2), "", ""][:3]
        if origin == "Debian" and address.startswith(("http://", "https://")):
            found.setdefault(label, address.rstrip("/"))
    return Archive(found.get("Debian", _ARCHIVE), found.get("Debian-Security", _SECURITY))


def apt_options() -> list[str]:
    """This host's apt settings for reaching an archive: proxies, certificates, retries."""
    return options_in(run(["apt-config", "dump"], check=False).stdout.splitlines())


def options_in(dump: Iterable[str]) -> list[str]:
    """Those settings among the lines of `apt-config dump`."""
    return [line for line in dump if _HOW.fullmatch(line)]


def environment(temporary: Path, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """A small environment for the build: nothing of the user's shapes the system, but proxies do the way."""
    kept = [name for name in given if name.lower() in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")]
    return {name: given[name] for name in (*kept, "HOME") if name in given} | {
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(temporary),
    }


#: Where ranges are, and how one is given to a user (one that nobody else is likely to have).
_ID_FILES = {
    Path("/etc/subuid"): "--add-subuids 1000000-1065535",
    Path("/etc/subgid"): "--add-subgids 1000000-1065535",
}


def check(
    *,
    user: tuple[int, str] | None = None,
    find: Callable[[str], Path | None] = find,
    ranges: Mapping[Path, str] = _ID_FILES,
) -> Mode:
    """By which means a user (id and name; None: who asks) builds a system here.

    Raises `HostError` with all that is missing, and the commands that bring it.
    """
    if platform.machine() != "x86_64":
        raise HostError(f"debian-12 is built for x86_64, and this host is {platform.machine()}")
    uid, name = user or (os.geteuid(), _name(os.geteuid()))
    programs = {"mmdebstrap": "mmdebstrap", "apt-get": "apt", "qemu-img": "qemu-utils"}
    if uid != 0:
        programs |= {"newuidmap": "uidmap", "newgidmap": "uidmap"}
    missing = [program for program in programs if find(program) is None]
    lacking = [] if uid == 0 else [file for file in ranges if not has_range(file, name, uid)]
    if missing or lacking:
        raise _refusal(missing, [programs[program] for program in missing], lacking, ranges, name)
    return "root" if uid == 0 else "unshare"


def _refusal(
    programs: list[str], packages: list[str], lacking: list[Path], ranges: Mapping[Path, str], user: str
) -> HostError:
    lacks = [f"the program{'s' * (len(programs) > 1)} {', '.join(programs)}"] if programs else []
    lacks += [f"a range of {_SUBORDINATE} ids for {user} in {file}" for file in lacking]
    cures = [f"sudo apt-get install {' '.join(dict.fromkeys(packages))}"] if packages else []
    cures += [f"sudo usermod {' '.join(ranges[file] for file in lacking)} {user}"] if lacking else []
    return HostError(
        f"this host lacks what building debian-12 takes: {'; '.join(lacks)}", hint="; ".join(cures)
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def has_range(file: Path, user: str, uid: int) -> bool:
    """Whether a subuid(5) file gives a user enough ids in one piece."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        name, _, count = (*line.split(":"), "", "")[:3]
        if name in (user, str(uid)) and count.strip().isdigit() and int(count) >= _SUBORDINATE:
            return True
    return False


def check_space(
    folder: Path, needed: int, free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> None:
    """Raises `HostError` when a folder's file system has less than `needed` bytes free."""
    there = free(folder)
    if there < needed:
        raise HostError(
            f"building debian-12 takes {needed >> 20} MB in {folder}, and {there >> 20} MB are free",
            hint=_ROOM,
        )


_ROOM = "make room there; TMPDIR and XDG_STATE_HOME say which folders are used"

#: Words of apt, dpkg, mmdebstrap and the kernel. Names of packages go by too, so each is a whole phrase.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|You don't have enough free space",
        "there is no space left where the system is built",
        _ROOM,
    ),
    (
        r"Could not resolve|Temporary failure resolving|Could not connect|Unable to connect"
        r"|Network is unreachable|[Cc]onnection (timed out|failed|refused)",
        "the Debian archive cannot be reached",
        "check the way to the mirrors that apt uses",
    ),
    (
        r"NO_PUBKEY|is not signed|public key is not available",
        "this host does not have the keys with which Debian signs its archive",
        "sudo apt-get install debian-archive-keyring",
    ),
    (
        r"newuidmap|newgidmap|unshare\(\) failed|unshare: .*not permitted",
        "this host does not let an ordinary user build a system",
        "vmlan doctor says more",
    ),
    (
        r"404 +Not Found|Hash Sum mismatch|File has unexpected size",
        "the Debian archive changed meanwhile, or is not complete",
        "try again in a while",
    ),
    (
        r"(Failed|Unable) to fetch",
        "the Debian archive did not answer as it should",
        "try again in a while",
    ),
)


def explained(failure: CommandFailed) -> CommandFailed:
    """A failed build, with what it means and what to do about it."""
    unknown = ("debian-12 could not be built", "the last lines above say at what")
    known = ((meaning, hint) for pattern, meaning, hint in _MEANINGS if re.search(pattern, failure.output))
    meaning, hint = next(known, unknown)
    return CommandFailed(failure.argv, failure.code, failure.output, meaning=meaning, hint=hint)
