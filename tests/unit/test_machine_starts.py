"""Starting machines together: how many at a time, what a failure of one does, and going on from a template.

A real keeper, as an ordinary process, starts scripts that stand for QEMU.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.templates import made
from vmlan.errors import CommandFailed
from vmlan.host import keeper, machine_starts
from vmlan.host.identity import make_pipes
from vmlan.host.keeper_client import KeeperClient
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Card, Command, Space, Start, Told, Warm

#: What answers as QEMU does: to its greeting's query, and to monitor lines, of which one may be refused. Its
#: guest does no calls, but answers as if it had: interface 2 + N is ethN, and has the Nth of the MACs told here.
QEMU = """
import json, os, socket, struct, sys, threading
path, refuses, migrates, macs = sys.argv[1:5]
server = socket.socket(socket.AF_UNIX); server.bind(path); server.listen()
open(path + ".started", "w").close()
def guest():
    if os.path.exists(path + ".id.in"):
        inp, out = os.open(path + ".id.in", os.O_RDWR), os.open(path + ".id.out", os.O_RDWR)
        heard = b""
        while len(heard) < 8 or len(heard) < struct.unpack_from("<Q", heard)[0]: heard += os.read(inp, 4096)
        open(path + ".heard", "ab").write(heard)
        did, call = bytearray(heard), 8
        while (number := struct.unpack_from("<q", heard, call)[0]) >= 0:
            _, asked, where = struct.unpack_from("<3Q", heard, call + 8)
            if number == 16:
                where -= 0x401000
                card = int(heard[where + 3 : where + 4])
                mac = bytes.fromhex(macs.split()[card].replace(":", ""))
                answer = {0x8933: struct.pack("=i", 2 + card), 0x8927: b"\\1\\0" + mac}[asked]
                did[where + 16 : where + 16 + len(answer)] = answer
            struct.pack_into("<q", did, call + 56, -11 if number == 45 else 0)
            call += 64
        os.write(out, did)
threading.Thread(target=guest, daemon=True).start()
def session(peer):
    peer.sendall(b'{"QMP": {}}\\n')
    decode, text = json.JSONDecoder(), ""
    while more := peer.recv(4096).decode():
        text += more
        while text.strip():
            text = text.strip()
            try: one, end = decode.raw_decode(text)
            except ValueError: break
            text, answer = text[end:], {}
            line = one.get("arguments", {}).get("command-line", "")
            if one["execute"] == "human-monitor-command":
                answer = "no such luck" if refuses and line.startswith(refuses) else ""
            if one["execute"] == "query-migrate": answer = {"status": migrates}
            reply = {"return": answer, **({"id": one["id"]} if "id" in one else {})}
            peer.sendall(json.dumps(reply).encode() + b"\\n")
