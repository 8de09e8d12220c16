"""Machines that go on from a template: each is one of its own, with its own cards and disks, as one that boots."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.conftest import Bench, Done, _bench
from vmlan.host import templates

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

#: The first thing that anybody asks a machine: who it is, and for what nobody else must be given.
WHO = """
hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id /sys/class/net/eth0/address
head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid; mktemp -u /tmp/XXXXXXXXXXXX
ip -4 -o address show dev eth0 | sed 's/.*inet //; s/ .*//'; head -c 16 /dev/random | od -An -tx1
"""


def is_warm(bench: Bench, machine: str) -> bool:
    """Whether a machine that runs went on from a template."""
    (line,) = [line for line in bench.processes() if f" -name {machine} " in line]
    return " -incoming defer " in line


def shell(bench: Bench, machine: str, words: str) -> str:
    return bench.ok("exec", machine, "--", "sh", "-c", words)


def names(bench: Bench, machine: str) -> dict[str, str]:
    """A machine's cards, by the names that they have in it."""
    said = shell(bench, machine, "cd /sys/class/net; for n in eth*; do echo $n $(cat $n/address); done")
    return dict(line.split() for line in said.splitlines())


def test_no_two_are_the_same(bench: Bench) -> None:
    bench.write(
        "networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}}\n"
        f"machines: {{{', '.join(f'vm{n}: {{nics: [lan]}}' for n in range(4))}}}\n"
    )
    said: list[list[str]] = []
    for _ in range(2):
        bench.ok("up")
        assert all(is_warm(bench, f"vm{n}") for n in range(4))
        said += [shell(bench, f"vm{n}", WHO).splitlines() for n in range(4)]
        bench.ok("down")
    assert [len(one) for one in said] == [9] * 8
    host, machine_id, boot_id, mac, urandom, uuid, file, address, random = zip(*said, strict=True)
    assert list(host) == [f"vm{n}" for n in range(4)] * 2
    # The same machine has the same card and address at every `up`, and nobody else has.
    for own in (mac, address):
        assert own[:4] == own[4:] and len(set(own)) == 4
    for values in (machine_id, boot_id, urandom, uuid, file, random):
        assert len(set(values)) == 8, values
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in machine_id)


def test_the_time_is_right(bench: Bench) -> None:
    """A template's clock stands still: make sure that it has, for longer than a busy machine may be late."""
    bench.write("machines: {vm1: {}}")
    bench.ok("up")
    (line,) = [line for line in bench.processes() if " -name vm1 " in line]
    (memory,) = re.findall(r"mem-path=([^ ,]+)", line)
    time.sleep(max(0.0, Path(memory).stat().st_mtime + 40 - time.time()))
    bench.ok("down")
    bench.ok("up")
    bench.ok(
        "exec", "vm1", "--", "sh", "-c", "until [ $(date +%s) -gt 1700000000 ]; do sleep 1; done; sleep 1"
    )
    before = int(time.time())
    said = int(bench.ok("exec", "vm1", "--", "date", "+%s"))
    assert before - 10 <= said <= time.time() + 10


CARDS = """
host: {uplink: simulated}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
  both: {kind: bridge, host: 10.3.0.1/24, host6: "fd00:3::1/64", dhcp: true}
  wire: {kind: tap, host: 10.1.1.1/24, host6: "fd00:1::1/64"}
  out: {kind: bridge, uplink: true}
  nat: {kind: user}
  old: {kind: hub}
  p2p: {kind: socket}
  off: {kind: none}
machines:
  bare: {}
  several: {nics: [lan, both, lan]}
  mixed: {nics: [lan, {network: lan, model: e1000}, lan]}
  dual: {nics: [{network: wire, address: 10.1.1.2/24, gateway: 10.1.1.1, address6: "fd00:1::2/64"}]}
  fixed: {nics: [{network: lan, address: 10.2.0.77/24, gateway: 10.2.0.1}]}
  station: {nics: [out]}
  natted: {nics: [nat]}
  hubbed: {nics: [old]}
  left: {nics: [{network: p2p, address: 10.9.0.1/24}]}
  right: {nics: [{network: p2p, address: 10.9.0.2/24}, off]}
"""

