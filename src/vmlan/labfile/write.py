"""A lab → the text of its lab.yaml, as a person would have written it. What it writes, `loads` reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from vmlan.catalogue import CATALOGUE
from vmlan.labfile import values
from vmlan.labfile.machines import MEMORY_OF_OTHERS
from vmlan.model import (
    HOST_SIDE,
    LOOPBACK,
    Accel,
    ArpCheck,
    BridgeNetwork,
    Check,
    DhcpCheck,
    Disk,
    DnsCheck,
    FileDisk,
    Firmware,
    Forward,
    HostSide,
    HubNetwork,
    Lab,
    Machine,
    MacvtapNetwork,
    Medium,
    Named,
    Network,
    Nic,
    OverlayDisk,
    Place,
    ScreenCheck,
    TapNetwork,
    TcpCheck,
    Uplink,
    UserNetwork,
)

#: A line of the file is not longer, if it can be helped.
_WIDTH = 100

#: What needs no quotes, neither alone nor among others; what YAML takes for something else is not text.
_PLAIN = re.compile(r"[A-Za-z0-9_./~<-][A-Za-z0-9_./~<>$+=:@%-]*(?<!:)")
_NOT_TEXT = re.compile(
    r"(null|true|false|yes|no|on|off|y|n|~|[-+.]?[\d.][\d._]*([eE][-+]?\d+)?|0[xo]\w+)", re.IGNORECASE
)

#: A value of the file: text, a number, a switch, a list or a group of keys.
_Value: TypeAlias = Any


class _Quoted(str):
    """Text that people write in quotes, though YAML would not need them ("8080:80")."""


def dumps(lab: Lab, comments: Mapping[str, Sequence[str]] | None = None) -> str:
    """The text of a lab file. `comments`: lines to put before a machine, by its name; "" is the top."""
    comments = comments or {}
    lines = [_comment(line) for line in comments.get("", ())]
    if lab.name != values.name_of(lab.folder):
        lines.append(f"name: {_flow(lab.name)}")
    if lab.qemu is not None:
        lines.append(f"qemu: {_flow(lab.qemu)}")
    if host := _host(lab.host):
        lines.append(f"host: {_flow(host)}")
    if lab.networks:
        lines.append("networks:")
        lines += [f"  {_flow(network.name)}: {_flow(_network(network))}" for network in lab.networks]
    lines.append("machines:")
    for machine in lab.machines:
        lines += [f"  {_comment(line)}" for line in comments.get(machine.name, ())]
        lines += _machine(machine, lab.folder)
    if lab.checks:
        lines.append("checks:")
        lines += [f"  - {_flow(_check(check))}" for check in lab.checks]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """One line of comment, whatever is in the text."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return f"# {printable}".rstrip()


def _machine(machine: Machine, folder: Path) -> Iterator[str]:
    keys = dict(_machine_keys(machine, folder))
    short = f"  {_flow(machine.name)}: {_flow(keys)}"
    if len(keys) <= 2 and len(short) <= _WIDTH and "qemu-args" not in keys:
        yield short
        return
    yield f"  {_flow(machine.name)}:"
    for key, value in keys.items():
        yield from _key(key, value)


def _key(key: str, value: _Value) -> Iterator[str]:
    """A key of a machine; a long list is broken where one reads it."""
    line = f"    {key}: {_flow(value)}"
    if not isinstance(value, list) or len(line) <= _WIDTH:
        yield line
    elif key == "qemu-args":
        yield f"    {key}:"
        groups = [", ".join(map(_flow, group)) for group in _options(value)]
        yield f"      [{groups[0]}" + ("," if len(groups) > 1 else "]")
        for number, group in enumerate(groups[1:], 2):
            yield f"       {group}" + ("," if number < len(groups) else "]")
    else:
        yield f"    {key}:"
        yield from (f"      - {_flow(item)}" for item in value)


def _options(words: Iterable[str]) -> list[list[str]]:
    """Arguments, each option with what belongs to it."""
    groups: list[list[str]] = []
    for word in words:
        if groups and not word.startswith("-"):
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def _machine_keys(machine: Machine, folder: Path) -> Iterator[tuple[str, _Value]]:
    """The keys that differ from what the file would say without them."""
    media = (machine.disks, machine.cdrom, machine.floppy, machine.usb, machine.kernel)
    if machine.image == "tiny":
        yield "image", "tiny"
    elif machine.image is not None:
        yield "image", _medium(machine.image, folder, image=True)
    if machine.memory != (Machine.memory if machine.image == "tiny" else MEMORY_OF_OTHERS):
        yield "memory", size(machine.memory)
    for key, value, default in (
        ("cpus", machine.cpus, 1),
        ("cpu", machine.cpu, Machine.cpu),
        ("accel", machine.accel.value, Accel.AUTO.value),
        ("machine", machine.machine, Machine.machine),
        ("firmware", machine.firmware.value, Firmware.BIOS.value),
    ):
        if value != default:
            yield key, value
    for key, found in (("floppy", machine.floppy), ("cdrom", machine.cdrom)):
        if found:
            texts = [_medium(medium, folder) for medium in found]
            yield key, texts[0] if len(texts) == 1 else texts
    if machine.usb:
        yield "usb", [_medium(medium, folder) for medium in machine.usb]
    if machine.disks or (machine.image is None and not any(media)):
        yield "disks", [_disk(disk, folder) for disk in machine.disks]
    if machine.boot:
        yield "boot", list(machine.boot)
    if machine.kernel is not None:
        yield "kernel", _medium(machine.kernel, folder)
    if machine.initrd is not None:
        yield "initrd", _medium(machine.initrd, folder)
    if machine.append:
        yield "append", machine.append
    if machine.nics:
        yield "nics", [_nic(nic) for nic in machine.nics]
    if machine.qemu_args:
        yield "qemu-args", list(machine.qemu_args)


