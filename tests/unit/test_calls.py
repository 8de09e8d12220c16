"""System calls that a guest is told to do: the program itself, run here with calls that change nothing."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import time
from pathlib import Path

import pytest

from vmlan.guest import calls, elf, rtnetlink

_SYS_GETPID, _SIOCGIFINDEX = 39, 0x8933


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "calls"
    path.write_bytes(calls.program())
    path.chmod(0o755)
    return path


def test_it_does_one_call_after_the_other_and_says_what_each_returned(program: Path) -> None:
    request = calls.Request()
    request.call(calls.WRITE, 2, b"hello\n", 6)
    request.call(_SYS_GETPID)
    # The socket that it opens first has the lowest number that is free.
    asked = request.call(calls.IOCTL, 3, _SIOCGIFINDEX, b"lo".ljust(40, b"\0"))
    request.call(calls.WRITE, 77, b"nowhere", 7)
    request.reply()
    request.call(calls.EXIT_GROUP, 7)
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        sent = request.built()
        for piece in (sent[:3], sent[3:11], sent[11:]):  # as a port may hand it on
            process.stdin.write(piece)
            process.stdin.flush()
            time.sleep(0.02)
        reply, said = process.stdout.read(), process.stderr.read()
    assert process.returncode == 7 and said == b"hello\n"
    assert len(reply) == len(sent)
    results = request.results(reply)
    assert results.numbers[:4] == (6, process.pid, 0, -9)
    assert results.written[asked][0][16:20] == (1).to_bytes(4, "little")  # interface 1 is lo


def test_one_request_follows_the_other_and_the_end_ends_it(program: Path) -> None:
    request = calls.Request()
    request.call(_SYS_GETPID)
    request.reply()
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(3):
            process.stdin.write(request.built())
            process.stdin.flush()
            reply = process.stdout.read1()
            assert request.results(reply).numbers[0] == process.pid
        process.stdin.close()
        assert process.wait(10) == 1


def test_a_call_that_fails_is_done_again_until_it_does_not(program: Path, tmp_path: Path) -> None:
    request, late = calls.Request(), tmp_path / "late"
    request.call(calls.NANOSLEEP, struct.pack("=qq", 0, 10_000_000), 0)
    looked = request.call(calls.ACCESS, f"{late}\0".encode(), 0, again=1)
    never = request.call(calls.ACCESS, b"/nowhere\0", 0)
    request.reply()
    request.call(calls.EXIT_GROUP, 0)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(request.built())
        process.stdin.flush()
        time.sleep(0.1)
        assert select.select([process.stdout], [], [], 0) == ([], [], [])
        late.touch()
        results = request.results(process.stdout.read())
    assert (results.numbers[looked], results.numbers[never]) == (0, -2)


def test_what_has_no_room_is_refused() -> None:
    request = calls.Request()
    request.call(calls.WRITE, 1, bytes(40000), 40000)
    with pytest.raises(calls.TooLong):
        request.built()


def test_it_is_a_static_program() -> None:
    assert elf.interpreter(calls.program()) is None and elf.needed(calls.program()) == ()


def test_an_error_of_the_kernel_is_told() -> None:
    messages = rtnetlink.numbered([rtnetlink.up(2), rtnetlink.up(3)])
    second = messages[len(messages) // 2 :]
    answer = b"\x24\0\0\0\2\0" + bytes(10) + (-19).to_bytes(4, "little", signed=True) + second[:16]
    assert rtnetlink.first_error(answer) == (1, f"{os.strerror(19)} (ENODEV)")
    assert rtnetlink.first_error(bytes(256)) is None and rtnetlink.first_error(b"") is None
