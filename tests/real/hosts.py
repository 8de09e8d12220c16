"""Simulated hosts for the tests of `place: host`: namespaces in which root of a user namespace stands for root."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real.conftest import VMLAN, Bench, Done
from vmlan.guest.tiny import ensure_tiny
from vmlan.host import paths

WORLD = Path(__file__).with_name("host_world.sh")

#: What changes by itself: lifetimes, counters, ages; and whether an address is still being probed for.
VOLATILE = {
    "valid_life_time",
    "preferred_life_time",
    "expires",
    "packets",
    "bytes",
    "handle",
    "metainfo",
    "tentative",
}


@dataclass
class Host:
    """A host, as long as it is up; `folder` survives its reboots."""

    bench: Bench
    folder: Path
    first: subprocess.Popen[str] | None = None
    env: dict[str, str] = field(default_factory=dict)

    def boot(self) -> None:
        """Start it, with a network as if it had just been switched on."""
        inside = "trap 'exit 0' TERM; echo booted; sleep infinity & wait"
        self.env = {key: value for key, value in self.bench.env.items() if not key.startswith("SUDO_")}
        self.env["PATH"] += ":/usr/sbin:/sbin"
        self.first = subprocess.Popen(
            ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc",
             "--kill-child", "bash", str(WORLD), str(self.folder), "bash", "-c", inside],
            env=self.env, cwd=self.bench.folder, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.first.stdout is not None
        assert self.first.stdout.readline() == "booted\n"
        self.settle()

    def settle(self) -> None:
        """Wait until each interface has its own address of IPv6, which the kernel gives it when it sees its
        carrier, and which is probed for at first (RFC 4862)."""
        deadline = time.monotonic() + 30
        while waiting := [
            link["ifname"]
            for link in self.json("ip", "-j", "addr")
            if "LOWER_UP" in link["flags"]
            and "LOOPBACK" not in link["flags"]
            and not any(
                row["family"] == "inet6" and not row.get("tentative") and row["scope"] == "link"
                for row in link["addr_info"]
            )
        ]:
            assert time.monotonic() < deadline, waiting
            time.sleep(0.05)

    def shut_down(self) -> None:
        """The power goes: nothing is undone."""
        if self.first is not None:
            self.first.kill()
            self.first.wait()
            self.first = None

    @property
    def pid(self) -> str:
        assert self.first is not None
        return Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()[0]

    def enter(self, *argv: str, outside: bool = False) -> list[str]:
        net = f"--net={self.folder}/outside" if outside else "--net"
        line = [
            "nsenter",
            "--target",
            self.pid,
            "--user",
            "--preserve-credentials",
            "--mount",
            "--pid",
            "--net",
        ]
        inner = ["nsenter", net, *argv] if outside else list(argv)
        return [*line, "sh", "-c", 'cd "$0" && exec "$@"', str(self.bench.folder), *inner]

    def run(self, *argv: str, outside: bool = False, timeout: float = 150, stdin: str = "") -> Done:
        done = subprocess.run(
            self.enter(*argv, outside=outside), env=self.env, input=stdin, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *argv: str, **options: Any) -> str:
        done = self.run(*argv, **options)
        assert done.code == 0, f"{' '.join(argv)} ended with {done.code}:\n{done.out}\n{done.err}"
        return done.out

    def json(self, *argv: str, **options: Any) -> Any:
        return json.loads(self.ok(*argv, **options) or "[]")

    def vmlan(self, *words: str, **options: Any) -> Done:
        return self.run(str(VMLAN), *words, **options)

    def up(self, *words: str) -> str:
        return self.ok(str(VMLAN), "up", *words)

    def down(self, *words: str) -> str:
        return self.ok(str(VMLAN), "down", *words)

    def keeper(self) -> str:
        """The keeper's number on the host."""
        for line in self.ok("ps", "-ww", "-eo", "pid,args").splitlines():
            words = line.split()
            if any(word.endswith("host/keeper.py") for word in words) and "unshare" not in words:
                return words[0]
        raise AssertionError("no keeper")

    def network(self) -> dict[str, Any]:
        """Everything of the host's network that a lab could touch."""
        views = {
            "link": ("ip", "-j", "-d", "link"),
            "addr": ("ip", "-j", "addr"),
            "route": ("ip", "-j", "-4", "route", "show", "table", "all"),
            "route6": ("ip", "-j", "-6", "route", "show", "table", "all"),
            "rule": ("ip", "-j", "rule"),
            "rules": ("nft", "-j", "list", "ruleset"),
        }
        found = {name: _steady(self.json(*argv)) for name, argv in views.items()}
        # Those of one destination (fe80::/64, by each interface) are in the order of their making.
        found["route6"].sort(key=lambda row: json.dumps(row, sort_keys=True))
        switches = (
            "for f in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/*; do echo $f $(cat $f); done"
        )
        found["switches"] = self.ok("sh", "-c", switches).splitlines()
        return found

    def lasting(self) -> list[str]:
        """What a lab has left on disk, besides its disks."""
        return self.run("find", "/run/vmlan", "/var/lib/vmlan", "-mindepth", "1").out.splitlines()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        lasting = {key for key in value if key not in VOLATILE and not key.endswith("_timer")}
        return {key: _steady(value[key]) for key in lasting}
    return [_steady(each) for each in value] if isinstance(value, list) else value


@contextlib.contextmanager
def simulated(bench: Bench) -> Iterator[Host]:
    """A host that is up; at the end it is switched off, whatever runs on it.

    Its apt knows no packages (`/var/lib` is its own), so the tiny guest is packed before.
    """
    ensure_tiny(paths.cache_root())
    folder = bench.runtime.parent / "host"
    folder.mkdir()
    host = Host(bench, folder)
    try:
        host.boot()
        yield host
    finally:
        host.shut_down()
        for name in ("outside", "leases", "dhcp.log"):
            (folder / name).unlink(missing_ok=True)


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Every single value, with the way to it: so that a difference can be read."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from leaves(each, f"{path}[{index}]")
    else:
        yield f"{path} = {value}"


def differences(one: Any, other: Any) -> list[str]:
    """What is in one of them alone."""
    return sorted(set(leaves(one)) ^ set(leaves(other)))


def give(host: Host) -> None:
    """Give a host things of its own."""
    lines, rules = others_things()
    host.ok("ip", "-batch", "-", stdin="\n".join(lines))
    host.ok("nft", "-f", "-", stdin=rules)
    host.settle()


def others_things() -> tuple[tuple[str, ...], str]:
    """What a host may have of its own: bridges, veths, rules of routing, tables. Commands, and nft's text."""
    lines = (
        "link add br-other type bridge", "addr add 172.31.0.1/24 dev br-other", "link set br-other up",
        "link add veth-a type veth peer name veth-b", "link set veth-a master br-other up",
        "link set veth-b up", "addr add 172.31.1.1/24 dev veth-b",
        "tuntap add dev tap-other mode tap", "link property add dev tap-other altname vmlanish",
        "rule add from 172.31.0.0/24 lookup 77 priority 1000", "route add 172.31.9.0/24 via 198.51.100.1 table 77",
        "route add blackhole 172.31.10.0/24",
    )  # fmt: skip
    rules = """
table ip others { chain c { type nat hook postrouting priority srcnat; ip saddr 172.31.0.0/24 masquerade; }; }
table inet vmlan { set s { type ipv4_addr; elements = { 172.31.0.9 }; }; }
"""
    return lines, rules
