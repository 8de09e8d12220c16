"""A lab that does not fit into this host's memory: nothing of it is started, unless the user insists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.conftest import Bench
from vmlan.host.memory import meminfo

pytestmark = pytest.mark.real


def test_a_lab_that_does_not_fit_is_refused_before_anything_starts(bench: Bench) -> None:
    bench.write("machines:\n  small: {}\n  big: {memory: 1T, disks: [{size: 1G}]}\n")
    refused = bench.vmlan("up")
    assert refused.code == 3
    lines = refused.err.splitlines()
    (what,) = [line for line in lines if "does not fit into memory" in line]
    assert "asks for 1.0T" in what
    rows = [line.split()[0] for line in lines[lines.index(what) + 1 : -1]]
    assert rows[:3] == ["MACHINES", "big", "small"]
    assert "--overcommit" in lines[-1]
    assert bench.processes() == []
    assert not [*bench.runtime.rglob("journal"), *bench.state.rglob("*.qcow2")]
    assert bench.vmlan("up", "--json").json["error"]["kind"] == "DoesNotFit"
    alone = bench.vmlan("up", "small")
    assert alone.code == 0, alone.err
    more = bench.vmlan("up")
    assert more.code == 3 and "asks for 1.0T" in more.err
    (row,) = [line for line in more.err.splitlines() if line.split()[-1:] == ["1.0T"] and "big" in line]
    assert "small" not in more.err.replace(row, "")
    assert {row["name"]: row["state"] for row in bench.vmlan("ps", "--json").json["machines"]} == {
        "small": "running",
        "big": "down",
    }


def test_who_knows_that_they_will_not_use_it_all_can_start_them(bench: Bench) -> None:
    """Each would fit alone, and none writes to what it has."""
    # A boot sector that does nothing for ever (hlt; jmp back).
    sector = b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"
    for n in range(3):
        (bench.folder / f"{n}.img").write_bytes(sector.ljust(1440 * 1024, b"\0"))
    half = meminfo(Path("/proc/meminfo").read_text())["MemTotal"] // 2**21
    machines = "".join(f"  m{n}: {{floppy: {n}.img, memory: {half}M}}\n" for n in range(3))
    bench.write(f"machines:\n{machines}")
    assert bench.vmlan("up").code == 3
    bench.ok("up", "--overcommit")
    assert bench.ok("ps").count("running") == 3
    assert "is up already" in bench.ok("up")


def test_run_refuses_too(bench: Bench) -> None:
    refused = bench.vmlan("run", "tiny", "--memory", "1T", "-d")
    assert refused.code == 3 and "does not fit into memory" in refused.err
    assert bench.left() in ([], [str(bench.runtime / "vmlan")])