MACHINES = tuple(re.findall(r"^  (\w+): \{(?:nics|\})", CARDS, re.MULTILINE))


@dataclass
class Cards:
    """A lab with every kind of card, gone on from templates; and what `up` said."""

    bench: Bench
    up: Done

    def addresses(self, machine: str) -> list[str]:
        rows = self.bench.vmlan("ps", "--json").json["machines"]
        (row,) = [row for row in rows if row["name"] == machine]
        return [nic["mac"] for nic in row["nics"]]


@pytest.fixture(scope="module")
def cards() -> Iterator[Cards]:
    for bench in _bench():
        bench.write(CARDS)
        done = bench.vmlan("up", "--json")
        assert done.code == 0, done.err
        yield Cards(bench, done)


def test_all_go_on_from_templates(cards: Cards) -> None:
    assert set(MACHINES) == set(cards.up.json["started"]) and len(MACHINES) == 10
    assert [name for name in MACHINES if not is_warm(cards.bench, name)] == []
    given = {name: one["addresses"] for name, one in cards.up.json["machines"].items()}
    assert given["bare"] == []
    assert [each.partition("/")[0] for each in given["fixed"]] == ["10.2.0.77"]
    assert {"10.1.1.2", "fd00:1::2"} <= {each.partition("/")[0] for each in given["dual"]}
    assert given["natted"][0].startswith("10.0.2.") and given["hubbed"][0].startswith("10.0.2.")
    assert any(each.startswith("198.51.100.") for each in given["station"]), "leased by the outside"
    assert sum(each.startswith("10.2.0.") for each in given["several"]) == 2
    assert any(each.startswith("fd00:3:") for each in given["several"])


@pytest.mark.parametrize(
    ("machine", "target"),
    [
        ("several", "10.2.0.1"),
        ("several", "10.3.0.1"),
        ("mixed", "10.2.0.1"),
        ("fixed", "10.2.0.1"),
        ("dual", "10.1.1.1"),
        ("dual", "fd00:1::1"),
        ("station", "203.0.113.68"),
        ("natted", "10.0.2.2"),
        ("hubbed", "10.0.2.2"),
        ("left", "10.9.0.2"),
    ],
)
def test_its_cards_lead_where_they_should(cards: Cards, machine: str, target: str) -> None:
    assert " 0% packet loss" in cards.bench.ok("exec", machine, "--", "ping", "-c", "2", target)


def test_every_address_that_up_told_answers_the_host_side(cards: Cards) -> None:
    for name in ("several", "mixed", "fixed", "dual"):
        for each in cards.up.json["machines"][name]["addresses"]:
            if not each.startswith("fe80"):
                cards.bench.ok("host", "--", "ping", "-c", "1", "-W", "5", each.partition("/")[0])
    assert "10.2.0." in shell(cards.bench, "several", "cat /etc/resolv.conf; nslookup mixed")


def test_names_of_cards_are_those_of_a_machine_that_boots(cards: Cards) -> None:
    """Drivers are loaded in one order in both: those of e1000 before virtio's, and each in the file's order."""
    warm = {name: names(cards.bench, name) for name in ("several", "mixed")}
    macs = {name: cards.addresses(name) for name in warm}
    assert list(warm["several"].values()) == macs["several"]
    assert warm["mixed"] == {f"eth{n}": macs["mixed"][index] for n, index in enumerate((1, 0, 2))}
    for bench in _bench():
        bench.write(CARDS)
        bench.ok("up", "--cold", "mixed")
        assert not is_warm(bench, "mixed")
        # Its lab is in another folder, with other MACs; their order is what counts.
        booted, file = names(bench, "mixed"), Cards(bench, cards.up).addresses("mixed")
        assert booted == {f"eth{n}": file[index] for n, index in enumerate((1, 0, 2))}


