"""Links and their names, frames out of the kernel's blocks, their order, and the rows."""

from __future__ import annotations

import json
import struct

import pytest

from tests import labs
from tests.unit import real_frames
from tests.unit.test_frames import tagged
from vmlan.errors import RequestError, UnknownName
from vmlan.model import Lab
from vmlan.observe import links as lab_links
from vmlan.observe import ring
from vmlan.observe.links import Tapped, all_links, choose
from vmlan.observe.ring import FOR_US, OUTGOING, Frame, InOrder
from vmlan.observe.rows import Names, Rows, as_json
from vmlan.plan.steps import Space
from vmlan.plan.topology import survey

MORE = """
host: {uplink: simulated}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
  wire: {kind: tap, host: 10.1.1.1/24}
  alone: {kind: user}
  off: {kind: none}
machines:
  vm1: {nics: [lan, {network: wire, address: 10.1.1.2/24}]}
  vm2: {nics: [lan, alone]}
  vm3: {nics: [off]}
"""


def links(text: str = MORE) -> tuple[Lab, tuple[Tapped, ...]]:
    lab = labs.lab(text)
    return lab, all_links(lab, survey(lab))


def chosen(*names: str) -> list[str]:
    lab, every = links()
    return [link.name for link in choose(names, lab, every)]


def test_every_link_has_a_name() -> None:
    assert chosen() == ["lan", "vm1:0", "vm2:0", "wire", "vm2:1", "uplink", "outside"]
    _, every = links()
    places = {link.name: (link.space, link.interface) for link in every}
    assert places["vm1:0"] == (Space.HOST, "vm1-lan") and places["wire"] == (Space.HOST, "wire")
    assert places["vm2:1"] == (None, "net1") and places["outside"] == (Space.OUTSIDE, "out0")


def test_links_are_meant_by_machine_nic_network_and_interface() -> None:
    assert chosen("vm1") == ["vm1:0", "wire"]
    assert chosen("vm1:1") == chosen("wire") == ["wire"]
    assert chosen("lan") == ["lan"]
    assert chosen("alone") == chosen("vm2:1") == ["vm2:1"]
    assert chosen("vm1-lan", "eth0") == ["vm1:0", "uplink"]
    assert chosen("vm1", "wire", "vm1:0") == ["vm1:0", "wire"]


def test_a_link_that_is_not_there() -> None:
    with pytest.raises(UnknownName, match="no link 'lna'") as error:
        chosen("lna")
    assert error.value.hint == (
        "did you mean lan? It has: lan, vm1:0, vm2:0, wire, vm2:1, uplink, outside, vm1, vm2"
    )
    with pytest.raises(UnknownName) as error:
        chosen("vm3")
    assert error.value.hint and error.value.hint.startswith("its NICs lead nowhere. It has: lan,")
    with pytest.raises(UnknownName) as error:
        chosen("off")
    assert error.value.hint and error.value.hint.startswith("it leads nowhere. ")
    with pytest.raises(RequestError, match="has no links"):
        choose((), *links("machines: {vm1: {}}"))


def block(*frames: tuple[int, int, bytes], tag: int | None = None) -> bytes:
    """A block as the kernel makes it (linux/if_packet.h): each frame's time, kind and data."""
    body = b""
    for number, (time, kind, data) in enumerate(frames):
        address = struct.pack("=HHiHBB8s", 17, 0, 2, 1, kind, 6, b"")
        start = 48 + len(address) + 2
        size = (start + len(data) + 15) & ~15
        following = size if number + 1 < len(frames) else 0
        status = 1 | (1 << 4 | 1 << 6 if tag is not None else 0)
        head = struct.pack(
            "=6I2H", following, time // 10**9, time % 10**9, len(data), len(data), status, start, 0
        )
        variant = struct.pack("=IIHH8x", 0, tag or 0, 0x88A8, 0)
        body += (head + variant + address + bytes(2) + data).ljust(size, b"\0")
    return struct.pack("=IIIIIIQ16x", 1, 48, 1, len(frames), 48, 48 + len(body), 7) + body


def test_frames_are_read_out_of_the_kernels_blocks() -> None:
    data = block((5_000_000_007, FOR_US, real_frames.SYN), (6_000_000_000, OUTGOING, real_frames.RESET))
    assert list(ring.frames(data, 3)) == [
        Frame(5_000_000_007, 3, FOR_US, len(real_frames.SYN), real_frames.SYN),
        Frame(6_000_000_000, 3, OUTGOING, len(real_frames.RESET), real_frames.RESET),
    ]
    assert list(ring.frames(block(), 0)) == []


