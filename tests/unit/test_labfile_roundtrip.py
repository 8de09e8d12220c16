"""Any lab, written out as a file, is read as that lab."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from vmlan.labfile import loads
from vmlan.model import (
    Accel,
    BridgeNetwork,
    Bus,
    Check,
    Disk,
    FileDisk,
    Firmware,
    Forward,
    HostSide,
    HubNetwork,
    Lab,
    Machine,
    Network,
    NewDisk,
    Nic,
    NoNetwork,
    OverlayDisk,
    PingCheck,
    ScreenCheck,
    SocketNetwork,
    Uplink,
    UserNetwork,
)
from vmlan.reasons import Reason

FOLDER = Path("/labs/x")

# Text that can be in a path or an argument: everything but NUL and half characters.
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
line = text.filter(lambda value: not set(value) & set("\r\n"))
files = st.from_regex(r"\A[a-zé ,;'\"\n$=-]{1,8}\.img\Z").map(lambda name: FOLDER / name)
optional_file = st.none() | files
macs = st.integers(0, 2**32 - 1).map(lambda tail: "52:54:" + tail.to_bytes(4, "big").hex(":"))
models = st.sampled_from(["virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"])
buses = st.sampled_from(get_args(Bus))
disks: st.SearchStrategy[Disk] = st.one_of(
    st.builds(NewDisk, st.integers(1024, 2**50), buses),
    st.builds(OverlayDisk, files, st.none() | st.integers(1024, 2**50), buses),
    st.builds(FileDisk, files, buses, st.booleans(), optional_file),
)
forwards = st.builds(
    Forward,
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(["tcp", "udp"]),
    st.integers(0, 2**32 - 1).map(IPv4Address),
)


vlans = st.integers(1, 4094)
reasons = st.none() | st.sampled_from([each for each in Reason if each is not Reason.DELIVERED])


@st.composite
def networks(draw: st.DrawFn, index: int) -> Network:
    name = f"n{index}"
    host = IPv4Interface(f"10.{index}.0.{draw(st.integers(1, 254))}/24")
    return draw(
        st.one_of(
            st.builds(
                BridgeNetwork,
                *(st.just(name), st.just(host), st.booleans(), st.booleans()),
                host6=st.none() | st.just(IPv6Interface(f"fd00:{index}::1/64")),
                vlan=st.none() | vlans,
            ),
            st.just(BridgeNetwork(name)),
            # One forward in the lab at most: two may want the same port.
            st.builds(UserNetwork, st.just(name), st.tuples(forwards) if index == 0 else st.just(())),
            st.builds(HubNetwork, st.just(name), st.tuples(forwards) if index == 0 else st.just(())),
            st.just(SocketNetwork(name)),
            st.just(NoNetwork(name)),
        )
    )


@st.composite
def ports(draw: st.DrawFn, on_a_bridge: bool) -> dict[str, Any]:
    """The VLANs of a NIC's port."""
    if not on_a_bridge:
        return {}
    vlan = draw(st.none() | vlans)
    trunk = draw(st.lists(vlans.filter(lambda one: one != vlan), max_size=3, unique=True))
    return {"vlan": vlan, "trunk": tuple(trunk)}


@st.composite
def labs(draw: st.DrawFn) -> Lab:
    every = tuple(draw(networks(index)) for index in range(draw(st.integers(0, 3))))
    # A network with forwards leads to one NIC only.
    on = [network.name for network in every if not getattr(network, "forward", ())]
    bridges = {network.name for network in every if isinstance(network, BridgeNetwork)}
    unused_macs = iter(draw(st.lists(macs, min_size=9, max_size=9, unique=True)))
    names = [f"vm{index}" for index in range(draw(st.integers(1, 3)))]
    machines = []
    for name in names:
        nics = draw(st.lists(st.tuples(st.sampled_from(on), models, st.booleans()), max_size=3)) if on else []
        kernel = draw(optional_file)
        image = draw(st.sampled_from(["tiny", FOLDER / "a.qcow2"]))
        direct = image == "tiny" and kernel is None
        machines.append(
            Machine(
                name=name,
                image=image,
                memory=draw(st.integers(2**20, 2**45)),
                cpus=draw(st.integers(1, 500)),
                cpu=draw(st.sampled_from(["max", "host", "qemu64"])),
                accel=draw(st.sampled_from(Accel)),
                machine=draw(st.sampled_from(["pc", "q35", "pc-i440fx-7.2"])),
                disks=tuple(draw(st.lists(disks, max_size=2))),
                firmware=Firmware.BIOS if direct else draw(st.sampled_from(Firmware)),
                floppy=tuple(draw(st.lists(files, max_size=2))),
                cdrom=tuple(draw(st.lists(files, max_size=2))),
                usb=tuple(draw(st.lists(files, max_size=2))),
                kernel=kernel,
                initrd=draw(optional_file) if kernel else None,
                append=draw(line) if kernel else "",
                nics=tuple(
                    Nic(
                        network,
                        model,
                        next(unused_macs) if has_mac else None,
                        **draw(ports(network in bridges)),
                    )
                    for network, model, has_mac in nics
                ),
                qemu_args=tuple(draw(st.lists(text, max_size=3))),
            )
        )
    ends = st.sampled_from([*names, "host"])
    nics = [(machine.name, index) for machine in machines for index, _ in enumerate(machine.nics)]
    links = [network.name for network in every if isinstance(network, BridgeNetwork)]
    links += [
        f"{machine}:{index}" for machine, index in nics if leads_somewhere(machines, every, machine, index)
    ]
    some = st.lists(st.sampled_from(links), max_size=3, unique=True) if links else st.just([])
    checks = st.builds(seeing, ends | st.just("203.0.113.68"), ends, text, some, reasons)
    on_networks = [(machine.name, nic.network) for machine in machines for nic in machine.nics]
    if on_networks:
        places = st.sampled_from(on_networks)
        checks |= places.map(lambda place: PingCheck(place[0], "host", via=place[1]))
    checks |= st.builds(ScreenCheck, line.filter(str.strip), st.sampled_from(names), text)
    host = HostSide(forwarding=draw(st.booleans()), uplink=draw(st.sampled_from(Uplink)))
    return Lab("x", FOLDER, tuple(machines), every, host, tuple(draw(st.lists(checks, max_size=2))))