def test_a_lease_is_taken_later_and_no_address_ever_goes(cards: Cards) -> None:
    """And from then on what is plugged in is seen."""
    bench = cards.bench
    machines = ("several", "mixed", "fixed", "natted", "station")
    for name in machines:
        # Written down whenever they are not what they were.
        watch = (
            "was=$(ip -o -4 address; ip -4 route); while usleep 200000; do now=$(ip -o -4 address; ip -4 route);"
            ' [ "$now" = "$was" ] || echo "$now" >>/run/watched; done'
        )
        bench.ok("exec", "-i", name, "--", "sh", "-c", ": >/run/watched; cat >/run/watch", stdin=watch)
        shell(bench, name, "setsid sh /run/watch </dev/null >/dev/null 2>&1 &")
    before = {name: shell(bench, name, "ip -o -4 address; ip -4 route") for name in machines}
    ping = bench.start("host", "--", "ping", "-q", "-i", "0.2", "-c", "600", "10.2.0.11", stdout=-1)
    asked = "for n in eth0 eth2; do grep -q 'lease of' /run/nic/$n/log || exit 1; done"
    deadline = time.monotonic() + 200
    while bench.vmlan("exec", "several", "--", "sh", "-c", asked).code != 0:
        assert time.monotonic() < deadline, shell(bench, "several", "ps; ls -R /run/nic; cat /run/nic/*/log")
        time.sleep(1)
    said, _ = ping.communicate(timeout=200)
    assert " 0% packet loss" in said, said
    leases = "\n".join(path.read_text() for path in bench.runtime.rglob("*lease*") if path.is_file())
    assert "10.2.0.11" in leases and "10.2.0.12" in leases
    for name in machines:
        assert shell(bench, name, "ip -o -4 address; ip -4 route") == before[name]
        assert shell(bench, name, "cat /run/watched") == ""
    assert "nameserver 10.2.0.1" in shell(bench, "several", "cat /etc/resolv.conf")

    deadline = time.monotonic() + 100
    while bench.vmlan("exec", "bare", "--", "pidof", "uevent").code != 0:
        assert time.monotonic() < deadline
        time.sleep(1)
    monitor = next(bench.runtime.rglob("vm-bare/qmp"))
    from vmlan.qemu.monitor import Monitor

    with Monitor(monitor, 30) as session:
        session.do(
            [
                "netdev_add user,id=later",
                "device_add virtio-net-pci,id=late,netdev=later,mac=52:54:00:aa:bb:cc",
            ]
        )
    deadline = time.monotonic() + 60
    while "inet 10.0.2." not in shell(bench, "bare", "ip address"):
        assert time.monotonic() < deadline, shell(bench, "bare", "ip address; dmesg | tail")
        time.sleep(0.5)


