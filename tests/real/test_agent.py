"""A guest's agent over its pipes: many sessions, killed clients, machines that end, start again and restart."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import Bench
from vmlan.errors import NotRunning
from vmlan.guest.agent import Agent, AgentSilent
from vmlan.guest.pipes import Pipes

pytestmark = pytest.mark.real

LAB = """
machines:
  vm1: {}
  vm2: {}
  bare: {floppy: bare.img, memory: 32M}
"""


@pytest.fixture(scope="module")
def lab(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.write(LAB)
    # A boot sector that does nothing for ever (hlt; jmp back): a guest without an agent.
    sector = b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"
    (shared_bench.folder / "bare.img").write_bytes(sector.ljust(1440 * 1024, b"\0"))
    shared_bench.ok("up")
    yield shared_bench


def pipes(lab: Bench, machine: str) -> Path:
    (folder,) = lab.runtime.glob(f"vmlan/*/vm-{machine}")
    return folder / "agent"


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What it gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return found


def qemu(lab: Bench, machine: str) -> int:
    """The process of a machine."""
    (line,) = [line for line in lab.processes() if f" -name {machine} " in line and "qemu-system" in line]
    return int(line.partition(":")[0])


def test_the_pipes_are_the_users_alone(lab: Bench) -> None:
    for end in ("in", "out"):
        found = Path(f"{pipes(lab, 'vm1')}.{end}").stat()
        assert found.st_mode == 0o010600 and found.st_uid == os.getuid()


def test_many_commands_at_once_each_get_their_own_output(lab: Bench) -> None:
    running = [lab.start("exec", "vm1", "--", "sh", "-c", f"sleep 1; echo {n}", stdout=-1) for n in range(10)]
    assert [process.communicate(timeout=100)[0] for process in running] == [f"{n}\n" for n in range(10)]
    assert [process.returncode for process in running] == [0] * 10


def test_sessions_that_come_again_and_again_share_the_agent(lab: Bench) -> None:
    """Without turns, one of them gets all and the others nothing."""
    path, counts, stop = pipes(lab, "vm1"), Counter[int](), threading.Event()

    def loop(number: int) -> None:
        while not stop.is_set():
            with Agent(path, "vm1", timeout=30) as agent:
                agent.call("guest-ping")
            counts[number] += 1

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(10)]
    for each in threads:
        each.start()
    try:
        until(lambda: sum(counts.values()) >= 300)
    finally:
        stop.set()
        for each in threads:
            each.join()
    assert min(counts[number] for number in range(10)) > 5, counts


def abandon(path: Path) -> None:
    """Have 16 MiB said, and go away in the middle of it."""
    with Agent(path, "vm1", timeout=30) as agent:
        agent.run(["rm", "-f", "/run/said"])
        argv = ["-c", "head -c 16777216 /dev/zero; : >/run/said"]
        pid = agent.call("guest-exec", path="sh", arg=argv, capture_output=True)["pid"]
        until(lambda: agent.run(["test", "-e", "/run/said"]).code == 0)
        until(lambda: agent.run(["test", "!", "-e", f"/proc/{pid}"]).code == 0)
    client = Pipes(path, time.monotonic() + 30)
    request = {"execute": "guest-exec-status", "arguments": {"pid": pid}}
    client.send(b"\xff" + json.dumps(request).encode() + b"\n", time.monotonic() + 30)
    while b"out-data" not in client.receive(time.monotonic() + 30):
        pass
    client.close()


def test_what_a_killed_client_did_not_read_is_got_over_at_once(lab: Bench) -> None:
    abandon(pipes(lab, "vm1"))
    assert lab.ok("exec", "vm1", "--", "echo", "well") == "well\n"


def test_an_agent_that_nobody_listens_to_is_started_afresh(lab: Bench) -> None:
    """It would take a whole core to write what nobody reads; and who comes after that gets his answer."""

    def agent() -> str:
        with Agent(path, "vm1", timeout=30) as session:
            return session.run(["pidof", "qemu-ga"]).stdout

    path = pipes(lab, "vm1")
    before = agent()
    abandon(path)
    time.sleep(45)
    assert agent() not in {before, ""}
    assert lab.ok("exec", "vm1", "--", "echo", "well") == "well\n"


def test_what_somebody_reads_is_not_cut(lab: Bench) -> None:
    done = lab.start("exec", "vm1", "--", "head", "-c", "16777216", "/dev/zero", stdout=-1)
    out, _ = done.communicate(timeout=150)
    assert done.returncode == 0 and len(out) == 16 << 20


def test_a_guest_without_an_agent_is_silent_however_often_it_is_asked(lab: Bench) -> None:
    """What nobody reads stays in the pipe until that is full, and then it is all the same."""
    path = pipes(lab, "bare")
    for _ in range(1000):
        with pytest.raises(AgentSilent):
            Agent(path, "bare", timeout=0.001)
    with pytest.raises(AgentSilent, match="machine bare: its guest agent did not answer within 0 s"):
        Agent(path, "bare", timeout=0.2)
    rows = {row["name"]: row["state"] for row in lab.vmlan("ps", "--json").json["machines"]}
    assert rows["bare"] == "running" and rows["vm1"] == "running"


def test_a_guest_that_restarts_answers_again(lab: Bench) -> None:
    """Sessions that open while it boots wait in the pipe, and so do those that gave up."""
    boot = lab.ok("exec", "vm1", "--", "cat", "/proc/sys/kernel/random/boot_id")
    lab.vmlan("exec", "vm1", "--", "reboot")
    path = pipes(lab, "vm1")
    for _ in range(20):
        with contextlib.suppress(AgentSilent), Agent(path, "vm1", timeout=0.01):
            pass
    assert until(lambda: _answer(lab, "cat", "/proc/sys/kernel/random/boot_id")) != boot


def _answer(lab: Bench, *argv: str) -> str:
    done = lab.vmlan("exec", "vm1", "--", *argv)
    return done.out if done.code == 0 else ""


def test_a_machine_that_ends_in_the_middle_and_starts_again_on_the_same_pipes(lab: Bench) -> None:
    running = lab.start("exec", "vm2", "--", "sleep", "100", stderr=-1)
    path = pipes(lab, "vm2")
    with Agent(path, "vm2") as agent:
        until(lambda: agent.run(["pidof", "sleep"]).code == 0)
    left = os.open(f"{path}.out", os.O_RDONLY | os.O_NONBLOCK)  # who has it open keeps what is in it
    client = Pipes(path, time.monotonic() + 10)
    client.send(b'\xff{"execute": "guest-info"}\n' * 3, time.monotonic() + 10)
    client.receive(time.monotonic() + 10)
    os.kill(qemu(lab, "vm2"), signal.SIGKILL)
    while client.receive(time.monotonic() + 10):
        pass
    client.close()
    _, err = running.communicate(timeout=30)
    assert running.returncode == 2 and "machine vm2 has ended" in err
    with pytest.raises(NotRunning):
        Agent(path, "vm2")
    assert lab.vmlan("exec", "vm2", "--", "true").code == 2
    lab.ok("up")
    assert lab.ok("exec", "vm2", "--", "hostname") == "vm2\n"
    os.close(left)
