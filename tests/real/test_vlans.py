"""VLANs on a bridge: the plan's own lines, on a kernel that keeps them apart.

This machine's kernel may not (CONFIG_BRIDGE_VLAN_FILTERING); the tiny guest's does. So the lines are run in
a guest, with the bridge's module of its own kernel's package and this machine's iproute2, and with veth
pairs in the place of taps, so that each port has a station behind it: a namespace.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests import labs
from tests.real.conftest import Bench
from vmlan.guest import kmodules, packages
from vmlan.guest.tiny import ensure_tiny
from vmlan.host import paths
from vmlan.plan.build import plan
from vmlan.plan.steps import Command, Interfaces, batches, ip_batch

pytestmark = pytest.mark.real

LAB = """
networks: {lan: {kind: bridge, host: 10.2.0.1/24, vlan: 20}}
machines:
  a: {nics: [{network: lan, vlan: 10}]}
  b: {nics: [{network: lan, vlan: 10}]}
  c: {nics: [{network: lan, vlan: 20}]}
  d: {nics: [lan]}
  e: {nics: [lan]}
  t: {nics: [{network: lan, trunk: [10, 20]}]}
"""

#: Stations: the namespace, its interface, its address. `t` is on a trunk, and hands each tag on.
STATIONS = {
    "a": ("a", "nic", "10.2.0.11"),
    "b": ("b", "nic", "10.2.0.12"),
    "c": ("c", "nic", "10.2.0.13"),
    "d": ("d", "nic", "10.2.0.14"),
    "e": ("e", "nic", "10.2.0.15"),
    "t.10": ("t10", "nic.10", "10.2.0.16"),
    "t.20": ("t20", "nic.20", "10.2.0.17"),
}
HOST = "10.2.0.1"

#: By its path: the guest's shell has an `ip` of its own, and would take that.
IP = "/tools/bin/ip"

#: Who is in one VLAN with whom: and so who reaches whom.
TOGETHER = ({"a", "b", "t.10"}, {"c", "t.20", "host"}, {"d", "e"})

_MODULES = ("bridge", "veth", "8021q")


def programs() -> Iterator[Path]:
    """iproute2 of this machine, and the libraries that it needs."""
    for name in ("ip", "bridge"):
        program = next(path for path in (Path("/usr/sbin", name), Path("/sbin", name)) if path.exists())
        yield program
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        yield from (Path(found) for found in re.findall(r"(/\S+) \(0x", said))


@pytest.fixture
def tools(tmp_path: Path) -> tuple[bytes, list[str]]:
    """A tar of programs and modules, and the modules' names in the order in which they are loaded."""
    release = ensure_tiny(paths.cache_root()).release
    known = packages.look_up([f"linux-image-{release}", f"linux-modules-{release}"])
    assert known, f"the package lists have no kernel {release}, of which tiny was made: build it anew"
    (tmp_path / "downloads").mkdir()
    packages.unpack(known.values(), tmp_path / "downloads", tmp_path / "tree")
    files = kmodules.index(tmp_path / "tree/lib/modules" / release)

    def find(name: str) -> kmodules.Module | None:
        return kmodules.read(name, files[name].read_bytes()) if name in files else None

    modules = kmodules.closure(_MODULES, find)
    held = BytesIO()
    with tarfile.open(fileobj=held, mode="w", dereference=True) as tar:
        for path in dict.fromkeys(programs()):
            tar.add(path, path.name)
        for module in modules:
            info = tarfile.TarInfo(f"{module.name}.ko")
            info.size = len(module.data)
            tar.addfile(info, BytesIO(module.data))
    return held.getvalue(), [module.name for module in modules]


