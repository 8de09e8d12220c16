"""What machines are made of, as the guest or QEMU itself sees it: the default network, none, UEFI."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.real.conftest import Bench
from vmlan.qemu import qmp

pytestmark = pytest.mark.real

HUB = """
networks:
  legacy: {kind: hub, forward: ["127.0.0.1:21080:80"]}
machines:
  default: {image: tiny, memory: 128M, nics: [{network: legacy, model: e1000}]}
  alone: {image: tiny, memory: 128M, nics: []}
checks:
  - {ping: 10.0.2.2, from: default}
"""


def socket_of(bench: Bench, machine: str) -> Path:
    (found,) = bench.runtime.glob(f"vmlan/*/vm-{machine}/qmp")
    return found


def hmp(bench: Bench, machine: str, line: str) -> str:
    return str(
        qmp.command(socket_of(bench, machine), machine, "human-monitor-command", **{"command-line": line})
    )


def test_the_default_network_and_none(bench: Bench) -> None:
    """F11: a user-mode backend and an e1000 NIC on hub 0. F14: only `lo`, and no backend."""
    bench.write(HUB)
    bench.ok("up")
    hub = hmp(bench, "default", "info network")
    assert "hub 0" in hub
    assert "nic0: index=0,type=nic,model=e1000" in hub
    assert "type=user,net=10.0.2.0" in hub
    assert bench.ok("check").endswith("1 passed, 0 failed\n")
    bench.ok("exec", "default", "--", "sh", "-c", "echo hello > /tmp/index.html; busybox httpd -p 80 -h /tmp")
    bench.ok("wait", "default", "port:80")
    assert bench.ok("exec", "alone", "--", "ls", "/sys/class/net").split() == ["lo"]
    assert hmp(bench, "alone", "info network").strip() == ""


UEFI = """
machines:
  firm: {firmware: uefi, memory: 256M, disks: [{size: 64M}]}
"""


def test_uefi_starts_and_keeps_its_variables(bench: Bench) -> None:
    bench.write(UEFI)
    bench.ok("up")
    bench.ok("wait", "firm", "text:BdsDxe", "--timeout", "60")
    # Its variables are a qcow2 of the machine's own; a RAM snapshot needs that of every disk written to.
    drives = qmp.command(socket_of(bench, "firm"), "firm", "query-block")
    flash = {drive["device"]: drive["inserted"] for drive in drives if drive["device"].startswith("pflash")}
    assert flash["pflash0"]["ro"] and not flash["pflash1"]["ro"]
    assert flash["pflash1"]["drv"] == "qcow2"
    variables = Path(flash["pflash1"]["file"])
    assert variables.is_relative_to(bench.state)
    bench.ok("down", "--now")
    assert variables.exists()
    kept = variables.read_bytes()
    bench.ok("up", "--dry-run")
    assert variables.read_bytes() == kept
    bench.ok("down", "--disks")


def test_an_old_machine_type_is_the_nearest_that_there_is(bench: Bench) -> None:
    """F04: pc-q35-xenial is one distribution's own."""
    bench.write("machines: {old: {machine: pc-q35-xenial, accel: tcg, memory: 64M, disks: [{size: 1M}]}}")
    done = bench.vmlan("up")
    assert done.code == 0, done.err
    assert "has no machine type pc-q35-xenial; old will have pc-q35-2.5" in done.err
    assert "/machine (pc-q35-2.5-machine)" in hmp(bench, "old", "info qom-tree")


BUSES = """
machines:
  all:
    memory: 64M
    disks: [{size: 1M}, {size: 1M, bus: ide}, {size: 1M, bus: sata}, {size: 1M, bus: sata},
            {size: 1M, bus: scsi}, {size: 1M, bus: scsi}, {size: 1M, bus: nvme}, {size: 1M, bus: ide}]
  q35:
    memory: 64M
    machine: q35
    disks: [{size: 1M, bus: ide}, {size: 1M, bus: sata}, {size: 1M, bus: ide}]
"""


