"""Reading, once, what a plan must know of this host: programs, KVM, images, free ports."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vmlan.catalogue import is_tiny
from vmlan.errors import Busy, MissingProgram, RequestError
from vmlan.guest import tiny
from vmlan.host import firmware, identity, lab_images, nic_change, paths, real_host
from vmlan.host import keeper as keeper_program
from vmlan.host.run import PACKAGES, find, need, run
from vmlan.model import (
    Accel,
    BridgeNetwork,
    Firmware,
    Forward,
    Lab,
    Place,
    Uplink,
)
from vmlan.plan.facts import Facts, LanFacts, TinyFacts, UefiFacts
from vmlan.plan.layout import Layout
from vmlan.plan.topology import knows_vlans, published
from vmlan.qemu.facts import KvmVerdict
from vmlan.qemu.kvm import try_kvm
from vmlan.qemu.probe import probe

QEMU = "qemu-system-x86_64"


def gather(
    lab: Lab,
    layout: Layout,
    *,
    running: bool = False,
    cold: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Facts:
    """Everything that planning this lab needs; of a real host too, where the lab is to be in its network.

    `cold`: every machine boots, whatever templates there are.
    What is read on behalf of whoever called sudo, is read as him (`identity`). Raises what `_gather` does.
    """
    if lab.host.place is Place.PRIVATE:
        return _gather(lab, layout, running=running, cold=cold, progress=progress)
    user = identity.invoker()
    with identity.acting(user):
        facts = _gather(lab, layout, running=running, cold=cold, progress=progress)
    host = real_host.gather(layout, user, running=running)
    return replace(facts, host=replace(host, lan=_lan(lab, layout)))


def _lan(lab: Lab, layout: Layout) -> LanFacts | None:
    """The NIC that is to be a port: as it is, or, where it is one already, as it was before."""
    bridges = (net for net in lab.networks if isinstance(net, BridgeNetwork) and net.nic is not None)
    nic = next((net.nic for net in bridges), None)
    if nic is None:
        return None
    from vmlan.host.lan import client, gather

    known = client.recorded(nic_change.folder(layout)) if identity.is_root() else None
    snapshot = known.snapshot if known is not None else gather.gather(nic)
    return LanFacts(snapshot, gather.nic_facts(nic, snapshot))


def _gather(lab: Lab, layout: Layout, *, running: bool, cold: bool, progress: Callable[[str], None]) -> Facts:
    """Everything that planning this lab needs. `running`: its own images and ports are in use by itself.

    Raises `MissingProgram` with the package's name, `RequestError` for a missing image, `Busy` for an
    image or a port that somebody else uses. Nothing is changed, but the tiny guest is built if need be.
    """
    binary = need(os.environ.get("VMLAN_QEMU") or lab.qemu or QEMU).resolve()
    for program in _programs(lab):
        need(program)
    named = lab_images.fetch(lab, progress)
    facts = Facts(
        layout=layout,
        qemu=probe(binary, paths.cache_root()),
        kvm=_kvm(lab, binary),
        keeper=(sys.executable, "-I", "-S", "-B", keeper_program.__file__),
        tiny=_tiny(lab, progress),
        images=dict(lab_images.look(lab, named, shared=running)),
        named=named,
        uefi=_uefi(lab),
        internet=_internet(lab),
        bridge_vlans=_bridge_vlans(lab),
        etc=frozenset(name for name in ("hosts", "resolv.conf") if Path("/etc", name).exists()),
    )
    if not cold:
        facts = _with_templates(lab, facts)
    if not running:
        lab_images.check_disks(lab, facts)
        for forward in published(lab):
            _port_is_free(forward)
    return facts


def _with_templates(lab: Lab, facts: Facts) -> Facts:
    """What templates depend on: a file counts as another one when somebody has written to it."""
    shaping = [facts.qemu.path, *((facts.tiny.kernel, facts.tiny.initrd) if facts.tiny else ())]
    for image in facts.images.values():
        shaping += [image.path, *(link.path for link in image.chain)]
    firsts = (facts.layout.machine(machine.name).disk(0) for machine in lab.machines)
    return replace(
        facts,
        templates=paths.templates_root(),
        files={path: _told_apart(path) for path in shaping},
        disks=frozenset(disk for disk in firsts if disk.exists()),
        processor=_processor() if facts.kvm.works else "",
    )


def _told_apart(path: Path) -> str:
    found = path.stat()
    return f"{path.resolve()}, {found.st_size} bytes, {found.st_mtime_ns}"


def _processor() -> str:
    """This host's processor and what it can do, which a guest has asked for when it booted (proc(5))."""
    rows = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    named = dict(row.replace("\t", "").split(":", 1) for row in rows if ":" in row)
    flags = hashlib.sha256(named.get("flags", "").encode()).hexdigest()[:8]
    model, microcode = (named.get(name, "unknown").strip() for name in ("model name", "microcode"))
    return f"{model}, microcode {microcode}, {flags}"


def _programs(lab: Lab) -> Iterator[str]:
    """What this lab will run. Asked for before anything is started."""
    yield from ("unshare", "nsenter", "chrt", "mount", "ip", "sysctl")
    bridges = [network for network in lab.networks if isinstance(network, BridgeNetwork)]
    if any(bridge.nat for bridge in bridges):
        yield "nft"
    if lab.host.place is Place.HOST:
        yield "setpriv"
    if any(knows_vlans(lab, bridge) for bridge in bridges):
        yield "bridge"
    if any(bridge.dhcp for bridge in bridges) or lab.host.uplink is Uplink.SIMULATED:
        yield "dnsmasq"
    if any(True for machine in lab.machines for _ in lab_images.media_of(machine)) or any(
        machine.disks or machine.firmware is Firmware.UEFI for machine in lab.machines
    ):
        yield "qemu-img"
    if published(lab) and lab.host.place is Place.PRIVATE:
        yield "socat"


def _kvm(lab: Lab, binary: Path) -> KvmVerdict:
    if all(machine.accel is Accel.TCG for machine in lab.machines):
        return KvmVerdict(False, "no machine asks for KVM")
    return try_kvm(binary, paths.cache_root())


def _tiny(lab: Lab, progress: Callable[[str], None]) -> TinyFacts | None:
    if not any(is_tiny(machine) for machine in lab.machines):
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


def _bridge_vlans(lab: Lab) -> bool:
    """Whether this kernel's bridges keep VLANs apart; tried where a lab needs it, in a namespace of its own.

    It is a choice of whoever built the kernel (CONFIG_BRIDGE_VLAN_FILTERING), which is written nowhere
    else. What fails for another reason will fail again, and be told then.
    """
    bridges = (network for network in lab.networks if isinstance(network, BridgeNetwork))
    if not any(knows_vlans(lab, bridge) for bridge in bridges):
        return True
    add = ("ip", "link", "add", "name", "trial", "type", "bridge")
    argv = ("unshare", "--user", "--map-root-user", "--net", *add, "vlan_filtering", "1")
    return "not supported" not in run(argv, check=False, env={"LC_ALL": "C"}).stderr


def _uefi(lab: Lab) -> UefiFacts | None:
    asked = any(machine.firmware is Firmware.UEFI for machine in lab.machines)
    return firmware.find_uefi() if asked else None


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
