"""Can labs run on this machine; what is in the way; and the command that mends it.

What can be tried is tried, in namespaces that vanish with the trial: nothing on the host is changed,
but for caches, and an empty folder for running labs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmlan.errors import HostError
from vmlan.host.doctor_data import (
    CONTAINER_MARKS,
    CONTAINER_OPTIONS,
    NEEDED,
    OPTIONAL,
    SETTINGS,
    TRIALS,
    Trial,
)
from vmlan.host.doctor_host import Host, ThisHost
from vmlan.host.run import PACKAGES
from vmlan.model import MIB, Machine
from vmlan.plan.build import NAMESPACES
from vmlan.plan.layout import SOCKET_PATH_MAX, MachineFiles

#: Seconds for each trial; one takes about 0.02.
_TIMEOUT = 2.0

#: What `host.paths.lab_id` makes at most: 20 characters of a name, a dash, 6 of a digest.
_LONGEST_ID = "i" * 27

#: A machine's name can be as long as a host name's label (RFC 1035, 2.3.4); this much is comfortable.
_COMFORTABLE_NAME = 16

#: Two machines of the default size.
_LITTLE_MEMORY = 2 * Machine("any").memory

_TUN = Path("/dev/net/tun")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `bad`: labs cannot run; `warn`: some cannot, or not as well."""

    name: str
    status: Literal["ok", "warn", "bad"]
    detail: str  #: one line of what was found
    mend: str = ""  #: the command, or the advice, that changes it


def diagnose(host: Host | None = None) -> tuple[Finding, ...]:
    """Look at everything that labs need, in the order in which one would mend it.

    Takes well under a second, and 1.5 s more where KVM is there and does not run guests.
    """
    host = host or ThisHost()
    return tuple(_findings(host))


def _findings(host: Host) -> Iterator[Finding]:
    yield _user(host)
    yield from _needed(host)
    yield from _optional(host)
    yield from _namespaces(host)
    yield from _qemu(host)
    yield from _memory(host)
    yield _runtime(host)
    yield from _package_lists(host)


def _user(host: Host) -> Finding:
    if host.user() == 0:
        return Finding("user", "warn", "you are root; labs need no root: run vmlan as yourself")
    return Finding("user", "ok", "an ordinary user, which is all that labs need")


def _needed(host: Host) -> Iterator[Finding]:
    missing = [program for program in NEEDED if host.find(program) is None]
    for program in missing:
        yield Finding(program, "bad", "needed, and not installed", _install(program))
    if not missing:
        yield Finding("programs", "ok", f"{', '.join(NEEDED)} are installed")


def _optional(host: Host) -> Iterator[Finding]:
    for wanted in OPTIONAL:
        if not any(host.find(program) for program in wanted.any_of):
            name = " or ".join(wanted.any_of)
            yield Finding(
                name, "warn", f"not installed; it is for {wanted.purpose}", _install(wanted.any_of[0])
            )


def _install(program: str) -> str:
    return f"sudo apt-get install {PACKAGES[program]}"


def _namespaces(host: Host) -> Iterator[Finding]:
    """Namespaces, and what a lab makes in them; without them there is nothing more to try."""
    if host.find("unshare") is None:
        return
    tried = host.run((*NAMESPACES, "--net", "true"), timeout=_TIMEOUT)
    if not tried.ok:
        why, mend = _why_no_namespaces(host)
        words = _last_line(tried.stderr)
        yield Finding("namespaces", "bad", f"{why}{f' ({words})' if words else ''}", mend)
        return
    yield Finding("namespaces", "ok", "this user may make namespaces, where labs live")
    tun = _tun(host)
    if tun:
        yield tun
    for trial in TRIALS:
        if host.find(trial.argv[0]) is not None and not (tun and trial.name == "tap"):
            yield _try(host, trial)


def _why_no_namespaces(host: Host) -> tuple[str, str]:
    for setting in SETTINGS:
        if host.read(Path(setting.file)).strip() == setting.value:
            return f"no namespaces: {setting.why}", setting.mend
    if any(host.exists(Path(mark)) for mark in CONTAINER_MARKS):
        return "no namespaces: this is a container, and its engine forbids them", CONTAINER_OPTIONS
    if re.search(r"^Seccomp:\s*2$", host.read(Path("/proc/self/status")), re.MULTILINE):
        return "no namespaces: a seccomp filter is set on this process (a container's?)", CONTAINER_OPTIONS
    return "no namespaces, and none of the settings that we know forbids them", ""


