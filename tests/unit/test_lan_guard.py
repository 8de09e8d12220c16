"""The guard's parts that need no network: its journal, what it hears, how it is started, what it stands on."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import vmlan.host.lan.guard
from tests.unit.test_lan_lines import address, host
from tests.unit.test_lan_snapshot import BUSY
from vmlan.errors import HostError, RequestError
from vmlan.host.lan import book, claims, client, gather, lease, proof, watch
from vmlan.plan.lan_facts import Connection

GUARD = Path(vmlan.host.lan.guard.__file__)


def record(**more: object) -> book.Record:
    given = {
        "lab": "test", "nic": "no-such-nic", "bridge": "br0", "snapshot": BUSY, "confirm_within": 5.0,
        "commands": ((("ip", "-batch", "-"), "link add\n"),), "then": ("true",), "boot": book.boot_id(),
        "namespace": book.network_namespace(),
    }  # fmt: skip
    return book.Record(**{**given, **more})  # type: ignore[arg-type]


def test_it_stands_on_the_standard_library_alone() -> None:
    code = f"""
import runpy, sys
sys.stdin.close()
sys.path.append({str(GUARD.parents[3])!r})
runpy.run_path({str(GUARD)!r}, run_name="not-main")
strange = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names) - {{"vmlan", "__main__"}}
print(strange or "", sorted(name for name in sys.modules if name.startswith("vmlan.plan.steps")))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]"], done.stdout


def test_a_journal_says_how_far_it_came(tmp_path: Path) -> None:
    assert book.read(tmp_path) is None
    book.begin(tmp_path, record())
    story = book.read(tmp_path)
    assert story is not None and story.state == "armed" and not story.changed_anything and not story.is_void()
    assert story.record == book.Record.from_json(json.loads(json.dumps(record().to_json())))
    assert story.record.commands == record().commands
    for state in ("changing", "changed", "waiting"):
        book.add(tmp_path, state)
    story = book.read(tmp_path)
    assert story is not None and story.state == "waiting" and story.changed_anything and not story.released
    book.add(tmp_path, "waiting", released=True)
    with (tmp_path / book.JOURNAL).open("ab") as file:
        file.write(b'{"state": "kep')  # a crash
    story = book.read(tmp_path)
    assert story is not None and story.state == "waiting" and story.released
    book.forget(tmp_path)
    assert book.read(tmp_path) is None


def test_a_disk_that_fills_up_is_an_error_and_spoils_no_later_line(tmp_path: Path) -> None:
    """write(2) says at first that it wrote a part. A limit of the kernel's own stands for the disk's."""
    book.begin(tmp_path, record())
    size = (tmp_path / book.JOURNAL).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            book.begin(tmp_path, record(then=("x" * 100,)))
        with pytest.raises(OSError, match="File too large"):
            book.add(tmp_path, "changing")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / book.JOURNAL).stat().st_size == size + 10
    book.add(tmp_path, "undoing")
    story = book.read(tmp_path)
    assert story is not None and story.record == record()
    assert story.state == "undoing" and not story.changed_anything


def test_one_guard_has_a_nic_and_a_stranger_cannot_keep_it_from_it() -> None:
    name = f"no-such-nic-{os.getpid()}"
    first = claims.claim(name)
    assert first is not None and claims.claim(name) is None
    first.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.bind(f"\0vmlan/nic/{name}")  # as anybody can; but it is no root who listens there
        found = claims.claim(name)
        assert found is not None
        found.close()


@pytest.mark.parametrize("text", [b"", b"\n", b"{}\n", b"[1]\n", b"nonsense\n", b'{"lab": 1}\n'])
def test_what_is_no_journal_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / book.JOURNAL).write_bytes(text)
    assert book.read(tmp_path) is None


def test_a_change_of_another_boot_is_void_and_forgotten(tmp_path: Path) -> None:
    book.begin(tmp_path, record(boot="another"))
    book.add(tmp_path, "kept")
    status = client.status(tmp_path)
    assert status is not None and status.state == "void"
    assert client.recorded(tmp_path) is None
    assert not client.rollback(tmp_path).changed
    assert book.read(tmp_path) is None


