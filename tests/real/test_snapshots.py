"""`vmlan snapshot`: memory, disks, connections and the network, at one instant and back; and what cannot be."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

LAB = """
name: four
host: {forwarding: true, uplink: simulated}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
machines:
  vm1: {image: tiny, memory: 128M, nics: [lan]}
  vm2: {image: tiny, memory: 128M, nics: [lan], disks: [{size: 16M}, {size: 16M, bus: ide}]}
  vm3: {image: tiny, memory: 128M, nics: [{network: lan, model: e1000}], disks: [{size: 16M, bus: scsi}]}
  vm4: {image: tiny, memory: 128M, nics: [lan, lan]}
"""

#: A connection over which a number goes there and comes back, then the next: it breaks if anything is lost.
SERVER = "rm -f /run/c; mkfifo /run/c; nc -l -p 7000 </run/c | while read n; do echo $n; echo $n >/run/last; done >/run/c"
CLIENT = (
    "rm -f /run/d; mkfifo /run/d; nc vm1 7000 </run/d | { n=1; echo $n; while read back;"
    " do [ $back = $n ] || { echo $back for $n >/run/wrong; exit; }; n=$((n + 1)); echo $n; read -t 0.1 _ <>/run/never;"
    " done; } >/run/d"
)


@pytest.fixture(scope="module")
def lab(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.write(LAB)
    shared_bench.ok("up")
    yield shared_bench


def sh(lab: Bench, machine: str, script: str) -> str:
    return lab.ok("exec", machine, "--", "sh", "-c", script).strip()


def count(lab: Bench) -> int:
    return int(sh(lab, "vm1", "cat /run/last 2>/dev/null || echo 0") or 0)


def goes_on(lab: Bench) -> None:
    """The connection is the same, and carries on: no number was lost, or came twice."""
    before, deadline = count(lab), time.monotonic() + 30
    while count(lab) < before + 3:
        assert time.monotonic() < deadline, sh(lab, "vm1", "netstat -tn; cat /run/last")
    assert sh(lab, "vm4", "cat /run/wrong 2>/dev/null || echo none") == "none"


@pytest.fixture(scope="module")
def saved(lab: Bench) -> Bench:
    """A snapshot `one` of a lab in which something goes on, which has done more since."""
    sh(lab, "vm1", f"({SERVER}) >/dev/null 2>&1 </dev/null &")
    sh(lab, "vm4", f"mkfifo /run/never; sleep 1; ({CLIENT}) >/dev/null 2>&1 </dev/null &")
    sh(lab, "vm2", "echo then >/run/memory; for d in /dev/vda /dev/sda; do echo then >$d; done; sync")
    sh(lab, "vm3", "echo then >/dev/sda; sync")
    lab.ok("set", "host.forwarding", "off")
    lab.ok("link", "vm2", "--rate", "10M")
    goes_on(lab)
    said = lab.vmlan("snapshot", "save", "one", "--json").json
    assert said["machines"] == ["vm1", "vm2", "vm3", "vm4"] and said["bytes"] > 1 << 20
    goes_on(lab)
    sh(lab, "vm2", "echo later >/run/memory; for d in /dev/vda /dev/sda; do echo later >$d; done; sync")
    sh(lab, "vm3", "echo later >/dev/sda; sync")
    lab.ok("set", "host.forwarding", "on")
    lab.ok("link", "vm2", "--clear")
    return lab


def is_as_then(lab: Bench) -> None:
    assert sh(lab, "vm2", "cat /run/memory; head -n 1 /dev/vda; head -n 1 /dev/sda").split() == ["then"] * 3
    assert sh(lab, "vm3", "head -n 1 /dev/sda") == "then"
    assert "off" in lab.ok("set", "host.forwarding")
    assert "10Mbit" in lab.ok("link", "vm2")


def test_a_running_lab_goes_back(saved: Bench) -> None:
    later = count(saved)
    assert saved.vmlan("snapshot", "restore", "one", "--json").json["machines"] == [
        "vm1",
        "vm2",
        "vm3",
        "vm4",
    ]
    assert count(saved) < later or later < 5
    is_as_then(saved)
    goes_on(saved)


def test_it_comes_back_from_nothing(saved: Bench) -> None:
    assert "its snapshot one" in saved.ok("down", "--now")
    assert saved.left() == [str(saved.runtime / "vmlan")]
    saved.ok("snapshot", "restore", "one")
    is_as_then(saved)
    goes_on(saved)
    now = int(sh(saved, "vm1", "date +%s"))
    assert abs(now - time.time()) < 30, "its clock stood still with it"
    saved.ok("exec", "vm3", "--", "ping", "-c", "1", "vm4")
    assert saved.vmlan("up").out.startswith("four: is up already")


def test_its_disks_are_whole_afterwards(saved: Bench) -> None:
    saved.ok("down", "--now")
    disks = sorted((saved.state / "vmlan").rglob("*.qcow2"))
    assert len(disks) == 3
    for disk in disks:
        done = subprocess.run(["qemu-img", "check", str(disk)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "vmlan-one" in subprocess.check_output(["qemu-img", "snapshot", "-l", str(disk)], text=True)
    saved.ok("snapshot", "restore", "one")


def test_it_is_listed_and_removed(saved: Bench) -> None:
    assert saved.vmlan("snapshot", "ls", "--json").json[0]["machines"] == ["vm1", "vm2", "vm3", "vm4"]
    assert saved.vmlan("snapshot", "save", "one").code == 2
    saved.ok("snapshot", "save", "two")
    assert saved.ok("snapshot", "rm", "one", "two") == "one: removed\ntwo: removed\n"
    assert saved.ok("snapshot", "ls") == "this lab has no snapshot\n"
    saved.ok("down", "--now")
    for disk in (saved.state / "vmlan").rglob("*.qcow2"):
        assert "vmlan-" not in subprocess.check_output(["qemu-img", "snapshot", "-l", str(disk)], text=True)


def test_what_cannot_be_is_refused_and_nothing_is_kept(bench: Bench) -> None:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "own.qcow2", "8M"], cwd=bench.folder, check=True
    )
    bench.write(
        "machines:\n  vm1: {image: tiny, memory: 128M, disks: [own.qcow2]}\n  vm2: {image: tiny, memory: 128M}\n"
    )
    done = bench.vmlan("snapshot", "save", "x")
    assert done.code == 2 and "no machine of this lab runs" in done.err
    bench.ok("up")
    done = bench.vmlan("snapshot", "save", "x")
    assert done.code == 2 and "own.qcow2" in done.err and "{base:" in done.err
    assert bench.ok("snapshot", "ls") == "this lab has no snapshot\n"
    assert bench.ok("exec", "vm1", "--", "echo", "goes on") == "goes on\n"
    done = bench.vmlan("snapshot", "restore", "y")
    assert done.code == 2 and "no snapshot 'y'" in done.err
    assert bench.vmlan("snapshot", "save", "../x").code == 2


def test_a_machine_that_is_no_longer_what_it_was_is_refused(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {image: tiny, memory: 128M}\n  vm2: {image: tiny, memory: 128M}\n")
    bench.ok("up")
    bench.ok("snapshot", "save", "x")
    bench.ok("down", "--now")
    bench.write("machines:\n  vm1: {image: tiny, memory: 128M}\n  vm2: {image: tiny, memory: 256M}\n")
    done = bench.vmlan("snapshot", "restore", "x")
    assert done.code == 2 and "vm2 is not what it was" in done.err and "256M" in done.err
    bench.write("machines:\n  vm1: {image: tiny, memory: 128M}\n")
    done = bench.vmlan("snapshot", "restore", "x")
    assert done.code == 2 and "vm2" in done.err
    assert bench.vmlan("ps").out.count("running") == 0
    bench.ok("down", "--disks")


def test_a_state_that_is_cut_short_starts_nothing(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {image: tiny, memory: 128M}\n  vm2: {image: tiny, memory: 128M}\n")
    bench.ok("up")
    bench.ok("snapshot", "save", "x")
    state = next((bench.state / "vmlan").rglob("vm2.state"))
    with state.open("r+b") as file:
        file.truncate(state.stat().st_size // 2)
    done = bench.vmlan("snapshot", "restore", "x")
    assert done.code == 3 and "vm2" in done.err and "saved state" in done.err
    assert bench.vmlan("ps", "--json").json["machines"][0]["state"] != "running"
    bench.ok("up")
    assert bench.ok("exec", "vm2", "--", "echo", "fine") == "fine\n"


def test_a_kill_while_it_is_saved_leaves_no_half(bench: Bench) -> None:
    bench.write(
        "machines:\n  vm1: {image: tiny, memory: 128M}\n  vm2: {image: tiny, memory: 128M, disks: [{size: 8M}]}\n"
    )
    bench.ok("up")
    for wait in (0.0, 0.02, 0.05, 0.1, 0.15, 0.25):  # from when its folder is there: it stops them soon after
        process = bench.start("snapshot", "save", "x", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(Path(bench.state).rglob("x*")) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(wait)
        process.kill()
        process.wait()
        assert sh(bench, "vm1", "cat /proc/uptime; sleep 0.2"), wait  # it goes on
        if not json.loads(bench.ok("snapshot", "ls", "--json")):
            assert bench.vmlan("snapshot", "restore", "x").code == 2
        else:
            bench.ok("snapshot", "rm", "x")
    bench.ok("snapshot", "save", "y")
    bench.ok("snapshot", "restore", "y")
    assert bench.ok("exec", "vm2", "--", "echo", "fine") == "fine\n"
    assert [path.name for path in Path(bench.state).rglob("*.new")] == []
    (disk,) = Path(bench.state).rglob("disk0.qcow2")
    said = subprocess.run(["qemu-img", "snapshot", "-lU", disk], check=True, capture_output=True, text=True)
    assert "vmlan-y" in said.stdout and "vmlan-x" not in said.stdout


def test_after_a_kill_while_it_is_restored_every_machine_goes_on(bench: Bench) -> None:
    """Whoever was killed was to let them go on: the next `up` does not take them for running."""
    bench.write("machines:\n  vm1: {image: tiny, memory: 128M}\n  vm2: {image: tiny, memory: 128M}\n")
    bench.ok("up")
    bench.ok("snapshot", "save", "x")
    undone = 0
    began = time.monotonic()
    bench.ok("snapshot", "restore", "x")
    took = time.monotonic() - began
    for part in range(4, 21):
        process = bench.start(
            "snapshot", "restore", "x", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(took * part / 20)
        process.kill()
        process.wait()
        up = bench.vmlan("up", "--timeout", "60")
        assert up.code == 0, up.err
        undone += "cut short" in up.err
        for name in ("vm1", "vm2"):
            assert bench.ok("exec", name, "--", "echo", "fine") == "fine\n", part
    assert undone
    bench.ok("snapshot", "restore", "x")
    assert bench.ok("exec", "vm2", "--", "echo", "fine") == "fine\n"


def test_an_interrupt_while_it_is_saved_leaves_everything_as_it_was(bench: Bench) -> None:
    """QEMU ends at once when it is asked for a disk's snapshot that it has let go of."""
    bench.write(
        "machines:\n  vm1: {image: tiny, memory: 128M}\n  vm2: {image: tiny, memory: 128M, disks: [{size: 8M}]}\n"
    )
    bench.ok("up")
    (disk,) = Path(bench.state).rglob("disk0.qcow2")
    codes = []
    for wait in (0.0, 0.05, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.24, 0.27, 0.3, 0.35):
        process = bench.start("snapshot", "save", "x", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(Path(bench.state).rglob("x*")) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(wait)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        codes.append(process.wait(60))
        there = [row["name"] for row in json.loads(bench.ok("snapshot", "ls", "--json"))]
        assert there == (["x"] if codes[-1] == 0 else []), (wait, codes)
        for name in ("vm1", "vm2"):
            assert sh(bench, name, "sleep 0.2; echo fine") == "fine", (wait, codes)
        if there:
            bench.ok("snapshot", "rm", "x")
        said = subprocess.run(
            ["qemu-img", "snapshot", "-lU", disk], check=True, capture_output=True, text=True
        )
        assert "vmlan-" not in said.stdout, (wait, codes)
    assert set(codes) <= {0, 130} and 130 in codes
    bench.ok("snapshot", "save", "x")
    sh(bench, "vm2", "echo later >/dev/vda; sync")
    for wait in (0.2, 0.4, 0.6):
        process = bench.start("snapshot", "restore", "x", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, said_of_it = process.communicate(timeout=60)
        states = {row["state"] for row in bench.vmlan("ps", "--json").json["machines"]}
        assert states == {"running"} or "no machine runs now" in said_of_it, (wait, states, said_of_it)
    bench.ok("snapshot", "restore", "x")
    assert sh(bench, "vm2", "head -c 5 /dev/vda | tr -d '\\0'") == ""


# clone


def test_a_running_machine_is_forked(bench: Bench) -> None:
    bench.write(
        """
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
  two: {kind: bridge, host: 10.3.0.1/24}
machines:
  vm1: {image: tiny, memory: 128M, nics: [lan, {network: two, address: 10.3.0.7/24}], disks: [{size: 16M}]}
  vm2: {image: tiny, memory: 128M, nics: [{network: lan, model: e1000}]}
"""
    )
    bench.ok("up")
    sh(
        bench,
        "vm1",
        "echo disk >/dev/vda; sync; echo memory >/run/x; (while :; do sleep 1; done) >/dev/null 2>&1 </dev/null &",
    )
    assert bench.vmlan("clone", "vm1", "vm3", "--json").json["addresses"] == ["10.2.0.13/24", "10.3.0.8/24"]
    bench.ok("clone", "vm2", "vm4")
    for name in ("vm3", "vm1"):
        assert sh(bench, name, "head -n 1 /dev/vda; cat /run/x; hostname").split() == ["disk", "memory", name]
    look = (
        "cat /etc/machine-id; head -c 16 /dev/urandom | od -An -x;"
        " cat /sys/class/net/eth*/address; ip -o -4 address show | grep eth"
    )
    lines = [line for name in ("vm1", "vm2", "vm3", "vm4") for line in sh(bench, name, look).splitlines()]
    words = [line.split()[3] if " inet " in line else line for line in lines]
    assert len(words) == len(set(words)), words
    for name in ("vm1", "vm2", "vm4", "10.3.0.7"):
        bench.ok("exec", "vm3", "--", "ping", "-c", "1", name)
    sh(bench, "vm3", "echo other >/dev/vda; sync")
    assert sh(bench, "vm1", "head -n 1 /dev/vda") == "disk"
    rows = {row["name"]: row for row in bench.vmlan("ps", "--json").json["machines"]}
    assert rows.keys() == {"vm1", "vm2", "vm3", "vm4"}
    assert bench.vmlan("up").code == 0 and bench.vmlan("ps").out.count("running") == 4

    bench.ok("snapshot", "save", "all")
    bench.ok("down", "--now")
    bench.ok("snapshot", "restore", "all")
    assert sh(bench, "vm3", "cat /run/x; hostname").split() == ["memory", "vm3"]


def test_an_interrupt_while_it_is_forked_leaves_nothing_of_it(bench: Bench) -> None:
    bench.write(
        "networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}}\n"
        "machines: {vm1: {image: tiny, memory: 128M, nics: [lan], disks: [{size: 8M}]}}\n"
    )
    bench.ok("up")
    began = time.monotonic()
    bench.ok("clone", "vm1", "first")
    took = time.monotonic() - began
    codes = []
    for part in range(2, 21):
        name = f"clone{part}"
        process = bench.start("clone", "vm1", name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * part / 20)
        process.send_signal(signal.SIGINT if part % 3 else signal.SIGKILL)
        codes.append(process.wait(60))
        if codes[-1] == -signal.SIGKILL:
            bench.ok("up")
        running = [row["name"] for row in bench.vmlan("ps", "--json").json["machines"]]
        there = [line for line in bench.processes() if f" -name {name} " in line]
        assert (name in running) is bool(there), (part, codes, running)
        if codes[-1] == 130 and name not in running:
            assert not list(bench.state.rglob(f"{name}/*")), part
        assert sh(bench, "vm1", "sleep 0.1; echo fine") == "fine", (part, codes)
        if there:
            assert sh(bench, name, "hostname") == name, (part, codes)
    assert set(codes) <= {0, 130, -9} and {130, -9} <= set(codes), codes
    bench.ok("clone", "vm1", "last")
    bench.ok("exec", "last", "--", "ping", "-c", "1", "vm1")


def test_what_cannot_be_forked_is_refused(bench: Bench) -> None:
    bench.write(
        """
networks:
  wire: {kind: tap, host: 10.1.1.1/24}
  web: {kind: user, forward: ["18099:80"]}
machines:
  vm1: {image: tiny, memory: 128M, nics: [wire]}
  vm2: {image: tiny, memory: 128M, nics: [web]}
  vm3: {image: tiny, memory: 128M}
"""
    )
    assert bench.vmlan("clone", "vm3", "x").code == 2
    bench.ok("up")
    for of, name, why in (
        ("vm1", "x", "no place for one more"),
        ("vm2", "x", "publishes ports"),
        ("vm3", "vm1", "already"),
        ("vm3", "a b", "cannot be a machine's name"),
        ("vm9", "x", "no machine 'vm9'"),
    ):
        done = bench.vmlan("clone", of, name)
        assert done.code == 2 and why in done.err, done.err
    assert bench.vmlan("ps").out.count("running") == 3
    bench.ok("clone", "vm3", "vm4")
    assert bench.ok("exec", "vm4", "--", "hostname") == "vm4\n"