def planned() -> list[Command]:
    """The lab's `ip -batch` and `bridge -batch`, with cables of veth in the place of taps."""
    groups = batches(plan(labs.lab(LAB), labs.facts()).steps)
    found = [
        ip_batch(tuple(step for step in group if isinstance(step, Interfaces)))
        for group in groups
        if isinstance(group[0], Interfaces)
    ]
    tap = re.compile(r"^tuntap add dev ((\w)-lan) mode tap$", re.MULTILINE)
    veth = r"link add name \1 type veth peer name nic netns \2"
    assert sum(len(tap.findall(each.stdin)) for each in found) == 6
    return [Command(each.argv, tap.sub(veth, each.stdin)) for each in found]


def test_a_bridge_keeps_vlans_apart_and_a_trunk_joins_them(
    bench: Bench, tools: tuple[bytes, list[str]]
) -> None:
    archive, modules = tools
    (bench.folder / "tools.img").write_bytes(archive)
    bench.write("machines: {vm1: {image: tiny, disks: [{file: tools.img, read-only: true}]}}\n")
    bench.ok("up")

    def sh(script: str, stdin: str = "") -> str:
        return bench.ok("exec", *(["-i"] if stdin else []), "vm1", "--", "sh", "-c", script, stdin=stdin)

    # Programs of another system bring their own loader.
    run = 'exec /tools/ld-linux-x86-64.so.2 --library-path /tools "/tools/$(basename "$0")" "$@"'
    sh(
        "mkdir /tools && tar xf /dev/vda -C /tools && cd /tools && mkdir bin /run/netns && "
        + " && ".join(f"insmod {name}.ko" for name in modules)
        + f" && printf '#!/bin/sh\\n%s\\n' '{run}' >bin/ip && cp bin/ip bin/bridge && chmod +x bin/*"
        + " && for name in a b c d e t t10 t20; do bin/ip netns add $name; done"
    )
    for command in planned():
        sh(f"/tools/bin/{command.argv[0]} -batch -", stdin=command.stdin)
    setup = f"set -e; {IP} -n t link set nic up; "
    for vlan in (10, 20):
        setup += f"{IP} -n t link add link nic name nic.{vlan} type vlan id {vlan}; "
        setup += f"{IP} -n t link set nic.{vlan} netns t{vlan}; "
    for space, nic, address in STATIONS.values():
        setup += f"{IP} -n {space} addr add {address}/24 dev {nic}; {IP} -n {space} link set {nic} up; "
    sh(setup)

    assert found(sh) == {
        one: {name for group in TOGETHER if one in group for name in group} - {one} for one in STATIONS
    }


def test_a_lab_with_vlans_comes_up_where_the_kernel_has_them_and_is_refused_where_not(bench: Bench) -> None:
    trial = ("ip", "link", "add", "name", "trial", "type", "bridge", "vlan_filtering", "1")
    namespace = ("unshare", "--user", "--map-root-user", "--net")
    able = subprocess.run([*namespace, *trial], capture_output=True, check=False).returncode == 0
    bench.write(LAB.partition("  b:")[0])
    done = bench.vmlan("up")
    if able:
        rows = json.loads(bench.ok("host", "--", "bridge", "-j", "vlan", "show", "dev", "a-lan"))
        assert (done.code, [row["vlan"] for row in rows[0]["vlans"]]) == (0, [10])
    else:
        assert done.code == 3 and "network lan has VLANs" in done.err
        assert "CONFIG_BRIDGE_VLAN_FILTERING" in done.err
        assert bench.processes() == []


def found(sh: Callable[[str], str]) -> dict[str, set[str]]:
    """Who reaches whom."""
    names = {address: name for name, (_, _, address) in STATIONS.items()} | {HOST: "host"}
    script = ""
    for name, (space, nic, own) in STATIONS.items():
        others = " ".join(address for address in names if address != own)
        script += (
            f"for to in {others}; do {IP} netns exec {space} ping -c 1 -W 1 -q -I {nic} $to >/dev/null 2>&1"
            f" && echo {name} $to & done; wait; "
        )
    reached: dict[str, set[str]] = {name: set() for name in STATIONS}
    for row in sh(script).splitlines():
        name, address = row.split()
        reached[name].add(names[address])
    return reached
