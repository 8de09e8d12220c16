"""The agent's protocol, against a peer that we play: stale bytes, silence, refusals, a guest that ends."""

from __future__ import annotations

import base64
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmlan.errors import GuestError, NotRunning, Timeout
from vmlan.guest.agent import Agent, AgentSilent

Answer = Callable[[dict[str, object]], bytes | None]


class Guest:
    """A peer that speaks first `stale` (an earlier session's rest), then answers with `answer`."""

    def __init__(self, path: Path, answer: Answer, stale: bytes = b"") -> None:
        self.answer, self.stale = answer, stale
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer, peer.makefile("rb") as lines:
                peer.sendall(self.stale)
                for line in lines:
                    request = json.loads(line.lstrip(b"\xff"))
                    if request["execute"] == "guest-sync-delimited":
                        peer.sendall(
                            b"\xff" + json.dumps({"return": request["arguments"]["id"]}).encode() + b"\n"
                        )
                        continue
                    reply = self.answer(request)
                    if reply is None:
                        break
                    peer.sendall(reply + b"\n")


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vm-") as folder:
        yield Path(folder) / "agent"


def says(value: object) -> bytes:
    return json.dumps({"return": value}).encode()


def test_what_an_earlier_session_left_is_skipped(path: Path) -> None:
    Guest(
        path, lambda _: says("fresh"), stale=b'{"return": "stale"}\n{"error": {"desc": "parse"}}\nhalf a li'
    )
    with Agent(path, "vm1") as agent:
        assert agent.call("guest-ping") == "fresh"


def test_a_refusal_has_the_agents_words(path: Path) -> None:
    Guest(path, lambda _: json.dumps({"error": {"desc": "the command is disabled"}}).encode())
    with Agent(path, "vm1") as agent, pytest.raises(GuestError, match="vm1.*the command is disabled"):
        agent.call("guest-exec")


def test_a_command_runs_to_its_end_in_more_than_one_session(path: Path) -> None:
    looks = iter(range(100))

    def answer(request: dict[str, object]) -> bytes:
        if request["execute"] == "guest-exec":
            return says({"pid": 7})
        if next(looks) < 12:
            return says({"exited": False})
        out = base64.b64encode("ä\n".encode()).decode()
        return says({"exited": True, "exitcode": 4, "out-data": out})

    Guest(path, answer)
    with Agent(path, "vm1") as agent:
        done = agent.run(["true"])
    assert (done.code, done.stdout, done.stderr) == (4, "ä\n", "")


def test_a_signal_is_an_exit_code_as_in_a_shell(path: Path) -> None:
    Guest(
        path,
        lambda request: says(
            {"pid": 1} if request["execute"] == "guest-exec" else {"exited": True, "signal": 9}
        ),
    )
    with Agent(path, "vm1") as agent:
        assert agent.run(["x"]).code == 137


def test_a_command_that_takes_too_long(path: Path) -> None:
    Guest(path, lambda request: says({"pid": 1} if request["execute"] == "guest-exec" else {"exited": False}))
    with Agent(path, "vm1") as agent, pytest.raises(Timeout, match="did not end within 0.05 s"):
        agent.run(["x"], timeout=0.05)


def test_silence_is_told_with_what_to_do(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    with pytest.raises(AgentSilent, match="vmlan console vm1"):
        Agent(path, "vm1", timeout=0.1)
    listener.close()
    with pytest.raises(NotRunning, match="has ended"):
        Agent(path, "vm1", timeout=0.1)
    path.unlink()
    with pytest.raises(NotRunning, match="is not running"):
        Agent(path, "vm1", timeout=0.1)


def test_a_machine_that_ends_in_the_middle(path: Path) -> None:
    Guest(path, lambda _: None)
    with Agent(path, "vm1") as agent, pytest.raises(NotRunning):
        agent.call("guest-ping")