def test_what_was_changed_before_the_lease_is_asked_for_stays_changed(bench: Bench) -> None:
    """Whatever it was: a way or an address taken away, or another put in its place; and when it is renewed too."""
    bench.write(
        "networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}}\n"
        "machines: {wayless: {nics: [lan]}, bare: {nics: [lan]}, other: {nics: [lan]}, booted: {nics: [lan]}}\n"
    )
    bench.ok("up", "wayless", "bare", "other")
    bench.ok("up", "--cold", "booted")
    wanted = {
        "wayless": (
            "ip route del default; echo nameserver 192.0.2.1 >/etc/resolv.conf",
            "10.2.0.0/24 dev eth0 scope link  src 10.2.0.11 \n",
        ),
        "bare": ("ip address del 10.2.0.12/24 dev eth0", ""),
        "other": (
            "ip route del default; ip route add default via 10.2.0.9",
            "default via 10.2.0.9 dev eth0 \n10.2.0.0/24 dev eth0 scope link  src 10.2.0.13 \n",
        ),
        "booted": ("ip route del default", "10.2.0.0/24 dev eth0 scope link  src 10.2.0.14 \n"),
    }
    for name, (change, _) in wanted.items():
        assert is_warm(bench, name) is (name != "booted")
        shell(bench, name, change)
    servers = {name: shell(bench, name, "cat /etc/resolv.conf") for name in wanted}
    assert servers["wayless"] == "nameserver 192.0.2.1\n" and "nameserver 10.2.0.1" in servers["bare"]
    deadline = time.monotonic() + 150
    for name in ("wayless", "other", "booted"):
        while bench.vmlan("exec", name, "--", "grep", "-q", "lease of", "/run/nic/eth0/log").code != 0:
            assert time.monotonic() < deadline
            time.sleep(1)
    while bench.vmlan("exec", "bare", "--", "pidof", "uevent").code != 0:
        assert time.monotonic() < deadline
        time.sleep(1)

    def are_as_wanted() -> None:
        for name, (_, routes) in wanted.items():
            assert shell(bench, name, "ip route") == routes
            assert shell(bench, name, "cat /etc/resolv.conf") == servers[name]

    time.sleep(3)
    are_as_wanted()
    # Where its address has gone, nobody asks for it: who answered would make it known that it is there.
    assert bench.vmlan("exec", "bare", "--", "pidof", "udhcpc").code != 0
    for name in ("wayless", "other", "booted"):
        renew = (  # busybox's udhcpc
            "kill -USR1 $(cat /run/nic/eth0/pid); n=0; until [ $(grep -c 'lease of' /run/nic/eth0/log) = 2 ];"
            " do sleep 0.5; n=$((n + 1)); [ $n -lt 60 ] || exit 1; done; sleep 1"
        )
        shell(bench, name, renew)
    are_as_wanted()


def test_a_lease_of_another_address_takes_the_place_of_the_first(bench: Bench) -> None:
    """And what the machine was given by hand stays, also when the lease has gone."""
    bench.write("networks: {lan: {kind: bridge, host: 10.2.0.1/24}}\nmachines: {one: {nics: [lan]}}\n")
    bench.ok("up")
    say = (
        "interface=eth0 {said} /lib/vmlan/lease {what}; "
        "ip -o -4 address show dev eth0 | sed 's/.*inet //; s/ .*//'; ip -4 route show default"
    )
    shell(bench, "one", "mkdir -p /run/nic/eth0; ip link set eth0 up; ip address add 192.0.2.1/32 dev eth0")
    first = "ip=10.2.0.5 mask=24 dns=10.2.0.1"
    second = "ip=10.2.0.6 mask=24 dns=10.2.0.1"
    for what, lease, given in (
        ("bound", f"{first} router=10.2.0.1", ["192.0.2.1/32", "10.2.0.5/24", "default via 10.2.0.1"]),
        ("renew", f"{first} router=10.2.0.2", ["192.0.2.1/32", "10.2.0.5/24", "default via 10.2.0.2"]),
        ("renew", f"{first}", ["192.0.2.1/32", "10.2.0.5/24"]),
        ("renew", f"{second} router=10.2.0.2", ["192.0.2.1/32", "10.2.0.6/24", "default via 10.2.0.2"]),
        ("deconfig", "", ["192.0.2.1/32"]),
        ("bound", f"{second} router=10.2.0.2", ["192.0.2.1/32", "10.2.0.6/24", "default via 10.2.0.2"]),
    ):
        found = shell(bench, "one", say.format(what=what, said=lease)).splitlines()
        assert [line.partition(" dev ")[0] for line in found] == given, (what, lease)


DISKS = """
machines:
  plain: {image: tiny, disks: [{size: 64M}, {size: 32M}]}
  scsi: {image: tiny, disks: [{size: 64M, bus: scsi}, {size: 32M, bus: virtio}, {size: 16M, bus: scsi}]}
  ide: {image: tiny, disks: [{size: 64M, bus: ide}]}
  odd: {image: tiny, disks: ['an odd, "quoted" \\\\ name.raw']}
"""


