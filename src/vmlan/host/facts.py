"""Reading, once, what a plan must know of this host: programs, KVM, images, free ports."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vmlan.catalogue import CATALOGUE, Role
from vmlan.errors import Busy, MissingProgram, RequestError
from vmlan.guest import media, tiny
from vmlan.host import bases, firmware, images, paths
from vmlan.host import keeper as keeper_program
from vmlan.host.run import PACKAGES, find, need, run
from vmlan.model import (
    Accel,
    BridgeNetwork,
    FileDisk,
    Firmware,
    Forward,
    Lab,
    Machine,
    Medium,
    Named,
    NewDisk,
    OverlayDisk,
    Uplink,
)
from vmlan.plan.facts import Facts, ImageFacts, TinyFacts, UefiFacts
from vmlan.plan.hardware import all_disks
from vmlan.plan.layout import Layout
from vmlan.plan.topology import published
from vmlan.qemu.facts import KvmVerdict
from vmlan.qemu.kvm import try_kvm
from vmlan.qemu.probe import probe

QEMU = "qemu-system-x86_64"


def gather(
    lab: Lab, layout: Layout, *, running: bool = False, progress: Callable[[str], None] = lambda _: None
) -> Facts:
    """Everything that planning this lab needs. `running`: its own images and ports are in use by itself.

    Raises `MissingProgram` with the package's name, `RequestError` for a missing image, `Busy` for an
    image or a port that somebody else uses. Nothing is changed, but the tiny guest is built if need be.
    """
    binary = need(os.environ.get("VMLAN_QEMU") or lab.qemu or QEMU).resolve()
    for program in _programs(lab):
        need(program)
    named = _named(lab, progress)
    facts = Facts(
        layout=layout,
        qemu=probe(binary, paths.cache_root()),
        kvm=_kvm(lab, binary),
        keeper=(sys.executable, "-I", "-S", "-B", keeper_program.__file__),
        tiny=_tiny(lab, progress),
        images=dict(_images(lab, named, shared=running)),
        named=named,
        uefi=_uefi(lab),
        internet=_internet(lab),
        etc=frozenset(name for name in ("hosts", "resolv.conf") if Path("/etc", name).exists()),
    )
    if not running:
        _disks_fit(lab, facts)
        for forward in published(lab):
            _port_is_free(forward)
    return facts


def _programs(lab: Lab) -> Iterator[str]:
    """What this lab will run. Asked for before anything is started."""
    yield from ("unshare", "nsenter", "mount", "ip", "sysctl")
    bridges = [network for network in lab.networks if isinstance(network, BridgeNetwork)]
    if any(bridge.nat for bridge in bridges):
        yield "nft"
    if any(bridge.dhcp for bridge in bridges) or lab.host.uplink is Uplink.SIMULATED:
        yield "dnsmasq"
    if any(True for machine in lab.machines for _ in _media(machine)) or any(
        machine.disks or machine.firmware is Firmware.UEFI for machine in lab.machines
    ):
        yield "qemu-img"
    if published(lab):
        yield "socat"


def _kvm(lab: Lab, binary: Path) -> KvmVerdict:
    if all(machine.accel is Accel.TCG for machine in lab.machines):
        return KvmVerdict(False, "no machine asks for KVM")
    return try_kvm(binary, paths.cache_root())


def _tiny(lab: Lab, progress: Callable[[str], None]) -> TinyFacts | None:
    if not any(machine.image == "tiny" and machine.kernel is None for machine in lab.machines):
        return None
    guest = tiny.ensure_tiny(paths.cache_root(), progress)
    return TinyFacts(guest.kernel, guest.initrd)


def _internet(lab: Lab) -> Literal["pasta", "slirp4netns"] | None:
    if lab.host.uplink is not Uplink.INTERNET:
        return None
    if find("pasta"):
        return "pasta"
    if find("slirp4netns"):
        return "slirp4netns"
    raise MissingProgram("pasta", PACKAGES["pasta"])


def _uefi(lab: Lab) -> UefiFacts | None:
    asked = any(machine.firmware is Firmware.UEFI for machine in lab.machines)
    return firmware.find_uefi() if asked else None


def _named(lab: Lab, progress: Callable[[str], None]) -> dict[str, dict[Role, Path]]:
    """The files of each image of the catalogue that the lab uses, fetched if need be."""
    names = {
        medium.name
        for machine in lab.machines
        for medium in (
            *(medium for medium, _ in _media(machine)),
            *(disk.base for disk in machine.disks if isinstance(disk, FileDisk)),
            machine.kernel,
            machine.initrd,
        )
        if isinstance(medium, Named)
    }
    return {name: media.ensure(name, paths.cache_root(), progress) for name in sorted(names)}


def _images(
    lab: Lab, named: dict[str, dict[Role, Path]], *, shared: bool
) -> Iterator[tuple[Medium, ImageFacts]]:
    """Each image of the lab. A file may be many machines' base, or one machine's disk, and not both."""
    writers: dict[str, str] = {}
    for machine in lab.machines:
        for medium, written in _media(machine):
            if not (written and isinstance(medium, Path)):
                continue
            real = os.path.realpath(medium)
            if real in writers:
                raise RequestError(
                    f"machines {writers[real]} and {machine.name} would both write to {medium}",
                    hint="give each a copy-on-write disk: {base: …}",
                )
            writers[real] = machine.name
    for machine in lab.machines:
        for file in (machine.kernel, machine.initrd):
            if isinstance(file, Path) and not os.access(file, os.R_OK):
                raise RequestError(f"machine {machine.name}: there is no readable file {file}")
        if isinstance(machine.kernel, Path) and isinstance(machine.initrd, Path):
            images.check_initrd(machine.kernel, machine.initrd, who=machine.name)
        for medium, written in _media(machine):
            if isinstance(medium, Named):
                if "image" in named[medium.name]:
                    path = named[medium.name]["image"]
                    found = images.look(path, who=machine.name, written=False, shared=shared)
                    yield medium, replace(found, medium=CATALOGUE[medium.name].medium or found.medium)
                elif medium is not machine.image:
                    raise RequestError(
                        f"machine {machine.name}: {medium} is a kernel, and no disk or medium",
                        hint=f"write image: {medium}",
                    )
                continue
            writer = writers.get(os.path.realpath(medium))
            if not written and writer is not None:
                raise RequestError(
                    f"machine {machine.name} uses {medium} as a base, and machine {writer} would write to it",
                    hint="a base must stay as it is: give both a copy-on-write disk",
                )
            trusted = _bases_said(machine, medium, named)
            yield (
                medium,
                images.look(medium, who=machine.name, written=written, shared=shared, trusted=trusted),
            )


def _bases_said(machine: Machine, image: Path, named: dict[str, dict[Role, Path]]) -> list[Path]:
    """What the file says that an image of the user's is over: `{file: …, base: …}`."""
    said = [disk.base for disk in machine.disks if isinstance(disk, FileDisk) and disk.path == image]
    return [
        base if isinstance(base, Path) else named[base.name]["image"] for base in said if base is not None
    ]


