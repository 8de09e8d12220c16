"""Build the image `debian-12`, an installed system on a disk of its own; `debian` keeps the result.

mmdebstrap installs the packages into a folder, as root of a user namespace; the scripts in `debian_files`
then settle the system and write it to a disk, in that namespace and with the system's own programs, so
that owners are right, no device is needed, and the disk does not depend on the host's versions of anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from vmlan.errors import CommandFailed
from vmlan.guest import debian_host
from vmlan.guest.debian_host import Archive, Mode
from vmlan.host.follow import follow
from vmlan.host.interrupts import uninterrupted
from vmlan.host.run import run

SUITE = "bookworm"

#: Small (no recommended packages), but with what machines of a lab are used for.
PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "zstd", "grub-pc-bin", "grub-efi-amd64-bin", "grub2-common"),
    *("systemd-sysv", "systemd-resolved", "dbus", "udev", "kmod"),
    *("qemu-guest-agent", "openssh-server"),
    *("iproute2", "iputils-ping", "netcat-openbsd", "procps", "less"),
    *("fdisk", "dosfstools", "mtools", "e2fsprogs"),
)

#: Not unpacked, also by later upgrades: documentation, and drivers of what QEMU cannot be given.
EXCLUDED = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*"),
    *(
        f"/lib/modules/*/kernel/{folder}/*"
        for folder in (
            *("sound", "net/wireless", "net/mac80211", "net/bluetooth", "net/nfc", "net/can"),
            *("drivers/media", "drivers/net/wireless", "drivers/bluetooth", "drivers/infiniband"),
            *("drivers/gpu/drm/amd", "drivers/gpu/drm/i915", "drivers/gpu/drm/nouveau"),
            *("drivers/gpu/drm/radeon", "drivers/gpu/drm/gma500", "drivers/staging", "drivers/iio"),
            *("drivers/isdn", "drivers/nfc", "drivers/hwmon", "drivers/comedi"),
        )
    ),
)
KEPT = ("/usr/share/doc/*/copyright",)

KERNEL_OPTIONS = "console=tty0 console=ttyS0,115200 quiet"

#: What the guest sees; an overlay may be larger, and the system grows into it.
DISK_SIZE = 4 << 30

#: What a build takes while it works, in bytes: the tree in a temporary folder; disk and image in ours.
TEMPORARY_SPACE, SPACE = 1200 << 20, 1500 << 20

_FILES = Path(__file__).parent / "debian_files"
_SCRIPTS = ("settle.sh", "disk.sh")

Progress = Callable[[str], None]


def key() -> str:
    """A digest of what shapes the system, the packages' versions apart: 16 characters."""
    digest = hashlib.sha256(repr((SUITE, PACKAGES, EXCLUDED, KEPT, KERNEL_OPTIONS, DISK_SIZE)).encode())
    for file in _tree_files() + [_FILES / name for name in _SCRIPTS]:
        digest.update(b"\0" + str(file.relative_to(_FILES)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _tree_files() -> list[Path]:
    return sorted(path for path in (_FILES / "root").rglob("*") if path.is_file())


def build(folder: Path, progress: Progress) -> None:
    """Make `image.qcow2` and `packages` (each installed package and its version) in a folder.

    Raises `HostError` where it cannot be done. Whatever happens, nothing is left elsewhere.
    """
    mode = debian_host.check()
    debian_host.check_space(folder, SPACE)
    disk, listing = folder / "disk.raw", folder / "packages"
    try:
        with _temporary(folder, mode) as temporary:
            debian_host.check_space(temporary, TEMPORARY_SPACE)
            _install(mode, disk, listing, temporary, progress)
        progress("writing the image")
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(disk), str(folder / "image.qcow2")])
    finally:
        disk.unlink(missing_ok=True)


def _install(mode: Mode, disk: Path, listing: Path, temporary: Path, progress: Progress) -> None:
    """Fill the two files. Root of the namespace may not enter our folder, but may write what is open here."""
    progress("finding the Debian archive")
    archive = debian_host.archive()
    _pack_tree(temporary / "tree.tar")
    with contextlib.ExitStack() as stack:
        descriptors = []
        for path, size in ((disk, DISK_SIZE), (listing, 0)):
            file = stack.enter_context(path.open("w+b"))
            file.truncate(size)
            path.chmod(0o666)  # nobody gets here: the folder is ours alone
            descriptors.append(file.fileno())
        variables = _variables(archive, *descriptors)
        for script in _SCRIPTS:
            (temporary / script).write_text("#!/bin/sh\n" + variables + (_FILES / script).read_text())
            (temporary / script).chmod(0o755)
        argv = command(mode, archive, debian_host.apt_options(), temporary)
        done = follow(
            argv,
            lambda line: _report(line, progress),
            env=debian_host.environment(temporary),
            cwd=Path("/"),
            pass_fds=descriptors,
        )
    if not done.ok:
        # Nobody could run the whole command again: its hooks are gone, and it may have a mirror's password.
        shown = ("mmdebstrap", f"--mode={mode}", "--variant=minbase", SUITE)
        raise debian_host.explained(CommandFailed(shown, done.code, done.stderr))
    listing.chmod(0o644)


