"""`tcp:` one side connects to a port of another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from vmlan.model import HOST_SIDE, HubNetwork, TcpCheck, UserNetwork
from vmlan.observe.checks import aims
from vmlan.observe.checks.base import Aim, Attempt, Finding, Scene, judge
from vmlan.observe.checks.tools import cannot
from vmlan.observe.probes import probe

#: How long one connection may take to come about (seconds).
WAIT = 2


def find(check: TcpCheck, scene: Scene) -> Finding:
    """Connect to each address that is meant, until it is as it should be, or patience ends."""
    return judge(check, lambda: _aims(check, scene))


def _aims(check: TcpCheck, scene: Scene) -> Sequence[Aim]:
    if check.source == HOST_SIDE and (ports := _forwards(check, scene)):
        scene.must_run(check.target)
        return [partial(_probe, check, scene, "127.0.0.1", port, "forwarded") for port in ports]
    return [partial(_probe, check, scene, address, check.port) for address in aims.addresses(check, scene)]


def _forwards(check: TcpCheck, scene: Scene) -> list[int]:
    """The host side's ports that lead to the target's, where it has no address that the host side reaches."""
    chosen = aims.meant(check.target, check.source, check.via, scene.links)
    if any(link.interface for link in chosen):
        return []
    return [
        forward.host_port
        for link in chosen
        if isinstance(link.network, UserNetwork | HubNetwork)
        for forward in link.network.forward
        if forward.protocol == "tcp" and forward.guest_port == check.port
    ]


def _probe(check: TcpCheck, scene: Scene, address: str, port: int, *how: str) -> Attempt:
    if check.source == HOST_SIDE:
        command = probe("tcp", address, str(port), *how)
    else:
        command = _guest_command(check.source, scene, address, port)
    said = scene.hands.run(check.source, command, WAIT + 10.0)
    if said.ok:
        words = f"{address} accepts connections on port {port}"
    else:
        marks = ("efused", "imed out", "nreachable", "o route", "port", "connect")
        words = said.line(*marks) if said.words.strip() else f"no answer within {WAIT} s"
    return Attempt(f"{address}:{port}", command, said.ok, words)


def _guest_command(machine: str, scene: Scene, address: str, port: int) -> tuple[str, ...]:
    """What opens and closes one connection in a guest, with what it has."""
    tools = scene.hands.tools(machine)
    if tools.get("nc") == "busybox":
        # It has no -z. With -e it becomes that program once it is connected, and so ends well.
        return ("nc", "-w", str(WAIT), address, str(port), "-e", "true")
    if "nc" in tools:
        return ("nc", "-z", "-v", "-w", str(WAIT), address, str(port))
    if "bash" in tools:
        return ("timeout", str(WAIT), "bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', address, str(port))
    raise cannot(machine, ("nc", "bash"))
