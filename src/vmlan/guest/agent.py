"""Commanding a guest through its agent (qemu-ga) on a virtio-serial socket.

The protocol is JSON lines both ways (QEMU, docs/interop/qemu-ga-ref). A session starts with
`guest-sync-delimited`: the 0xFF byte flushes what an earlier, broken session may have left in the
agent's parser, and its reply, also preceded by 0xFF, ends what it may still have to say.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any

from vmlan.errors import GuestError, NotRunning, Timeout, VmlanError

#: A command that runs longer than a few looks is asked about in sessions of their own, so far apart (s).
_LET_GO = 0.1

#: What a shell says for a command that is not there (POSIX, Shell Command Language, 2.8.2).
NOT_FOUND = 127

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
    """A session with one guest's agent. QEMU serves one client at a time: keep it short, and close it."""

    def __init__(self, path: Path, machine: str, timeout: float = 5.0) -> None:
        self._path = path
        self._machine = machine
        self._open(timeout)

    def _open(self, timeout: float) -> None:
        """Connect and synchronise. What is sent before the guest listens waits in the socket."""
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            deadline = time.monotonic() + timeout
            self._socket.settimeout(timeout)
            while not self._connected():
                if time.monotonic() > deadline:
                    raise TimeoutError
                time.sleep(0.05)
            self._synchronise(max(deadline - time.monotonic(), 0.1))
        except FileNotFoundError:
            self.close()
            raise NotRunning(f"machine {self._machine} is not running") from None
        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
            self.close()
            raise NotRunning(f"machine {self._machine} has ended") from None
        except TimeoutError:
            self.close()
            raise self._silent(timeout) from None
        except BaseException:
            self.close()
            raise

    def _connected(self) -> bool:
        """Connect; False while so many others wait for the agent that the socket takes no more."""
        try:
            self._socket.connect(str(self._path))
        except BlockingIOError:
            return False
        return True

    def _silent(self, timeout: float) -> AgentSilent:
        return AgentSilent(
            f"machine {self._machine}: its guest agent did not answer within {timeout:.0f} s",
            hint=f"vmlan console {self._machine} shows what the guest is doing",
        )

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _synchronise(self, timeout: float) -> None:
        token = int.from_bytes(os.urandom(4), "big")
        request = {"execute": "guest-sync-delimited", "arguments": {"id": token}}
        self._socket.sendall(b"\xff" + json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + timeout
        while True:
            line = self._line(deadline).rpartition(b"\xff")[2]
            try:
                if json.loads(line).get("return") == token:
                    return
            except ValueError:
                continue  # the rest of an earlier session

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            more = self._socket.recv(65536)
            if not more:
                raise NotRunning(f"machine {self._machine} has ended, or somebody else talks to its agent")
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def call(self, command: str, timeout: float = 10.0, **arguments: Any) -> Any:
        """One command of the agent's. Raises `GuestError` with the agent's words if it refuses."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(self._line(time.monotonic() + timeout))
        except TimeoutError:
            silent = self._silent(timeout)
            silent.asked = True
            raise silent from None
        except (BrokenPipeError, ConnectionResetError):
            raise NotRunning(f"machine {self._machine} has ended") from None
        if "error" in reply:
            raise GuestError(
                f"machine {self._machine}: its agent refuses {command}: {reply['error'].get('desc')}"
            )
        return reply.get("return")

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
        pause = 0.01
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