def leads_somewhere(machines: list[Machine], every: tuple[Network, ...], name: str, index: int) -> bool:
    machine = next(each for each in machines if each.name == name)
    network = next(each for each in every if each.name == machine.nics[index].network)
    return not isinstance(network, NoNetwork)


def seeing(target: str, source: str, hint: str, links: list[str], reason: Reason | None) -> PingCheck:
    """A ping that must be seen on some links and not on others; it has a reason, if it must fail."""
    half = len(links) // 2
    return PingCheck(
        target,
        source,
        reachable=reason is None,
        hint=hint,
        seen_on=tuple(links[:half]),
        not_seen_on=tuple(links[half:]),
        reason=reason,
    )


def written(lab: Lab) -> dict[str, Any]:
    """The lab as the data of a file."""
    return {
        "host": {"forwarding": lab.host.forwarding, "uplink": lab.host.uplink.value},
        "networks": {network.name: written_network(network) for network in lab.networks},
        "machines": {machine.name: written_machine(machine) for machine in lab.machines},
        "checks": [written_check(check) for check in lab.checks],
    }


def written_check(check: Check) -> dict[str, Any]:
    if isinstance(check, ScreenCheck):
        return {"screen": check.text, "on": check.on, "hint": check.hint}
    return {
        "ping": check.target,
        "from": check.source,
        "expect": "reachable" if check.reachable else "unreachable",
        "hint": check.hint,
        **({"via": check.via} if check.via else {}),
        **({"seen-on": list(check.seen_on)} if check.seen_on else {}),
        **({"not-seen-on": list(check.not_seen_on)} if check.not_seen_on else {}),
        **({"reason": check.reason.value} if check.reason else {}),
    }


def written_network(network: Network) -> dict[str, Any]:
    keys: dict[str, Any] = {"kind": network.kind}
    if isinstance(network, BridgeNetwork) and network.host is not None:
        keys |= {"host": str(network.host), "dhcp": network.dhcp, "nat": network.nat}
        keys |= {} if network.host6 is None else {"host6": str(network.host6)}
        keys |= {} if network.vlan is None else {"vlan": network.vlan}
    if isinstance(network, UserNetwork | HubNetwork):
        keys["forward"] = [f"{f.bind}:{f.host_port}:{f.guest_port}/{f.protocol}" for f in network.forward]
    return keys


def written_machine(machine: Machine) -> dict[str, Any]:
    keys = {
        "image": str(machine.image),
        "memory": f"{machine.memory}B" if machine.memory % 1024 else f"{machine.memory // 1024}K",
        "cpus": machine.cpus,
        "cpu": machine.cpu,
        "accel": machine.accel.value,
        "machine": machine.machine,
        "disks": [written_disk(disk) for disk in machine.disks],
        "firmware": machine.firmware.value,
        "usb": [Path(str(path)).name for path in machine.usb],
        "nics": [written_nic(nic) for nic in machine.nics],
        "qemu-args": list(machine.qemu_args),
    }
    for key in ("floppy", "cdrom"):
        names = [path.name for path in getattr(machine, key)]
        if names:
            keys[key] = names[0] if len(names) == 1 else names
    for key in ("kernel", "initrd"):
        path = getattr(machine, key)
        if path is not None:
            keys[key] = path.name
    if machine.append:
        keys["append"] = machine.append
    return keys


def written_disk(disk: Disk) -> Any:
    if disk == FileDisk(getattr(disk, "path", FOLDER)):
        return disk.path.name
    keys: dict[str, Any] = {"bus": disk.bus}
    if isinstance(disk, FileDisk):
        keys |= {"file": disk.path.name, "read-only": disk.read_only}
    elif disk.size is not None:
        keys["size"] = f"{disk.size}B"
    base = None if isinstance(disk, NewDisk) else disk.base
    return keys if base is None else {**keys, "base": base.name}


def written_nic(nic: Nic) -> Any:
    if nic == Nic(nic.network):
        return nic.network
    keys = {"network": nic.network, "model": nic.model, **({"mac": nic.mac} if nic.mac else {})}
    keys |= {} if nic.vlan is None else {"vlan": nic.vlan}
    return keys | ({"trunk": list(nic.trunk)} if nic.trunk else {})


@settings(max_examples=100, deadline=None)
@given(labs())
def test_every_lab(lab: Lab) -> None:
    assert loads(json.dumps(written(lab)), folder=FOLDER) == lab
