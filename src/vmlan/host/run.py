"""The one door through which vmlan runs programs on this machine and waits for them.

Programs *inside* a lab go through its keeper (`host.keeper`); this is for what runs outside of
one: asking QEMU what it can do, making images, building the tiny guest. A program that takes minutes,
and must clean up when it is interrupted, has a door of its own (`host.follow`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlan.errors import CommandFailed, MissingProgram

#: Which Debian package brings each program that vmlan runs.
PACKAGES: dict[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ip": "iproute2",
    "tc": "iproute2",
    "ss": "iproute2",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
    "pasta": "passt",
    "slirp4netns": "slirp4netns",
    "socat": "socat",
    "tcpdump": "tcpdump",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "chrt": "util-linux",
    "mount": "mount",
    "ping": "iputils-ping",
    "sysctl": "procps",
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg-deb": "dpkg",
    "zstd": "zstd",
    "lz4": "lz4",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
}

#: Debian keeps `ip`, `nft`, `dnsmasq` where an ordinary user's PATH may not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Result:
    """What a program left behind: its exit code (negative: the signal that killed it) and its words."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0


def find(program: str) -> Path | None:
    """Where a program is, or None; a path is taken as it is."""
    import shutil

    found = shutil.which(program, path=SEARCH_PATH)
    return Path(found) if found else None


def need(program: str) -> Path:
    """Where a program is. Raises `MissingProgram`, which names the package."""
    found = find(program)
    if found is None:
        raise MissingProgram(program, PACKAGES.get(Path(program).name))
    return found


def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> Result:
    """Run a program to its end. Output is text, invalid UTF-8 replaced.

    Raises `MissingProgram`; with `check`, `CommandFailed` on any exit but 0. A program that
    is still running after `timeout` seconds is killed, which counts as signal 9.
    """
    import subprocess

    need(argv[0])
    environment = {**os.environ, **(env or {}), "PATH": SEARCH_PATH}
    try:
        done = subprocess.run(
            list(argv),
            input=stdin.encode(),
            capture_output=True,
            cwd=cwd,
            env=environment,
            timeout=timeout,
            check=False,
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = -9, late.stdout or b"", late.stderr or b""
    result = Result(tuple(argv), code, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and not result.ok:
        raise CommandFailed(argv, code, result.stderr or result.stdout, stdin=stdin)
    return result
