"""The second column: the facts with `place: host`, each example in a simulated host (tests/real/hosts.py).

The host is namespaces that an ordinary user makes; its eth0 leads to an outside that is not the lab's. vmlan is
told to use eth0, as on a real host, and the same functions look for the evidence: in the host's own network
namespace, and in the outside's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.facts import bridges
from tests.facts.play import Play, need, text_of
from tests.facts.table import Fact
from tests.real.conftest import VMLAN, Bench, Done, _bench
from tests.real.hosts import Host, differences, simulated

#: The examples that have this column.
EXAMPLES = ("forwarding", "bridge", "taps", "crossover")

#: The address that the simulated host has of its own, and its router (tests/real/host_world.sh).
OWN, ROUTER = "198.51.100.2/24", "198.51.100.1"

#: What the file and `explain` say otherwise there. The way out is the host's own: eth0's address is not the
#: lab's to give, and the DHCP server outside is not the lab's to start.
SAYS: dict[str, tuple[str, ...]] = {
    "F22": ("forwarding: true", "place: host", "uplink: eth0", "gateway: 10.1.1.1"),
    "F23": ("place: host", "uplink: eth0"),
}
EXPLAINS: dict[str, tuple[str, ...]] = {
    "F23": ("!eth0",),
    "F25": (r"link set dev vml~\S+ name ask", "!dnsmasq"),
    "F31": (r"link set dev eth0 addrgenmode none master pub", "!dnsmasq .*--interface=(pub|eth0)"),
}


def text_on_host(example: str) -> str:
    """An example's text, for a lab on a host. Its outside is not the lab's, so no check sees what passes there."""
    text = text_of(example)
    if "uplink: simulated" in text:
        text = text.replace("uplink: simulated", "place: host\n  uplink: eth0")
    else:
        text = text.replace("\nnetworks:", "\nhost: {place: host}\n\nnetworks:", 1)
    return re.sub(r"(?<=seen-on: )\[[^]]*\]", _own_links, text)


def _own_links(links: re.Match[str]) -> str:
    own = (name.replace("outside", "uplink") for name in links[0].strip("[]").split(", "))
    return f"[{', '.join(dict.fromkeys(own))}]"


def changed(fact: Fact) -> Fact:
    """A fact as it is there."""
    return replace(fact, says=SAYS.get(fact.id, fact.says), explains=EXPLAINS.get(fact.id, fact.explains))


#: There is one user only, so tcpdump is told that it has changed it.
_STAY = "import os, sys; from vmlan.host import one_user; one_user.pretend(); os.execvp(sys.argv[1], sys.argv[1:])"


@dataclass
class InHost(Bench):
    """vmlan as root of the simulated host; and witnesses there, or outside (`host`, `host --outside`), without vmlan."""

    host: Host = field(kw_only=True)

    def _line(self, words: tuple[str, ...]) -> list[str]:
        if words[0] != "host":
            return self.host.enter(str(VMLAN), *words)
        at = words.index("--")
        argv = words[at + 1 :]
        stay = (sys.executable, "-c", _STAY) if argv[0] == "tcpdump" else ()
        return self.host.enter(*stay, *argv, outside="--outside" in words[:at])

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(self._line(words), env=self.host.env, text=True, **options)

    def vmlan(self, *words: str, stdin: str = "", timeout: float = 200) -> Done:
        done = subprocess.run(
            self._line(words), env=self.host.env, input=stdin, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)


class HostPlay(Play):
    """An example that is up in a simulated host."""

    bench: InHost

    def uplink(self, address: str) -> None:
        """By hand, as the notes had it: a host's own address is not the lab's, and `vmlan set` refuses to change it."""
        if address == "none":
            self.host("ip", "addr", "del", OWN, "dev", "eth0")
            return
        self.host("ip", "addr", "replace", address, "dev", "eth0")
        self.host("ip", "route", "replace", "default", "via", ROUTER)

    def leases(self) -> str:
        return (self.bench.host.folder / "leases").read_text()


@contextmanager
def up(example: str) -> Iterator[HostPlay]:
    """The example, up in a host of its own; afterwards that host must be as it was, and nothing left of the lab."""
    for bench in _bench():
        with simulated(bench) as host:
            before = host.network()
            inside = InHost(bench.folder, bench.runtime, bench.state, bench.env, host=host)
            play = HostPlay(
                inside,
                example,
                text_on_host(example),
                options=("--confirm-within", "0"),  # nobody is at a terminal
                made="made by root, which `place: host` takes",
            )
            if example == "bridge":
                with bridges.begun(play):
                    yield play
            else:
                play.up()
                yield play
            done = inside.vmlan("down", "--now", "--disks")
            need(done.code == 0, f"vmlan down ended with {done.code}: {done.err.strip()[-300:]}")
            left = [*differences(host.network(), before), *host.lasting()]
            need(not left, f"afterwards the host is not as it was: {'; '.join(left[:3])}")