def _media(machine: Machine) -> Iterator[tuple[Medium, bool]]:
    """A machine's images, and whether it writes to each."""
    if isinstance(machine.image, Path | Named):
        yield machine.image, False
    for disk in machine.disks:
        if isinstance(disk, FileDisk):
            yield disk.path, not disk.read_only
        elif isinstance(disk, OverlayDisk):
            yield disk.base, False
    for cdrom in machine.cdrom:
        yield cdrom, False
    for medium in (*machine.floppy, *machine.usb):
        yield medium, isinstance(medium, Path)


def _disks_fit(lab: Lab, facts: Facts) -> None:
    """A disk kept from an earlier time must be the one that the file describes: we never remake it."""
    for machine in lab.machines:
        for index, disk in all_disks(machine, facts):
            path = facts.layout.machine(machine.name).disk(index)
            if isinstance(disk, FileDisk) or not path.exists():
                continue
            bases.protect(path, doing="written to", who=f"machine {machine.name}: ")
            what = json.loads(
                run(["qemu-img", "info", "-U", "--output=json", "-f", "qcow2", str(path)]).stdout
            )
            _same_disk(machine, index, disk, what, facts)


def _same_disk(
    machine: Machine, index: int, disk: NewDisk | OverlayDisk, what: dict[str, object], facts: Facts
) -> None:
    base = str(facts.images[disk.base].path) if isinstance(disk, OverlayDisk) else None
    kept_base = what.get("backing-filename")
    if (kept_base is None) != (base is None) or not (
        base is None or bases.same_file(Path(str(kept_base)), Path(base))
    ):
        said, kept = f"over {base}" if base else "a new one", what.get("backing-filename") or "a new one"
        problem = f"the file says {said}, but the disk that was kept is {kept}"
    elif disk.size and what.get("virtual-size") != -(-disk.size // 512) * 512:  # qemu-img makes whole sectors
        problem = (
            f"the file says {disk.size} bytes, but the disk that was kept has {what.get('virtual-size')}"
        )
    else:
        return
    raise RequestError(
        f"machine {machine.name}, disk {index}: {problem}",
        hint="`vmlan down --disks` removes kept disks, with all that is on them",
    )


def _port_is_free(forward: Forward) -> None:
    kind = socket.SOCK_STREAM if forward.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as trial:
        if kind is socket.SOCK_STREAM:  # for UDP it would let two have the same port (socket(7))
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((str(forward.bind), forward.host_port))
            if kind is socket.SOCK_STREAM:
                trial.listen(1)
        except PermissionError:
            raise RequestError(
                f"forward: only root may listen on port {forward.host_port}", hint="choose one from 1024 up"
            ) from None
        except OSError as error:
            raise Busy(
                f"forward: port {forward.host_port} of {forward.bind} cannot be had: {error.strerror}",
                hint=_listener(forward) or "choose another port, or stop who listens there",
            ) from None


def _listener(forward: Forward) -> str | None:
    """Who listens there, if this user may see it (ss(8))."""
    if not find("ss"):
        return None
    flag = "-t" if forward.protocol == "tcp" else "-u"
    rows = run(["ss", "-Hlnp", flag, f"sport = :{forward.host_port}"], check=False).stdout.strip()
    return f"it is held by: {rows.splitlines()[0].split()[-1]}" if "users:" in rows else None