def test_an_interrupt_takes_no_template_away(bench: Bench) -> None:
    bench.write("machines: {vm1: {image: tiny, memory: 128M}, vm2: {image: tiny, memory: 128M}}\n")
    bench.ok("up")
    (line,) = [line for line in bench.processes() if " -name vm1 " in line]
    memory = Path(line.partition("mem-path=")[2].split()[0])
    number = memory.stat().st_ino
    for wait in (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5):
        bench.ok("down", "--now")
        process = bench.start("up", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in {0, 130}
        assert memory.stat().st_ino == number, wait
    bench.ok("down", "--now")


def test_the_host_side_and_those_that_it_leases_addresses_to_know_each_other(bench: Bench) -> None:
    """So the first packet to one does not wake all the others by asking for it."""
    bench.write(
        "networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}}\n"
        "machines: {vm1: {nics: [lan]}, vm2: {nics: [lan]}, fixed: {nics: [{network: lan, address: 10.2.0.50/24}]}}\n"
    )
    bench.ok("up")
    assert all(is_warm(bench, name) for name in ("vm1", "vm2", "fixed"))
    rows = json.loads(bench.ok("host", "--", "ip", "-j", "-4", "neigh", "show", "dev", "lan"))
    cards = {row["name"]: row["nics"][0] for row in bench.vmlan("ps", "--json").json["machines"]}
    assert {row["dst"]: row["lladdr"] for row in rows} == {
        cards[name]["addresses"][0].partition("/")[0]: cards[name]["mac"] for name in ("vm1", "vm2")
    }
    assert not {"PERMANENT", "FAILED", "INCOMPLETE"} & {state for row in rows for state in row["state"]}
    asked = bench.start(
        "host", "--", "tcpdump", "-Z", "root", "-c", "1", "-nni", "fixed-lan", "arp", stdout=-1, stderr=-1
    )
    bench.ok("host", "--", "sh", "-c", "until ss -0 -p | grep -q tcpdump; do sleep 0.05; done")
    for name in ("vm1", "vm2"):
        bench.ok("host", "--", "ping", "-c", "1", name)
    assert asked.poll() is None
    bench.ok("host", "--", "ping", "-c", "1", "fixed")  # who has its own is asked for as ever
    said, _ = asked.communicate(timeout=20)
    assert "who-has 10.2.0.50" in said


def test_a_machine_that_is_up_has_its_disks_however_busy_this_host_is(bench: Bench) -> None:
    bench.write(
        "machines: {vm1: {image: tiny, memory: 128M, disks: [{size: 8M}, {size: 8M, bus: scsi}, {size: 8M}]}}\n"
    )
    bench.ok("up")
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(6)]
    try:
        for _ in range(4):
            bench.ok("down", "--now")
            bench.ok("up")
            assert shell(bench, "vm1", "ls /dev/vd* /dev/sd*").split() == ["/dev/sda", "/dev/vda", "/dev/vdb"]
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert is_warm(bench, "vm1")


def test_disks_that_are_plugged_in_are_there_and_kept(bench: Bench) -> None:
    bench.write(DISKS)
    (bench.folder / 'an odd, "quoted" \\\\ name.raw').write_bytes(b"odd\n".ljust(1 << 20, b"\0"))
    done = bench.vmlan("up", "-v")
    assert done.code == 0 and "ide: no template: disks on bus ide cannot be plugged in" in done.err
    assert {name: is_warm(bench, name) for name in ("plain", "scsi", "ide", "odd")} == {
        "plain": True,
        "scsi": True,
        "ide": False,
        "odd": True,
    }
    assert shell(bench, "odd", "head -n 1 /dev/vda") == "odd\n"
    sizes = "cd /sys/block; for d in vd* sd*; do [ ! -e $d ] || echo $d $(($(cat $d/size) / 2048)); done"
    assert shell(bench, "plain", sizes).split() == ["vda", "64", "vdb", "32"]
    there = shell(bench, "scsi", sizes).split()
    assert there[:2] == ["vda", "32"] and sorted(there[3::2]) == ["16", "64"]
    # By its size: of disks on SCSI that it finds together, Linux does not always name the same first.
    which = "for d in /sys/block/[sv]d*; do [ $(cat $d/size) != SIZE ] || disk=/dev/${d##*/}; done; "
    of = {"plain": which.replace("SIZE", "65536"), "scsi": which.replace("SIZE", "32768")}
    for machine, find in of.items():
        shell(bench, machine, f"{find} echo {machine} kept >$disk; sync")
    bench.ok("down")
    bench.ok("up")
    for machine, find in of.items():
        assert shell(bench, machine, f"{find} head -c 20 $disk").startswith(f"{machine} kept\n")
    assert "shuts down" in bench.vmlan("down").err