while True: threading.Thread(target=session, args=(server.accept()[0],), daemon=True).start()
"""


MACS = "52:54:00:00:00:01 52:54:00:00:00:02"


@pytest.fixture
def layout() -> Iterator[Layout]:
    with tempfile.TemporaryDirectory(prefix="vm-") as name:
        layout = Layout(Path(name) / "run", Path(name) / "state")
        layout.run.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, str(layout.keeper)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None and process.stdout.read(6) == b"ready\n"
        yield layout
        with KeeperClient(layout.keeper) as client:
            for program in client.processes():
                client.signal(program, 9)
        process.kill()
        process.wait()
        process.stdout.close()


def command(path: Path, refuses: str = "", migrates: str = "completed", macs: str = MACS) -> Command:
    argv = (sys.executable, "-I", "-S", "-c", QEMU, str(path), refuses, migrates, macs)
    return Command(argv, space=Space.LAB)


def cold(layout: Layout, name: str, **changes: str) -> Start:
    socket = layout.run / f"{name}.qmp"
    log = layout.run / f"{name}.log"
    return Start(f"machine {name}", name, f"vm-{name}", command(socket, **changes), log, socket, name)


def warm(layout: Layout, name: str, folder: Path, **changes: str) -> Start:
    """A machine that has a template; booting it is another program, which says so."""
    start = cold(layout, name)
    assert start.ready is not None
    make_pipes(layout.run, (f"{start.ready.name}.id.in", f"{start.ready.name}.id.out"))
    way = Warm(
        template=folder.name,
        folder=folder,
        command=command(start.ready, **changes),
        load=("migrate_incoming x",),
        plug=("device_add x", "cont"),
        told=Told(
            name,
            f"vmlan.hostname={name}",
            (Card("52:54:00:00:00:01", "192.0.2.1/24"), Card("52:54:00:00:00:02", "198.51.100.1/24")),
            bound=False,
            elsewhere=0,
            disks=(),
            domain="",
            later=30,
            state=Path(f"{start.ready}.state"),
            macs=(),
            identity=Path(f"{start.ready}.id"),
        ),
    )
    booted = Command(("sh", "-c", f'touch {start.ready}.booted; exec "$@"', "sh", *start.command.argv))
    return Start(
        start.id,
        start.reason,
        start.name,
        Command(booted.argv, space=Space.LAB),
        start.log,
        start.ready,
        name,
        warm=way,
    )


def booted(layout: Layout) -> set[str]:
    return {path.name.partition(".")[0] for path in layout.run.glob("*.booted")}


def running(layout: Layout) -> set[str]:
    with KeeperClient(layout.keeper) as client:
        return {name for name, kept in client.processes().items() if kept.exit is None}


def test_each_goes_on_and_says_who_it_is_and_no_two_are_told_the_same(layout: Layout, tmp_path: Path) -> None:
    folder = made(tmp_path, "key")
    found = machine_starts.start_all(layout, [warm(layout, name, folder) for name in "abc"])
    assert found.notes == () and booted(layout) == set()
    assert found.known == {name: set(MACS.split()) for name in "abc"}
    told = [(layout.run / f"{name}.qmp.heard").read_bytes() for name in "abc"]
    assert [f"vmlan.hostname={name} ".encode() in each for name, each in zip("abc", told, strict=True)] == [
        True
    ] * 3
    ids = [re.findall(rb"[0-9a-f]{32}\n", each) for each in told]
    assert len({one for (one,) in ids}) == 3
    # The first write is the seed, of which the machine id is half; and the clock is told the time.
    seeds = [given(each, 1)[:32] for each in told]
    assert len(set(seeds)) == 3
    assert [one for (one,) in ids] == [f"{seed[:16].hex()}\n".encode() for seed in seeds]
    assert all(abs(struct.unpack_from("=q", given(each, 227))[0] - time.time()) < 60 for each in told)


def given(request: bytes, number: int) -> bytes:
    """What the first call of that number in a request points to, and what is behind it."""
    call = 8
    while struct.unpack_from("<q", request, call)[0] != number:
        call += 64
    return request[struct.unpack_from("<Q", request, call + 16)[0] - 0x401000 :]


@pytest.mark.parametrize(
    "changes",
    [
        {"migrates": "failed"},
        {"refuses": "migrate_incoming"},
        {"macs": "52:54:00:00:00:09 52:54:00:00:00:02"},
    ],
    ids=["state", "command", "guest"],
)
def test_a_template_that_does_not_work_is_removed_and_told_once(
    changes: dict[str, str], layout: Layout, tmp_path: Path
) -> None:
    folder = made(tmp_path, "key")
    found = machine_starts.start_all(layout, [warm(layout, name, folder, **changes) for name in "abc"])
    assert len(found.notes) == 1 and "template key did not work, and is removed" in found.notes[0]
    assert not folder.exists() and booted(layout) == set("abc") and found.known == {}
    assert running(layout) == {"vm-a", "vm-b", "vm-c"}


def test_what_a_late_qemu_makes_of_a_template_goes_too(layout: Layout, tmp_path: Path) -> None:
    """QEMU makes the file of its memory where there is none, and so the folder was left."""
    folder = made(tmp_path, "key")
    first, second = (warm(layout, name, folder, migrates="failed") for name in "ab")
    assert second.warm is not None
    again = f'until [ ! -e {folder} ]; do sleep 0.01; done; mkdir {folder}; : >{folder}/memory; exec "$@"'
    argv = ("sh", "-c", again, "sh", *second.warm.command.argv)
    late = msgspec.structs.replace(second.warm, command=Command(argv, space=Space.LAB))
    machine_starts.start_all(layout, [first, msgspec.structs.replace(second, warm=late)])
    assert not folder.exists() and booted(layout) == {"a", "b"}


def test_a_disk_that_cannot_be_plugged_in_is_no_fault_of_the_template(layout: Layout, tmp_path: Path) -> None:
    folder = made(tmp_path, "key")
    steps = [warm(layout, "a", folder, refuses="device_add"), warm(layout, "b", folder)]
    found = machine_starts.start_all(layout, steps)
    (note,) = found.notes
    assert "a boots" in note and "no such luck" in note
    assert folder.exists() and booted(layout) == {"a"} and set(found.known) == {"b"}


def test_useless_templates_are_not_tried(layout: Layout, tmp_path: Path) -> None:
    folder = made(tmp_path, "key")
    found = machine_starts.start_all(layout, [warm(layout, "a", folder)], frozenset({"key"}))
    assert found.notes == () and booted(layout) == {"a"} and folder.exists()


def test_the_first_error_is_raised_when_no_machine_is_being_started_any_more(layout: Layout) -> None:
    bad = cold(layout, "bad")
    dead = Command(("sh", "-c", "echo no such luck >&2; exit 1"), space=Space.LAB)
    steps = [Start(bad.id, "bad", bad.name, dead, bad.log, bad.ready, "bad")]
    steps += [cold(layout, f"m{n}") for n in range(3 * machine_starts.at_once())]
    with pytest.raises(CommandFailed, match="no such luck"):
        machine_starts.start_all(layout, steps)
    # Those that have begun are complete, so that they can be undone; the last were never begun.
    begun = running(layout)
    assert begun == {f"vm-{path.name.partition('.')[0]}" for path in layout.run.glob("*.started")}
    assert f"vm-m{3 * machine_starts.at_once() - 1}" not in begun


def test_so_many_boot_at_a_time_and_no_more(layout: Layout) -> None:
    """One that boots has its turn until its agent answers, which is never here, or until it has ended."""
    bound, count = machine_starts.at_once(), machine_starts.at_once() + 2
    steps = []
    for n in range(count):
        one = cold(layout, f"m{n}")
        agent = layout.run / f"m{n}.agent"
        for end in ("in", "out"):
            os.mkfifo(f"{agent}.{end}")
        # QEMU has both pipes open; its guest does not speak.
        hold = f'exec 8<>{agent}.in 9<>{agent}.out; exec "$@"'
        argv = ("sh", "-c", hold, "sh", *one.command.argv)
        held = Command(argv, space=Space.LAB)
        steps.append(Start(one.id, one.reason, one.name, held, one.log, one.ready, one.machine, boots=agent))

    thread = threading.Thread(target=machine_starts.start_all, args=(layout, steps), daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while len(running(layout)) < bound:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)  # for one more to start, if it would
    assert running(layout) == {f"vm-m{n}" for n in range(bound)}
    with KeeperClient(layout.keeper) as client:
        for name in ("vm-m0", "vm-m1"):
            client.signal(name, 9)
    thread.join(60)
    assert not thread.is_alive()
    assert {f"vm-m{count - 2}", f"vm-m{count - 1}"} <= running(layout)
