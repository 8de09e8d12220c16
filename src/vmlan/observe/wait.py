"""Waiting for something of one machine: its agent, an address, an open port, words that it shows."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vmlan.errors import NotRunning, RequestError, Timeout
from vmlan.guest.agent import Agent
from vmlan.host import enter
from vmlan.model import HubNetwork, Lab, UserNetwork
from vmlan.observe import ready, screen
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout, MachineFiles

#: How often a condition is looked at again (seconds); a screen less often, as a look takes longer.
PAUSE, SCREEN_PAUSE = 0.1, 0.5


#: What a terminal does not show (ECMA-48, VT100): the cursor being put somewhere; colours, character
#: sets, control characters.
_MOVES = re.compile(r"\x1b\[[0-9;]*[Hf]")
_UNSEEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][0-9A-B]|\x1b[78=>DEM]|[\x00-\x08\x0e-\x1a]")


@dataclass(frozen=True)
class Condition:
    """What to wait for; `value` is the port's number, or the text."""

    kind: Literal["agent", "address", "port", "text", "screen"]
    value: str = ""


def parse(text: str) -> Condition:
    """A condition as it is written on the command line. Raises `RequestError`."""
    kind, colon, value = text.partition(":")
    if kind == "agent" and not colon:
        return Condition("agent")
    if kind == "address" and not colon:
        return Condition("address")
    if kind == "port" and value.isascii() and value.isdigit() and 0 < int(value) < 65536:
        return Condition("port", value)
    if kind == "text" and value:
        return Condition("text", value)
    if kind == "screen" and value:
        return Condition("screen", value)
    raise RequestError(
        f"'{text}' is no condition", hint="agent, address, port:80, text:login or screen:login"
    )


def wait(condition: Condition, lab: Lab, machine: str, layout: Layout, timeout: float) -> str:
    """Wait, and return the evidence. Raises `Timeout`, or `NotRunning` if there is nothing to wait for."""
    kept = enter.machine_process(layout, machine)
    if kept is None or kept.exit is not None:
        raise (
            ready.ended(machine, layout.machine(machine))
            if kept
            else NotRunning(f"machine {machine} is not running")
        )
    deadline = time.monotonic() + timeout
    looks: dict[str, Callable[[], str | None]] = {
        "agent": lambda: _agent(machine, layout, deadline),
        "address": lambda: _address(lab, machine, layout, deadline),
        "port": lambda: _port(lab, machine, layout, int(condition.value)),
        "text": lambda: _text(machine, layout, condition.value),
        "screen": lambda: _screen(machine, layout, condition.value),
    }
    while True:
        evidence = looks[condition.kind]()
        if evidence is not None:
            return evidence
        if time.monotonic() > deadline:
            what = f"{condition.kind}{':' if condition.value else ''}{condition.value}"
            look = "screen" if condition.kind == "screen" else "console"
            raise Timeout(
                f"machine {machine}: no {what} within {timeout:g} s", hint=f"vmlan {look} {machine}"
            )
        time.sleep(SCREEN_PAUSE if condition.kind == "screen" else PAUSE)


def _agent(machine: str, layout: Layout, deadline: float) -> str | None:
    try:
        Agent(layout.machine(machine).agent, machine, max(0.1, deadline - time.monotonic())).close()
    except Timeout:
        return None
    return f"{machine}: the agent answers"


def _address(lab: Lab, machine: str, layout: Layout, deadline: float) -> str | None:
    links = topo.survey(lab).of(machine)
    try:
        with Agent(layout.machine(machine).agent, machine, max(0.1, deadline - time.monotonic())) as agent:
            found = ready.addresses(links, agent.nics())
    except Timeout:
        return None
    return f"{machine}: {', '.join(address for _, address in found)}" if found else None


def _text(machine: str, layout: Layout, text: str) -> str | None:
    line = serial_line(layout.machine(machine), text)
    return f"{machine}: {line}" if line is not None else None


def serial_line(files: MachineFiles, text: str) -> str | None:
    """The line on the serial console with these words, since the machine was started.

    A program that draws (an installer's dialog) moves the cursor: what it then writes is a line of its own.
    """
    try:
        said = files.serial_log.read_text(errors="replace")
    except FileNotFoundError:
        return None
    plain = _UNSEEN.sub("", _MOVES.sub("\n", said))
    return next((line.strip() for line in plain.splitlines() if text in line), None)


def _screen(machine: str, layout: Layout, text: str) -> str | None:
    line = screen.line_with(text, machine, layout.machine(machine))
    return f"{machine}: {line}" if line is not None else None


#: Tries one TCP connection, from the host side; run there by this interpreter, without any of our modules.
#: Who forwards a port accepts before it knows whether the guest does, and then hangs up at once: so an
#: open port is one whose connection lasts, or says something.
_CONNECT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 1) as line:
    line.settimeout(0.5)
    try:
        sys.exit(0 if line.recv(1) else 1)
    except TimeoutError:
        pass
"""


def _port(lab: Lab, machine: str, layout: Layout, port: int) -> str | None:
    """A TCP port that the host side can connect to: by the machine's address, or through its forward."""
    for address, number in _ways_to(lab, machine, layout, port):
        argv = (sys.executable, "-I", "-S", "-c", _CONNECT, address, str(number))
        if enter.run_on_host_side(layout, argv).ok:
            return f"{machine}: {address} accepts connections on port {number}"
    return None


def _ways_to(lab: Lab, machine: str, layout: Layout, port: int) -> list[tuple[str, int]]:
    ways: list[tuple[str, int]] = []
    for link in topo.survey(lab).of(machine):
        if isinstance(link.network, UserNetwork | HubNetwork):
            forwards = (
                each for each in link.network.forward if each.protocol == "tcp" and each.guest_port == port
            )
            ways += [("127.0.0.1", each.host_port) for each in forwards]
        elif getattr(link.network, "host", None) and link.address:
            ways.append((str(link.address.ip), port))
    if not ways:
        raise RequestError(
            f"the host side has no way to machine {machine}'s port {port}",
            hint="put it on a tap or bridge network with a host: address, or forward: the port",
        )
    return ways
