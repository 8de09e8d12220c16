"""`vmlan capture`, against tcpdump on the same links, and tshark where it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import pcap
from tests.real.conftest import Bench
from tests.real.qemus import qemu

pytestmark = pytest.mark.real

LAB = """
host: {uplink: simulated, forwarding: true}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  alone: {kind: user}
  cable: {kind: socket}
machines:
  vm1: {image: tiny, memory: 128M, nics: [lan, alone, {network: cable, address: 192.0.2.1/24}]}
  vm2: {image: tiny, memory: 128M, nics: [lan, {network: cable, address: 192.0.2.2/24}]}
"""

#: Sends frames, each with its number, on several interfaces in turn, as fast as it can. An interface whose
#: queue is full is tried again, until it takes the frame.
BLAST = """
import socket, struct, sys, time
count, size, head = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
links = []
for name in sys.argv[4:]:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind((name, 0))
    links.append(link)
for number in range(count):
    frame = (head + struct.pack("!I", number)).ljust(size, bytes(1))
    for link in links:
        while True:
            try:
                link.send(frame)
                break
            except OSError:
                time.sleep(0.001)
"""
#: From and to nobody, of a kind for experiments (IEEE 802, local experimental EtherType 1).
HEAD = "020000000001" + "020000000002" + "88b5"


@pytest.fixture(scope="module")
def lab(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.write(LAB)
    shared_bench.ok("up")
    yield shared_bench


@contextmanager
def capturing(lab: Bench, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A capture that has begun."""
    process = lab.start("capture", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        while not (line := process.stderr.readline()).startswith("capturing on"):
            assert line.startswith("note:"), line + process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait()


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C, and what it had said."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err, err
    return out, err


def blast(lab: Bench, count: int, size: int, *links: str, head: str = HEAD) -> None:
    lab.ok("host", "--", "python3", "-c", BLAST, str(count), str(size), head, *links)


def tshark_reads(file: Path) -> int | None:
    """How many frames tshark reads, without a complaint; None where there is no tshark."""
    if not shutil.which("tshark"):
        return None
    done = subprocess.run(["tshark", "-r", str(file), "-T", "fields", "-e", "frame.number"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "Running as user" not in line] == []
    return len(done.stdout.splitlines())


def test_a_hundred_thousand_frames_on_each_of_two_links(lab: Bench) -> None:
    """None is lost that tcpdump sees, on the same links at the same time. Both are counted."""
    count = 100_000
    file = lab.folder / "all.pcapng"
    others = {}
    for interface in ("lan", "eth0"):
        with (lab.folder / f"{interface}.pcap").open("wb") as out:
            # It writes to our file, as it may not give a file of its own to the user that it wants to be.
            others[interface] = lab.start("host", "--", "timeout", "-s", "INT", "25", "tcpdump", "-i", interface,
                                          "-B", "65536", "-c", str(count), "-w", "-", "ether proto 0x88b5",
                                          stdout=out, stderr=subprocess.PIPE)  # fmt: skip
    for other in others.values():
        assert other.stderr is not None
        while "listening on" not in other.stderr.readline():
            assert other.poll() is None
    with capturing(lab, "lan", "uplink", "--filter", "ether proto 0x88b5", "-w", str(file)) as capture:
        blast(lab, count, 64, "lan", "eth0")
        said = {name: other.communicate(timeout=60)[1] for name, other in others.items()}
        _, err = end(capture)
    ours = pcap.pcapng(file.read_bytes())
    print(err, said)
    for link, interface in (("lan", "lan"), ("uplink", "eth0")):
        theirs = [frame[14:18] for frame in pcap.pcap((lab.folder / f"{interface}.pcap").read_bytes())]
        got = [packet.data[14:18] for packet in ours.of(link)]
        print(f"{link}: sent {count}, tcpdump saw {len(theirs)}, vmlan {len(got)}")
        assert len(theirs) > 0 and len(set(got)) == len(got)
        assert set(theirs) <= set(got)
        assert len(got) == count and "LOST" not in err
        assert got == sorted(got)
    times = [packet.time for packet in ours.packets]
    assert times == sorted(times)
    dropped = [int.from_bytes(each.statistics[5], "little") for each in ours.interfaces]
    assert dropped == [0, 0]
    assert tshark_reads(file) in (2 * count, None)


def test_what_is_lost_is_said(lab: Bench) -> None:
    """A reader that is stopped for too long: its memory fills, then the kernel's; and both know how much."""
    with capturing(
        lab, "uplink", "--filter", "ether proto 0x88b5", "-w", str(lab.folder / "x.pcapng")
    ) as capture:
        # The sniffer, and the nsenter that waits for it, which stops itself when its child is stopped.
        readers = {int(line.partition(":")[0]): line for line in lab.processes() if "sniffer.py" in line}
        (reader,) = [pid for pid, line in readers.items() if "nsenter" not in line]
        os.kill(reader, signal.SIGSTOP)
        blast(lab, 40_000, 1500, "eth0")
        for reader in readers:
            os.kill(reader, signal.SIGCONT)
        _, err = end(capture)
    found = re.search(r"(\d+) frames: uplink \d+, (\d+) LOST", err)
    assert found, err
    got, lost = int(found.group(1)), int(found.group(2))
    assert lost > 0 and got + lost == 40_000
    file = pcap.pcapng((lab.folder / "x.pcapng").read_bytes())
    statistics = {
        code: int.from_bytes(value, "little") for code, value in file.interfaces[0].statistics.items()
    }
    assert (len(file.packets), statistics[4], statistics[5], statistics[8]) == (got, 40_000, lost, got)


def test_a_machine_that_boots_gets_its_address_before_our_eyes(lab: Bench) -> None:
    with capturing(lab, "vm2:0", "-c", "4", "--filter", "port 67 or port 68") as capture:
        lab.vmlan("exec", "--timeout", "3", "vm2", "--", "poweroff", "-f")
        while "vm2" not in lab.vmlan("up", "--cold", "--json").json["started"]:
            time.sleep(0.2)
        out, _ = capture.communicate(timeout=60)
    rows = [re.split(" {2,}", line) for line in out.splitlines()]
    assert [row[2] for row in rows] == ["vm2 →", "→ vm2", "vm2 →", "→ vm2"]
    assert [" ".join(row[-1].split()[:2]) for row in rows] == [
        "DHCP Discover",
        "DHCP Offer",
        "DHCP Request",
        "DHCP Ack",
    ]
    assert "DHCP Ack 10.2.0.12/24 for " in rows[3][-1]


def test_a_ping_is_seen_on_both_taps_and_on_the_bridge(lab: Bench) -> None:
    with capturing(
        lab, "lan", "vm1:0", "vm2:0", "-c", "6", "--filter", "icmp and host vm2", "--json"
    ) as capture:
        lab.ok("exec", "vm1", "--", "ping", "-c", "1", "10.2.0.12")
        out, err = capture.communicate(timeout=60)
    seen = [json.loads(line) for line in out.splitlines()]
    assert sorted((each["link"], each["what"].split()[1], each["direction"]) for each in seen) == [
        ("lan", "reply", "in"),
        ("lan", "request", "in"),
        ("vm1:0", "reply", "out"),
        ("vm1:0", "request", "in"),
        ("vm2:0", "reply", "in"),
        ("vm2:0", "request", "out"),
    ]
    assert [each["time_ns"] for each in seen] == sorted(each["time_ns"] for each in seen)
    assert {(each["source_name"], each["target_name"]) for each in seen} == {("vm1", "vm2"), ("vm2", "vm1")}
    assert "6 frames: lan 2; vm1:0 2; vm2:0 2" in err


def test_tcpdump_and_we_see_the_same_tagged_frames(lab: Bench) -> None:
    """The kernel keeps a frame's VLAN tag beside it: the filter must know, and the tag must be put back."""
    tagged = HEAD[:24] + "8100" + "000a" + HEAD[24:]
    with (lab.folder / "outside.pcap").open("wb") as out:
        other = lab.start("host", "--outside", "--", "timeout", "-s", "INT", "20", "tcpdump", "-i", "out0", "-c",
                          "3", "-w", "-", "vlan 10", stdout=out, stderr=subprocess.PIPE)  # fmt: skip
    assert other.stderr is not None
    while "listening on" not in other.stderr.readline():
        assert other.poll() is None
    file = lab.folder / "vlan.pcapng"
    with capturing(lab, "outside", "-c", "3", "--filter", "vlan 10", "-w", str(file)) as capture:
        blast(lab, 5, 64, "eth0")
        blast(lab, 3, 64, "eth0", head=tagged)
        capture.communicate(timeout=30)
    other.communicate(timeout=30)
    got = [packet.data for packet in pcap.pcapng(file.read_bytes()).packets]
    assert len(got) == 3 and all(frame.hex().startswith(tagged) for frame in got)
    assert got == pcap.pcap((lab.folder / "outside.pcap").read_bytes())


def test_networks_inside_qemu_are_seen_too(lab: Bench) -> None:
    """User-mode and socket networks have no interface: QEMU itself is asked. And it forgets about it."""
    began = time.time_ns()
    with capturing(lab, "alone", "cable", "--json") as capture:
        lab.ok("exec", "vm1", "--", "udhcpc", "-i", "eth1", "-n", "-q")
        lab.ok("exec", "vm1", "--", "ping", "-c", "1", "192.0.2.2")
        out, err = end(capture)
    ended = time.time_ns()
    seen = [json.loads(line) for line in out.splitlines()]
    # The clock of these is QEMU's own, set right by the time of the file.
    assert all(began - 100_000_000 < each["time_ns"] < ended + 100_000_000 for each in seen)
    dhcp = [
        (each["direction"], each["what"])
        for each in seen
        if each["protocol"] == "DHCP" and each["link"] == "vm1:1"
    ]
    assert [(way, what.split()[0]) for way, what in dhcp] == [
        ("in", "Discover"),
        ("out", "Offer"),
        ("in", "Request"),
        ("out", "Ack"),
    ]
    assert dhcp[3][1].startswith("Ack 10.0.2.15/24 for 52:54:00:")
    pings = {
        (each["link"], each["direction"], each["what"].split()[1])
        for each in seen
        if each["protocol"] == "ICMP"
    }
    assert pings == {
        ("vm1:2", "in", "request"),
        ("vm2:1", "out", "request"),
        ("vm2:1", "in", "reply"),
        ("vm1:2", "out", "reply"),
    }
    assert "vm1:1 " in err
    assert [str(path) for path in lab.runtime.rglob("*.pcap")] == []


def test_a_filter_holds_inside_qemu_and_what_a_killed_capture_left_is_cleared_away(lab: Bench) -> None:
    with capturing(lab, "alone", "--filter", "arp") as capture:
        assert len(list(lab.runtime.rglob("*.pcap"))) == 1
        capture.kill()
        capture.wait()
    assert len(list(lab.runtime.rglob("*.pcap"))) == 1
    with capturing(lab, "vm1:1", "-c", "1", "--filter", "icmp[icmptype] = icmp-echoreply") as capture:
        lab.ok("exec", "vm1", "--", "ping", "-c", "1", "10.0.2.2")
        out, _ = capture.communicate(timeout=30)
    assert "→ vm1  10.0.2.2 → " in out and "ICMP ping reply" in out
    assert list(lab.runtime.rglob("*.pcap")) == []


def test_another_labs_frames_are_not_seen(lab: Bench, bench: Bench) -> None:
    """Two labs with the same names, addresses and interfaces, at the same time."""
    bench.write(LAB)
    bench.ok("up", "vm1")
    file = lab.folder / "mine.pcapng"
    with capturing(lab, "-w", str(file)) as capture:
        bench.ok("host", "--", "ping", "-c", "2", "-s", "777", "10.2.0.11")
        lab.ok("host", "--", "ping", "-c", "1", "-s", "555", "10.2.0.11")
        end(capture)
    lengths = [packet.length for packet in pcap.pcapng(file.read_bytes()).packets]
    assert lengths.count(42 + 555) == 4  # request and reply, on the bridge and on the tap
    assert 42 + 777 not in lengths


def test_standard_output_is_a_file_too(lab: Bench) -> None:
    pipe = lab.start("capture", "vm1:0", "-c", "4", "-w", "-", "--filter", "icmp", stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE)  # fmt: skip
    assert pipe.stdout is not None and pipe.stderr is not None
    assert "capturing on vm1:0" in pipe.stderr.readline()
    lab.ok("exec", "vm1", "--", "ping", "-c", "2", "-i", "0.2", "10.2.0.1")
    read = pcap.pcapng(pipe.stdout.buffer.read())
    assert pipe.wait(timeout=30) == 0
    assert len(read.packets) == 4 and read.names[bytes([10, 2, 0, 11])] == "vm1"


def test_a_killed_capture_leaves_a_file_that_can_be_read_and_nothing_else(lab: Bench) -> None:
    before = {line.partition(":")[0] for line in lab.processes()}
    file = lab.folder / "killed.pcapng"
    with capturing(lab, "uplink", "outside", "-w", str(file)) as capture:
        blast(lab, 3000, 100, "eth0")
        deadline = time.monotonic() + 20
        while file.stat().st_size < 2 * 3000 * 100 and time.monotonic() < deadline:
            time.sleep(0.05)
        capture.kill()
        capture.wait()
    assert len(pcap.pcapng(file.read_bytes()).packets) >= 6000
    while {line.partition(":")[0] for line in lab.processes()} - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {line.partition(":")[0] for line in lab.processes()} <= before


def test_mistakes_are_told(lab: Bench, bench: Bench) -> None:
    wrong = lab.vmlan("capture", "vm9")
    assert wrong.code == 2 and "no link 'vm9'" in wrong.err and "did you mean vm" in wrong.err
    assert "lan, vm1:0, vm2:0, vm1:1, vm1:2, vm2:1, uplink, outside" in wrong.err
    refused = lab.vmlan("capture", "--filter", "port http and", "--json")
    assert refused.code == 2 and "syntax error" in refused.err and "pcap-filter" in refused.err
    assert refused.json["error"]["kind"] == "RequestError"
    nowhere = lab.vmlan("capture", "-w", "/no/such/folder/x.pcapng")
    assert nowhere.code == 2 and "/no/such/folder/x.pcapng cannot be written" in nowhere.err
    bench.write(LAB)
    down = bench.vmlan("capture")
    assert down.code == 2 and "this lab is not running" in down.err and "vmlan up" in down.err


def test_a_capture_ends_with_its_lab(bench: Bench) -> None:
    bench.write("networks: {wire: {kind: tap, host: 10.1.1.1/24}, nat: {kind: user}}\n"
                "machines: {vm1: {nics: [{network: wire, address: 10.1.1.2/24}, nat]}}\n")  # fmt: skip
    bench.ok("up")
    with capturing(bench, "-w", "x.pcapng") as both, capturing(bench, "nat") as inside:
        bench.ok("exec", "vm1", "--", "ping", "-c", "1", "10.1.1.1")
        bench.ok("down", "--now")
        for process in (both, inside):
            _, err = process.communicate(timeout=30)
            assert process.returncode == 0 and "the lab has ended" in err
    assert len(pcap.pcapng((bench.folder / "x.pcapng").read_bytes()).of("wire")) >= 2


@pytest.mark.parametrize("version", ["5.2", "11.1"])
def test_every_qemu_shows_what_is_inside_it(version: str, bench: Bench) -> None:
    bench.write(
        f"qemu: {qemu(version)}\n"
        "networks: {old: {kind: hub}, nat: {kind: user}}\n"
        "machines: {vm1: {image: tiny, memory: 128M, nics: [old, nat]}}\n"
    )
    bench.ok("up")
    with capturing(bench, "--json") as capture:
        bench.ok("exec", "vm1", "--", "udhcpc", "-i", "eth0", "-n", "-q")
        bench.ok("exec", "vm1", "--", "udhcpc", "-i", "eth1", "-n", "-q")
        out, _ = end(capture)
    seen = [json.loads(line) for line in out.splitlines()]
    dhcp: dict[str, list[tuple[str, str]]] = {"vm1:0": [], "vm1:1": []}
    for each in seen:
        if each["protocol"] == "DHCP":
            dhcp[each["link"]].append((each["direction"], each["what"].split()[0]))
    whole = [("in", "Discover"), ("out", "Offer"), ("in", "Request"), ("out", "Ack")]
    assert dhcp == {"vm1:0": whole, "vm1:1": whole}
