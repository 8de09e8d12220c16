"""The embedded guest `tiny`: a small Linux made of the distribution's own packages.

No disk image is downloaded: its kernel, busybox and qemu-ga come from packages that apt fetches and
checks, without root, and are packed into an initramfs together with the scripts in `tiny_files`.

A build is kept under a key made of the builder's own files and the distribution's release. It is
made again when one of these changes, or when asked to. A newer package alone does not: to notice
it, apt would have to be asked each time (0.6 s), machines of one lab could differ, and the
templates made from the old one would all be lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vmlan.guest import tiny_build
from vmlan.host.lock import waiting

Progress: TypeAlias = Callable[[str], None]

_WEEK = 7 * 24 * 3600.0


@dataclass(frozen=True)
class TinyGuest:
    """A complete build of the guest."""

    kernel: Path  #: the plain ELF kernel, bootable through PVH
    bzimage: Path  #: the same as packaged
    initrd: Path  #: the initramfs
    release: str  #: the kernel's release, as `uname -r` says it


def _silent(_message: str) -> None:
    pass


def ensure_tiny(
    cache: Path,
    progress: Progress = _silent,
    *,
    rebuild: bool = False,
    build: Callable[[Path, Progress], str] = tiny_build.build,
) -> TinyGuest:
    """The guest, built first (about 10 s) where it is absent, its inputs changed, or with `rebuild`.

    The folder `cache` is made when missing. Two builds at once wait for each other. `build` makes
    the three files in a folder and returns the kernel's release. Raises `HostError` where the guest
    cannot be built here.
    """
    present = None if rebuild else cached_tiny(cache)
    if present is not None:
        return present
    cache.mkdir(parents=True, exist_ok=True)
    with waiting(cache / "tiny.lock"):
        present = None if rebuild else cached_tiny(cache)
        return present or _make(cache, lambda folder: build(folder, progress))


def cached_tiny(cache: Path) -> TinyGuest | None:
    """The guest if it was built from the present inputs, else None. Never builds."""
    return _load(cache / f"tiny-{_key()}")


def _load(folder: Path) -> TinyGuest | None:
    try:
        about = json.loads((folder / "about.json").read_text())
    except FileNotFoundError:
        return None
    return TinyGuest(folder / "vmlinux", folder / "vmlinuz", folder / "initrd", about["release"])


def _key() -> str:
    digest = hashlib.sha256()
    for source in tiny_build.sources():
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    with contextlib.suppress(FileNotFoundError):
        lines = Path("/etc/os-release").read_text().splitlines()
        digest.update("\n".join(line for line in lines if line.startswith(("ID=", "VERSION_ID="))).encode())
    return digest.hexdigest()[:16]


def _make(cache: Path, build: Callable[[Path], str]) -> TinyGuest:
    """Build in a folder of its own, then let the key's link point to it: there is no half a build."""
    name = f"tiny-{_key()}"
    made = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
    try:
        release = build(made)
        (made / "about.json").write_text(json.dumps({"release": release}) + "\n")
        made.chmod(0o755)
        link = cache / f"{name}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(made.name)
        link.replace(cache / name)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    _tidy(cache, keep=made)
    guest = _load(cache / name)
    assert guest is not None
    return guest


def _tidy(cache: Path, keep: Path) -> None:
    """Remove builds that no link leads to (left by a kill, or replaced), and those of old keys."""
    for link in cache.glob("tiny-*"):
        if link.is_symlink() and time.time() - link.lstat().st_mtime > _WEEK and link.resolve() != keep:
            link.unlink()
    linked = {link.resolve() for link in cache.glob("tiny-*")}
    for folder in cache.glob("build-*"):
        if folder != keep and folder.resolve() not in linked:
            shutil.rmtree(folder, ignore_errors=True)
