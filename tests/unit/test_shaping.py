"""What slows a cable down: the commands, and reading them back from tc; and a card's link state over QMP."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from vmlan.errors import CommandFailed, HostError
from vmlan.host import shapes, shaping
from vmlan.host.shapes import Shape
from vmlan.qemu import carrier


def lines(shape: Shape, *, led: bool = False) -> list[str]:
    commands = shaping.commands("vm1-lan", shape, led=led)
    return [f"{command.argv[0]} {line}" for command in commands for line in command.stdin.splitlines()]


def test_a_rate_is_a_token_bucket_on_the_tap_and_on_an_ifb_behind_it() -> None:
    queue = "tbf rate 10000000bit burst 12500b latency 100ms"
    assert lines(Shape(rate=10_000_000)) == [
        f"tc qdisc replace dev vm1-lan root {queue}",
        "ip link add name in~vm1-lan type ifb",
        "ip link set dev in~vm1-lan up",
        f"tc qdisc replace dev in~vm1-lan root {queue}",
        "tc qdisc add dev vm1-lan handle ffff: ingress",
        "tc filter add dev vm1-lan parent ffff: protocol all prio 1 u32 match u32 0 0"
        " action mirred egress redirect dev in~vm1-lan",
    ]
    # The second time there is an ifb already.
    assert lines(Shape(rate=64_000), led=True) == [
        "tc qdisc replace dev vm1-lan root tbf rate 64000bit burst 3200b latency 100ms",
        "tc qdisc replace dev in~vm1-lan root tbf rate 64000bit burst 3200b latency 100ms",
    ]


def test_delay_and_loss_are_netem_which_has_a_rate_too() -> None:
    first = lines(Shape(rate=1_000_000, delay=0.05, loss=12.5))[0]
    assert first == "tc qdisc replace dev vm1-lan root netem delay 50ms loss 12.5% rate 1000000bit"
    assert lines(Shape(delay=0.0015))[0].endswith(" root netem delay 1.5ms")


def test_interface_names_stay_within_what_linux_takes() -> None:
    made = shaping.commands("a-long-on~1234", Shape(rate=1000), led=False)
    name = made[1].stdin.split()[3]
    assert len(name) <= 15 and name != "a-long-on~1234"


def test_it_is_taken_away_again() -> None:
    both = shaping.clearing("vm1-lan", shaped=True, led=True)
    assert both[0].stdin == "qdisc del dev vm1-lan root\nqdisc del dev vm1-lan ingress\n"
    assert both[1].argv == ("ip", "link", "del", "dev", "in~vm1-lan")
    assert shaping.clearing("vm1-lan", shaped=False, led=False) == ()


#: `tc -j qdisc show`, of iproute2 6.1.
TBF = '{"kind":"tbf","handle":"8003:","root":true,"refcnt":2,"options":{"rate":1250000,"burst":4095,"lat":50000}}'
NETEM = (
    '{"kind":"netem","handle":"8001:","root":true,"refcnt":2,"options":{"limit":1000,'
    '"delay":{"delay":0.05,"jitter":0,"correlation":0},"loss-random":{"loss":0.1,"correlation":0},'
    '"rate":{"rate":125000,"packetoverhead":0,"cellsize":0,"celloverhead":0},"ecn":false,"gap":0}}'
)


@pytest.mark.parametrize(
    "row, shape, words",
    [
        (TBF, Shape(rate=10_000_000), "10Mbit"),
        (NETEM, Shape(1_000_000, 0.05, 10.0), "1Mbit, 50ms, 10% lost"),
        ('{"kind":"pfifo_fast","handle":"0:","root":true,"options":{"bands":3}}', Shape(), ""),
        ('{"kind":"noqueue","handle":"0:","root":true,"options":{}}', Shape(), ""),
    ],
)
def test_what_tc_shows_is_read(row: str, shape: Shape, words: str) -> None:
    found = shapes._shape(json.loads(row))
    assert (found, found.words) == (shape, words)


def test_what_is_wanted_comes_to_what_is_set() -> None:
    assert shaping.merged(Shape(rate=5), Shape(delay=0.1)) == Shape(5, 0.1)
    assert shaping.merged(Shape(5, 0.1, 3.0), Shape(rate=7)) == Shape(7, 0.1, 3.0)


@pytest.mark.parametrize(
    "stdin, output, what",
    [
        (
            "qdisc replace dev x root netem delay 50ms",
            "Error: Specified qdisc kind is unknown.",
            "module sch_netem",
        ),
        (
            "qdisc replace dev x root tbf rate 1bit",
            "Error: Specified qdisc kind is unknown.",
            "module sch_tbf",
        ),
        ("link add name in~x type ifb", "Error: Unknown device type.", "module ifb"),
    ],
)
def test_a_missing_module_is_named(stdin: str, output: str, what: str) -> None:
    failed = CommandFailed(("tc", "-batch", "-"), 1, output, stdin=stdin)
    explained = shaping._explained(failed)
    assert isinstance(explained, HostError) and explained.exit_code == 3
    assert what in explained.what and "modprobe" in (explained.hint or "")
    other = CommandFailed(("tc",), 1, "Cannot find device", stdin=stdin)
    assert shaping._explained(other) is other


# A card's link state


def region(bar: int, address: int) -> dict[str, object]:
    return {"bar": bar, "type": "memory", "address": address, "size": 4096}


PCI = [
    {
        "bus": 0,
        "devices": [
            {"qdev_id": "nic0", "regions": [region(1, 0x1000), region(4, 0x4000)]},
            {"qdev_id": "", "regions": [], "pci_bridge": {"bus": {}, "devices": [
                {"qdev_id": "nic1", "regions": [region(0, 0x8000), {"bar": 1, "type": "io", "address": 0xC000}]},
                {"qdev_id": "nic2", "regions": [region(1, 0x9000)]},
                {"qdev_id": "nic4", "regions": [region(0, -1)]},
            ]}},
        ],
    }
]  # fmt: skip
#: virtio: down; e1000: up, among other bits; rtl8139, whose bit is inverse: up.
MEMORY = {"/1xh 0x6006": "0x0000", "/1xw 0x8008": "0x80080783", "/1xb 0x9058": "0xd0"}


def serve(path: Path, *, answers: bool = True) -> None:
    """QEMU's side of a session, with an event between."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def talk() -> None:
        peer, _ = listener.accept()
        with peer, peer.makefile("rw") as file:
            print('{"QMP": {"version": {}, "capabilities": []}}', file=file, flush=True)
            decoder, buffer = json.JSONDecoder(), ""
            while answers and (more := peer.recv(4096).decode()):
                buffer += more
                request, end = decoder.raw_decode(buffer)
                buffer = buffer[end:]
                print('{"event": "NIC_RX_FILTER_CHANGED"}', file=file)
                print(json.dumps({"return": answer(request)}), file=file, flush=True)

    threading.Thread(target=talk, daemon=True).start()


def answer(request: dict[str, dict[str, str]]) -> object:
    if str(request["execute"]) == "query-pci":
        return PCI
    if str(request["execute"]) == "human-monitor-command":
        where = request["arguments"]["command-line"].removeprefix("xp ")
        return f"0000000000000000: {MEMORY.get(where, 'Cannot access memory')}\r\n"
    return {}


def test_cards_tell_whether_their_cable_is_plugged_in(tmp_path: Path) -> None:
    serve(tmp_path / "qmp")
    cards = [
        ("nic0", "virtio"),
        ("nic1", "e1000"),
        ("nic2", "rtl8139"),
        ("nic3", "e1000"),
        ("nic4", "e1000e"),
        ("nic5", "pcnet"),
    ]
    assert carrier.carriers(tmp_path / "qmp", cards) == {"nic0": False, "nic1": True, "nic2": True}


def test_a_qemu_that_does_not_answer_tells_nothing(tmp_path: Path) -> None:
    assert carrier.carriers(tmp_path / "none", [("nic0", "virtio")]) == {}
    serve(tmp_path / "qmp", answers=False)
    assert carrier.carriers(tmp_path / "qmp", [("nic0", "virtio")], timeout=0.1) == {}
