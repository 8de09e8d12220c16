"""What is the case in a running lab, as the kernel and the guests tell: asked when needed, and once.

Whatever cannot be told is None, or empty: a trace goes on with what it knows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import Any

from vmlan.catalogue import has_agent
from vmlan.errors import VmlanError
from vmlan.guest.agent import Agent, GuestNic
from vmlan.host import enter
from vmlan.host.run import Result
from vmlan.model import HOST_SIDE
from vmlan.observe import cables
from vmlan.observe.checks.base import Scene
from vmlan.observe.links import OUTSIDE
from vmlan.observe.trace import stations
from vmlan.observe.trace.stations import INTERNET, STACK, Map, Port
from vmlan.plan import topology as topo

#: How long a guest may take to answer one question (seconds).
_ASK = 2.0


@dataclass(frozen=True)
class Route:
    """Where a station would send a packet: the interface, the router if there is one, the source address."""

    device: str
    via: str | None
    source: str | None = None


@dataclass(frozen=True)
class NoRoute:
    """A station knows no way; its words."""

    words: str


class World:
    """A running lab, for one trace. Methods that ask may take some hundredths of a second each."""

    def __init__(self, scene: Scene, map: Map) -> None:
        self.scene = scene
        self.map = map
        self.ask_guest = cache(self._ask_guest)
        self.nics = cache(self._nics)
        self.on_host = cache(self._on_host)
        self.commandable = cache(self._commandable)
        self.runs = cache(self._runs)

    # Machines

    def _runs(self, machine: str) -> bool:
        kept = enter.machine_process(self.scene.layout, machine)
        return kept is not None and kept.exit is None

    def _commandable(self, machine: str) -> bool:
        """Whether a machine's guest takes commands: one that should have an agent is given more time."""
        described = self.scene.lab.machine(machine)
        known = described is not None and has_agent(described)
        try:
            with Agent(self.scene.layout.machine(machine).agent, machine, 2.5 if known else 1.0) as agent:
                agent.call("guest-ping")
        except VmlanError:
            return False
        return True

    def _ask_guest(self, machine: str, *argv: str) -> Result | None:
        """What a command in a guest says; None where none can be run."""
        if not self.commandable(machine):
            return None
        try:
            with Agent(self.scene.layout.machine(machine).agent, machine) as agent:
                done = agent.run(argv, timeout=_ASK)
        except VmlanError:
            return None
        return Result(tuple(argv), done.code, done.stdout, done.stderr)

    def _nics(self, machine: str) -> tuple[GuestNic, ...]:
        if not self.commandable(machine):
            return ()
        try:
            return self.scene.hands.nics(machine)
        except VmlanError:
            return ()

    def guest_device(self, port: Port) -> str | None:
        """What a NIC is called in its guest."""
        assert port.nic is not None
        return next((nic.name for nic in self.nics(port.station) if nic.mac == port.nic.mac), None)

    def plugged(self, port: Port) -> bool:
        """Whether a NIC's cable is in, as far as it can be told."""
        assert port.nic is not None
        found = cables.plugged(port.station, (port.nic,), self.scene.layout)
        return found.get(port.nic.index, True)

    # The host side

    def _on_host(self, *argv: str) -> Result:
        return enter.run_on_host_side(self.scene.layout, argv)

    def _json(self, *argv: str) -> list[Any]:
        done = self.on_host(*argv)
        try:
            found = json.loads(done.stdout) if done.ok and done.stdout.strip() else []
        except ValueError:
            return []
        return found if isinstance(found, list) else []

    @cached_property
    def interfaces(self) -> dict[str, dict[str, Any]]:
        """The host side's interfaces with their addresses (`ip -j addr`), by name."""
        return {str(row["ifname"]): row for row in self._json("ip", "-j", "addr")}

    @cached_property
    def ruleset(self) -> list[dict[str, Any]]:
        """The host side's rules (`nft -j list ruleset`)."""
        done = self.on_host("nft", "-j", "list", "ruleset")
        try:
            return list(json.loads(done.stdout)["nftables"])
        except (ValueError, KeyError, TypeError):
            return []

    def unresolved(self, station: str, address: str) -> bool:
        """Whether the host side, or a guest, has asked for a neighbour's MAC before, and been told none.

        Linux asks three times, a second apart, and not anew for each packet (arp(7), mcast_solicit).
        """
        words = ("ip", "neigh", "show", address)
        if station != HOST_SIDE and self.scene.lab.machine(station) is None:
            return False
        said = self.on_host(*words) if station == HOST_SIDE else self.ask_guest(station, *words)
        return said is not None and bool({"INCOMPLETE", "FAILED"} & set(said.stdout.split()))

    def switched_on(self, device: str) -> bool:
        """Whether an interface of the host side is there and up."""
        row = self.interfaces.get(device)
        return row is not None and "UP" in row.get("flags", ())

    def sysctl(self, name: str) -> str:
        """A kernel's switch on the host side; empty where there is none."""
        done = self.on_host("sysctl", "-n", name)
        return done.stdout.strip() if done.ok else ""

    def forwards(self, address: str) -> bool:
        """Whether the host side passes packets of an address' family on."""
        six = ip_address(address).version == 6
        return self.sysctl("net.ipv6.conf.all.forwarding" if six else "net.ipv4.ip_forward") == "1"

    # Both

    def addresses(self, station: str) -> dict[str, str]:
        """The addresses that a station really has, and on which of its interfaces (a guest's: the MAC)."""
        if station == HOST_SIDE:
            return {
                str(info["local"]): name
                for name, row in self.interfaces.items()
                for info in row.get("addr_info", ())
                if "local" in info
            }
        return {str(each.ip): nic.mac for nic in self.nics(station) for each in _addresses(nic)}

    def owns(self, station: str, address: str) -> bool:
        """Whether a station takes a packet for an address as its own."""
        if station == OUTSIDE:
            return stations.outside_has(address)
        if station in (STACK, INTERNET):
            return True
        if station == HOST_SIDE:
            return address in self.addresses(station)
        return address in self.addresses(station) or address in self.meant(station)

    def meant(self, station: str) -> dict[str, int]:
        """The addresses that a machine is to have, by the lab; and the link of each."""
        return {
            str(each.ip): port.link
            for port in self.map.of(station)
            if port.nic is not None
            for each in (port.nic.address, port.nic.address6)
            if each is not None
        }

    def port_of(self, address: str, segment: str, asker: Port) -> Port | None:
        """Who has, or should have, an address on a segment."""
        others = [port for port in self.map.ports if port.segment == segment and port != asker]
        for port in others:
            if port.nic is not None and address in {
                str(each.ip) for each in (port.nic.address, port.nic.address6) if each is not None
            }:
                return port
        for port in others:
            if self._has_there(port, address):
                return port
        return next((port for port in others if self._planned_there(port, address)), None)

    def _has_there(self, port: Port, address: str) -> bool:
        if port.station == HOST_SIDE:
            return self.addresses(HOST_SIDE).get(address) == port.device
        if port.nic is not None:
            settled = port.nic.address is not None and ip_address(address).version == 4
            return not settled and self.addresses(port.station).get(address) == port.nic.mac
        if port.station == STACK:
            return stations.stack_has(address)
        if port.station == INTERNET:
            return True
        return stations.outside_has(address)

    def _planned_there(self, port: Port, address: str) -> bool:
        """Whether the host side should have an address there, and has not."""
        network = self.scene.lab.network(port.segment)
        if port.station != HOST_SIDE or network is None:
            return False
        own = (topo.host_address(network), topo.host_address6(network))
        return address in {str(each.ip) for each in own if each is not None}

    def route(self, station: str, address: str, source: str | None, came: Port | None) -> Route | NoRoute:
        """Where a station would send a packet for an address, that came in by a port, or is its own."""
        if station == HOST_SIDE:
            return self._host_route(address, source, came)
        if station == OUTSIDE:
            if stations.outside_reaches(address):
                return Route(topo.OUTSIDE_NIC, None)
            return NoRoute(f"{topo.OUTSIDE_ROUTER.ip} has no route to {address}")
        if station in (STACK, INTERNET):
            return NoRoute(f"nothing is known of what is beyond {station}")
        return self._guest_route(station, address)

    def _host_route(self, address: str, source: str | None, came: Port | None) -> Route | NoRoute:
        question: tuple[str, ...] = ("ip", "route", "get", address)
        if came is not None and came.device and source and self.forwards(address):
            asked = self.on_host(*question, "from", source, "iif", came.device)
            # Where the kernel would not even take it in, the reason is told elsewhere (rp_filter).
            if asked.ok or "nreachable" in asked.stderr:
                return _route(asked)
        elif came is None and source is not None:
            question = (*question, "from", source)
        return _route(self.on_host(*question))

    def _guest_route(self, machine: str, address: str) -> Route | NoRoute:
        asked = self.ask_guest(machine, "ip", "route", "get", address)
        if asked is not None and (asked.ok or "RTNETLINK answers" in asked.stderr):
            return _route(asked)
        return self._meant_route(machine, address)

    def _meant_route(self, machine: str, address: str) -> Route | NoRoute:
        """What the lab says of a guest's routes, where the guest itself cannot be asked."""
        ports = [port for port in self.map.of(machine) if port.nic is not None]
        for port in ports:
            assert port.nic is not None
            for own in (port.nic.address, port.nic.address6):
                if own is not None and ip_address(address) in own.network:
                    return Route(self.guest_device(port) or f"NIC {port.nic.index}", None, str(own.ip))
        for port in ports:
            assert port.nic is not None
            gateway = port.nic.gateway if ip_address(address).version == 4 else port.nic.gateway6
            if gateway is not None:
                return Route(self.guest_device(port) or f"NIC {port.nic.index}", str(gateway))
        return NoRoute(f"nothing is known of {machine}'s routes")

    def port(self, station: str, device: str) -> Port | None:
        """A station's port, by the name that its own routes call it."""
        for port in self.map.of(station):
            if port.nic is None:
                if port.device == device or station not in (HOST_SIDE, OUTSIDE):
                    return port
            elif device in (self.guest_device(port), f"NIC {port.nic.index}"):
                return port
        return None


def _addresses(nic: GuestNic) -> tuple[IPv4Interface | IPv6Interface, ...]:
    return (*nic.addresses, *nic.addresses6)


_ROUTE = re.compile(r"\bdev (\S+)")


def _route(asked: Result) -> Route | NoRoute:
    """What `ip route get` says (ip-route(8); busybox alike)."""
    if not asked.ok:
        lines = [line for line in asked.stderr.splitlines() if line.strip()]
        return NoRoute(lines[-1].removeprefix("RTNETLINK answers: ") if lines else "no route")
    device = _ROUTE.search(asked.stdout)
    if device is None or re.match(r"(unreachable|blackhole|prohibit)\b", asked.stdout):
        return NoRoute(asked.stdout.splitlines()[0].strip() if asked.stdout else "no route")
    via = re.search(r"\bvia (?:inet6? )?(\S+)", asked.stdout)
    source = re.search(r"\bsrc (\S+)", asked.stdout)
    return Route(device[1], via[1] if via else None, source[1] if source else None)
