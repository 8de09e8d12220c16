"""Our machine for filters, against tcpdump's own on the same frames."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import pcap
from tests.unit import real_frames
from tests.unit.test_frames import tagged
from vmlan.observe import bpf

REAL = [value for value in vars(real_frames).values() if isinstance(value, bytes)]
FRAMES = [*REAL, *(tagged(frame, 10) for frame in REAL), *(frame[:n] for frame in REAL for n in (14, 20, 36))]
TCPDUMP = shutil.which("tcpdump", path="/usr/bin:/usr/sbin:/sbin:/bin")

EXPRESSIONS = [
    "icmp",
    "arp or port 67",
    "host 10.2.0.11 and tcp port 81",
    "not ip",
    "ip6",
    "icmp6 and ip6[40] = 135",
    "vlan 10 and udp",
    "vlan and not vlan 10",
    "tcp[tcpflags] & (tcp-syn|tcp-rst) != 0",
    "greater 100",
    "less 60",
    "ether src 52:54:00:44:0d:3f and not broadcast",
    "ip[2:2] * 2 + 6 >= 200",
    "ip[0] & 0xf != 5 or ip[6:2] & 0x1fff != 0",
    "udp[4:2] / 4 > 10 or icmp[0] % 3 = 2",
    "net 10.2.0.0/16 and portrange 50-100",
    "(ip[8] << 2) ^ 3 > 100",
    "-ip[8] != 0 and len - 10 > 30",
    "ether multicast",
]


@pytest.mark.skipif(TCPDUMP is None, reason="tcpdump is not installed")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_tcpdump_and_we_choose_the_same_frames(expression: str, tmp_path: Path) -> None:
    assert TCPDUMP is not None
    file = tmp_path / "all.pcap"
    file.write_bytes(pcap.write_pcap(FRAMES))
    chosen = subprocess.run(
        [TCPDUMP, "-r", str(file), "-w", "-", "--", expression], capture_output=True, check=True
    )
    code = subprocess.run(
        [TCPDUMP, "-ddd", "-y", "EN10MB", "--", expression], capture_output=True, text=True, check=True
    )
    program = bpf.parse(code.stdout)
    ours = [frame for frame in FRAMES if bpf.accepts(program, frame)]
    assert ours == pcap.pcap(chosen.stdout)
    assert 0 < len(ours) < len(FRAMES) or expression in ("vlan and not vlan 10",)


def test_what_is_too_short_does_not_pass() -> None:
    load_and_accept = ((0x20, 0, 0, 100), (0x06, 0, 0, 262144))
    assert not bpf.accepts(load_and_accept, bytes(50))
    assert bpf.accepts(load_and_accept, bytes(104))
    assert not bpf.accepts(load_and_accept, bytes(103))


def test_dividing_by_nothing_does_not_pass() -> None:
    assert not bpf.accepts(((0x34, 0, 0, 0), (0x06, 0, 0, 1)), b"")