def test_nothing_is_confirmed_where_nothing_waits(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no NIC of this lab waits"):
        client.confirm(tmp_path, None)


def test_a_change_that_never_began_is_undone_by_forgetting_it(tmp_path: Path) -> None:
    book.begin(tmp_path, record(then=()))
    report = client.recover(tmp_path)
    assert report is not None and not report.changed and report.residue == ()
    assert client.rollback(tmp_path).changed is False
    assert not (tmp_path / book.JOURNAL).exists()


def test_where_no_guard_can_be_had_nothing_is_changed(tmp_path: Path) -> None:
    folder = tmp_path / ("a-path-that-is-too-long-for-a-socket-" * 3)
    request = client.Request(folder, "no-such-nic", "br0", "test", BUSY, (), 5.0)
    with pytest.raises(HostError, match="could not be set up: .*AF_UNIX path too long"):
        client.apply(request)
    assert client.status(folder) is None


FAILS = '#!/bin/sh\necho "$@" >> "$0.called"\nexit 1\n'
WORKS = '#!/bin/sh\necho "$@" >> "$0.called"\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'


@pytest.mark.parametrize("script", [FAILS, WORKS])
def test_where_systemd_runs_it_is_asked_for_a_scope_and_can_be_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    fake = tmp_path / "systemd-run"
    fake.write_text(script)
    fake.chmod(0o755)
    monkeypatch.setattr(client, "SEARCH_PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(client, "_has_systemd", lambda: True)
    folder = tmp_path / "lan"
    folder.mkdir()
    book.begin(folder, record(then=()))
    assert client.recover(folder) is not None
    assert "--scope --quiet --collect" in (tmp_path / "systemd-run.called").read_text()


# What is heard


def test_ssh_connection() -> None:
    assert proof.of_session("203.0.113.68 50000 198.51.100.50 22") == Connection(
        "198.51.100.50", 22, "203.0.113.68", 50000
    )
    assert proof.of_session("fe80::2%eth0 50000 fe80::1%eth0 22") == Connection(
        "fe80::1", 22, "fe80::2", 50000
    )
    for text in (None, "", "a b c d", "1 2 3"):
        assert proof.of_session(text) is None


def test_the_session_of_a_process_is_that_of_its_parents() -> None:
    code = "import os; from vmlan.host.lan import proof; print(proof.session_of(os.getpid()))"
    words = ["env", "-u", "SSH_CONNECTION", sys.executable, "-c", code]  # as sudo does
    env = {**os.environ, "SSH_CONNECTION": "203.0.113.68 1 198.51.100.50 22"}
    shell = ["sh", "-c", '"$@"; true', "sh", *words]
    done = subprocess.run(shell, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "203.0.113.68 1 198.51.100.50 22"


def test_established_connections_are_read_as_the_kernel_prints_them() -> None:
    assert gather._endpoint("0100007F:1F90") == ("127.0.0.1", 8080)
    assert gather._endpoint("0000000000000000FFFF00000100007F:0016") == ("127.0.0.1", 22)
    assert gather._endpoint("B80D0120000000000000000001000000:0016") == ("2001:db8::1", 22)


def test_an_answer_to_arp() -> None:
    frame = bytes.fromhex("525400aa0001525400bb0001080600010800060400 02".replace(" ", ""))
    frame += bytes.fromhex("525400bb0001c6336401525400aa0001c6336432")
    assert proof._arp_reply(frame) == ("198.51.100.1", "52:54:00:bb:00:01")
    assert proof._arp_reply(frame[:20] + b"\x00\x01" + frame[22:]) is None and proof._arp_reply(b"") is None


def test_a_neighbour_advertisement() -> None:
    target = bytes.fromhex("20010db8000000000000000000000001")
    body = b"\x88\0\0\0\x60\0\0\0" + target + b"\x02\x01\x52\x54\0\xbb\0\x01"
    assert proof._advertisement(body) == ("2001:db8::1", "52:54:00:bb:00:01")
    assert proof._advertisement(body[:24]) is None and proof._advertisement(b"\x86" + body[1:]) is None


def test_dhcp_options() -> None:
    assert lease._options(b"\x35\x01\x05\x00\x33\x04\x00\x00\x0e\x10\xff\x01") == {
        53: b"\x05",
        51: b"\x00\x00\x0e\x10",
    }
    assert lease._options(b"\x35\x09\x05") == {53: b"\x05"} and lease._options(b"") == {}
    request = lease._request(b"abcd", bytes(6), "198.51.100.50")
    assert len(request) == 300 and request[12:16] == bytes([198, 51, 100, 50])
    assert lease._options(request[240:])[53] == b"\x03"


def test_leases_are_renewed_again_and_again_until_the_change_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = address("198.51.100.50", 24, valid_life_time=600, preferred_life_time=300)
    change = record(nic="eth0", snapshot=host([info, address("198.51.100.51", 24)]))
    assert lease.leased(change) == [info]
    book.begin(tmp_path, change)
    book.add(tmp_path, "kept")
    asked: list[str] = []

    def renew(of: book.Record, which: Mapping[str, object], within: float) -> int | None:
        asked.append(str(which["local"]))
        if len(asked) == 2:
            raise OSError("no network for a moment")
        if len(asked) == 3:
            book.add(tmp_path, "undoing")
        return None

    monkeypatch.setattr(lease, "_LOOK", 0.001)
    monkeypatch.setattr(lease, "_half", lambda *_: 0.0)
    monkeypatch.setattr(lease, "renew", renew)
    lease.stay(tmp_path, change)
    assert asked == ["198.51.100.50"] * 3


def test_a_group_of_which_nobody_lives_is_not_waited_for() -> None:
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    watch.end_group(child.pid)  # it stays a zombie of ours until it is waited for
    assert child.wait() == -9
    watch.end_group(child.pid)
