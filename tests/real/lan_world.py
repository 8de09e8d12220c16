"""A simulated host with a NIC, and the network that it is on: all in namespaces of its own, by an ordinary user.

    host                          outside
      eth0 ───────── far ┐
                         ├ lan0   the gateway: 198.51.100.1, 2001:db8:1::1; DHCP, router advertisements
      eth1 ── wan        ┘        203.0.113.68, a host on the internet, whose user is "logged in" on the host

The host is a busy one: addresses with lifetimes, labels and peers, routes in several tables, rules, neighbours,
nftables, a bridge of its own. It is this process's own network namespace: run `enter()` first.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ADDRESS, PORT, FAR_USER = "198.51.100.50", 2222, "203.0.113.68"

HOST = """
link set dev lo up
link add name eth0 address 52:54:00:aa:00:01 type veth peer name far netns {outside}
link add name eth1 address 52:54:00:aa:00:02 type veth peer name wan netns {outside}
link set dev eth0 up
link set dev eth1 up
addr add 198.51.100.50/24 broadcast 198.51.100.255 dev eth0 valid_lft 3600 preferred_lft 3000
addr add 198.51.100.51/24 dev eth0 label eth0:one
addr add 192.0.2.81/30 dev eth0 scope link
addr add 192.0.2.10/28 dev eth0 noprefixroute
addr add 10.9.9.1 peer 10.9.9.2/32 dev eth0 metric 70
addr add 2001:db8:1::50/64 dev eth0 nodad
addr add 2001:db8:1::51/64 dev eth0 valid_lft 3600 preferred_lft 3000
addr add 2001:db8:2::1/128 dev eth0
addr add 192.0.2.33/28 dev eth1
route add default via 198.51.100.1 dev eth0 proto dhcp src 198.51.100.50 metric 100
route append default via 198.51.100.254 dev eth0 proto dhcp src 198.51.100.50 metric 100
route add 203.0.113.128/25 via 198.51.100.254 dev eth0 src 198.51.100.51 mtu lock 1400 advmss 1300 initcwnd 20
route add 203.0.113.4 dev eth0 scope link
route add 203.0.113.5 via 203.0.113.4 dev eth0
route add 203.0.113.6 via 10.77.0.1 dev eth0 onlink
route add 192.0.2.0/28 dev eth0 scope link src 192.0.2.10 metric 33
route add 192.0.2.128/25 nexthop via 198.51.100.1 dev eth0 weight 2 nexthop via 192.0.2.34 dev eth1
route add 192.0.2.64/27 nexthop via 198.51.100.1 dev eth0 nexthop via 198.51.100.254 dev eth0
route add default via 198.51.100.1 dev eth0 table 100
route add 203.0.113.0/25 via 198.51.100.1 dev eth0 table 101 tos 0x10
route add local 192.0.2.112/29 dev eth0 table local
route add default via 192.0.2.34 dev eth1 metric 200
route add blackhole 192.0.2.96/28
route add 2001:db8:5::/48 via 2001:db8:1::1 dev eth0 metric 77
route add 2001:db8:6::/48 via 2001:db8:1::1 dev eth0 expires 3000
route add 2001:db8:7::/48 dev eth0 table 100
route add default via 2001:db8:1::1 dev eth0 metric 900
route add 2001:db8:8::/48 nexthop via 2001:db8:1::1 dev eth0 nexthop via 2001:db8:1::2 dev eth0
rule add from 192.0.2.10 table 100 priority 1000
rule add iif eth0 fwmark 0x10/0xff table 101 priority 1001
rule add oif eth0 to 203.0.113.200 ipproto tcp dport 80-90 lookup 100 suppress_prefixlength 0 priority 1002
neigh add 198.51.100.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent
neigh add proxy 198.51.100.78 dev eth0
link add name own0 type bridge
link add name own1 type veth peer name own2
link set dev own1 master own0
link set dev own0 up
link set dev own1 up
link set dev own2 up
addr add 192.0.2.49/28 dev own0
link set dev eth0 mtu 1492
"""

RULES6 = "rule add iif eth0 table 100 priority 1003\n"

NFT = """
table inet theirs {
  set seen { type ipv4_addr; flags dynamic; timeout 1m; }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "eth0" ct state established,related counter accept
    iifname "eth0" tcp dport 2222 counter accept
    update @seen { ip saddr }
  }
}
table ip theirs_nat {
  chain postrouting { type nat hook postrouting priority srcnat; oifname "eth1" masquerade; }
}
"""

OUTSIDE = """
link set dev lo up
link add name lan0 address 52:54:00:bb:00:01 type bridge
link set dev far master lan0
link set dev lan0 up
link set dev far up
link set dev wan up
addr add 198.51.100.1/24 dev lan0
addr add 198.51.100.254/24 dev lan0
addr add 2001:db8:1::1/64 dev lan0 nodad
addr add 2001:db8:1::2/64 dev lan0 nodad
addr add fe80::1/64 dev lan0 nodad
addr add 203.0.113.4/32 dev lan0
addr add 10.77.0.1/32 dev lan0
addr add 203.0.113.68/32 dev lo
addr add 192.0.2.34/28 dev wan
"""


def sh(*argv: str, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def enter() -> None:
    """Become root of namespaces of our own: start this program again in them, and wait for it."""
    if os.environ.get("LAN_WORLD") == "1":
        return
    words = (
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    )
    os.execvpe("unshare", [*words, sys.executable, *sys.argv], {**os.environ, "LAN_WORLD": "1"})


class World:
    """The host, the outside, and what happens in them."""

    def __init__(self, *, dhcp: bool = True) -> None:
        sh("mount", "-t", "sysfs", "sysfs", "/sys")
        sh("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.folder = Path(tempfile.mkdtemp(dir="/run"))
        self.outside = self.folder / "outside"
        self.outside.touch()
        sh("unshare", f"--net={self.outside}", "true")
        sh("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv4.conf.default.rp_filter=2")
        sh("ip", "-batch", "-", stdin=HOST.format(outside=self.outside).split("addr add", 1)[0])
        sh(
            "sysctl",
            "-qw",
            "net.ipv4.conf.eth0.rp_filter=1",
            "net.ipv4.conf.eth0.arp_ignore=1",
            "net.ipv6.conf.eth0.accept_ra=0",
        )
        self.out("ip", "-batch", "-", stdin=OUTSIDE)
        # A gateway that takes another's place says so (RFC 5227, 3); and if one goes, the other stays.
        lan0 = ("net.ipv4.conf.lan0.arp_notify=1", "net.ipv4.conf.lan0.promote_secondaries=1")
        switches = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.arp_ignore=1", *lan0)
        self.out("sysctl", "-qw", *switches)
        sh("ip", "-batch", "-", stdin="addr add" + HOST.split("addr add", 1)[1])
        sh("ip", "-6", "-batch", "-", stdin=RULES6)
        sh("nft", "-f", "-", stdin=NFT)
        self.dnsmasq: subprocess.Popen[bytes] | None = None
        if dhcp:
            self.dnsmasq = subprocess.Popen(
                ["nsenter", f"--net={self.outside}", "dnsmasq", "--conf-file=/dev/null", "--no-daemon", "--port=0",
                 "--interface=lan0", "--bind-interfaces", "--no-ping", "--dhcp-authoritative", "--no-resolv", "--no-hosts",
                 "--dhcp-range=198.51.100.50,198.51.100.99,255.255.255.0,1h", f"--dhcp-leasefile={self.folder}/leases",
                 "--dhcp-host=52:54:00:aa:00:01,198.51.100.50"],
                stdout=subprocess.DEVNULL, stderr=(self.folder / "dnsmasq.log").open("wb"),
            )  # fmt: skip
        time.sleep(0.3)

    def out(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """A command on the outside."""
        return sh("nsenter", f"--net={self.outside}", *argv, stdin=stdin, check=check)

    def seen(self) -> dict[str, str]:
        """The host's network in the words of `ip` and `nft`, without what counts by itself. Not by vmlan's code."""
        views = {
            "addr": sh("ip", "addr"),
            "link": sh("ip", "-d", "link"),
            "route": sh("ip", "-4", "route", "show", "table", "all"),
            "route6": sh("ip", "-6", "route", "show", "table", "all"),
            "rule": sh("ip", "-4", "rule") + sh("ip", "-6", "rule"),
            "neigh": sh("ip", "neigh", "show", "nud", "permanent") + sh("ip", "neigh", "show", "proxy"),
            "nft": sh("nft", "list", "ruleset"),
            "sysctl": sh("sh", "-c", "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf | grep -v stable_secret | sort"),
        }  # fmt: skip
        masks = (
            (r"valid_lft \d+sec", "valid_lft Nsec"), (r"preferred_lft \d+sec", "preferred_lft Nsec"), (r"expires \d+sec", ""),
            (r"counter packets \d+ bytes \d+", "counter"), (r"expires [\dsm]+", ""), (r"elements = [^}]*}", ""),
            (r"\w+_timer +[\d.]+", ""),
        )  # fmt: skip
        for name, text in views.items():
            for pattern, instead in masks:
                text = re.sub(pattern, instead, text)
            views[name] = "\n".join(line for line in text.splitlines() if line.strip())
        # The kernel lists IPv6 routes of one destination and metric in the order in which they came; it means nothing.
        views["route6"] = "\n".join(sorted(views["route6"].splitlines()))
        return views

    def differs(self, before: dict[str, str]) -> str:
        """What is not as it was, a line each; empty if all is."""
        after, found = self.seen(), []
        for name, text in before.items():
            was, now = text.splitlines(), after[name].splitlines()
            found += [f"{name} - {line}" for line in was if line not in now]
            found += [f"{name} + {line}" for line in now if line not in was]
            if was != now and not found:
                found.append(f"{name}: the order of {now}")
        return "\n".join(found)

    def close(self) -> None:
        if self.dnsmasq:
            self.dnsmasq.kill()
            self.dnsmasq.wait()  # the folder is on a /run of our own, and goes with it; removed by hand, mounts in it would be too


class Session:
    """A long-lived TCP connection into the host through the NIC: a user's SSH session, by somebody who types all the time."""

    def __init__(self, world: World) -> None:
        self._listener = socket.create_server((ADDRESS, PORT))
        threading.Thread(target=self._serve, daemon=True).start()
        self._client = subprocess.Popen(
            ["nsenter", f"--net={world.outside}", sys.executable, __file__, "type"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._client.stdout is not None
        self.port = int(self._client.stdout.readline())
        self.ssh = f"{FAR_USER} {self.port} {ADDRESS} {PORT}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                threading.Thread(target=self._echo, args=(one,), daemon=True).start()

    def _echo(self, one: socket.socket) -> None:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            while data := one.recv(100):
                one.sendall(data)

    def lap(self) -> tuple[int, float]:
        """How many keys came back since the last look, and the longest that one took (seconds). Fails if it broke."""
        assert self._client.stdout is not None
        self._client.send_signal(signal.SIGUSR1)
        said = json.loads(self._client.stdout.readline())
        assert not said["broken"], said
        return said["rounds"], said["longest"]

    def end(self) -> None:
        """Log out."""
        self._client.kill()
        self._client.wait()
        self._listener.close()


def _type() -> None:
    """The user: a key, its echo, again. Asked (SIGUSR1), it says how that went since it was last asked."""
    asked: list[int] = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
    one = socket.create_connection((ADDRESS, PORT), source_address=(FAR_USER, 0))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(one.getsockname()[1], flush=True)
    rounds, longest, broken = 0, 0.0, ""
    one.settimeout(30)
    while True:
        began = time.monotonic()
        try:
            if not broken:
                one.sendall(b"x")
                broken = "" if one.recv(1) else "closed"
        except OSError as error:
            broken = str(error)
        longest, rounds = max(longest, time.monotonic() - began), rounds + 1
        if asked:
            asked.clear()
            print(json.dumps({"rounds": rounds, "longest": longest, "broken": broken}), flush=True)
            rounds, longest = 0, 0.0
        time.sleep(0.002)


class Driver:
    """A process that does what `vmlan up` does about a NIC, and that can be killed."""

    def __init__(self, folder: Path, *, within: float, ssh: str = "", path: str = "", then: str = "") -> None:
        env = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
        env.pop("SSH_CONNECTION", None)
        if ssh:
            env["SSH_CONNECTION"] = ssh
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "lan_driver.py"), str(folder), str(within), then],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True,
        )  # fmt: skip

    def hear(self) -> dict[str, object]:
        """The next thing that it says; {} when it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return dict(json.loads(line)) if line else {}

    def until(self, *events: str) -> dict[str, object]:
        while said := self.hear():
            if said["event"] in events:
                return said
        raise AssertionError(f"it ended before {events}")

    def tell(self, word: str) -> dict[str, object]:
        """`release`, `end`, `rollback`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.hear()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def guards(folder: Path) -> list[int]:
    """The guard's two processes, the worker first."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
            if b"lan/guard.py" in words:
                found.append(int(process.name))
    return sorted(found)


def settled(folder: Path, within: float) -> bool:
    """Wait until no guard is at work."""
    end = time.monotonic() + within
    while guards(folder):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def world(**options: bool) -> Iterator[World]:
    one = World(**options)
    try:
        yield one
    finally:
        one.close()


if __name__ == "__main__" and sys.argv[1:] == ["type"]:
    _type()
