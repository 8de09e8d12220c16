"""From guest to guest through a bridge: vmlan's, and one made by hand with the same QEMU command lines."""

from __future__ import annotations

import re
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import agent
import starts
from place import LEASH, Failed, Place

HERE = Path(__file__).parent
BY_HAND = "by hand"
COLD = starts.COLD
WARM = starts.WARM

#: What is measured.
RATE, PING = "MB/s", "ms"

#: So much is sent (MB of 10^6 bytes, in blocks of 64 KiB), and so often in a turn, of which the median
#: counts; so many pings, one after the other.
MEGABYTES, SENDS, PINGS = 100, 3, 40

_BLOCKS = MEGABYTES * 1_000_000 // 65536
_OTHER, _PORT = "10.2.0.12", 5001

#: Runs a line in the shell of vm1, and of vm2; its output.
Shell = Callable[[str], str]
Pair = tuple[Shell, Shell]


def ways(place: Place) -> tuple[str, ...]:
    return (BY_HAND, COLD, WARM) if place.offers("up", "--cold") else (BY_HAND, COLD)


@contextmanager
def labs(place: Place, names: tuple[str, ...]) -> Iterator[dict[str, Pair]]:
    """All of them at once, so that turns can be taken: who is not measured has nothing to do."""
    with ExitStack() as stack:
        pairs = {name: stack.enter_context(_OPEN[name](place)) for name in names}
        for _, second in pairs.values():
            _serve(second)
        yield pairs


@dataclass
class Pace:
    """When a guest is asked whether it has sent all (seconds).

    Asking starts programs on the host and in the guest, which costs some of what is measured, and more for
    vmlan (a Python starts) than by hand. So nobody is asked before it must be done, as far as is known.
    """

    look: float = 8.0

    def learn(self, took: float) -> None:
        self.look = 1.3 * took + 0.5


def measure(pairs: dict[str, Pair], pace: Pace, way: str) -> dict[str, float]:
    first, _ = pairs[way]
    return {RATE: _rate(first, pace), PING: ping_time(first(f"ping -c {PINGS} -A {_OTHER}"))}


def _rate(first: Shell, pace: Pace) -> float:
    """Busybox's nc starts dd on both ends of a TCP connection: no pipe and no disk is in the way."""
    send = f"nc {_OTHER} {_PORT} -e dd if=/dev/zero bs=64k count={_BLOCKS}"
    each = f"n=0; while [ $n -lt {SENDS} ]; do time {send}; n=$((n + 1)); done"
    first(f"rm -f /run/took; ({each}; mv /run/took.new /run/took) </dev/null >/run/took.new 2>&1 &")
    until = time.monotonic() + 200
    time.sleep(pace.look)
    while not (said := first("cat /run/took 2>/dev/null || true")):
        if time.monotonic() > until:
            raise Failed(f"vm1 has not sent {SENDS} times {MEGABYTES} MB to vm2 in time")
        time.sleep(pace.look / 2)
    took = sent(said)
    pace.learn(sum(took))
    return _BLOCKS * 65536 / 1e6 / statistics.median(took)


def _serve(second: Shell) -> None:
    """Take whatever is sent, from now on."""
    second(f"nc -ll -p {_PORT} -e dd of=/dev/null bs=64k </dev/null >/dev/null 2>&1 &")
    second(f"until netstat -tln | grep -q :{_PORT}; do usleep 50000; done")


def sent(said: str) -> list[float]:
    """How long each sending took (s), from what dd and `time` say; all must have gone through."""
    took = seconds(said)
    if said.count(f"{_BLOCKS}+0 records out") != SENDS or len(took) != SENDS:
        raise Failed(f"vm1 could not send all to vm2: {said!r}")
    return took


def seconds(said: str) -> list[float]:
    """From what busybox's `time` says: `real 1m 2.34s`, each time."""
    found = re.findall(r"real\s+(?:(\d+)m\s*)?([\d.]+)s", said)
    return [60 * int(minutes or 0) + float(rest) for minutes, rest in found]


