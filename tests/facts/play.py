"""An example that is up, and hands to look at it: vmlan's own commands, and `ip` and `tcpdump` as witnesses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.real.conftest import EXAMPLES, Bench
from vmlan import labfile
from vmlan.plan.layout import MachineFiles
from vmlan.qemu import qmp

#: How long something that must be seen may take (seconds); emulation on a busy machine is slow.
PATIENCE = 20.0

IDS = re.compile(r"((?:F\d\d(?:, )?)+):")


class NotShown(Exception):
    """A fact's evidence is not there; the words say what was found instead."""


def need(found: object, words: str) -> None:
    """Raise `NotShown` unless it was found."""
    if not found:
        raise NotShown(words)


def ids(hint: str) -> list[str]:
    """The facts that a check's hint names."""
    match = IDS.match(hint)
    return match[1].split(", ") if match else []


def text_of(example: str) -> str:
    return (EXAMPLES / example / "lab.yaml").read_text()


def checks_of(text: str, fact: str | None) -> list[int]:
    """The numbers of a lab file's checks whose hint names this fact (None: that name none)."""
    lab = labfile.loads(text, folder=Path("/labs/here"))
    named = [ids(check.hint) for check in lab.checks]
    return [number for number, each in enumerate(named, 1) if (fact in each if fact else not each)]


@dataclass
class Watch:
    """The frames that pass an interface, as tcpdump says them."""

    play: Play
    link: str
    rows: list[str] = field(default_factory=list)

    def start(self) -> None:
        words = ("tcpdump", "--immediate-mode", "-ltnnei", self.link)
        self.tcpdump = self.play.begin(*words, side=self.play.side(self.link))
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def ready(self) -> None:
        assert self.tcpdump.stderr is not None
        while "listening on" not in (said := self.tcpdump.stderr.readline()):
            need(said, f"tcpdump has ended on {self.link}")

    def _read(self) -> None:
        assert self.tcpdump.stdout is not None
        for row in self.tcpdump.stdout:
            if not row.startswith("\t"):  # the bytes of a frame that it does not know, ours
                self.rows.append(row.rstrip())

    def end(self) -> None:
        end(self.tcpdump)
        self.thread.join(20)

    def found(self, pattern: str) -> list[str]:
        return [row for row in list(self.rows) if re.search(pattern, row) and MARK not in row]

    def until(self, pattern: str, what: str) -> str:
        """Wait for a frame."""
        deadline = time.monotonic() + self.play.patience
        while not (seen := self.found(pattern)):
            need(time.monotonic() < deadline, f"{what} is not seen on {self.link}")
            time.sleep(0.05)
        return seen[0]

    def settle(self) -> None:
        """Send a frame of our own, and wait for it: all that came before has been told then."""
        before = len(list(self.rows))
        self.play.host(sys.executable, "-I", "-S", "-c", _SEND, self.link, side=self.play.side(self.link))
        deadline = time.monotonic() + self.play.patience
        while not any(MARK in row for row in list(self.rows)[before:]):
            need(time.monotonic() < deadline, f"our own frame is not seen on {self.link}")
            time.sleep(0.05)

    def never(self, pattern: str, what: str) -> None:
        self.settle()
        seen = self.found(pattern)
        need(not seen, f"{what} is seen on {self.link}: {seen[:1]}")