def _tun(host: Host) -> Finding | None:
    """What keeps this user from the device that taps are made with."""
    if not host.exists(_TUN):
        advice = "sudo modprobe tun; a container: start it with --device /dev/net/tun"
        return Finding("tap", "bad", f"there is no {_TUN}", advice)
    if error := host.open_error(_TUN):
        return Finding("tap", "bad", f"{_TUN} cannot be opened: {error}", f"sudo chmod 666 {_TUN}")
    return None


def _try(host: Host, trial: Trial) -> Finding:
    tried = host.run((*NAMESPACES, "--net", *trial.argv), timeout=_TIMEOUT, stdin=trial.stdin)
    if tried.ok:
        return Finding(trial.name, "ok", f"{trial.what} can be made in a namespace")
    words = _last_line(tried.stderr) or f"{trial.argv[0]} ended with {tried.code}"
    return Finding(trial.name, "bad", f"{trial.what} cannot be made in a namespace: {words}", trial.mend)


def _last_line(words: str) -> str:
    """What a program said last, on one line; nft points at the place with carets, which says nothing."""
    lines = [line.strip() for line in words.splitlines() if line.strip(" ^\t")]
    return next((line for line in lines if "rror" in line), lines[-1] if lines else "")


def _qemu(host: Host) -> Iterator[Finding]:
    binary = host.find("qemu-system-x86_64")
    if binary is None:
        return
    try:
        facts = host.qemu(binary)
        kvm = host.kvm(binary)
    except HostError as error:
        yield Finding("QEMU", "bad", " ".join(error.what.split()), error.hint or "")
        return
    yield Finding("QEMU", "ok", f"{facts.full_version} ({binary})")
    if kvm.works:
        yield Finding("KVM", "ok", kvm.reason)
    else:
        yield Finding("KVM", "warn", f"{kvm.reason}; machines run on emulation, which is slower", kvm.mend)


def _memory(host: Host) -> Iterator[Finding]:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", host.read(Path("/proc/meminfo")), re.MULTILINE)
    if found is None:
        return
    free = int(found[1]) * 1024
    detail = (
        f"{free // MIB} MiB available; a machine takes {Machine('any').memory // MIB} if not told otherwise"
    )
    yield Finding("memory", "ok" if free >= _LITTLE_MEMORY else "warn", detail)


def _runtime(host: Host) -> Finding:
    """Sockets are in there, and a socket's path must be short (unix(7))."""
    try:
        root = host.runtime()
    except (HostError, OSError) as error:
        what, hint = (error.what, error.hint) if isinstance(error, HostError) else (str(error), None)
        return Finding("runtime folder", "bad", " ".join(what.split()), hint or "export XDG_RUNTIME_DIR=…")
    socket = MachineFiles(root / _LONGEST_ID / "vm-", Path()).serial
    room = SOCKET_PATH_MAX - len(str(socket).encode())
    if room < 1:
        return Finding("runtime folder", "bad", f"{root}: its path is too long for sockets", _SHORTER)
    status: Literal["ok", "warn"] = "ok" if room >= _COMFORTABLE_NAME else "warn"
    detail = f"{root}: names of machines can have {room} characters"
    return Finding("runtime folder", status, detail, "" if status == "ok" else _SHORTER)


_SHORTER = "export XDG_RUNTIME_DIR=/run/user/$(id -u), or another short path"


def _package_lists(host: Host) -> Iterator[Finding]:
    """What apt can download is what its lists name; images of containers come with none."""
    if host.find("apt-get") is None:
        return
    if any("_Packages" in name for name in host.names(Path("/var/lib/apt/lists"))):
        yield Finding("package lists", "ok", "apt knows packages to build the embedded guest from")
    else:
        yield Finding(
            "package lists",
            "warn",
            "apt has none, so the embedded guest cannot be built (`image: tiny`)",
            "sudo apt-get update",
        )
