"""The agent's protocol, against a peer that we play: stale bytes, silence, refusals, a guest that ends."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vmlan.errors import GuestError, HostError, NotRunning, Timeout
from vmlan.guest.agent import Agent, AgentSilent
from vmlan.guest.pipes import Pipes

Answer = Callable[[dict[str, object]], bytes | None]


class Guest:
    """A peer that speaks first `stale` (an earlier session's rest), then answers with `answer`.

    It has the pipes open as QEMU has them (QEMU, chardev/char-pipe.c), until it ends, or answers None.
    """

    def __init__(self, path: Path, answer: Answer, stale: bytes = b"", *, lost: int = 0) -> None:
        self.answer, self.lost = answer, lost
        self.heard: list[str] = []
        for name in (f"{path}.in", f"{path}.out"):
            if not Path(name).exists():
                os.mkfifo(name)
        self.input, self.output = (os.open(f"{path}.{end}", os.O_RDWR) for end in ("in", "out"))
        self.thread = threading.Thread(target=self.serve, args=(stale,), daemon=True)
        self.thread.start()

    def serve(self, stale: bytes) -> None:
        self.say(stale)
        data = b""
        while True:
            data += os.read(self.input, 65536)
            while b"\n" in data:
                line, _, data = data.partition(b"\n")
                if line.startswith(b"\xff"):  # as the agent does, to all that was begun before
                    self.say(b'{"error": {"class": "GenericError", "desc": "JSON parse error, stray"}}\n')
                if line == b"end" or not self.hear(json.loads(line.rpartition(b"\xff")[2])):
                    os.close(self.input)
                    os.close(self.output)
                    return

    def hear(self, request: dict[str, Any]) -> bool:
        self.heard.append(request["execute"])
        if request["execute"] == "guest-sync-delimited":
            self.lost -= 1
            if self.lost < 0:
                self.say(b"\xff" + says(request["arguments"]["id"]) + b"\n")
            return True
        reply = self.answer(request)
        if reply is not None:
            self.say(reply + b"\n")
        return reply is not None

    def say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.output, data[:65536]) :]

    def end(self) -> None:
        os.write(self.input, b"end\n")
        self.thread.join()


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
    with pytest.raises(NotRunning, match="is not running"):
        Agent(path, "vm1", timeout=0.1)
    guest = Guest(path, lambda _: None, lost=100)
    with pytest.raises(AgentSilent, match="did not answer within 0 s") as silent:
        Agent(path, "vm1", timeout=0.1)
    assert "vmlan console vm1" in (silent.value.hint or "")
    guest.end()
    with pytest.raises(NotRunning, match="has ended"):
        Agent(path, "vm1", timeout=0.1)


def test_a_machine_that_ends_in_the_middle(path: Path) -> None:
    Guest(path, lambda _: None)
    with Agent(path, "vm1") as agent, pytest.raises(NotRunning):
        agent.call("guest-ping")


def test_a_machine_that_ends_between_the_looks_at_a_command(path: Path) -> None:
    def answer(request: dict[str, object]) -> bytes:
        if request["execute"] == "guest-exec":
            return says({"pid": 1})
        threading.Thread(target=guest.end).start()
        return says({"exited": False})

    guest = Guest(path, answer)
    with Agent(path, "vm1") as agent, pytest.raises(NotRunning):
        agent.run(["sleep", "60"])


def test_sessions_take_turns(path: Path) -> None:
    """What each is told is its own, and nobody waits longer than he said."""
    Guest(path, lambda request: says(request["arguments"]))
    wrong: list[object] = []

    def session(number: int) -> None:
        with Agent(path, "vm1", timeout=60) as agent:
            wrong.extend({number} - {agent.call("guest-exec", n=number)["n"] for _ in range(20)})

    threads = [threading.Thread(target=session, args=(number,)) for number in range(10)]
    with Agent(path, "vm1"):
        with pytest.raises(AgentSilent, match="another command has had its guest agent for 0 s"):
            Agent(path, "vm1", timeout=0.1)
        for each in threads:
            each.start()
        time.sleep(0.1)
        assert all(each.is_alive() for each in threads)
    for each in threads:
        each.join()
    assert wrong == []


def test_what_a_killed_client_did_not_read_is_got_over(path: Path) -> None:
    """As much as an agent may have to say: 16 MiB, as base64."""
    big = says({"exited": True, "out-data": "x" * (22 << 20)})
    Guest(path, lambda request: big if request["execute"] == "guest-exec-status" else says(0))
    killed = Pipes(path, time.monotonic() + 5)
    killed.send(b'\xff{"execute": "guest-exec-status"}\n' * 2 + b'{"execute": "gu', time.monotonic() + 5)
    killed.receive(time.monotonic() + 5)
    killed.close()
    with Agent(path, "vm1", timeout=60) as agent:
        assert agent.call("guest-ping") == 0


def test_an_agent_that_ends_takes_what_it_has_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again; and where both are answered after all, nothing of it is the answer to a command."""
    monkeypatch.setattr("vmlan.guest.agent._AGAIN", 0.05)
    guest = Guest(path, lambda _: says("fresh"), lost=1)
    with Agent(path, "vm1", timeout=5) as agent:
        assert guest.heard == ["guest-sync-delimited"] * 2
        assert agent.call("guest-ping") == "fresh"
    guest.end()
    late = threading.Timer(0.12, lambda: Guest(path, lambda _: says("late")))
    holder = [os.open(f"{path}.{end}", os.O_RDWR) for end in ("in", "out")]  # a machine that boots
    late.start()
    with Agent(path, "vm1", timeout=5) as agent:
        assert [agent.call("guest-ping") for _ in range(3)] == ["late"] * 3
    for each in holder:
        os.close(each)


def test_an_answer_that_is_none_is_told(path: Path) -> None:
    Guest(path, lambda _: b'{"return": {"pi')
    with (
        Agent(path, "vm1") as agent,
        pytest.raises(GuestError, match="vm1: its agent's answer to guest-exec is torn"),
    ):
        agent.call("guest-exec")


def test_what_was_left_by_the_machine_before_is_not_heard(path: Path) -> None:
    """The same pipes, another QEMU, while a client of the first still has them open."""
    first = Guest(path, lambda _: says("first"))
    with Agent(path, "vm1"):
        waiting = os.open(f"{path}.out", os.O_RDONLY | os.O_NONBLOCK)
        first.say(b'{"return": "first"}\n{"ret')
        first.end()
    Guest(path, lambda _: says("second"))
    with Agent(path, "vm1") as agent:
        assert agent.call("guest-ping") == "second"
    os.close(waiting)


def test_only_a_pipe_is_opened_and_no_link_is_followed(path: Path) -> None:
    """The folder is the user's, and whoever asks may be root."""
    target = path.with_name("target")
    os.mkfifo(f"{path}.out")
    os.mkfifo(target)
    reader = os.open(target, os.O_RDWR)
    Path(f"{path}.in").symlink_to(target)
    with pytest.raises(HostError, match="no way to its guest agent"):
        Agent(path, "vm1", timeout=0.1)
    Path(f"{path}.in").unlink()
    Path(f"{path}.in").write_text("text")
    with pytest.raises(NotRunning):
        Agent(path, "vm1", timeout=0.1)
    assert Path(f"{path}.in").read_text() == "text"
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    os.close(reader)
