"""`place: host`: taps, bridges, NAT and DHCP in a host's own network; `down` puts back exactly what was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.real.conftest import VMLAN, Bench
from tests.real.hosts import Host, differences, give, simulated

pytestmark = pytest.mark.real

LAB = """
name: real
host: {place: host, uplink: eth0, forwarding: true}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  wire: {kind: tap, host: 10.1.1.1/24}
machines:
  vm1: {nics: [lan, {network: wire, address: 10.1.1.2/24}], memory: 128M}
  vm2: {nics: [lan], memory: 128M}
checks:
  - {ping: vm2, from: vm1}
  - {arp: 10.1.1.2}
  - {ping: 203.0.113.68, from: vm2}
"""

#: The least that makes an interface, a rule and a switch.
SMALL = """
name: small
host: {place: host, uplink: eth0, forwarding: true}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
machines:
  vm1: {nics: [lan], memory: 128M, image: tiny, disks: [{size: 1M}]}
"""

#: The same, with the host's NIC as a port.
STATIONS = SMALL.replace(
    "lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}", "lan: {kind: bridge, uplink: true}"
)


@pytest.fixture
def host(bench: Bench) -> Iterator[Host]:
    with simulated(bench) as host:
        yield host


def watch(host: Host, link: str, count: int, *what: str, outside: bool = False) -> subprocess.Popen[str]:
    """tcpdump on an interface, once it listens; there is one user only, so it is told that it has changed it."""
    stay = "import os, sys; from vmlan.host import one_user; one_user.pretend(); os.execvp(sys.argv[1], sys.argv[1:])"
    argv = (sys.executable, "-c", stay, "tcpdump", "-lnn", "-i", link, "-c", str(count), *what)
    watcher = subprocess.Popen(
        host.enter(*argv, outside=outside),
        env=host.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watcher.stderr is not None
    while "listening on" not in (line := watcher.stderr.readline()):
        assert line, "tcpdump did not start"
    return watcher


def seen(watcher: subprocess.Popen[str]) -> list[str]:
    out, _ = watcher.communicate(timeout=30)
    return [line.split(" IP ")[1].partition(":")[0] for line in out.splitlines() if " IP " in line]


def test_taps_bridges_nat_and_dhcp_in_the_hosts_own_network(host: Host) -> None:
    host.bench.write(LAB)
    give(host)
    before = host.network()
    host.up("-q")

    assert host.vmlan("check", "--json").json["failed"] == 0
    links = {row["ifname"]: row for row in host.json("ip", "-j", "-d", "link")}
    ours = {"lan", "wire", "vm1-lan", "vm2-lan"}
    assert ours <= set(links)
    for name in ours:
        assert any(
            each.startswith("vmlan-") and each.endswith(f".{name}") for each in links[name]["altnames"]
        )
    assert links["vm1-lan"]["master"] == "lan" and links["wire"].get("master") is None
    # F16, F17, F20: the tap has the host side's address, and its range is behind it
    addresses = host.json("ip", "-j", "-4", "addr", "show", "dev", "wire")[0]["addr_info"]
    assert [(each["local"], each["prefixlen"]) for each in addresses] == [("10.1.1.1", 24)]
    assert host.json("ip", "-j", "route", "get", "10.1.1.77")[0]["dev"] == "wire"
    # F26: a packet through NAT has the guest's address on its tap, the host's outside
    tap, out = watch(host, "vm2-lan", 2, "icmp"), watch(host, "out0", 2, "icmp", outside=True)
    host.ok(str(VMLAN), "exec", "vm2", "--", "ping", "-c", "1", "-W", "3", "203.0.113.68")
    assert seen(tap) == ["10.2.0.12 > 203.0.113.68", "203.0.113.68 > 10.2.0.12"]
    assert seen(out) == ["198.51.100.2 > 203.0.113.68", "203.0.113.68 > 198.51.100.2"]
    # F24: without forwarding nothing gets through; the switch is the host's own
    assert host.ok("cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert "host.forwarding: off" in host.ok(str(VMLAN), "set", "host.forwarding", "off")
    assert host.ok("cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"
    silent = host.vmlan("exec", "vm2", "--", "ping", "-c", "1", "-W", "1", "203.0.113.68")
    assert silent.code == 1, silent.out
    # F22: without NAT the guest's own address goes outside, where nobody can answer it
    host.ok(str(VMLAN), "set", "host.forwarding", "on")
    host.ok(str(VMLAN), "set", "lan.nat", "off")
    out = watch(host, "out0", 1, "icmp", outside=True)
    host.vmlan("exec", "vm2", "--", "ping", "-c", "1", "-W", "1", "203.0.113.68")
    assert seen(out) == ["10.2.0.12 > 203.0.113.68"]
    # names are for the lab's processes alone
    assert "10.2.0.11" in host.ok(str(VMLAN), "host", "--", "getent", "hosts", "vm1")
    assert "vm1" not in host.ok("cat", "/etc/hosts")
    assert "is up already" in host.ok(str(VMLAN), "up")

    host.down()
    assert differences(host.network(), before) == []
    assert host.lasting() == []


def test_a_host_with_things_of_its_own_is_as_it_was_after_every_cycle(host: Host) -> None:
    host.bench.write(SMALL)
    give(host)
    before = host.network()
    for cycle in range(5):
        host.up("-q")
        if cycle == 2:
            host.ok(str(VMLAN), "link", "vm1", "--rate", "10Mbit")
            assert any(row["ifname"].startswith("in~") for row in host.json("ip", "-j", "link"))
        if cycle == 3:
            host.ok(str(VMLAN), "set", "lan.nat", "off")
            host.ok(str(VMLAN), "set", "lan.nat", "on")
        if cycle == 4:
            host.ok(str(VMLAN), "set", "host.forwarding", "off")
        host.down("--now")
        assert differences(host.network(), before) == [], f"cycle {cycle}"
        assert host.lasting() == []
    host.down("--disks")


def test_after_the_keeper_was_killed_down_undoes_from_the_journal(host: Host) -> None:
    host.bench.write(SMALL)
    before = host.network()
    host.up("-q")
    host.ok("kill", "-9", host.keeper())
    wait_for(lambda: "qemu-system" not in host.ok("ps", "-eo", "args"))
    assert "lan" in {row["ifname"] for row in host.json("ip", "-j", "link")}  # nothing goes by itself
    (row,) = host.vmlan("ls", "--json").json
    assert (row["state"], row["place"]) == ("crashed", "host")
    (host.bench.folder / "lab.yaml").unlink()
    host.down("--disks")
    assert differences(host.network(), before) == []
    assert host.lasting() == []


def test_after_a_kill_up_puts_the_host_back_first(host: Host) -> None:
    host.bench.write(SMALL)
    before = host.network()
    host.up("-q")
    host.ok("kill", "-9", host.keeper())
    assert "an earlier vmlan was cut short" in host.vmlan("up").err
    host.down("--disks", "--now")
    assert differences(host.network(), before) == []


@pytest.mark.parametrize("moment", [0.15, 0.3, 0.45, 0.6])
def test_a_vmlan_that_is_killed_in_the_middle_leaves_what_down_undoes(host: Host, moment: float) -> None:
    host.bench.write(SMALL)
    before = host.network()
    bringing = subprocess.Popen(host.enter(str(VMLAN), "up", "-q"), env=host.env)
    time.sleep(moment)
    pids = [line.split()[0] for line in host.ok("ps", "-eo", "pid,args").splitlines() if "vmlan up" in line]
    for pid in pids:
        host.run("kill", "-9", pid)
    bringing.wait(timeout=20)
    ended = host.run(str(VMLAN), "down", "--force", "--disks", "-q")
    assert differences(host.network(), before) == [], ended
    assert host.lasting() == []


def test_after_a_reboot_the_lab_is_shown_and_can_be_forgotten(host: Host) -> None:
    host.bench.write(SMALL)
    host.up("-q")
    host.shut_down()
    host.boot()
    host.ok("sysctl", "-qw", "net.ipv4.ip_forward=1")  # as this system has it from its start now
    host.ok("ip", "link", "add", "lan", "type", "bridge")  # somebody else's, by the same name
    before = host.network()
    (row,) = host.vmlan("ls", "--all", "--json").json
    assert (row["name"], row["state"], row["place"], row["running"]) == ("small", "crashed", "host", 0)
    (host.bench.folder / "lab.yaml").unlink()
    done = host.vmlan("down", "--force", "--disks")
    assert done.code == 0 and "lan is not this lab's any more" in done.err, done.err
    assert differences(host.network(), before) == []
    assert host.lasting() == []
    assert host.vmlan("ls", "--all").out == "no lab is running\n"


@pytest.mark.parametrize(
    "there, said",
    [
        (("ip", "link", "add", "lan", "type", "bridge"), "this host has an interface lan already"),
        (
            ("ip", "tuntap", "add", "dev", "vm1-lan", "mode", "tap"),
            "this host has an interface vm1-lan already",
        ),
        (
            ("ip", "route", "add", "10.0.0.0/8", "via", "198.51.100.1"),
            "10.2.0.0/24 overlaps 10.0.0.0/8, which this host reaches by eth0",
        ),
        (("ip", "route", "add", "unreachable", "10.2.0.0/25", "table", "9"), "overlaps 10.2.0.0/25"),
    ],
)
def test_what_the_host_has_already_is_not_made_again(host: Host, there: tuple[str, ...], said: str) -> None:
    host.bench.write(SMALL)
    host.ok(*there)
    before = host.network()
    refused = host.vmlan("up")
    assert refused.code == 3 and said in refused.err, refused.err
    assert differences(host.network(), before) == []
    assert host.lasting() == []


def test_an_ordinary_user_is_told_that_it_takes_root(bench: Bench) -> None:
    bench.write(SMALL)
    refused = bench.vmlan("up")
    assert refused.code == 3 and "takes root" in refused.err and "sudo vmlan up" in refused.err
    shown = bench.ok("explain")
    assert "mount --bind /proc/self/ns/net" in shown and "--map-root-user" not in shown


def test_a_switch_of_the_host_that_was_on_stays_on(host: Host) -> None:
    host.bench.write(SMALL)
    host.ok("sysctl", "-qw", "net.ipv4.ip_forward=1")
    before = host.network()
    host.up("-q")
    host.ok(str(VMLAN), "set", "host.forwarding", "off")
    host.down("--disks", "--now")
    assert differences(host.network(), before) == []


def test_switches_that_the_kernel_sets_along_are_put_back(host: Host) -> None:
    host.bench.write(SMALL)
    host.ok("ip", "link", "add", "dot.ted", "type", "bridge")
    host.ok("sysctl", "-qw", "net/ipv4/conf/dot.ted/forwarding=1")
    before = host.network()
    host.up("-q")
    host.down("--disks", "--now")
    assert differences(host.network(), before) == []


def test_two_labs_and_one_switch(host: Host) -> None:
    """The last one to end puts it back."""
    host.bench.write(SMALL)
    before = host.network()
    other = host.bench.folder / "other"
    other.mkdir()
    text = (
        SMALL.replace("10.2.0", "10.3.0")
        .replace("small", "other")
        .replace("lan", "net3")
        .replace("vm1", "vm3")
    )
    (other / "lab.yaml").write_text(text)
    host.up("-q")
    host.ok(str(VMLAN), "up", "-q", "-f", "other")
    done = host.vmlan("down", "--disks", "--now")
    assert "net.ipv4.ip_forward is left at 1: another lab needs it" in done.err
    assert host.ok("cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert host.ok(
        str(VMLAN), "exec", "-f", "other", "vm3", "--", "ping", "-c", "1", "-W", "3", "203.0.113.68"
    )
    host.ok(str(VMLAN), "down", "--disks", "--now", "-f", "other")
    assert differences(host.network(), before) == []


def test_the_script_makes_the_same_lab_and_puts_the_host_back(host: Host) -> None:
    host.bench.write(SMALL)
    before = host.network()
    host.up("-q")
    ours = {row["ifname"]: row["altnames"] for row in host.json("ip", "-j", "link") if "altnames" in row}
    host.down("--now", "--disks")
    (host.bench.folder / "lab.sh").write_text(host.ok(str(VMLAN), "explain", "--script"))
    running = subprocess.Popen(
        host.enter("bash", "lab.sh"), env=host.env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "the lab is up; Ctrl-C ends it\n"
        links = {row["ifname"]: row["altnames"] for row in host.json("ip", "-j", "link") if "altnames" in row}
        assert links == ours and set(links) == {"lan", "vm1-lan"}
        assert host.ok("cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    finally:
        os.killpg(running.pid, signal.SIGINT)
        running.wait(timeout=20)  # nsenter's, which Ctrl-C ends too
    wait_for(lambda: "lab.sh" not in host.ok("ps", "-eo", "args"))
    assert differences(host.network(), before) == []
    host.down("--disks")


def test_guests_are_stations_of_the_hosts_own_network(host: Host) -> None:
    """F26 to F31: the NIC is a port, the bridge has its MAC and the host's address, guests lease from outside."""
    host.bench.write(STATIONS)
    give(host)
    before = host.network()
    refused = host.vmlan("up")
    assert refused.code == 2 and "nobody is at a terminal" in refused.err
    assert differences(host.network(), before) == []
    host.up("-q", "--confirm-within", "0")
    links = {row["ifname"]: row for row in host.json("ip", "-j", "link")}
    assert links["eth0"]["master"] == links["vm1-lan"]["master"] == "lan"
    assert links["lan"]["address"] == links["eth0"]["address"]
    addresses = {
        row["ifname"]: [each["local"] for each in row["addr_info"]]
        for row in host.json("ip", "-j", "-4", "addr")
    }
    assert addresses["lan"] == ["198.51.100.2"] and not addresses.get("eth0") and not addresses.get("vm1-lan")
    (machine,) = host.vmlan("ps", "--json").json["machines"]
    (nic,) = machine["nics"]
    own = nic["addresses"][0].partition("/")[0]
    assert own.startswith("198.51.100.1")
    host.ok("ping", "-c", "1", "-W", "3", own, outside=True)
    neighbours = {
        row["dst"]: row["lladdr"] for row in host.json("ip", "-j", "neigh", outside=True) if "lladdr" in row
    }
    assert neighbours[own] == nic["mac"]
    host.ok(str(VMLAN), "exec", "vm1", "--", "ping", "-c", "1", "-W", "3", "203.0.113.68")
    assert "is up already" in host.ok(str(VMLAN), "up")
    host.down("--now", "--disks")
    assert differences(host.network(), before) == []
    assert host.lasting() == []


def wait_for(what: object, seconds: float = 10) -> None:
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