def end(process: subprocess.Popen[str]) -> None:
    """End what `Play.begin` began: `vmlan host` has the program as a child."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)


#: An EtherType that is for experiments (IEEE 802, 9.2.3): no station takes it for anything.
MARK = "0x88b5"
_SEND = (
    "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0));"
    " s.send(b'\\xff' * 6 + b'\\x02' + bytes(5) + b'\\x88\\xb5' + bytes(46))"
)


@dataclass
class Play:
    """One example in its own folders; `memory` is what a fact's before was, for its after."""

    bench: Bench
    example: str
    text: str
    memory: dict[str, Any] = field(default_factory=dict)
    patience: float = PATIENCE
    one_by_one: bool = False
    options: tuple[str, ...] = ()  #: of `vmlan up`
    made: str = "made without root"  #: how its host side is made

    def up(self, *machines: str) -> None:
        self.bench.write(self.text)
        done = self.bench.vmlan("up", *self.options, *machines)
        need(done.code == 0, f"vmlan up ended with {done.code}: {done.err.strip()[-300:]}")
        self.memory.setdefault("up", done.err)

    @cached_property
    def explained(self) -> list[str]:
        """The paragraphs that `vmlan explain` prints, each command on one line, however long."""
        said = self.bench.ok("explain").replace("\\\n    ", "")
        # What is plugged into a machine that goes on from its template are the same options, in its monitor.
        said = re.sub(
            r'\n\{"execute": "human-monitor-command", .*: "(netdev|device)_add (.*)"\}\}', r" -\1 \2", said
        )
        return said.split("\n\n")

    def side(self, link: str) -> tuple[str, ...]:
        return ("--outside",) if link == "out0" else ()

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────

    def host(self, *words: str, side: tuple[str, ...] = ()) -> str:
        done = self.bench.vmlan("host", *side, "--", *words)
        need(done.code == 0, f"{' '.join(words)[:80]} ended with {done.code}: {done.err.strip()}")
        return done.out

    def begin(self, *words: str, side: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Begin a program on the host side; `end` ends it."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.bench.start("host", *side, "--", *words, start_new_session=True, **pipes)

    def outside(self, *words: str) -> str:
        return self.host(*words, side=("--outside",))

    def ip(self, *words: str, side: tuple[str, ...] = ()) -> Any:
        return json.loads(self.host("ip", "-j", *words, side=side) or "[]")

    def guest(self, name: str, *words: str) -> str:
        """What a command in a guest says, whatever its exit code."""
        done = self.bench.vmlan("exec", name, "--", *words)
        return done.out + done.err

    def set(self, name: str, value: str) -> str:
        """`vmlan set`; gives the commands that it ran."""
        done = self.bench.vmlan("set", "-v", name, value)
        need(done.code == 0, f"vmlan set {name} {value}: {done.err.strip()}")
        return done.err

    def uplink(self, address: str) -> None:
        """Give the host side's way out an address, with the default route; or `none`."""
        self.set("host.uplink.address", address)

    def leases(self) -> str:
        """What the outside's DHCP server has leased (dnsmasq(8): time, MAC, address, …)."""
        return next(self.bench.runtime.glob("vmlan/*/net-outside/leases")).read_text()

    def check(self, fact: str | None) -> list[dict[str, Any]]:
        """Run the checks whose hint names a fact; all must pass. Gives their results."""
        numbers = checks_of(self.text, fact)
        parts = [[number] for number in numbers] if self.one_by_one else [numbers]
        return [row for part in parts if part for row in self._checked(part)]

    def _checked(self, numbers: list[int]) -> list[dict[str, Any]]:
        done = self.bench.vmlan("check", "--json", *map(str, numbers))
        need(done.code < 2, f"vmlan check: {done.err.strip()}")
        rows: list[dict[str, Any]] = done.json["checks"]
        for number, row in zip(numbers, rows, strict=True):
            need(row["passed"], f"check {number} fails: {_told(row)}")
            need(row["attempts"] or row["why"], f"check {number} passes without evidence")
        return rows

    def impatient(self) -> None:
        """From now on something is to be missing: wait for it less, and stop at the first check that fails."""
        self.patience, self.one_by_one = 4.0, True
        self.text = re.sub(r"(\{(?:ping|arp|dhcp): .*)(hint: )", r"\1within: 1s, \2", self.text)
        self.bench.write(self.text)

    def trace(self, source: str, target: str) -> str:
        """The verdict of `vmlan trace`."""
        done = self.bench.vmlan("trace", source, target, "--json")
        need(done.code < 2 and done.out, f"vmlan trace {source} {target}: {done.err.strip()}")
        return str(done.json["verdict"])

    def verdict(self, source: str, target: str, reason: str) -> None:
        said = self.trace(source, target)
        need(said == reason, f"vmlan trace says {said}, not {reason}")

    def imported(self, line: str) -> tuple[str, str]:
        """An old command line: the lab file that it becomes, and the notes."""
        done = self.bench.vmlan("import", "--", "qemu-system-x86_64", *line.split())
        need(done.code == 0, f"vmlan import: {done.err.strip()}")
        return done.out, done.err

    # ── machines ──────────────────────────────────────────────────────────────────────────────────────

    def files(self, machine: str) -> MachineFiles:
        (folder,) = (path for path in (self.bench.runtime / "vmlan").iterdir() if path.is_dir())
        return MachineFiles(folder / f"vm-{machine}", self.bench.state / "vmlan" / folder.name / machine)

    def ask(self, machine: str, command: str, **arguments: Any) -> Any:
        """A QMP command."""
        return qmp.command(self.files(machine).qmp, machine, command, **arguments)

    def nic(self, machine: str, index: int = 0) -> dict[str, Any]:
        rows = {row["name"]: row for row in json.loads(self.bench.ok("ps", "--json"))["machines"]}
        found: dict[str, Any] = rows[machine]["nics"][index]
        return found

    def address(self, machine: str) -> str:
        addresses = self.nic(machine)["addresses"]
        need(addresses, f"{machine} has no address")
        return str(addresses[0]).partition("/")[0]

    def cards(self, machine: str) -> list[str]:
        return self.guest(machine, "ls", "/sys/class/net").split()

    # ── links ─────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def watch(self, *links: str) -> Iterator[list[Watch]]:
        """Watch interfaces of the host side, and the outside's `out0`, with tcpdump."""
        with ExitStack() as stack:
            watches = [Watch(self, link) for link in links]
            for watch in watches:
                watch.start()
                stack.callback(watch.end)
            for watch in watches:
                watch.ready()
            yield watches

    def fdb(self, bridge: str) -> list[dict[str, Any]]:
        """What a bridge has learnt, and what it knows by itself."""
        rows: list[dict[str, Any]] = json.loads(self.host("bridge", "-j", "fdb", "show", "br", bridge))
        return rows

    def mac(self, link: str) -> str:
        (row,) = self.ip("link", "show", "dev", link, side=self.side(link))
        return str(row["address"])

    def addresses(self, link: str) -> list[str]:
        """An interface's addresses, link-local ones too."""
        (row,) = self.ip("addr", "show", "dev", link)
        return [f"{info['local']}/{info['prefixlen']}" for info in row["addr_info"]]


def _told(row: dict[str, Any]) -> str:
    """What came of a failed check: its outcome, what else was expected, and the verdict of its trace."""
    words = [row["outcome"], *row["unmet"]]
    words += [f"trace: {row['trace']['verdict']}"] if row["trace"] else []
    words += [str(row["why"])] if row["why"] else []
    words += [str(attempt["words"]) for attempt in row["attempts"][-1:]]
    return "; ".join(words)
