"""What must hold when a NIC becomes a port, one function each, played in a simulated host: lan_scenarios.py NAME."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import lan_world
from lan_world import ADDRESS, PORT, Driver, Session, World, guards, settled, sh

CONFIRM = """
import sys
from pathlib import Path
from vmlan.errors import VmlanError
from vmlan.host.lan import client
try:
    print(client.confirm(Path(sys.argv[1]), client.session(), this_session=len(sys.argv) > 2).state)
except VmlanError as error:
    print(f"{type(error).__name__}: {error}")
"""


def confirm(folder: Path, ssh: str = "", *more: str) -> str:
    """`vmlan confirm`, by another process, from a login."""
    env = {key: value for key, value in os.environ.items() if key != "SSH_CONNECTION"}
    if ssh:
        env["SSH_CONNECTION"] = ssh
    words = [sys.executable, "-c", CONFIRM, str(folder), *more]
    return subprocess.run(words, capture_output=True, text=True, env=env, check=True).stdout.strip()


def ip_json(*words: str) -> list[dict[str, object]]:
    return list(json.loads(sh("ip", "-j", *words)))


def confirmed(world: World) -> str:
    """The connection lives through the change, its confirmation and its undoing (F28, F29)."""
    session, before, folder = Session(world), world.seen(), world.folder / "lan"
    session.lap()
    driver = Driver(folder, within=30, ssh=session.ssh)
    said = driver.until("waiting")
    assert said["silent"] == [] and said["leases"] == {ADDRESS: 3600}, said
    rounds, up = session.lap()
    [nic] = ip_json("addr", "show", "dev", "eth0")
    [bridge] = ip_json("addr", "show", "dev", "br0")
    assert nic["addr_info"] == [] and nic["master"] == "br0"
    assert {one["local"] for one in bridge["addr_info"]} >= {
        ADDRESS,
        "198.51.100.51",
        "192.0.2.10",
        "2001:db8:1::50",
    }
    assert bridge["address"] == nic["address"] and bridge["mtu"] == 1492 and "vmlan-br0" in bridge["altnames"]
    assert not [
        route for route in ip_json("-4", "route", "show", "table", "all") if route.get("dev") == "eth0"
    ]
    way = ip_json("route", "get", "203.0.113.68", "from", ADDRESS)
    assert way[0]["dev"] == "br0" and way[0]["gateway"] == "198.51.100.1"
    assert confirm(folder, session.ssh).startswith("RequestError: this SSH connection was there before")
    assert len(guards(folder)) == 2, "a refused confirm must change nothing"
    assert driver.tell("release")["state"] == "waiting"
    assert confirm(folder, f"203.0.113.68 50123 {ADDRESS} {PORT}") == "kept"
    assert confirm(folder) == "kept", "a second time it is the same"
    driver.tell("end")
    time.sleep(0.5)
    assert ip_json("link", "show", "dev", "eth0")[0]["master"] == "br0"
    more, kept = session.lap()
    other = Driver(folder, within=0)
    assert "port of br0 already" in str(other.until("failed", "refused", "kept")["what"])
    other.close()
    said = Undoer(folder).undo()
    assert said["residue"] == [], said
    last, down = session.lap()
    assert not world.differs(before), world.differs(before)
    assert min(rounds, more, last) > 0 and max(up, kept, down) < 5
    session.end()
    return (
        f"longest pauses: change {up * 1000:.0f} ms, confirm {kept * 1000:.0f} ms, undo {down * 1000:.0f} ms"
    )


class Undoer:
    """`vmlan down`, as another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def undo(self) -> dict[str, object]:
        code = (
            "import sys, json; from pathlib import Path; from vmlan.host.lan import client;"
            "r = client.rollback(Path(sys.argv[1])); print(json.dumps({'residue': r.residue, 'changed': r.changed}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.folder)], capture_output=True, text=True, check=True
        )
        return dict(json.loads(done.stdout))


def cycles(world: World) -> str:
    """Twenty times there and back, kept without being confirmed: all that is others' is as it was after each."""
    session, before, folder = Session(world), world.seen(), world.folder / "lan"
    session.lap()
    for number in range(20):
        driver = Driver(folder, within=0)
        assert driver.until("kept", "failed")["event"] == "kept"
        driver.close()
        assert ip_json("link", "show", "dev", "eth0")[0]["master"] == "br0"
        assert Undoer(folder).undo() == {"residue": [], "changed": True}
        assert not world.differs(before), f"cycle {number}: {world.differs(before)}"
    assert Undoer(folder).undo()["changed"] is False, "a second time there is nothing to do"
    keys, longest = session.lap()
    session.end()
    return f"20 cycles, {keys} keys, the longest pause {longest * 1000:.0f} ms"


