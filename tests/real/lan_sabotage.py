"""A NIC is changed again and again, and each time something else goes wrong. Is everything as it was afterwards?

    tools/lan-sabotage [--fifty] [--only KIND] [--seed N] [-v]

`ip` fails at each of its commands in turn, and so do the change's other programs; vmlan is killed at twenty instants, each of
the guard's two processes and both at once, nobody confirms, and the outside is not what it was. `--fifty`: commands fail at
every few places only.

Nobody ever confirms, so after each of them, within the time limit, `ip addr`, `ip route` (all tables), `rule`, `link`, the
neighbours that were set, the sysctls and `nft` must be what they were, in the words of `ip` and `nft` themselves. A TCP
connection through the NIC lives through all of it; its longest pause is told. Prints a line each, and the count.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import lan_world
from lan_world import Driver, Session, World, guards, settled

WITHIN = 1.5  #: seconds to confirm
LIMIT = WITHIN + 10  #: until everything must be as it was, on a busy machine

#: An `ip` that fails at the N-th line that changes something, once, and does something to the world before the N-th batch.
FAKE_IP = """#!/usr/bin/python3
import os, subprocess, sys
state = os.environ["LAN_SABOTAGE"]
def read(name):
    try: return open(f"{state}/{name}").read()
    except OSError: return ""
real, argv = "/usr/sbin/ip", sys.argv[1:]
if "-batch" not in argv or "-force" in argv: os.execv(real, ["ip", *argv])
if hook := read("hook"):
    os.unlink(f"{state}/hook"); subprocess.run(["sh", "-c", hook], check=True, stdout=subprocess.DEVNULL)
lines, left = sys.stdin.read().splitlines(keepends=True), int(read("fail-at") or 10**6)
real_lines = [n for n, line in enumerate(lines) if not line.startswith("#")]
cut = left <= len(real_lines)
given = lines[: real_lines[left - 1]] if cut else lines
open(f"{state}/fail-at", "w").write(str(10**6 if cut else left - len(real_lines)))
code = subprocess.run([real, *argv], input="".join(given), text=True).returncode
if cut: print(f"Command failed -:{left}: sabotaged", file=sys.stderr)
sys.exit(1 if cut else code)
"""

#: Another program of the change, which fails when it runs the N-th time: after half of its words, or all, have had effect.
FAKE_OTHER = """#!/usr/bin/python3
import os, subprocess, sys
name, argv = os.path.basename(sys.argv[0]), sys.argv[1:]
path, real = f"{os.environ['LAN_SABOTAGE']}/{name}-fail-at", REAL
try: left, part = open(path).read().split()
except OSError: os.execv(real, [name, *argv])
if int(left) > 1:
    open(path, "w").write(f"{int(left) - 1} {part}"); os.execv(real, [name, *argv])