def _medium(medium: Medium, folder: Path, *, image: bool = False) -> str:
    """A medium as the file names it; a file of the name of something that vmlan knows begins with ./"""
    if isinstance(medium, Named):
        return medium.name
    text = _path(medium, folder)
    unclear = text in CATALOGUE or (image and not re.search(r"[./~]", text))
    return f"./{text}" if unclear else text


def _path(path: Path, folder: Path) -> str:
    """Relative to the lab's folder where it is in there."""
    relative = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    return str(path) if relative.startswith("~") else relative


def _disk(disk: Disk, folder: Path) -> _Value:
    bus = {} if disk.bus == "virtio" else {"bus": disk.bus}
    if isinstance(disk, FileDisk):
        only = {"read-only": True} if disk.read_only else {}
        base = {} if disk.base is None else {"base": _medium(disk.base, folder)}
        if not bus and not only and not base:
            return _medium(disk.path, folder)
        return {"file": _path(disk.path, folder), **base, **bus, **only}
    if isinstance(disk, OverlayDisk):
        larger = {} if disk.size is None else {"size": size(disk.size)}
        return {"base": _medium(disk.base, folder), **larger, **bus}
    return {"size": size(disk.size), **bus}


def _nic(nic: Nic) -> _Value:
    keys: dict[str, _Value] = {"network": nic.network}
    if nic.model != Nic.model:
        keys["model"] = nic.model
    keys |= {
        key: str(value)
        for key in ("mac", "address", "gateway", "address6", "gateway6")
        if (value := getattr(nic, key)) is not None
    }
    if nic.vlan is not None:
        keys["vlan"] = nic.vlan
    if nic.trunk:
        keys["trunk"] = list(nic.trunk)
    return keys if len(keys) > 1 else nic.network


def _network(network: Network) -> dict[str, _Value]:
    keys: dict[str, _Value] = {"kind": network.kind}
    if isinstance(network, TapNetwork | BridgeNetwork) and network.host is not None:
        keys["host"] = str(network.host)
    if isinstance(network, TapNetwork | BridgeNetwork) and network.host6 is not None:
        keys["host6"] = str(network.host6)
    if isinstance(network, BridgeNetwork):
        keys |= {key: True for key in ("dhcp", "nat", "uplink") if getattr(network, key)}
        keys |= {} if network.vlan is None else {"vlan": network.vlan}
    if isinstance(network, MacvtapNetwork):
        keys["parent"] = network.parent
    if isinstance(network, UserNetwork | HubNetwork) and network.forward:
        keys["forward"] = [_forward(forward) for forward in network.forward]
    return keys


def _forward(forward: Forward) -> str:
    bind = "" if forward.bind == LOOPBACK else f"{forward.bind}:"
    protocol = "" if forward.protocol == "tcp" else f"/{forward.protocol}"
    return _Quoted(f"{bind}{forward.host_port}:{forward.guest_port}{protocol}")


def _host(host: HostSide) -> dict[str, _Value]:
    keys: dict[str, _Value] = {}
    if host.place is not Place.PRIVATE:
        keys["place"] = host.place.value
    if host.forwarding:
        keys["forwarding"] = True
    if host.uplink is not Uplink.NONE:
        keys["uplink"] = host.uplink.value
    return keys


def _check(check: Check) -> dict[str, _Value]:
    hint = {"hint": check.hint} if check.hint else {}
    within = {} if check.within is None else {"within": _time(check.within)}
    if isinstance(check, ScreenCheck):
        return {"screen": check.text, "on": check.on, **within, **hint}
    keys: dict[str, _Value] = {}
    if isinstance(check, DhcpCheck):
        keys["dhcp"] = check.network
    elif isinstance(check, DnsCheck):
        keys["dns"] = check.name
    elif isinstance(check, TcpCheck):
        target = f"[{check.target}]" if ":" in check.target else check.target
        keys["tcp"] = f"{target}:{check.port}"
    else:
        keys["arp" if isinstance(check, ArpCheck) else "ping"] = check.target
    if check.source != HOST_SIDE:
        keys["from"] = check.source
    if not check.reachable:
        keys["expect"] = "unreachable"
    for key in ("seen-on", "not-seen-on"):
        if links := getattr(check, key.replace("-", "_"), ()):
            keys[key] = links[0] if len(links) == 1 else list(links)
    if (reason := getattr(check, "reason", None)) is not None:
        keys["reason"] = reason.value
    if (answer := getattr(check, "answer", None)) is not None:
        keys["is"] = answer
    if (via := getattr(check, "via", None)) is not None:
        keys["via"] = via
    return {**keys, **within, **hint}


def _time(seconds: float) -> str:
    """A time in whole seconds, or in thousandths."""
    thousandths = round(seconds * 1000)
    return f"{thousandths}ms" if thousandths % 1000 else f"{thousandths // 1000}s"


def size(bytes_: int) -> str:
    """A size in the largest unit that gives a whole number: 8G, 1536M."""
    unit = next(unit for unit in ("T", "G", "M", "K", "B") if bytes_ % values.UNITS[unit] == 0)
    return f"{bytes_ // values.UNITS[unit]}{unit}"


def _flow(value: _Value) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    plain = _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value) and not isinstance(value, _Quoted)
    return value if plain else _quoted(value)


def _quoted(text: str) -> str:
    """Text in double quotes, with whatever is in it."""
    yaml = YAML()
    yaml.width = 2**30  # of a line; it must not be broken
    stream = StringIO()
    yaml.dump([DoubleQuotedScalarString(text)], stream)
    return stream.getvalue().removeprefix("- ").removesuffix("\n")