BOOTING = """
machines:
  q35: {machine: q35, image: tiny, disks: [{size: 16M}]}
  own: {qemu-args: [-device, usb-ehci]}
  isa: {nics: [{network: off, model: ne2k_isa}]}
networks: {off: {kind: none}}
"""


def test_who_cannot_go_on_from_one_boots_and_why_is_told(bench: Bench) -> None:
    bench.write(BOOTING)
    said = bench.vmlan("explain")
    for name in ("q35", "own", "isa"):
        assert f"{name}: no template: " in said.out + said.err
    done = bench.vmlan("up", "-v", "q35", "own")
    assert done.code == 0 and "own: no template: nobody knows what its qemu-args change" in done.err
    assert not is_warm(bench, "q35") and not is_warm(bench, "own")


def test_one_that_takes_no_cards_while_it_runs_goes_on_where_it_need_not(bench: Bench) -> None:
    """Its virtio cards are in its template's places."""
    bench.write(
        "networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}}\n"
        "machines: {one: {machine: q35, nics: [lan, lan]}, two: {machine: q35, nics: [lan]}, bare: {machine: q35}}\n"
    )
    bench.ok("up")
    assert all(is_warm(bench, name) for name in ("one", "two", "bare"))
    assert "q35" in next(line for line in bench.processes() if " -name one " in line)
    bench.ok("exec", "two", "--", "ping", "-c", "1", "10.2.0.12")
    bench.ok("clone", "one", "three")
    bench.ok("snapshot", "save", "x")
    bench.ok("snapshot", "restore", "x")
    bench.ok("exec", "three", "--", "ping", "-c", "1", "two")
    assert shell(bench, "three", "cat /sys/class/net/eth1/address") not in shell(
        bench, "one", "cat /sys/class/net/eth*/address"
    )


def test_cold_boots_and_what_runs_is_left_alone(bench: Bench) -> None:
    bench.write("machines: {vm1: {}, vm2: {}}")
    bench.ok("up", "--cold", "vm1")
    assert not is_warm(bench, "vm1")
    assert list(bench.runtime.rglob("template-*")) == []
    bench.ok("up")
    assert not is_warm(bench, "vm1") and is_warm(bench, "vm2")
    before = bench.processes()
    ids = [shell(bench, name, "cat /etc/machine-id") for name in ("vm1", "vm2")]
    for words in (["up"], ["up", "--cold"], ["up", "-v"]):
        assert "is up already" in bench.ok(*words)
    assert set(before) == set(bench.processes())
    assert [shell(bench, name, "cat /etc/machine-id") for name in ("vm1", "vm2")] == ids


def test_what_was_used_last_is_known(bench: Bench) -> None:
    bench.write("machines: {vm1: {memory: 192M}}")
    bench.ok("up")
    first = json.loads(bench.ok("template", "ls", "--json"))["templates"][0]
    assert first["memory"] == "192M" and first["state"] == "whole"
    assert templates.is_whole(Path(first["folder"]))
    bench.ok("template", "rm", first["key"])
    # A machine that went on from it goes on.
    assert bench.ok("exec", "vm1", "--", "hostname") == "vm1\n"
    assert first["key"] not in bench.ok("template", "ls")