def guest(world: World) -> str:
    """A station on the bridge gets its lease from the outside, and is seen there under its own MAC (F26, F31)."""
    before, folder = world.seen(), world.folder / "lan"
    driver = Driver(folder, within=0)
    driver.until("kept")
    space = world.folder / "guest"
    space.touch()
    sh("unshare", f"--net={space}", "true")
    mac = "52:54:00:cc:00:01"
    sh(
        "ip",
        "-batch",
        "-",
        stdin=f"link add name g0 type veth peer name n0 address {mac} netns {space}\nlink set g0 master br0\nlink set g0 up\n",
    )
    inside = ("nsenter", f"--net={space}")
    sh(*inside, "ip", "link", "set", "n0", "up")
    script = world.folder / "lease.sh"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && /usr/sbin/ip addr add $ip/$mask dev n0\nexit 0\n')
    script.chmod(0o755)
    sh(*inside, "busybox", "udhcpc", "-i", "n0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-s", str(script))
    [link] = json.loads(sh(*inside, "ip", "-j", "-4", "addr", "show", "dev", "n0"))
    address = link["addr_info"][0]["local"]
    assert re.fullmatch(r"198\.51\.100\.\d+", address) and address != ADDRESS
    assert mac in (world.folder / "leases").read_text()
    world.out("ping", "-c", "2", "-W", "2", address)
    assert mac in world.out("ip", "neigh", "show", address)
    sh(*inside, "ping", "-c", "2", "-W", "2", ADDRESS)
    sh("ip", "link", "del", "g0")
    driver.close()
    assert Undoer(folder).undo()["residue"] == []
    assert not world.differs(before), world.differs(before)
    return f"{mac} has {address} of the outside's DHCP"


def lease(world: World) -> str:
    """A lease is extended on the bridge by the outside's own server; one process stays for that, until it is undone."""
    assert world.dnsmasq is not None
    folder = world.folder / "lan"
    sh(
        "ip",
        "addr",
        "change",
        f"{ADDRESS}/24",
        "broadcast",
        "198.51.100.255",
        "dev",
        "eth0",
        "valid_lft",
        "500",
        "preferred_lft",
        "400",
    )
    driver = Driver(folder, within=0)
    assert driver.until("kept")["leases"] == {ADDRESS: 3600}
    driver.close()
    assert "DHCPACK(lan0) 198.51.100.50 52:54:00:aa:00:01" in (world.folder / "dnsmasq.log").read_text()
    [bridge] = ip_json("-4", "addr", "show", "dev", "br0")
    [address] = [one for one in bridge["addr_info"] if one["local"] == ADDRESS]
    assert address["valid_life_time"] > 3500
    time.sleep(0.3)
    assert len(guards(folder)) == 1, "the renewer"
    assert Undoer(folder).undo()["residue"] == []
    [nic] = ip_json("-4", "addr", "show", "dev", "eth0")
    [address] = [one for one in nic["addr_info"] if one["local"] == ADDRESS]
    assert address["valid_life_time"] > 3400, "the NIC gets what the lease has by now"
    assert settled(folder, 8), "it ends with the change"
    world.dnsmasq.send_signal(signal.SIGSTOP)
    driver = Driver(folder, within=0)
    assert driver.until("kept")["leases"] == {ADDRESS: None}, (
        "a server that is silent is told of, and no more"
    )
    driver.close()
    world.dnsmasq.send_signal(signal.SIGCONT)
    assert Undoer(folder).undo()["residue"] == []
    return "extended from 500 s to 3600 s"


