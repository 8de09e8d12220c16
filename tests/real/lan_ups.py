"""Fifty `vmlan up`s, by the command that a user types, and each is spoilt in another way. Is everything as it was afterwards?

    lan_ups.py [--seed N] [-v]

`ip` fails at every few of its commands, the lab's own among them; vmlan is killed at twenty instants; each of the guard's two
processes and both at once; nobody confirms; the terminal is gone; the outside is not what it was. `lan_sabotage` does the same
to the NIC's change alone, in more ways. Nobody ever confirms; the network is looked at in the words of `ip` and `nft`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import lan_world
from lan_adversities import user
from lan_commands import Terminal
from lan_sabotage import FAKE_IP, LIMIT
from lan_world import Session, World, guards, settled, sh

WITHIN = "2"


class Ups:
    """The world, who works in it, and the ways to spoil an `up`."""

    def __init__(self, world: World, session: Session, seed: int) -> None:
        self.world, self.random = world, random.Random(seed)
        self.who = user(world, session)
        self.state, path = world.folder / "sabotage", world.folder / "bin"
        for folder in (self.state, path):
            folder.mkdir()
        (path / "ip").write_text(FAKE_IP)
        (path / "ip").chmod(0o755)
        self.who.env |= {"LAN_SABOTAGE": str(self.state), "PATH": f"{path}:{self.who.env['PATH']}"}
        began = time.monotonic()
        done = self.who.run("up", "-q", "--confirm-within", "0")
        assert done.returncode == 0, done
        self.takes = time.monotonic() - began
        self.lines = 10**6 - int((self.state / "fail-at").read_text())
        self.down()

    def up(self) -> Terminal:
        return self.who.at_a_terminal("up", "--confirm-within", WITHIN)

    def down(self) -> None:
        done = self.who.run("down", "--now", "-q")
        assert done.returncode == 0, done
        left = [path for root in ("/run/vmlan", "/var/lib/vmlan") for path in Path(root).glob("*")]
        assert not left, left

    # The ways

    def cases(self) -> Iterator[tuple[str, Callable[[], None]]]:
        for number in range(20):
            at = 1 + number * (self.lines - 1) // 19
            yield f"ip fails at command {at} of {self.lines}", lambda n=at: self.ip_fails(n)
        for _ in range(20):
            delay = self.random.uniform(0.1, self.takes + 0.5)
            yield f"vmlan killed after {delay:.3f} s", lambda d=delay: self.killed(d)
        for who in ("worker", "watcher", "both"):
            for _ in range(2):
                delay = self.random.uniform(0, 0.4)
                yield f"the guard: {who} killed", lambda w=who, d=delay: self.guard_killed(w, d)
        yield "nobody confirms", lambda: self.ends("nobody confirmed it", code=None)
        yield "the terminal is gone", self.cut_off
        far = f"nsenter --net={self.world.outside}"
        yield (
            "gateway gone",
            lambda: self.spoilt(
                f"{far} ip addr del 198.51.100.1/24 dev lan0",
                f"{far} ip addr add 198.51.100.1/24 dev lan0",
                "does not answer",
            ),
        )
        yield (
            "link down",
            lambda: self.spoilt(f"{far} ip link set far down", f"{far} ip link set far up", "carrier"),
        )

    def ends(self, words: str, code: int | None = 3) -> None:
        """`up` runs until it ends: with a code that tells of it, or before the guard puts the NIC back."""
        up = self.up()
        found = up.end()
        assert code is None or (found == code and words in up.said), (found, up.said)

    def ip_fails(self, number: int) -> None:
        (self.state / "fail-at").write_text(str(number))
        self.ends("sabotaged")

    def killed(self, delay: float) -> None:
        up = self.up()
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(up.pid, signal.SIGKILL)
        up.end()

    def guard_killed(self, who: str, delay: float) -> None:
        up = self.up()
        up.until("a guard watches over eth0")
        time.sleep(delay)
        found = guards(self.world.folder)
        for pid in {"worker": found[:1], "watcher": found[1:2], "both": found}[who]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        up.end()
        if who == "both":  # nobody is left to see that the time is over: the next vmlan does
            self.down()

    def cut_off(self) -> None:
        up = self.up()
        up.until("a guard watches over eth0")
        up.cut()

    def spoilt(self, hook: str, mend: str, words: str) -> None:
        (self.state / "hook").write_text(hook)
        try:
            self.ends(words)
        finally:
            sh("sh", "-c", mend)

    def is_as_it_was(self, before: dict[str, str]) -> str:
        """What is not, within the time that a busy machine may take."""
        end = time.monotonic() + LIMIT
        while (not settled(self.world.folder, 0) or self.world.differs(before)) and time.monotonic() < end:
            time.sleep(0.1)
        return self.world.differs(before)


def run(seed: int, *, verbose: bool) -> bool:
    """Every way once; prints how many there were, after how many all was as it was."""
    with lan_world.world() as world:
        session = Session(world)
        time.sleep(0.5)
        before, total, good, longest = world.seen(), 0, 0, 0.0
        ups = Ups(world, session, seed)
        session.lap()
        for name, do in ups.cases():
            left, began = "", time.monotonic()
            try:
                do()
                left = ups.is_as_it_was(before)
                ups.down()
            except AssertionError as error:
                left += f"not as expected: {error}"
            left += ups.world.differs(before)
            for file in ("hook", "fail-at"):
                (ups.state / file).unlink(missing_ok=True)
            total, good = total + 1, good + (not left)
            _, pause = session.lap()
            if name not in {"gateway gone", "link down"}:  # there it is the world that makes it wait
                longest = max(longest, pause)
            if verbose or left:
                seconds = time.monotonic() - began
                print(
                    f"{name}: {left or 'as it was'} ({seconds:.1f} s, pause {pause * 1000:.0f} ms)",
                    flush=True,
                )
        session.end()
        print(f"{good} of {total} times everything was as it was (seed {seed}).")
        print(f"Where the outside was well, the connection's longest pause was {longest * 1000:.0f} ms.")
        return good == total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("-v", "--verbose", action="store_true")
    given = parser.parse_args()
    lan_world.enter()
    sh("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
    sys.exit(0 if run(given.seed, verbose=given.verbose) else 1)


if __name__ == "__main__":
    main()
