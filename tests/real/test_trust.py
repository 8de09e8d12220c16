"""What a user trusts us with: kills at any moment, broken files, images, ports."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time

import pytest

from tests.real.conftest import Bench
from vmlan import lifecycle
from vmlan.host.effects import HostEffects
from vmlan.host.executor import Executor
from vmlan.plan.steps import Plan

pytestmark = pytest.mark.real

LAB = """
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
machines:
  vm1: {nics: [lan], memory: 128M}
"""


@pytest.mark.parametrize("then", ["up", "down"])
def test_a_killed_up_is_recovered_by_the_next_command(bench: Bench, then: str) -> None:
    """kill -9 at instants spread over the whole of `up`: the next command works, and nothing leaks."""
    bench.write(LAB)
    began = time.monotonic()
    bench.ok("up")
    whole = time.monotonic() - began
    bench.ok("down")
    generator = random.Random(then)
    for moment in (0.05, *sorted(generator.uniform(0.1, whole) for _ in range(5))):
        up = bench.start("up", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment)
        up.kill()
        up.wait()
        if then == "up":
            bench.ok("up")
            assert bench.ok("exec", "vm1", "--", "hostname") == "vm1\n"
        assert bench.vmlan("down").code == 0, f"killed after {moment:.2f} s"
        assert bench.processes() == []
        assert list(bench.runtime.glob("vmlan/*")) == []


def test_whatever_step_was_the_last_when_it_was_killed_is_undone_and_done_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill when a step's effect is there, and that is not noted yet: for each step."""
    bench.write(LAB)
    bench.ok("up")
    bench.ok("down")
    for name, value in bench.env.items():
        monkeypatch.setenv(name, value)
    file = bench.folder / "lab.yaml"
    lab, facts, plan = lifecycle.plan_file(file)
    for count in range(1, len(plan.steps) + 1):
        effects = HostEffects(facts.layout)
        Executor(effects, facts.layout).bring_up(Plan(plan.steps[:count], (), ()), lab.name, file)
        effects.close()
        lines = facts.layout.journal.read_bytes().splitlines(keepends=True)
        assert b'"done"' in lines[-1]
        facts.layout.journal.write_bytes(b"".join(lines[:-1]))
        done = bench.vmlan("up")
        step = plan.steps[count - 1].id
        assert done.code == 0 and "cut short" in done.err, (step, done.err)
        bench.ok("down", "--now")
        assert list(bench.runtime.glob("vmlan/*")) == [], step
    assert bench.processes() == []


def test_ctrl_c_undoes_what_was_begun(bench: Bench) -> None:
    bench.write(LAB)
    up = bench.start("up", "-v", stderr=subprocess.PIPE)
    assert up.stderr is not None
    for line in up.stderr:
        if "a bridge, which is a switch" in line:
            break
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=30) == 130
    assert "Traceback" not in up.stderr.read()


def test_ctrl_c_while_machines_boot_does_not_wait_for_them(bench: Bench) -> None:
    bench.write(LAB)
    up = bench.start("up", "--cold", stderr=subprocess.PIPE)
    assert up.stderr is not None
    for line in up.stderr:
        if "vm1: boots" in line:
            break
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=2) == 130
    assert "vmlan down" in up.stderr.read()
    assert "1 machine)" in bench.ok("up")


def test_killing_the_keeper_ends_everything(bench: Bench) -> None:
    bench.write(LAB)
    bench.ok("up")
    keeper = next(line for line in bench.processes() if "keeper.py" in line and "unshare" not in line)
    subprocess.run(["kill", "-9", keeper.partition(":")[0]], check=True)
    deadline = time.monotonic() + 5
    while bench.processes() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert bench.processes() == []
    assert [row["state"] for row in bench.vmlan("ls", "--json").json] == ["crashed"]
    assert "has been undone" in bench.vmlan("up").err
    assert bench.ok("exec", "vm1", "--", "hostname") == "vm1\n"


def test_a_machine_joins_a_running_lab(bench: Bench) -> None:
    bench.write(LAB)
    bench.ok("up")
    before = [line for line in bench.processes() if "qemu" in line or "dnsmasq" in line]
    bench.write(LAB + "  vm2: {nics: [lan], memory: 128M}\n")
    result = bench.vmlan("up", "--json").json
    assert (result["started"], result["running"]) == (["vm2"], ["vm1"])
    assert set(before) < set(bench.processes())
    assert "10.2.0.12" in bench.ok("exec", "vm1", "--", "ping", "-c", "1", "vm2")
    assert "10.2.0.12" in bench.ok("host", "--", "getent", "hosts", "vm2")
    bench.write(LAB.replace("128M", "129M"))
    changed = bench.vmlan("up")
    assert changed.code == 2 and "vm1: the embedded guest, 129M" in changed.err
    assert set(before) < set(bench.processes())


def test_a_lab_whose_journal_is_gone_is_ended_all_the_same(bench: Bench) -> None:
    bench.write(LAB)
    bench.ok("up")
    next(bench.runtime.glob("vmlan/*/journal")).unlink()
    assert "has ended" in bench.ok("down")
    assert bench.processes() == []


def test_a_lab_that_nobody_can_find_any_more_ends_itself(bench: Bench) -> None:
    bench.write(LAB)
    bench.ok("up")
    for folder in bench.runtime.glob("vmlan/*"):
        shutil.rmtree(folder)
    deadline = time.monotonic() + 15
    while bench.processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert bench.processes() == []


def test_what_qemu_finds_out_late_is_a_failed_start_too(bench: Bench) -> None:
    bench.write("machines: {vm1: {image: tiny, memory: 128M, qemu-args: [-device, nosuch]}}\n")
    failed = bench.vmlan("up")
    assert failed.code == 3
    assert (
        "machine vm1 did not start" in failed.err
        and "'nosuch' is not a valid device model name" in failed.err
    )
    assert bench.processes() == []
    assert list(bench.runtime.glob("vmlan/*")) == []


