"""Who reaches whom, by ping and IPv4: the machines, the host side, and the simulated outside."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal, TypeAlias

from vmlan.errors import GuestError, VmlanError
from vmlan.guest.agent import NOT_FOUND, Agent
from vmlan.host import enter
from vmlan.model import HOST_SIDE, Lab, Uplink
from vmlan.observe.checks import aims
from vmlan.observe.checks.base import Scene
from vmlan.observe.checks.tools import Hands
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Space

#: The outside's name in the table: the file's word for it.
OUTSIDE = "outside"

#: So many sources ask at once: more would keep a small machine from answering.
AT_ONCE = 8

#: How long all of a source's pings may take together (seconds).
_LIMIT = 60.0

#: Pings each address at once, twice where the first is lost, and names those that answer.
_PING_ALL = """
for address; do
  { ping -c 1 -W 2 "$address" || ping -c 1 -W 2 "$address"; } </dev/null >/dev/null 2>&1 && echo "$address" &
done
wait
"""

Verdict: TypeAlias = Literal["reachable", "unreachable", "itself", "no address", "not tried"]


@dataclass(frozen=True)
class Cell:
    """Whether `source` reaches `target`: by `address` if it does, else by none of `tried`."""

    source: str
    target: str
    verdict: Verdict
    tried: tuple[str, ...] = ()
    address: str | None = None
    why: str = ""


def matrix(lab: Lab, layout: Layout) -> tuple[Cell, ...]:
    """Every pair of stations, row by row. A machine that cannot be asked is still pinged."""
    scene = Scene(lab, layout, topo.survey(lab), Hands(layout))
    names = stations(lab)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        own = dict(zip(names, pool.map(lambda name: _addresses(name, scene), names), strict=True))
        rows = pool.map(lambda name: _row(name, names, own, scene), names)
        return tuple(cell for row in rows for cell in row)


def stations(lab: Lab) -> list[str]:
    """The rows and columns: the host side, the simulated outside, the machines."""
    outside = [OUTSIDE] if lab.host.uplink is Uplink.SIMULATED else []
    return [HOST_SIDE, *outside, *(machine.name for machine in lab.machines)]


@dataclass(frozen=True)
class _Addresses:
    """A station's addresses by network, as the lab or its guest says; `silent`: why it cannot be asked."""

    by_network: dict[str, tuple[str, ...]]
    silent: str = ""

    def every(self) -> list[str]:
        return [address for found in self.by_network.values() for address in found]


def _addresses(name: str, scene: Scene) -> _Addresses:
    if name == OUTSIDE:
        return _Addresses({"": (str(topo.INTERNET_HOST.ip),)})
    if name == HOST_SIDE:
        hosts = {each.name: topo.host_address(each) for each in scene.lab.networks}
        return _Addresses({name: (str(host.ip),) for name, host in hosts.items() if host})
    links = scene.links.of(name)
    silent = ""
    says: dict[str, tuple[str, ...]] = {}
    try:
        scene.must_run(name)
        says = {nic.mac: tuple(str(each.ip) for each in nic.addresses) for nic in scene.hands.nics(name)}
    except VmlanError as error:
        silent = error.what
    found: dict[str, tuple[str, ...]] = {}
    for link in links:
        known = (str(link.address.ip),) if link.address else ()
        found[link.network.name] = (*found.get(link.network.name, ()), *(says.get(link.mac) or known))
    return _Addresses(found, silent)


def _row(source: str, names: Sequence[str], own: dict[str, _Addresses], scene: Scene) -> list[Cell]:
    mine = set(own[source].every())
    goals = {target: _goals(source, target, own, scene) for target in names if target != source}
    wanted = list(dict.fromkeys(each for goal in goals.values() for each in goal if each not in mine))
    why = own[source].silent
    answered: set[str] = set()
    if wanted and not why:
        try:
            answered = _ping_all(source, wanted, scene)
        except VmlanError as error:
            why = error.what
    return [_cell(source, target, goals.get(target, ()), mine, answered, why) for target in names]


def _goals(source: str, target: str, own: dict[str, _Addresses], scene: Scene) -> tuple[str, ...]:
    """A target's addresses: on shared networks, else all."""
    theirs = own[target].by_network
    shared = [address for name in own[source].by_network if name in theirs for address in theirs[name]]
    if shared or target == OUTSIDE:
        return tuple(shared or theirs[""])
    if target == HOST_SIDE and source != OUTSIDE:
        return tuple(aims.host_addresses(source, scene.lab, scene.links)) or tuple(own[target].every())
    if target == HOST_SIDE:
        return (str(topo.OUTSIDE_HOST.ip),)
    return tuple(own[target].every())


def _cell(
    source: str, target: str, goals: Sequence[str], mine: set[str], answered: set[str], why: str
) -> Cell:
    if source == target:
        return Cell(source, target, "itself")
    foreign = tuple(address for address in goals if address not in mine)
    if why:
        return Cell(source, target, "not tried", foreign, why=why)
    if not goals:
        return Cell(source, target, "no address", why=f"{target} has no address")
    if not foreign:
        return Cell(source, target, "unreachable", why=f"{goals[0]} is {source}'s own address too")
    address = next((each for each in foreign if each in answered), None)
    return Cell(source, target, "reachable" if address else "unreachable", foreign, address)


def _ping_all(source: str, wanted: Sequence[str], scene: Scene) -> set[str]:
    """Those of the addresses that answer. Raises `VmlanError` where nobody can be asked."""
    argv = ("sh", "-c", _PING_ALL, "sh", *wanted)
    if source in (HOST_SIDE, OUTSIDE):
        space = Space.OUTSIDE if source == OUTSIDE else Space.HOST
        said = enter.run_on_host_side(scene.layout, argv, space).stdout
    else:
        with Agent(scene.layout.machine(source).agent, source) as agent:
            done = agent.run(argv, timeout=_LIMIT)
        if done.code == NOT_FOUND:
            raise GuestError(f"cannot ask {source}: it has no shell")
        if "ping" not in scene.hands.tools(source):
            raise GuestError(f"cannot ask {source}: it has no ping")
        said = done.stdout
    return {line for line in said.split() if _is_address(line)}


def _is_address(text: str) -> bool:
    try:
        return bool(IPv4Address(text))
    except ValueError:
        return False
