"""Commanding a guest through its agent (qemu-ga) on a virtio-serial port.

The protocol is JSON lines both ways (QEMU, docs/interop/qemu-ga-ref). A session starts with
`guest-sync-delimited`: the 0xFF byte flushes what an earlier, broken session may have left in the
agent's parser, and its reply, also preceded by 0xFF, ends what it may still have to say.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any

from vmlan.errors import GuestError, HostError, NotRunning, Timeout, VmlanError
from vmlan.guest.pipes import Busy, Pipes

#: How soon it is first asked whether a command has ended; then ever later (seconds).
_LOOK = 0.004

#: A command that runs longer than a few looks is asked about in sessions of their own, so far apart (s).
_LET_GO = 0.02

#: What a shell says for a command that is not there (POSIX, Shell Command Language, 2.8.2).
NOT_FOUND = 127

#: What begins a session, and precedes its answer: no byte of UTF-8 (QEMU, qga/qapi-schema.json).
_SYNC = b"\xff"

#: When an agent that has not answered to that is asked again (seconds), and then after twice as long.
_AGAIN = 5.0

#: How long to wait for the agent when somebody else may be talking to it (seconds).
_PATIENCE = 20.0


@dataclass(frozen=True)
class Finished:
    """A guest command's end: its exit code (128+N if a signal N killed it) and what it said."""

    code: int
    out: bytes
    err: bytes
    truncated: bool = False  #: the agent keeps 16 MiB of each at most

    @property
    def stdout(self) -> str:
        """What it said, as text; invalid UTF-8 replaced."""
        return self.out.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """What it complained of, as text; invalid UTF-8 replaced."""
        return self.err.decode(errors="replace")


@dataclass(frozen=True)
class GuestNic:
    """A network card as the guest sees it."""

    name: str
    mac: str
    addresses: tuple[IPv4Interface, ...]
    addresses6: tuple[IPv6Interface, ...] = ()


class AgentSilent(Timeout):
    """The guest's agent did not answer in time: it still boots, has no agent, or hangs.

    `asked`: it had answered before, and then did not answer a command.
    """

    asked = False


