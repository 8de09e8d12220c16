"""The keeper as an ordinary process (not PID 1): what it starts, says, and does when clients vanish."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlan.errors import HostError, KeeperGone, MissingProgram
from vmlan.host import keeper
from vmlan.host.keeper_client import KeeperClient


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        yield Path(name)


@pytest.fixture
def client(folder: Path) -> Iterator[KeeperClient]:
    closed = folder / "closed"  # a folder of PATH that may not be looked into, as after `su`
    closed.mkdir(mode=0o000)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, str(folder / "socket")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PATH": f"{closed}:{os.environ['PATH']}"},
    )
    assert process.stdout is not None and process.stdout.read(6) == b"ready\n"
    with KeeperClient(folder / "socket") as client:
        assert client.pid == process.pid
        yield client
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_program_runs_to_its_end_and_says_what_it_said(client: KeeperClient) -> None:
    result = client.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin="hello")
    assert (result.code, result.stdout, result.stderr) == (3, "hello", "oops\n")


def test_more_output_than_a_pipe_holds(client: KeeperClient) -> None:
    assert len(client.run(["seq", "200000"]).stdout) > 1_000_000


def test_a_program_that_is_not_there_names_its_package(client: KeeperClient) -> None:
    with pytest.raises(MissingProgram, match="no-such-program"):
        client.run(["no-such-program"])


def test_a_kept_program_is_listed_signalled_and_remembered(client: KeeperClient, folder: Path) -> None:
    client.start(["sleep", "100"], "sleeper", folder / "log")
    assert client.processes()["sleeper"].exit is None
    with pytest.raises(HostError, match="running already"):
        client.start(["sleep", "100"], "sleeper", folder / "log")
    client.signal("sleeper", signal.SIGTERM)
    deadline = time.monotonic() + 5
    while client.processes()["sleeper"].exit is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.processes()["sleeper"].exit == -signal.SIGTERM
    client.start(["true"], "sleeper", folder / "log")
    assert len(client.processes()) == 1
    client.signal("nobody", signal.SIGTERM)


def test_clients_may_vanish_at_any_time(client: KeeperClient, folder: Path) -> None:
    for _ in range(20):
        with KeeperClient(folder / "socket") as other:
            other._start(["sleep", "0.1"], None, (0, 1, 2))
    time.sleep(0.3)
    assert client.run(["echo", "still here"]).stdout == "still here\n"


def test_what_somebody_began_who_has_gone_is_waited_for(client: KeeperClient, folder: Path) -> None:
    go, done = folder / "go", folder / "done"
    wait = f"until [ -e {go} ]; do sleep 0.05; done; sleep 0.2; touch {done}"
    with KeeperClient(folder / "socket") as other:
        other.start(["sleep", "5"], "stays", folder / "log")
        other._start(["sh", "-c", wait], None, (0, 1, 2))
        assert not client._orphans()  # somebody waits for it
    deadline = time.monotonic() + 10
    while not client._orphans():  # it sees when somebody hangs up
        assert time.monotonic() < deadline
    client.settle(0.1)
    assert client.run(["echo", "not for ever"]).stdout == "not for ever\n"
    go.touch()
    client.settle()
    assert done.exists() and not client._orphans()
    assert client.processes()["stays"].exit is None


@pytest.mark.parametrize(
    "packet",
    [b"{}", b"not json", b'{"op": "dance"}', b'{"op": "start"}', b'{"op": "start", "argv": []}', b"\xff\xfe"],
)
def test_nonsense_is_answered_with_an_error(client: KeeperClient, packet: bytes) -> None:
    client._socket.send(packet)
    assert "error" in client._receive()
    assert client.run(["true"]).ok


def test_end_ends_it_and_returns_when_it_is_gone(client: KeeperClient, folder: Path) -> None:
    client.end()
    with pytest.raises(KeeperGone):
        KeeperClient(folder / "socket")


def test_a_keeper_whose_starter_has_gone_does_not_stay(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", keeper.__file__, str(folder / "s")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=10) == 0
    assert not (folder / "s").exists()
