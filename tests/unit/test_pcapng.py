"""Captures for Wireshark, read back by a reader of our own making, and by tshark where there is one."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests import pcap
from tests.unit import real_frames
from vmlan.observe import pcapng
from vmlan.observe.ring import BROADCAST, FOR_OTHERS, FOR_US, MULTICAST, OUTGOING, Frame

NOW = 1_795_485_081_818_141_981
INTERFACES = [
    pcapng.Interface("wire", "the cable", "02:00:00:00:00:01", "icmp or arp"),
    pcapng.Interface("vm1:0"),
]
NAMES = {"10.2.0.11": "vm1", "fd00::1": "host"}


def written() -> tuple[bytes, list[Frame]]:
    frames = [
        Frame(NOW + n, n % 2, kind, len(data) + extra, data)
        for n, (kind, data, extra) in enumerate(
            [
                (FOR_US, real_frames.SYN, 0),
                (OUTGOING, real_frames.RESET, 0),
                (BROADCAST, real_frames.DISCOVER, 0),
                (MULTICAST, real_frames.SOLICITATION[:70], 16),
                (FOR_OTHERS, b"\2" * 61, 0),
                (FOR_US, b"\2" * 63, 0),
            ]
        )
    ]
    data = (
        pcapng.header("vmlan 0", INTERFACES, NAMES) + pcapng.packets(frames[:3]) + pcapng.packets(frames[3:])
    )
    return data + pcapng.statistics(0, NOW, NOW + 9, 12, 3, 9) + pcapng.statistics(
        1, NOW, NOW + 9, 3, 0, 3
    ), frames


def test_what_is_written_can_be_read() -> None:
    data, frames = written()
    read = pcap.pcapng(data)
    assert read.options == {4: b"vmlan 0"}
    assert [(each.linktype, each.name) for each in read.interfaces] == [(1, "wire"), (1, "vm1:0")]
    assert read.interfaces[0].options == {
        2: b"wire",
        3: b"the cable",
        6: b"\2\0\0\0\0\1",
        9: b"\x09",
        11: b"\0icmp or arp",
    }
    assert [(p.time, p.interface, p.length, p.data) for p in read.packets] == [
        (f.time, f.link, f.length, f.data) for f in frames
    ]
    # Direction in the lowest bits (1 in, 2 out), then: 1 unicast, 2 multicast, 3 broadcast, 4 promiscuous.
    assert [(p.flags & 3, p.flags >> 2 & 7) for p in read.packets] == [
        (1, 1), (2, 0), (1, 3), (1, 2), (1, 4), (1, 1)
    ]  # fmt: skip
    assert read.names == {bytes([10, 2, 0, 11]): "vm1", b"\xfd\0" + bytes(13) + b"\1": "host"}
    counts = {code: struct.unpack("=Q", read.interfaces[0].statistics[code])[0] for code in (4, 5, 8)}
    assert counts == {4: 12, 5: 3, 8: 9}
    began = struct.unpack("=II", read.interfaces[1].statistics[2])
    assert began[0] << 32 | began[1] == NOW


def test_a_file_is_whole_after_each_batch() -> None:
    data, _ = written()
    at = 0
    while at < len(data):
        at += struct.unpack_from("=I", data, at + 4)[0]
        assert pcap.pcapng(data[:at])


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_tshark_reads_it_without_a_complaint(tmp_path: Path) -> None:
    data, frames = written()
    file = tmp_path / "x.pcapng"
    file.write_bytes(data)
    fields = ("frame.interface_name", "frame.time_epoch", "frame.len", "frame.cap_len")
    done = subprocess.run(
        ["tshark", "-r", str(file), "-T", "fields", *(word for field in fields for word in ("-e", field))],
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if "root" not in line]
    assert said == []
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows == [
        [INTERFACES[f.link].name, f"{f.time // 10**9}.{f.time % 10**9:09}", str(f.length), str(len(f.data))]
        for f in frames
    ]
