"""`tcp:` one side connects to a port of another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from vmlan.errors import GuestError
from vmlan.model import HOST_SIDE, HubNetwork, TcpCheck, UserNetwork
from vmlan.observe.checks import aims
from vmlan.observe.checks.base import Aim, Attempt, Finding, NothingToTry, Scene, judge
from vmlan.observe.checks.sought import Syn, any_port
from vmlan.observe.checks.tools import Said, cannot
from vmlan.observe.checks.watch import Watch
from vmlan.observe.probes import probe

#: How long one connection may take to come about (seconds).
WAIT = 2

#: How many ports are tried that a connection could come from.
_PORTS_TRIED = 3


def find(check: TcpCheck, scene: Scene, watch: Watch | None = None) -> Finding:
    """Connect to each address that is meant, until it is as it should be, or patience ends."""
    return judge(check, lambda: _aims(check, scene, watch))


def _aims(check: TcpCheck, scene: Scene, watch: Watch | None) -> Sequence[Aim]:
    if check.source == HOST_SIDE and (ports := _forwards(check, scene)):
        scene.must_run(check.target)
        if watch is not None:
            raise NothingToTry(
                f"the way to {check.target} is a port that QEMU forwards, with a connection of its own: it "
                "cannot be told from others"
            )
        return [partial(_probe, check, scene, "127.0.0.1", port, "forwarded") for port in ports]
    every = aims.addresses(check, scene)
    if watch is not None:
        signed = _Signed(check, scene, watch)
        return [partial(signed.probe, address) for address in every]
    return [partial(_probe, check, scene, address, check.port) for address in every]


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


class _Signed:
    """Connections that come from a port drawn by lot: another one after each that was made.

    What a guest has may let no port be chosen (busybox's nc, bash): then its MAC is what they are known by.
    """

    def __init__(self, check: TcpCheck, scene: Scene, watch: Watch) -> None:
        self._check = check
        self._scene = scene
        self._watch = watch
        self._port: int | None = any_port() if _chooses_port(check.source, scene) else None
        macs = frozenset(link.mac for link in scene.links.of(check.source))
        self._macs = None if check.source == HOST_SIDE else macs

    def probe(self, address: str) -> Attempt:
        """One connection."""
        check = self._check
        for _ in range(_PORTS_TRIED):
            self._watch.sent(Syn(address, check.port, self._port, self._macs))
            attempt = _probe(check, self._scene, address, check.port, str(self._port or ""))
            in_use = not attempt.answered and "in use" in attempt.words
            # A connection that was ended is remembered for a while (TIME_WAIT, RFC 9293, 3.3.2).
            if self._port is not None and (attempt.answered or in_use):
                self._port = any_port()
            if not in_use:
                return attempt
        raise GuestError(f"cannot check: no free port in {check.source}")


def _probe(check: TcpCheck, scene: Scene, address: str, port: int, how: str = "") -> Attempt:
    """One connection; `how`: the port that it comes from, or "forwarded"."""
    if check.source == HOST_SIDE:
        command = probe("tcp", address, str(port), *([how] if how else []))
    else:
        command = _guest_command(check.source, scene, address, port, how)
    return _attempt(address, port, command, scene.hands.run(check.source, command, WAIT + 10.0))


def _attempt(address: str, port: int, command: tuple[str, ...], said: Said) -> Attempt:
    if said.ok:
        words = f"{address} accepts connections on port {port}"
    else:
        marks = ("in use", "efused", "imed out", "nreachable", "o route", "port", "connect")
        words = said.line(*marks) if said.words.strip() else f"no answer within {WAIT} s"
    return Attempt(f"{address}:{port}", command, said.ok, words)


def _chooses_port(source: str, scene: Scene) -> bool:
    return source == HOST_SIDE or scene.hands.tools(source).get("nc") == "own"


def _guest_command(
    machine: str, scene: Scene, address: str, port: int, own_port: str = ""
) -> tuple[str, ...]:
    """What opens and closes one connection in a guest, with what it has."""
    tools = scene.hands.tools(machine)
    if tools.get("nc") == "busybox":
        # It has no -z. With -e it becomes that program once it is connected, and so ends well.
        return ("nc", "-w", str(WAIT), address, str(port), "-e", "true")
    if "nc" in tools:
        own = ("-p", own_port) if own_port else ()
        return ("nc", "-z", "-v", "-w", str(WAIT), *own, address, str(port))
    if "bash" in tools:
        return ("timeout", str(WAIT), "bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', address, str(port))
    raise cannot(machine, ("nc", "bash"))
