"""Whatever the file says, it is a lab or a list of problems, each printable and in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmlan.errors import LabFileError
from vmlan.labfile import loads
from vmlan.labfile.section import keys_of
from vmlan.labfile.shapes import NETWORKS, Check, Disk, Host, LabFile, Machine, Nic
from vmlan.model import Lab

KEYS = sorted(
    {
        key
        for shape in (LabFile, Host, Machine, Nic, Disk, Check, *NETWORKS.values())
        for key in keys_of(shape)
    }
)
WORDS = [
    *[
        "vm1",
        "vm2",
        "lan",
        "wire",
        "host",
        "tiny",
        "tap",
        "bridge",
        "user",
        "socket",
        "none",
        "disk",
        "simulated",
    ],
    *[
        "512M",
        "8G",
        "a.img",
        "10.1.1.1/24",
        "10.1.1.9/24",
        "10.1.1.1",
        "52:54:00:00:00:01",
        "8080:80",
        "kvm",
        "~x/y",
    ],
    *[
        "",
        "\0",
        "\n",
        "é",
        "\u2028",
        "<<",
        "http://x/y",
        "10.1.1.0/24",
        "x" * 100,
        "0:0",
        "512",
        "/",
        "::1/64",
    ],
]
scalars = st.one_of(
    st.sampled_from(WORDS), st.booleans(), st.none(), st.integers(), st.floats(), st.text(max_size=20)
)
names = st.one_of(st.sampled_from([*KEYS, "kind", *WORDS]), st.text(max_size=8))
data = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=6)),
    max_leaves=25,
)


short = st.sampled_from(["vm1", "vm2", "lan", "wire", "Lan"])
address = st.sampled_from(["10.1.1.1/24", "10.1.1.9/24", "10.1.2.1/24", "10.1.1.1/30", "203.0.113.1/8", "x"])
file = st.sampled_from(["a.img", "~/b.iso", "/c d", "", "http://x"])
ports = st.sampled_from(["8080:80", "0.0.0.0:8080:80", "udp:1:2", "1:0", "5353:53/udp"])

#: Values that are right more often than not, by key.
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "name": short,
    "uplink": st.sampled_from(["none", "internet", "simulated", "eth0"]),
    "forwarding": st.booleans(),
    "dhcp": st.booleans(),
    "nat": st.booleans(),
    "forward": st.lists(ports, max_size=3),
    "image": st.one_of(st.just("tiny"), file),
    "memory": st.sampled_from(["512M", "1.5G", "1K", 512]),
    "cpus": st.integers(0, 4),
    "cpu": st.sampled_from(["max", "host", "a,b"]),
    "usb": st.lists(file, max_size=2),
    "boot": st.lists(st.sampled_from(["disk", "cdrom", "network"]), max_size=2),
    "append": st.text(max_size=5),
    "qemu-args": st.lists(st.text(max_size=5), max_size=2),
    "size": st.sampled_from(["8G", "1K", "8"]),
    "base": file,
    "network": short,
    "via": short,
    "model": st.sampled_from(["e1000", "virtio"]),
    "mac": st.sampled_from(["52:54:00:00:00:01", "52-54-00-00-00-0A", "01:00:00:00:00:00"]),
    "address": address,
    "gateway": st.sampled_from(["10.1.1.1", "10.1.2.1"]),
    "ping": st.one_of(short, st.just("10.1.1.1"), st.just("host")),
    "from": short,
    **dict.fromkeys(
        ("seen-on", "not-seen-on"), st.one_of(short, st.lists(st.one_of(short, st.just("vm1:0"))))
    ),
    "reason": st.sampled_from(["no-nat", "lost", "delivered", "los", ""]),
    "expect": st.sampled_from(["reachable", "unreachable"]),
    **dict.fromkeys(("floppy", "cdrom", "kernel", "initrd"), file),
}


@st.composite
def section(draw: st.DrawFn, shape: Any, **better: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Some keys of a shape, most of them with values that are right; rarely anything at all."""
    keys = (
        draw(st.lists(st.sampled_from([*keys_of(shape), None]), max_size=6, unique=True))
        if keys_of(shape)
        else []
    )
    keys += better
    found = {}
    for key in keys:
        odd = key is None or draw(st.integers(0, 19)) == 0
        value = data if odd else better.get(key, LIKELY.get(key, data))
        found[draw(names) if key is None else key] = draw(value)
    return found


networks = st.sampled_from([*NETWORKS]).flatmap(
    lambda kind: section(NETWORKS[kind], **({"host": address} if kind in {"tap", "bridge"} else {})).map(
        lambda keys: {"kind": kind, **keys}
    )
)
machines = section(
    Machine,
    nics=st.lists(st.one_of(short, section(Nic, network=short)), max_size=3),
    disks=st.lists(st.one_of(file, section(Disk)), max_size=3),
)
labs = section(
    LabFile,
    machines=st.dictionaries(short, machines, max_size=3),
    networks=st.dictionaries(short, networks, max_size=3),
    host=section(Host),
    checks=st.lists(section(Check, ping=LIKELY["ping"]), max_size=2),
)


def read(text: str) -> Lab | None:
    """The lab, or None after a look at every problem."""
    try:
        return loads(text, folder=Path("/labs/x"))
    except LabFileError as error:
        assert error.problems
        assert list(error.problems) == sorted(set(error.problems))
        lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        for problem in error.problems:
            message = problem.at("lab.yaml")
            assert message.isprintable(), message
            assert len(message) < 500, message
            # Some more characters than \n break a YAML line, none of which a lab file needs.
            assert 1 <= problem.line <= lines + sum(text.count(char) for char in "\x85\u2028\u2029")
            assert problem.column >= 1
        return None


@settings(max_examples=100, deadline=None)
@given(data)
def test_any_data(value: Any) -> None:
    read(json.dumps(value))


@settings(max_examples=100, deadline=None)
@given(labs)
def test_nearly_labs(value: Any) -> None:
    read(json.dumps(value))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    read(text)


SYNTAX = [
    "machines:",
    "vm1:",
    "\n",
    "\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    ": ",
    "&a ",
    "*a",
    "<<: ",
    "!x ",
    "!!int ",
    "'",
]
SYNTAX += [
    '"',
    "|",
    ">",
    "? ",
    "---",
    "...",
    "%YAML 1.1",
    "#",
    "\t",
    "1",
    "1e999",
    ".nan",
    "0x",
    "1:2:3",
    "~",
    "x",
    "\\",
]


def test_a_version_of_yaml_that_there_is_not() -> None:
    with pytest.raises(LabFileError, match="%YAML"):
        loads("%YAML 1.11\n---\nmachines: {vm1: }\n", folder=Path("/labs/x"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(SYNTAX), max_size=30).map("".join))
def test_any_syntax(text: str) -> None:
    read(text)
