"""Templates, snapshots and clones on each of the four QEMUs: what saves and loads a machine's state differs."""

from __future__ import annotations

import pytest

from tests.real.conftest import Bench
from tests.real.qemus import VERSIONS, qemu

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

LAB = """
name: each
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
machines:
  vm1: {image: tiny, memory: 128M, nics: [lan], disks: [{size: 16M}]}
  vm2: {image: tiny, memory: 128M, nics: [{network: lan, model: e1000}]}
  vm4: {image: tiny, memory: 128M, machine: q35, nics: [lan]}
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_state_goes_on(version: str, bench: Bench) -> None:
    bench.env["VMLAN_QEMU"] = str(qemu(version))
    bench.write(LAB)
    told = bench.vmlan("up").err
    assert "did not work" not in told and "will boot" not in told, told
    bench.ok("down", "--now")
    told = bench.vmlan("up").err
    assert "boots a machine once" not in told and "vm1: ready, from its template" in told, told
    keep = "echo then >/run/note; echo then >/dev/vda; sync"
    bench.ok("exec", "vm1", "--", "sh", "-c", keep)
    bench.ok("snapshot", "save", "x")
    bench.ok("exec", "vm1", "--", "sh", "-c", keep.replace("then", "later"))
    bench.ok("down", "--now")
    bench.ok("snapshot", "restore", "x")
    assert bench.ok("exec", "vm1", "--", "sh", "-c", "cat /run/note; head -n 1 /dev/vda") == "then\nthen\n"
    assert all(f"{name}: ready, from its template" in told for name in ("vm1", "vm4")), told
    bench.ok("clone", "vm1", "vm3")
    assert bench.ok("exec", "vm3", "--", "sh", "-c", "hostname; head -n 1 /dev/vda") == "vm3\nthen\n"
    for one in ("vm1", "vm2", "vm3", "vm4"):
        for other in ("vm1", "vm2", "vm3", "vm4"):
            bench.ok("exec", one, "--", "ping", "-c", "1", other)