class Agent:
    """A session with one guest's agent. There is one at a time: keep it short, and close it."""

    def __init__(self, path: Path, machine: str, timeout: float = 5.0) -> None:
        self._path = path
        self._machine = machine
        self._open(timeout)

    def _open(self, timeout: float) -> None:
        """Wait for one's turn, and synchronise. What is sent before the guest listens waits in the pipe."""
        self._buffer = bytearray()
        deadline = time.monotonic() + timeout
        try:
            self._pipes = Pipes(self._path, deadline)
        except Busy:
            raise AgentSilent(
                f"machine {self._machine}: another command has had its guest agent for {timeout:.0f} s",
                hint="try again when that has ended",
            ) from None
        except FileNotFoundError:
            raise NotRunning(f"machine {self._machine} is not running") from None
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise HostError(f"machine {self._machine}: no way to its guest agent: {error}") from None
            raise NotRunning(
                f"machine {self._machine} has ended, or not begun yet", hint="vmlan ps shows it"
            ) from None
        try:
            self._synchronise(deadline)
        except BrokenPipeError:
            self.close()
            raise NotRunning(f"machine {self._machine} has ended") from None
        except TimeoutError:
            self.close()
            raise self._silent(timeout) from None
        except BaseException:
            self.close()
            raise

    def _silent(self, timeout: float) -> AgentSilent:
        return AgentSilent(
            f"machine {self._machine}: its guest agent did not answer within {timeout:.0f} s",
            hint=f"vmlan console {self._machine} shows what the guest is doing",
        )

    def close(self) -> None:
        """Hang up."""
        self._pipes.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _synchronise(self, deadline: float) -> None:
        """Ask for a number to be said back. An agent that ends takes with it what it has read: ask again.

        Only the last number counts: with it, all that was asked before is answered, or never will be.
        """
        pause = _AGAIN
        while True:
            token = int.from_bytes(os.urandom(4), "big")
            request = {"execute": "guest-sync-delimited", "arguments": {"id": token}}
            self._pipes.send(_SYNC + json.dumps(request).encode() + b"\n", deadline)
            try:
                return self._until(token, min(deadline, time.monotonic() + pause))
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise
            pause *= 2

    def _until(self, token: int, deadline: float) -> None:
        while True:
            line = self._line(deadline).rpartition(_SYNC)[2]
            try:
                if json.loads(line).get("return") == token:
                    return
            except (ValueError, AttributeError):
                continue  # the rest of an earlier session

    def _line(self, deadline: float, patience: float = 0.0) -> bytes:
        """The next line. While it comes, it may take longer: `patience` from what came last (seconds)."""
        looked = 0
        while (end := self._buffer.find(b"\n", looked)) < 0:
            looked = len(self._buffer)
            more = self._pipes.receive(deadline)
            if not more:
                raise NotRunning(f"machine {self._machine} has ended")
            self._buffer += more
            deadline = max(deadline, time.monotonic() + patience)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def call(self, command: str, timeout: float = 10.0, **arguments: Any) -> Any:
        """One command of the agent's. Raises `GuestError` with the agent's words if it refuses."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        deadline = time.monotonic() + timeout
        try:
            self._pipes.send(json.dumps(request).encode() + b"\n", deadline)
            reply = json.loads(self._line(deadline, timeout))
        except TimeoutError:
            silent = self._silent(timeout)
            silent.asked = True
            raise silent from None
        except BrokenPipeError:
            raise NotRunning(f"machine {self._machine} has ended") from None
        except ValueError:
            raise GuestError(f"machine {self._machine}: its agent's answer to {command} is torn") from None
        if "error" in reply:
            raise GuestError(
                f"machine {self._machine}: its agent refuses {command}: {reply['error'].get('desc')}"
            )
        return reply.get("return")

    def tell(self, command: str, **arguments: Any) -> None:
        """One command whose answer nobody waits for: the next session passes over it."""
        words = {key.replace("_", "-"): value for key, value in arguments.items()}
        request = json.dumps({"execute": command, "arguments": words})
        try:
            self._pipes.send(request.encode() + b"\n", time.monotonic() + 1.0)
        except (TimeoutError, BrokenPipeError):
            raise NotRunning(f"machine {self._machine} takes no command") from None

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float | None = None) -> Finished:
        """Run a program in the guest to its end. Raises `Timeout` if it does not end in time (seconds)."""
        arguments: dict[str, Any] = {"path": argv[0], "arg": list(argv[1:]), "capture_output": True}
        if stdin:
            arguments["input_data"] = base64.b64encode(stdin).decode()
        try:
            pid = int(self.call("guest-exec", **arguments)["pid"])
        except GuestError as error:
            if "Failed to execute child process" not in error.what:
                raise
            return Finished(NOT_FOUND, b"", f"{self._machine}: {argv[0]}: not found in the guest\n".encode())
        try:
            return self._wait(pid, argv[0], timeout)
        except (Timeout, KeyboardInterrupt):
            self._kill(pid)
            raise

    def _wait(self, pid: int, program: str, timeout: float | None) -> Finished:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _LOOK
        while True:
            status = self.call("guest-exec-status", pid=pid)
            if status["exited"]:
                return _finished(status)
            if deadline is not None and time.monotonic() > deadline:
                raise Timeout(f"machine {self._machine}: '{program}' did not end within {timeout:g} s")
            if pause >= _LET_GO:
                self.close()  # a long command must not keep others from the agent
            time.sleep(pause)
            if pause >= _LET_GO:
                self._open(_PATIENCE)
            pause = min(pause * 1.5, 0.25)

    def _kill(self, pid: int) -> None:
        """End a program in the guest that nobody waits for any more, as far as that can be done."""
        with contextlib.suppress(VmlanError, OSError):
            self.close()
            self._open(2.0)
            self.call("guest-exec", timeout=2.0, path="kill", arg=[str(pid)])

    def nics(self) -> tuple[GuestNic, ...]:
        """The guest's network cards and their addresses, without its loopback and link-local ones of IPv6."""
        return tuple(
            GuestNic(
                name=row["name"],
                mac=row["hardware-address"].lower(),
                addresses=tuple(each for each in given if isinstance(each, IPv4Interface)),
                addresses6=tuple(
                    each for each in given if isinstance(each, IPv6Interface) and not each.is_link_local
                ),
            )
            for row in self.call("guest-network-get-interfaces")
            if row.get("hardware-address") and row["name"] != "lo"
            for given in [[_interface(address) for address in row.get("ip-addresses", ())]]
        )


def _interface(address: dict[str, Any]) -> IPv4Interface | IPv6Interface:
    bare = address["ip-address"].partition("%")[0]
    return ip_interface(f"{bare}/{address['prefix']}")


def _finished(status: dict[str, Any]) -> Finished:
    code = status["exitcode"] if "exitcode" in status else 128 + int(status.get("signal", 0))
    return Finished(
        code=code,
        out=base64.b64decode(status.get("out-data", "")),
        err=base64.b64decode(status.get("err-data", "")),
        truncated=bool(status.get("out-truncated") or status.get("err-truncated")),
    )