def command(mode: Mode, archive: Archive, options: list[str], temporary: Path) -> list[str]:
    """What runs mmdebstrap, with its hooks in the folder `temporary`.

    Root gets mounts of its own, so that the build's are never the host's.
    """
    return [
        *(["unshare", "--mount", "--propagation", "private"] if mode == "root" else []),
        *("mmdebstrap", f"--mode={mode}", "--variant=minbase", "--format=null"),
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={option}" for option in options),
        *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDED),
        *(f"--dpkgopt=path-include={path}" for path in KEPT),
        # Before the kernel is installed, which reads some of it.
        f"--essential-hook=tar-in {shlex.quote(str(temporary / 'tree.tar'))} /",
        *(f"--customize-hook={temporary / script}" for script in _SCRIPTS),
        *(SUITE, "/dev/null", *archive.sources(SUITE)),
    ]


def _variables(archive: Archive, disk_fd: int, list_fd: int) -> str:
    """What the scripts are told. The ids are the same whenever the same system is built."""
    space = uuid.uuid5(uuid.NAMESPACE_DNS, key())
    ids = {
        name: str(uuid.uuid5(space, name))
        for name in ("disk_uuid", "bios_uuid", "esp_uuid", "system_uuid", "fs_uuid", "hash_seed")
    }
    values = {
        **ids,
        "esp_serial": space.hex[:8],
        "disk_fd": disk_fd,
        "list_fd": list_fd,
        "disk_sectors": DISK_SIZE // 512,
        "kernel_options": KERNEL_OPTIONS,
        "sources": "\n".join(archive.without_passwords().sources(SUITE)),
    }
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in values.items())


def _pack_tree(archive: Path) -> None:
    """The files that the image has of ours, as root's, whoever has them here."""

    def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.mode & 0o100 else 0o644
        return member

    with tarfile.open(archive, "w") as tar:
        for file in _tree_files():
            tar.add(file, str(file.relative_to(_FILES / "root")), filter=as_root)


#: What mmdebstrap says when it begins something, and what we call it.
_STAGES = (
    ("I: running apt-get update", "reading the lists of packages"),
    ("I: downloading packages with apt", "fetching the packages of the base system"),
    ("I: extracting archives", "unpacking the base system"),
    ("I: installing essential packages", "installing the base system"),
    ("I: installing remaining packages", "fetching and installing the kernel and the other packages"),
    ("vmlan: ", ""),
)


def _report(line: str, progress: Progress) -> None:
    for start, words in _STAGES:
        if line.startswith(start):
            progress(words or line.removeprefix(start))


# ---------------------------------------------------------------- the temporary folder


@contextlib.contextmanager
def _temporary(folder: Path, mode: Mode) -> Iterator[Path]:
    """A folder for the tree, that the namespace's root may reach: our own are often ours alone.

    What is in it belongs to ids that are not the user's, so it is removed in a namespace too. Its name is
    kept in `folder`, for `remove_leftovers`.
    """
    root = os.environ.get("TMPDIR", "/var/tmp")
    made = Path(tempfile.mkdtemp(prefix="vmlan-debian-", dir=root))
    made.chmod(0o711)
    note = folder / "temporary.json"
    note.write_text(json.dumps(str(made)))
    try:
        yield made
    finally:
        with uninterrupted():  # nobody else could remove it, nor would know of it
            _remove(made, mode)
            note.unlink()


def _remove(folder: Path, mode: Mode) -> None:
    helper = ["mmdebstrap", "--unshare-helper"] if mode == "unshare" else []
    trees = [str(path) for path in folder.iterdir()]
    if trees:
        run([*helper, "rm", "-rf", "--one-file-system", "--", *trees], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove a folder in which a build was killed, and what that build had elsewhere."""
    try:
        temporary = Path(json.loads((folder / "temporary.json").read_text()))
    except (OSError, ValueError, TypeError):
        temporary = None
    if temporary is not None and temporary.is_dir() and temporary.name.startswith("vmlan-debian-"):
        _remove(temporary, "root" if os.geteuid() == 0 else "unshare")
    shutil.rmtree(folder, ignore_errors=True)