def ping_time(said: str) -> float:
    """The median of all round trips but the first, in which the other's MAC is asked for (ms)."""
    times = [float(found) for found in re.findall(r"time=([\d.]+) ms", said)][1:]
    if not times:
        raise Failed(f"ping did not get an answer: {said!r}")
    return statistics.median(times)


# The labs


@contextmanager
def _vmlan(place: Place, name: str, cold: bool) -> Iterator[Pair]:
    there = place.beside(name)
    there.write(starts.lab(2))
    option = ("--cold",) if cold and there.offers("up", "--cold") else ()
    there.call("up", *option)
    try:
        yield partial(_exec, there, "vm1"), partial(_exec, there, "vm2")
    finally:
        there.call("down", "--now")


def _exec(place: Place, machine: str, line: str) -> str:
    return place.call("exec", machine, "--", "sh", "-c", line)


@contextmanager
def _by_hand(place: Place) -> Iterator[Pair]:
    there = place.beside("by-hand")
    there.write(starts.lab(2))
    env, files = dict(there.env), []
    for n in (1, 2):
        own = there.folder / f"vm{n}"
        own.mkdir(exist_ok=True)
        command, mac = alone(starts.command(there, f"vm{n}"), own)
        (own / "qemu.sh").write_text(f"exec {command}\n")
        files.append(str(own / "qemu.sh"))
        env[f"MAC{n}"] = mac
    argv = [*LEASH, str(HERE / "bridge-by-hand.sh"), *files]
    with subprocess.Popen(argv, cwd=there.folder, env=env, stdin=-1, stdout=-3, stderr=-3) as child:
        try:
            _until_addressed(there.folder, child)
            first, second = (partial(agent.shell, there.folder / name / "agent") for name in ("vm1", "vm2"))
            yield first, second
        finally:
            child.kill()


def alone(shell: str, folder: Path) -> tuple[str, str]:
    """QEMU's own words of a command of `vmlan explain`, with its files in another folder; and its MAC.

    Its agent is at a socket there, whatever vmlan itself has.
    """
    words = shlex.split(shell.replace("\\\n", " "))
    first = next(n for n, word in enumerate(words) if "qemu-system" in word)
    last = next((n for n, word in enumerate(words) if word == "<"), len(words))
    own = words[first:last]
    socket = re.search(r"unix:(\S*)/qmp,", " ".join(own))
    mac = re.search(r"mac=([0-9a-f:]{17})", " ".join(own))
    if socket is None or mac is None:
        raise Failed(f"vmlan's command line has no QMP socket or no MAC: {shell}")
    moved = [word.replace(socket[1], str(folder)) for word in own]
    to_agent = f"socket,id=agent0,path={folder}/agent,server=on,wait=off"
    return shlex.join(to_agent if ",id=agent0," in word else word for word in moved), mac[1]


def _until_addressed(folder: Path, child: subprocess.Popen[bytes]) -> None:
    sockets = [folder / name / "agent" for name in ("vm1", "vm2")]
    until = time.monotonic() + 120
    while not all(agent.answers(each) for each in sockets):
        if child.poll() is not None or time.monotonic() > until:
            logs = [file.read_text() for file in folder.glob("*/qemu.sh.log")]
            raise Failed(f"the guests on the bridge made by hand did not come up: {logs}")
        time.sleep(0.3)
    agent.shell(sockets[0], f"until ping -c 1 -W 1 {_OTHER}; do sleep 1; done >/dev/null")


_OPEN: dict[str, Callable[[Place], AbstractContextManager[Pair]]] = {
    BY_HAND: _by_hand,
    COLD: lambda place: _vmlan(place, "traffic-cold", cold=True),
    WARM: lambda place: _vmlan(place, "traffic-warm", cold=False),
}