def deadline(world: World) -> str:
    """Once vmlan has let go, the guard alone undoes it, runs what it was told to, and leaves a report; confirming is too late."""
    before, folder = world.seen(), world.folder / "lan"
    mark = world.folder / "then"
    driver = Driver(folder, within=1.5, then=f"touch {mark}")
    driver.until("waiting")
    driver.tell("release")
    driver.tell("end")
    assert settled(folder, 10) and mark.exists()
    assert "nobody confirmed it within 1.5 s" in (folder / "report.txt").read_text()
    assert "everything is as it was" in (folder / "report.txt").read_text()
    said = confirm(folder)
    assert said.startswith("RequestError: too late: eth0 has been put back, since nobody confirmed"), said
    mark.unlink()
    driver = Driver(folder, within=20, then=f"touch {mark}")
    driver.until("waiting")
    assert driver.tell("rollback") == {"event": "rolled-back", "residue": [], "reason": "vmlan down"}
    driver.close()
    assert settled(folder, 10) and not mark.exists(), "who asks for it does the rest itself"
    assert not world.differs(before), world.differs(before)
    return "put back"


def told_to_end(world: World) -> str:
    """SIGTERM, as when the host shuts down, undoes it; hanging up and Ctrl-C do nothing."""
    before, folder = world.seen(), world.folder / "lan"
    driver = Driver(folder, within=20)
    driver.until("waiting")
    for pid in guards(folder):
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            os.kill(pid, number)
    time.sleep(0.3)
    assert len(guards(folder)) == 2
    os.kill(guards(folder)[0], signal.SIGTERM)
    assert settled(folder, 10)
    driver.close()
    assert "SIGTERM" in (folder / "report.txt").read_text()
    assert not world.differs(before), world.differs(before)
    return "put back"