def test_disks_on_every_bus(bench: Bench) -> None:
    bench.write(BUSES)
    bench.ok("up")
    for machine, count in (("all", 8), ("q35", 3)):
        drives = qmp.command(socket_of(bench, machine), machine, "query-block")
        assert sorted(drive["device"] for drive in drives) == [f"disk{n}" for n in range(count)]
        ids = {Path(drive["qdev"].removesuffix("/virtio-backend")).name for drive in drives}
        assert ids == {f"dev-disk{n}" for n in range(count)}


def test_one_machine_without_a_lab_file(bench: Bench) -> None:
    run = bench.ok("run", "tiny", "--memory", "128M", "--name", "one", "-d")
    assert "vmlan down -f one" in run
    status = json.loads(bench.ok("ps", "-f", "one", "--json"))
    assert [machine["name"] for machine in status["machines"]] == ["one"]
    assert bench.ok("exec", "-f", "one", "one", "--", "hostname") == "one\n"
    again = bench.vmlan("run", "tiny", "--name", "one", "-d")
    assert (again.code, "a machine 'one' already" in again.err) == (2, True)
    bench.ok("down", "-f", "one")
    assert not list(bench.state.glob("vmlan/run/*"))


def test_what_an_earlier_machine_of_the_name_left_is_not_touched(bench: Bench) -> None:
    bench.ok("run", "tiny", "--memory", "128M", "--name", "dk", "--disk", "64M", "-d", "-q")
    bench.ok("exec", "-f", "dk", "dk", "--", "sh", "-c", "echo precious > /dev/vda; sync")
    assert "kept" in bench.ok("down", "-f", "dk", "--now")
    for wrong in (["--disk", "128M"], ["--disk", "64M", "--cpu", "quantum"]):
        assert bench.vmlan("run", "tiny", "--memory", "128M", "--name", "dk", *wrong, "-d").code != 0
    assert bench.vmlan("run", "./nothing.img", "--name", "dk").code == 2
    script = "head -n 1 /dev/vda\npoweroff -f\n"
    done = bench.vmlan("run", "tiny", "--memory", "128M", "--name", "dk", "--disk", "64M", stdin=script)
    assert "precious" in done.out, done.err
    bench.ok("down", "-f", "dk", "--now", "--disks")


def test_one_of_many_at_once(bench: Bench) -> None:
    """Only one gets the name, and whoever does not leaves it alone."""
    tries = [
        bench.start("run", "tiny", "--memory", "128M", "--name", "race", "-d", "-q", stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    codes = []
    for each in tries:
        _, said = each.communicate(timeout=120)
        assert "Traceback" not in said
        codes.append(each.returncode)
    assert sorted(codes)[0] == 0 and sorted(codes)[1] != 0, codes
    assert bench.ok("exec", "-f", "race", "race", "--", "hostname") == "race\n"
    bench.ok("down", "-f", "race", "--now")


def test_a_closed_terminal_ends_the_machine(bench: Bench) -> None:
    run = bench.start("run", "tiny", "--memory", "128M", "--name", "hup", stdin=subprocess.PIPE,
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 60
    while "hup" not in bench.ok("ls") and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(4)
    run.send_signal(signal.SIGHUP)
    run.wait(30)
    assert bench.ok("ls") == "no lab is running\n"


def test_a_machine_that_ends_takes_its_lab_along(bench: Bench) -> None:
    done = bench.vmlan("run", "tiny", "--memory", "128M", stdin="poweroff -f\n", timeout=120)
    assert done.code == 0, done.err
    assert "the machine has ended" in done.err
    deadline = time.monotonic() + 5
    while bench.ok("ls") != "no lab is running\n" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert bench.ok("ls") == "no lab is running\n"
    assert not list(bench.state.glob("vmlan/run/*"))
