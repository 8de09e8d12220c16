"""Build the embedded guest `tiny` out of the distribution's packages; `tiny` keeps the result."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from vmlan.errors import HostError, MissingProgram
from vmlan.guest import bzimage, calls, compressed, cpio, elf, kmodules, packages
from vmlan.guest.packages import Package
from vmlan.host.run import find, run

#: The metapackages that lead to a distribution's kernel: Debian's, then Ubuntu's.
_KERNELS = ("linux-image-amd64", "linux-image-virtual", "linux-image-generic")
_TOOLS = ("busybox-static", "qemu-guest-agent")

#: Drivers for the devices that QEMU has on a PC, and the file systems of disks and media.
_MODULES = (
    *("virtio_pci", "virtio_net", "virtio_console", "virtio_blk", "virtio_scsi", "virtio_rng"),
    *("e1000", "e1000e", "8139cp", "8139too", "ne2k_pci", "pcnet32", "vmxnet3"),
    *("ata_piix", "ahci", "sd_mod", "sr_mod", "button", "evdev", "vmgenid"),
    *("isofs", "ext4"),
)

_HERE = Path(__file__).parent
#: The guest's init and what it runs.
SCRIPTS = _HERE / "tiny_files"
_MAKERS = ("bzimage", "calls", "compressed", "cpio", "elf", "kmodules", "packages", "tiny", "tiny_build")


def sources() -> tuple[Path, ...]:
    """Every file of ours that shapes the guest; a change to one calls for a new build."""
    return (*sorted(SCRIPTS.iterdir()), *(_HERE / f"{name}.py" for name in _MAKERS))


def build(folder: Path, progress: Callable[[str], None]) -> str:
    """Make `vmlinux`, `vmlinuz` and `initrd` in a folder; returns the kernel's release.

    Needs about 0.5 GB there while it works. Raises `HostError` where it cannot be done.
    """
    _check_host()
    downloads, tree = folder / "downloads", folder / "tree"
    downloads.mkdir()
    tree.mkdir()
    try:
        progress("finding the packages of the tiny guest")
        kernel, tools = _choose()
        progress(f"fetching {', '.join(package.name for package in (*kernel, *tools))}")
        packages.unpack((*kernel, *tools), downloads, tree)
        _add_libraries(tools, downloads, tree, progress)
        progress("packing the tiny guest")
        release = _pack(folder, tree)
    finally:
        shutil.rmtree(downloads)
        shutil.rmtree(tree)
    return release


def _check_host() -> None:
    if platform.machine() != "x86_64":
        raise HostError(
            f"the tiny guest is built for x86_64 only, and this host is {platform.machine()}",
            hint="give the machine an image of its own",
        )
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if find(program) is None:
            raise HostError(
                "the tiny guest is made of Debian or Ubuntu packages, and this system has no apt",
                hint="give the machine an image of its own",
            ) from MissingProgram(program, program)


def _choose() -> tuple[list[Package], list[Package]]:
    """The packages that hold the kernel and its modules, and those with the programs."""
    known = packages.look_up((*_KERNELS, *_TOOLS))
    meta = next((name for name in _KERNELS if name in known), None)
    if meta is None:
        raise packages.missing_from_lists(_KERNELS)
    for name in _TOOLS:
        if name not in known:
            raise packages.missing_from_lists([name])
    return list(kernel_packages(known[meta])), [known[name] for name in _TOOLS]


def kernel_packages(
    meta: Package,
    dependencies: Callable[[list[Package]], dict[str, Package]] = packages.dependencies,
) -> Iterator[Package]:
    """The real packages behind a kernel's metapackage.

    Debian's image up to 13 has all within it; then it needs linux-binary-RELEASE and
    linux-modules-RELEASE, and Ubuntu's the latter.
    """
    level, seen = [meta], {meta.name}
    while level:
        wanted = dependencies(level)
        level = [
            package
            for name, package in wanted.items()
            if re.match(r"linux-(image|binary|modules)-\d", name) and name not in seen
        ]
        seen.update(package.name for package in level)
        yield from level


def _add_libraries(
    tools: list[Package], downloads: Path, tree: Path, progress: Callable[[str], None]
) -> None:
    """Add library packages, one ring of dependencies after the other, until nothing is missing."""
    level, seen = tools, {package.name for package in tools}
    while missing := _libraries(tree)[1]:
        wanted = packages.dependencies(level)
        level = [package for name, package in wanted.items() if package.is_library and name not in seen]
        if not level:
            raise HostError(f"the tiny guest needs {', '.join(sorted(missing))}, which no package of it has")
        seen.update(package.name for package in level)
        progress(f"fetching {', '.join(sorted(package.name for package in level))}")
        packages.unpack(level, downloads, tree)


def _libraries(tree: Path) -> tuple[dict[str, Path], set[str]]:
    """The libraries that the programs need, by name, and the names of those that are not there."""
    present = {path.name: path for path in tree.rglob("*.so*") if not _leaves(path)}
    agent = _program(tree, "qemu-ga").read_bytes()
    loader = Path(elf.interpreter(agent) or "ld-linux-x86-64.so.2").name
    found: dict[str, Path] = {}
    missing: set[str] = set()
    queue = [loader, *elf.needed(agent)]
    while queue:
        name = queue.pop()
        if name in found or name in missing:
            continue
        if name not in present:
            missing.add(name)
            continue
        found[name] = present[name]
        data = present[name].read_bytes()
        queue += elf.needed(data)
        if name == "libc.so.6" and _PLUGINS_FROM not in data:
            queue += ["libnss_dns.so.2", "libnss_files.so.2"]
    return found, missing


def _leaves(path: Path) -> bool:
    """Whether a link has an absolute target: that would be a file of this host, not of the tree."""
    return path.is_symlink() and path.readlink().is_absolute()


#: Since glibc 2.34 names are resolved by libc itself, in static programs too; before, by plugins.
_PLUGINS_FROM = b"_nss_dns_gethostbyname4_r"


def _program(tree: Path, name: str) -> Path:
    for folder in ("usr/sbin", "usr/bin", "sbin", "bin"):
        if (path := tree / folder / name).is_file():
            return path
    raise HostError(f"the packages of the tiny guest have no program {name}")


def _pack(folder: Path, tree: Path) -> str:
    image, release = _kernel(tree)
    try:
        (folder / "vmlinux").write_bytes(bzimage.vmlinux(image.read_bytes()))
        entries = [*_programs(tree), *_module_files(tree, release), *_skeleton()]
    except (bzimage.NotBzImage, compressed.NotCompressed, elf.NotElf) as error:
        raise HostError(f"the packages of the tiny guest are not as expected: {error}") from error
    shutil.copyfile(image, folder / "vmlinuz")
    (folder / "initrd").write_bytes(cpio.pack(entries))
    return release


def _kernel(tree: Path) -> tuple[Path, str]:
    """The packaged kernel and its release."""
    for path in sorted(tree.glob("boot/vmlinuz-*")):
        return path, path.name.removeprefix("vmlinuz-")
    for path in sorted(tree.glob("usr/lib/modules/*/vmlinuz")):
        return path, path.parent.name
    raise HostError("the kernel's package has no kernel where one is looked for")


def _programs(tree: Path) -> Iterator[cpio.Entry]:
    busybox = _program(tree, "busybox")
    yield cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
    # It is static and of this machine's kind: it can say itself what it does.
    for applet in run([str(busybox), "--list"]).stdout.split():
        if applet != "busybox":
            yield cpio.symlink(f"bin/{applet}", "busybox")
    yield cpio.file("bin/qemu-ga", _program(tree, "qemu-ga").read_bytes(), 0o755)
    for name, path in _libraries(tree)[0].items():
        yield cpio.file(f"lib/x86_64-linux-gnu/{name}", path.read_bytes(), 0o755)
        if name.startswith("ld-linux"):
            # Programs name it here; a static program's plugins look for it beside the libraries.
            yield cpio.symlink(f"lib64/{name}", f"/lib/x86_64-linux-gnu/{name}")


def _module_files(tree: Path, release: str) -> Iterator[cpio.Entry]:
    roots = [root for root in (tree / "lib/modules", tree / "usr/lib/modules") if (root / release).is_dir()]
    files = kmodules.index(roots[0] / release) if roots else {}

    def find_module(name: str) -> kmodules.Module | None:
        return kmodules.read(name, files[name].read_bytes()) if name in files else None

    modules = kmodules.closure(_MODULES, find_module)
    base = f"lib/modules/{release}"
    for module in modules:
        yield cpio.file(f"{base}/{module.file}", module.data)
    yield cpio.file(f"{base}/modules.dep", kmodules.dep_table(modules).encode())
    yield cpio.file(f"{base}/modules.alias", kmodules.alias_table(modules).encode())


def _skeleton() -> Iterator[cpio.Entry]:
    """Everything that is ours: folders, links, the scripts."""
    yield from (cpio.directory(name) for name in ("dev", "etc", "proc", "root", "run", "sys", "var"))
    yield cpio.directory("tmp", 0o1777)
    yield from (cpio.symlink(name, "/bin") for name in ("sbin", "usr/bin", "usr/sbin"))
    yield cpio.symlink("var/run", "/run")
    # The kernel opens this for init before anything is mounted.
    yield cpio.character_device("dev/console", 5, 1)
    yield cpio.file("etc/passwd", b"root::0:0:root:/root:/bin/sh\n")
    yield cpio.file("etc/group", b"root:x:0:\n")
    yield cpio.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
    yield cpio.file("etc/nsswitch.conf", b"hosts: files dns\n")
    yield cpio.file("etc/resolv.conf", b"")
    yield cpio.file("lib/vmlan/calls", calls.program(), 0o755)
    for path in sorted(SCRIPTS.iterdir()):
        where = {"init": "init", "shutdown": "bin/shutdown"}.get(path.name, f"lib/vmlan/{path.name}")
        yield cpio.file(where, path.read_bytes(), 0o755)