def test_a_tag_that_the_kernel_took_out_is_put_back() -> None:
    (frame,) = ring.frames(block((1, FOR_US, real_frames.SYN), tag=10), 0)
    wanted = bytearray(tagged(real_frames.SYN, 10))
    wanted[12:14] = b"\x88\xa8"
    assert frame.data == bytes(wanted) and frame.length == len(wanted)


def frame(time: int, link: int = 0) -> Frame:
    return Frame(time, link, FOR_US, 0, b"")


def test_frames_of_several_links_come_in_the_order_of_their_times() -> None:
    order = InOrder()
    order.add([frame(t, 0) for t in (10, 30, 150)])
    assert [f.time for f in order.take(50)] == [10, 30]
    order.add([frame(t, 1) for t in (60, 140, 155)])
    assert order.take(50) == []
    assert [f.time for f in order.take(145)] == [60, 140]
    assert [f.time for f in order.take(None)] == [150, 155]
    assert order.take(None) == []


def rows(*frames: Frame, names: tuple[str, ...] = ()) -> list[str]:
    lab, every = links()
    taken = choose(names, lab, every)
    table = Rows(taken, Names(*lab_links.names(lab, survey(lab))))
    return ["".join(table.row(each)).rstrip() for each in frames]


def seen(data: bytes, kind: int = FOR_US, link: int = 0) -> Frame:
    return Frame(1_795_485_081_818_141_981, link, kind, len(data), data)


def test_rows_say_who_sends_to_whom() -> None:
    (syn, reset) = rows(seen(real_frames.SYN), seen(real_frames.RESET, OUTGOING), names=("vm1:0",))
    assert syn.split("  ", 1)[1] == (
        "vm1:0  vm1 →  vm1 10.2.0.11:48324 → host 10.2.0.1:81  TCP SYN seq 480230016 win 64240"
    )
    assert "  → vm1  host 10.2.0.1:81 → vm1 10.2.0.11:48324  TCP RST+ACK" in reset
    assert syn.startswith(tuple("012")) and syn[2] == ":" and syn[8:15] == ".818141"
    (there,) = rows(seen(real_frames.TOO_MANY_HOPS), names=("uplink",))
    assert "uplink  outside →  " in there
    (vlan,) = rows(seen(tagged(real_frames.SYN, 10)), names=("vm1:0",))
    assert vlan.endswith("VLAN 10: TCP SYN seq 480230016 win 64240")


def test_on_a_bridge_the_sender_is_named_if_he_is_known() -> None:
    lab, _ = links()
    mac = next(link.mac for link in survey(lab).links if link.machine == "vm2")
    known = bytearray(real_frames.SYN)
    known[6:12] = bytes.fromhex(mac.replace(":", ""))
    table = rows(seen(bytes(known)), seen(real_frames.SYN), seen(real_frames.RESET, OUTGOING), names=("lan",))
    assert [row.split("  ")[2] for row in table] == ["vm2 →", "→ host", "host →"]


def test_columns_stand_below_each_other() -> None:
    table = rows(
        seen(real_frames.OFFER, OUTGOING), seen(real_frames.PING), seen(real_frames.PING), names=("vm1:0",)
    )
    assert len({row.index("DHCP" if "DHCP" in row else "ICMP ping") for row in table}) == 1


def test_names_are_learnt_for_the_link_they_were_said_on() -> None:
    lab, every = links()
    names = Names({"52:54:00:44:0d:3f": "vm2"}, {})
    taken = choose(("vm2",), lab, every)
    before = json.loads(as_json(seen(real_frames.UNREACHABLE), taken[0], names))
    assert before["source_name"] is None
    as_json(seen(real_frames.WHO_HAS), taken[0], names)
    after = json.loads(as_json(seen(real_frames.UNREACHABLE), taken[0], names))
    assert (after["source"], after["source_name"]) == ("10.2.0.11", "vm2")
    elsewhere = json.loads(as_json(seen(real_frames.UNREACHABLE, link=1), taken[1], names))
    assert elsewhere["source_name"] is None


def test_a_frame_for_programs() -> None:
    lab, every = links()
    names = Names(*lab_links.names(lab, survey(lab)))
    (link,) = choose(("vm1:0",), lab, every)
    assert json.loads(as_json(seen(tagged(real_frames.SYN, 10), OUTGOING), link, names)) == {
        "time_ns": 1_795_485_081_818_141_981,
        "link": "vm1:0",
        "interface": "vm1-lan",
        "direction": "out",
        "source_mac": "52:54:00:44:0d:3f",
        "target_mac": "52:54:00:d3:23:ef",
        "vlans": [10],
        "source": "10.2.0.11",
        "source_port": 48324,
        "source_name": "vm1",
        "target": "10.2.0.1",
        "target_port": 81,
        "target_name": "host",
        "protocol": "TCP",
        "what": "SYN seq 480230016 win 64240",
        "length": 78,
    }