def test_two_ups_at_once(bench: Bench) -> None:
    bench.write(LAB)
    first = bench.start("up", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(0.3)
    second = bench.vmlan("up")
    words = first.communicate(timeout=100)[1]
    # One after the other, or one refused while the other works: whichever came first.
    codes = first.returncode, second.code
    assert codes in {(0, 0), (0, 2), (2, 0)}
    if 2 in codes:
        assert "another vmlan is changing this lab" in (second.err if second.code == 2 else words)


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)


def test_disks_are_kept_and_bases_never_written(bench: Bench) -> None:
    base = bench.folder / "a base, with:odd name.qcow2"
    qemu_img("create", "-f", "qcow2", str(base), "64M")
    before = base.read_bytes()
    bench.write(
        "machines:\n  vm1:\n    image: tiny\n    memory: 128M\n    disks: [{base: 'a base, with:odd name.qcow2'}, {size: 32M}]\n"
    )
    bench.ok("up")
    bench.ok("exec", "vm1", "--", "sh", "-c", "echo precious > /dev/vda; echo more > /dev/vdb; sync")
    bench.ok("down")
    bench.ok("up")
    assert bench.ok("exec", "vm1", "--", "head", "-n", "1", "/dev/vda") == "precious\n"
    assert bench.ok("exec", "vm1", "--", "head", "-n", "1", "/dev/vdb") == "more\n"
    bench.ok("down")
    assert base.read_bytes() == before
    for disk in bench.state.rglob("*.qcow2"):
        qemu_img("check", "-q", str(disk))
    bench.write("machines:\n  vm1:\n    image: tiny\n    disks: [{size: 16M}, {size: 32M}]\n")
    changed = bench.vmlan("up")
    assert changed.code == 2 and "down --disks" in changed.err
    assert len(list(bench.state.rglob("*.qcow2"))) == 2
    bench.ok("down", "--disks")
    assert list(bench.state.rglob("*.qcow2")) == []


def test_an_image_that_is_open_elsewhere_is_refused_by_name(bench: Bench) -> None:
    disk = bench.folder / "data.qcow2"
    qemu_img("create", "-f", "qcow2", str(disk), "64M")
    bench.write("machines:\n  first: {image: tiny, memory: 128M, disks: [data.qcow2]}\n")
    bench.ok("up")
    other = bench.folder / "other"
    other.mkdir()
    (other / "lab.yaml").write_text("machines:\n  second: {image: tiny, disks: [../data.qcow2]}\n")
    refused = bench.vmlan("up", "-f", "other/lab.yaml")
    assert refused.code == 2
    assert "data.qcow2 is open elsewhere: machine first (pid" in refused.err
    bench.ok("down")
    qemu_img("check", "-q", str(disk))


def test_what_is_missing_is_named_before_anything_starts(bench: Bench) -> None:
    (bench.folder / "debian.qcow2").write_bytes(b"")
    bench.write("machines:\n  vm1: {image: ./debain.qcow2}\n")
    missing = bench.vmlan("up")
    assert missing.code == 2 and "there is no image" in missing.err and "debian.qcow2?" in missing.err
    bench.env["PATH"] = "/nowhere"
    bench.write("machines: {vm1: {image: tiny}}\n")
    without = bench.vmlan("up")
    assert without.code == 3 and "sudo apt-get install qemu-system-x86" in without.err
    assert bench.processes() == []


def test_a_taken_port_is_refused_with_its_holder(bench: Bench) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        bench.write(
            f"networks: {{nat1: {{kind: user, forward: ['{port}:80']}}}}\nmachines: {{vm1: {{image: tiny, nics: [nat1]}}}}\n"
        )
        refused = bench.vmlan("up")
    assert refused.code == 2 and f"port {port} of 127.0.0.1" in refused.err and "pid=" in refused.err


def test_a_published_port_leads_to_the_guest_and_to_no_other_interface(bench: Bench) -> None:
    import socket
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bench.write(
        f"networks: {{nat1: {{kind: user, forward: ['{port}:80']}}}}\n"
        "machines: {vm1: {image: tiny, memory: 128M, nics: [nat1]}}\n"
    )
    bench.ok("up")
    assert (
        bench.vmlan("wait", "vm1", "port:80", "--timeout", "1").code == 1
    )  # nobody listens in the guest yet
    bench.ok(
        "exec",
        "vm1",
        "--",
        "sh",
        "-c",
        "echo it works > /index.html; httpd -p 80 -h / </dev/null >/dev/null 2>&1",
    )
    assert bench.ok("wait", "vm1", "port:80")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page:
        assert page.read() == b"it works\n"
    listening = subprocess.run(
        ["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[3] for line in listening.splitlines()] == [f"127.0.0.1:{port}"]


def test_guests_on_user_networks_do_not_reach_this_machines_loopback(bench: Bench) -> None:
    """QEMU's 10.0.2.2 is the loopback of where QEMU runs: the lab's own, where nobody listens."""
    import socket

    with socket.socket() as secret:
        secret.bind(("127.0.0.1", 0))
        secret.listen()
        port = secret.getsockname()[1]
        bench.write("networks: {n: {kind: user}}\nmachines: {vm1: {image: tiny, memory: 128M, nics: [n]}}\n")
        bench.ok("up")
        assert bench.vmlan("exec", "vm1", "--", "nc", "-w", "2", "10.0.2.2", str(port)).code != 0
        secret.settimeout(0.2)
        with pytest.raises(TimeoutError):
            secret.accept()
