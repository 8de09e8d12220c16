"""`vmlan console`."""

from __future__ import annotations

import fcntl
import os
import re
import select
import socket
import sys
import termios
import tty
from pathlib import Path
from typing import IO

import click

from vmlan.cli import common
from vmlan.errors import Busy, NotRunning
from vmlan.host import kept_lab, lab_file, paths
from vmlan.plan.layout import MachineFiles

#: Ctrl-], as in telnet(1) and virsh(1).
LEAVE = b"\x1d"

#: What a guest's shell asks of a terminal, and what that would answer into the input.
QUESTIONS = re.compile(rb"\x1b\[[0-9;?>]*[nc]")

#: How much of what was said before is shown on arrival (bytes): about a screen.
SHOWN = 1500


@click.command("console")
@common.file_option
@click.argument("machine")
def command(file: Path | None, machine: str) -> None:
    """MACHINE's serial console. Ctrl-] leaves it; the machine goes on.

    If standard input is not a terminal, it is typed into the console, and we leave at its end.
    """
    path = lab_file.find_file(file)
    lab_file.machine(kept_lab.load(path, paths.layout(path)), machine)
    attach(paths.layout(path).machine(machine), machine, f"{machine}'s console; Ctrl-] leaves it")


def attach(files: MachineFiles, machine: str, greeting: str, *, stay: bool = False) -> None:
    """Join this terminal, or standard input and output, with a machine's serial console until it is left.

    `stay`: at the end of standard input, go on until the machine ends. Raises `NotRunning`, or `Busy` if
    somebody else is there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(str(files.serial))
        except OSError:
            raise NotRunning(f"machine {machine} is not running", hint="vmlan up") from None
        held = _hold(files.serial_log, machine)
        print(greeting, file=sys.stderr)
        _show_earlier(held)
        if sys.stdin.isatty():
            _terminal(line)
        else:
            _relay(line, sys.stdin.fileno(), stay=stay)


def _hold(log: Path, machine: str) -> IO[bytes]:
    """The console is for one at a time: QEMU would keep what a second one types for later."""
    held = log.open("rb")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        raise Busy(f"somebody is at {machine}'s console already", hint="Ctrl-] leaves it") from None
    return held


def _show_earlier(log: IO[bytes]) -> None:
    """What was said last, without questions to the terminal (ECMA-48, DSR and DA): it would answer."""
    sys.stdout.buffer.write(QUESTIONS.sub(b"", log.read()[-SHOWN:]))
    sys.stdout.flush()


def _terminal(line: socket.socket) -> None:
    """Every key goes to the guest as it is typed; the terminal is as it was when we leave."""
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        _relay(line, 0)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        print(file=sys.stderr)


def _relay(line: socket.socket, keys: int, *, stay: bool = False) -> None:
    """Pass bytes both ways until Ctrl-], the end of the input (unless `stay`), or the end of the machine."""
    sources = [line.fileno(), keys]
    while True:
        readable, _, _ = select.select(sources, [], [], None if keys in sources else 1.0)
        if line.fileno() in readable:
            said = line.recv(65536)
            if not said:
                print("\r\nthe machine has ended", file=sys.stderr)
                return
            _write_all(1, said if os.isatty(keys) else QUESTIONS.sub(b"", said))
        elif not readable and not stay:
            return  # the input had ended, and the guest has said what it had to say
        if keys in readable:
            typed = os.read(keys, 4096)
            before, leave, _ = typed.partition(LEAVE)
            line.sendall(before)
            if leave:
                return
            if not typed:
                sources.remove(keys)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