def reboot(world: World) -> str:
    """What was written in another boot is void: nothing is undone that is not there."""
    before, folder = world.seen(), world.folder / "lan"
    driver = Driver(folder, within=0)
    driver.until("kept")
    driver.close()
    journal = folder / "nic.journal"
    head, _, rest = journal.read_text().partition("\n")
    record = json.loads(head)
    record["boot"] = "another"
    with_change = world.seen()
    journal.write_text(json.dumps(record) + "\n" + rest)
    assert Undoer(folder).undo() == {"residue": [], "changed": False}
    assert not journal.exists() and not world.differs(with_change)
    record["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    journal.write_text(json.dumps(record) + "\n" + rest)
    assert Undoer(folder).undo() == {"residue": [], "changed": True}
    assert not world.differs(before), world.differs(before)
    return "void"


def slaac(world: World) -> str:
    """A NIC whose addresses come of router advertisements: the bridge goes on with them, and the NIC gets them back."""
    sh("sysctl", "-qw", "net.ipv6.conf.eth1.accept_ra=1")
    log = (world.folder / "ra.log").open("wb")
    world.out("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    world.out("ip", "addr", "add", "2001:db8:9::1/64", "dev", "wan", "nodad")
    radvd = subprocess.Popen(
        ["nsenter", f"--net={world.outside}", "dnsmasq", "--conf-file=/dev/null", "--no-daemon", "--port=0", "--enable-ra",
         "--interface=wan", "--bind-interfaces", "--dhcp-range=2001:db8:9::,ra-only,64,1200", "--ra-param=wan,4,1800",
         f"--dhcp-leasefile={world.folder}/ra-leases"], stdout=log, stderr=log,
    )  # fmt: skip
    expected = "2001:db8:9:0:5054:ff:feaa:2"
    try:
        wait_for(lambda: expected in sh("ip", "-6", "addr", "show", "dev", "eth1"))
        wait_for(lambda: "default" in sh("ip", "-6", "route", "show", "dev", "eth1"))
        before, folder = world.seen(), world.folder / "lan"
        os.environ["LAN_NIC"] = "eth1"
        driver = Driver(folder, within=0)
        said = driver.until("kept", "failed", "refused")
        assert said["event"] == "kept", said
        driver.close()
        assert expected in sh("ip", "-6", "addr", "show", "dev", "br0")
        assert "eth1" not in sh("ip", "-6", "route"), sh("ip", "-6", "route")
        sh("ip", "addr", "change", f"{expected}/64", "dev", "br0", "valid_lft", "300", "preferred_lft", "200")
        solicit("br0")
        wait_for(lambda: lifetime("br0", expected) > 900)  # the next advertisement counts for the bridge
        assert re.search(
            r"^default via fe80::\S+ dev br0 proto ra metric 1024", sh("ip", "-6", "route"), re.M
        )
        assert Undoer(folder).undo()["residue"] == []
        left = world.differs(before)
        assert not left, left
        sh(
            "ip",
            "addr",
            "change",
            f"{expected}/64",
            "dev",
            "eth1",
            "valid_lft",
            "300",
            "preferred_lft",
            "200",
        )
        solicit("eth1")
        wait_for(lambda: lifetime("eth1", expected) > 900)
        return "advertisements went on"
    finally:
        radvd.kill()
        radvd.wait()


def lifetime(dev: str, address: str) -> int:
    [link] = ip_json("-6", "addr", "show", "dev", dev)
    return next((int(one["valid_life_time"]) for one in link["addr_info"] if one["local"] == address), 0)


def solicit(dev: str) -> None:
    """Ask routers to advertise now (RFC 4861, 4.1)."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        one.sendto(b"\x85" + bytes(7), ("ff02::2", 0, 0, socket.if_nametoindex(dev)))


def wait_for(holds: object, within: float = 15) -> None:
    end = time.monotonic() + within
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def refused(world: World) -> str:
    """What cannot be a port is refused before anything happens; what only the kernel knows, rolls back."""
    before, folder = world.seen(), world.folder / "lan"

    def reason(nic: str = "eth0") -> str:
        os.environ["LAN_NIC"] = nic
        driver = Driver(folder, within=5)
        said = driver.until("refused", "failed", "waiting", "kept")
        driver.close()
        assert said["event"] in {"refused", "failed"}, said
        return str(said["what"])

    assert "no NIC eth9" in reason("eth9")
    assert "no Ethernet" in reason("lo")
    assert "is a bridge itself" in reason("own0")
    assert "port of own0 already" in reason("own1")
    sh("sysctl", "-qw", "net.ipv6.conf.eth0.stable_secret=2001:db8::7")
    assert "makes its IPv6 addresses of a secret" in reason()
    sh("ip", "link", "set", "dev", "eth0", "addrgenmode", "eui64")
    sh("ip", "link", "add", "link", "eth0", "name", "mac0", "type", "macvlan", "mode", "bridge")
    assert "mac0 (macvlan) stands on eth0" in reason()
    space = world.folder / "elsewhere"
    space.touch()
    sh("unshare", f"--net={space}", "true")
    sh("ip", "link", "set", "mac0", "netns", str(space))
    said = reason()
    assert "busy" in said.lower() and "everything is as it was" in said, said
    sh("nsenter", f"--net={space}", "ip", "link", "del", "mac0")
    world.out("ip", "link", "set", "far", "down")
    wait_for(lambda: "NO-CARRIER" in sh("ip", "link", "show", "eth0"))
    assert "no carrier" in reason()
    world.out("ip", "link", "set", "far", "up")
    wait_for(lambda: "state UP" in sh("ip", "link", "show", "eth0"))
    sh("ip", "tuntap", "add", "dev", "tap9", "mode", "tap")
    assert "tap or tun" in reason("tap9")
    sh("ip", "link", "del", "tap9")
    (Path("/run/NetworkManager/devices")).mkdir(parents=True)
    index = ip_json("link", "show", "dev", "eth0")[0]["ifindex"]
    Path(f"/run/NetworkManager/devices/{index}").write_text("[device]\nmanaged=true\n")
    with named_process("NetworkManager"):
        assert "NetworkManager manages eth0" in reason()
    Path("/run/systemd/netif/links").mkdir(parents=True)
    Path(f"/run/systemd/netif/links/{index}").write_text("ADMIN_STATE=configured\nOPER_STATE=routable\n")
    with named_process("systemd-network"):
        assert "systemd-networkd manages eth0" in reason()
    with named_process("wpa_supplicant", "-i", "eth0"):
        assert "802.1X" in reason()
    time.sleep(0.5)
    assert not world.differs(before), world.differs(before)
    return "each with its reason"


class named_process:
    """A program that is called so, and does nothing."""

    def __init__(self, name: str, *words: str) -> None:
        code = "import sys, time, ctypes; ctypes.CDLL(None).prctl(15, sys.argv[1].encode()); print(flush=True); time.sleep(60)"
        self.process = subprocess.Popen([sys.executable, "-c", code, name, *words], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


SCENARIOS = {
    one.__name__: one
    for one in (confirmed, cycles, guest, lease, deadline, told_to_end, reboot, slaac, refused)
}

if __name__ == "__main__":
    lan_world.enter()
    with lan_world.world() as the_world:
        time.sleep(0.3)
        print(SCENARIOS[sys.argv[1]](the_world))