os.unlink(path)
words = [word for word in argv if not word.startswith("-")]
done = words[: len(words) // 2] if part == "half" else words if part == "all" else []
given = [word for word in argv if word.startswith("-") or word in done]
if done: subprocess.run([real, *(given if name == "sysctl" else argv)])
print(f"{name}: sabotaged", file=sys.stderr)
sys.exit(1)
"""

#: How many commands of each of these the change of this world's NIC has.
OTHERS = {"sysctl": 2, "timeout": 1}


@dataclass
class Case:
    kind: str
    name: str
    do: Callable[[], str]  #: what it saw, for the line


class Sabotage:
    """The world, the connection, and the ways to spoil a change."""

    def __init__(self, world: World, session: Session, seed: int) -> None:
        self.world, self.session, self.random = world, session, random.Random(seed)
        self.folder = world.folder / "lan"
        self.state = world.folder / "sabotage"
        self.path = world.folder / "bin"
        for folder in (self.state, self.path):
            folder.mkdir()
        (self.path / "ip").write_text(FAKE_IP)
        (self.path / "ip").chmod(0o755)
        for name in OTHERS:
            (self.path / name).write_text(FAKE_OTHER.replace("REAL", repr(shutil.which(name))))
            (self.path / name).chmod(0o755)
        os.environ["LAN_SABOTAGE"] = str(self.state)
        self.lines = self.count_lines()

    def driver(self, **options: object) -> Driver:
        return Driver(self.folder, within=WITHIN, ssh=self.session.ssh, path=str(self.path), **options)  # type: ignore[arg-type]

    def count_lines(self) -> int:
        """How many lines `ip` is given for the change."""
        (self.state / "fail-at").write_text("1")
        driver = self.driver()
        planned = driver.until("planned")
        driver.until("failed")
        driver.close()
        return int(str(planned["ip_lines"]))

    # The ways

    def cases(self) -> Iterator[Case]:
        for number in range(1, self.lines + 1):
            yield Case(
                "ip", f"ip fails at command {number} of {self.lines}", lambda n=number: self.ip_fails(n)
            )
        for name, count in OTHERS.items():
            for number in range(1, count + 1):
                for part in ("nothing", "half", "all") if name == "sysctl" else ("nothing", "all"):
                    yield Case(
                        "other", f"{name} fails, time {number} of {count}, with {part} of it done",
                        lambda w=name, n=number, p=part: self.other_fails(w, n, p),
                    )  # fmt: skip
        for number in range(20):
            during = number % 2 == 0
            delay = self.random.uniform(0.0, 0.15 if during else 1.4)
            when = f"{delay:.3f} s after the {'change' if during else 'plan'}"
            yield Case(
                "killed", f"vmlan killed {when}", lambda d=delay, w=during: self.vmlan_killed(d, during=w)
            )
        for who in ("worker", "watcher", "both"):
            for number in range(4):
                during = number % 2 == 0
                delay = self.random.uniform(0.0, 0.15 if during else 1.2)
                when = f"{delay:.3f} s after {'the change began' if during else 'it was armed'}"
                yield Case(
                    "guard", f"the guard: {who} killed {when}",
                    lambda d=delay, w=who, t=during: self.guard_killed(w, d, during=t),
                )  # fmt: skip
        yield Case("guard", "the guard: worker stopped (SIGSTOP)", self.guard_stopped)
        yield Case("deadline", "nobody confirms, vmlan waits", self.nobody_confirms)
        yield Case("deadline", "nobody confirms, vmlan has gone", lambda: self.nobody_confirms(release=True))
        far = f"nsenter --net={self.world.outside}"
        yield Case("world", "DHCP silent", self.dhcp_silent)
        yield Case(
            "world",
            "gateway gone",
            lambda: self.spoilt(
                f"{far} ip addr del 198.51.100.1/24 dev lan0",
                f"{far} ip addr add 198.51.100.1/24 dev lan0",
                "198.51.100.1",
            ),
        )
        yield Case(
            "world",
            "another gateway answers in its place",
            lambda: self.spoilt(
                f"{far} ip link set lan0 address 52:54:00:bb:00:99",
                f"{far} ip link set lan0 address 52:54:00:bb:00:01",
                "another MAC",
            ),
        )
        yield Case(
            "world",
            "wrong VLAN (the far port passes nothing on)",
            lambda: self.spoilt(
                f"{far} ip link set far nomaster", f"{far} ip link set far master lan0", "does not answer"
            ),
        )
        yield Case(
            "world", "link down",
            lambda: self.spoilt(f"{far} ip link set far down", f"{far} ip link set far up", "carrier"),
        )  # fmt: skip

    def ip_fails(self, number: int) -> str:
        (self.state / "fail-at").write_text(str(number))
        driver = self.driver()
        said = driver.until("failed")
        driver.close()
        assert "sabotaged" in str(said["what"]), said
        return "put back"

    def other_fails(self, name: str, number: int, part: str) -> str:
        (self.state / f"{name}-fail-at").write_text(f"{number} {part}")
        driver = self.driver()
        said = driver.until("failed", "waiting")
        driver.close()
        assert f"{name} failed" in str(said.get("what")) and "sabotaged" in str(said["what"]), said
        return "put back"

    def until_changing(self) -> None:
        end = time.monotonic() + LIMIT
        while b'"changing"' not in (self.folder / "nic.journal").read_bytes():
            assert time.monotonic() < end, "it never began"
            time.sleep(0.001)

    def vmlan_killed(self, delay: float, *, during: bool) -> str:
        driver = self.driver()
        driver.until("told" if during else "planned")
        if during:
            self.until_changing()
        time.sleep(delay)
        os.killpg(driver.process.pid, signal.SIGKILL)
        driver.close()
        return "killed"

    def guard_killed(self, who: str, delay: float, *, during: bool) -> str:
        driver = self.driver()
        driver.until("told")
        if during:
            self.until_changing()
        time.sleep(delay)
        found = guards(self.folder)
        chosen = {"worker": found[:1], "watcher": found[1:2], "both": found}[who]
        for pid in chosen:
            os.kill(pid, signal.SIGKILL)
        if who == "both":  # nobody is left to see the deadline: the next vmlan does
            said = driver.hear()
            if said.get("event") == "waiting":
                driver.tell("recover")
        elif who == "watcher":
            driver.until("waiting", "failed")
            settled(self.folder, LIMIT)
        else:
            settled(self.folder, LIMIT)
        driver.close()
        return f"killed {len(chosen)}"

    def guard_stopped(self) -> str:
        driver = self.driver()
        driver.until("waiting")
        os.kill(guards(self.folder)[0], signal.SIGSTOP)
        assert settled(self.folder, LIMIT), "it still stands"
        driver.close()
        return "ended by the watcher"

    def nobody_confirms(self, release: bool = False) -> str:
        driver = self.driver()
        driver.until("waiting")
        if release:
            driver.tell("release")
            driver.tell("end")
        assert settled(self.folder, LIMIT)
        driver.close()
        return "put back"

    def dhcp_silent(self) -> str:
        assert self.world.dnsmasq is not None
        self.world.dnsmasq.send_signal(signal.SIGSTOP)
        try:
            return self.nobody_confirms()
        finally:
            self.world.dnsmasq.send_signal(signal.SIGCONT)

    def spoilt(self, hook: str, mend: str, words: str) -> str:
        """The world changes just before the NIC does; it is mended when the guard has given up."""
        (self.state / "hook").write_text(hook)
        driver = self.driver()
        try:
            said = driver.until("failed", "waiting")
        finally:
            lan_world.sh("sh", "-c", mend)
            driver.close()
        assert said["event"] == "failed" and words in str(said["what"]), said
        time.sleep(0.5)  # a cable that is plugged in again
        return str(said["what"]).partition("\n")[0]


def run(seed: int, only: str = "", verbose: bool = False, fifty: bool = False) -> tuple[int, int, float]:
    """Every way once: how many there were, after how many all was as it was, the connection's longest pause (seconds)."""
    with lan_world.world() as world:
        session = Session(world)
        time.sleep(0.5)
        before = world.seen()
        sabotage = Sabotage(world, session, seed)
        total = good = keys = 0
        longest = 0.0
        session.lap()
        cases = [case for case in sabotage.cases() if not only or case.kind == only]
        if fifty:
            others = [case for case in cases if case.kind not in {"ip", "other"}]
            others += [case for case in cases if case.kind == "other"][1::3]
            failing = [case for case in cases if case.kind == "ip"]
            step = max(len(failing) / (50 - len(others)), 1)
            cases = [failing[int(n * step)] for n in range(50 - len(others))] + others
        for case in cases:
            total += 1
            began = time.monotonic()
            left = saw = ""
            try:
                saw = case.do()
            except AssertionError as error:
                left = f"not as expected: {error}"
            if not settled(sabotage.folder, LIMIT):
                left += "\na guard is still at work"
            for name in ("hook", "fail-at", *(f"{other}-fail-at" for other in OTHERS)):
                (sabotage.state / name).unlink(missing_ok=True)
            left += world.differs(before)
            good += not left
            rounds, pause = session.lap()
            keys += rounds
            if case.kind != "world":  # there it is the world that makes it wait
                longest = max(longest, pause)
            if verbose or left:
                mark = "as it was" if not left else f"NOT AS IT WAS\n{left}"
                print(
                    f"{case.kind:9} {case.name}: {saw}; {mark} ({time.monotonic() - began:.1f} s, pause {pause * 1000:.0f} ms)",
                    flush=True,
                )
            if left:
                print((sabotage.folder / "guard.log").read_text()[-2000:], flush=True)
        session.end()
        print(f"{good} of {total} times everything was as it was (seed {seed}).")
        print(
            f"The TCP connection through the NIC lived through all of it: {keys} keys; where the outside\n"
            f"was well, the longest pause was {longest * 1000:.0f} ms."
        )
        return total, good, longest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", choices=["", "ip", "other", "killed", "guard", "deadline", "world"]
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--fifty", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    given = parser.parse_args()
    lan_world.enter()
    total, good, _ = run(given.seed, given.only, given.verbose, given.fifty)
    sys.exit(0 if good == total else 1)


if __name__ == "__main__":
    main()
