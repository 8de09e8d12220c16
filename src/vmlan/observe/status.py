"""What runs now: asked of the keeper and of the guests, never remembered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

from vmlan.errors import KeeperGone, VmlanError
from vmlan.guest.agent import Agent
from vmlan.host import journal, paths
from vmlan.host.keeper_client import KeeperClient
from vmlan.host.shaping import Shape
from vmlan.model import Lab, Machine
from vmlan.observe import cables
from vmlan.observe.ready import addresses as nic_addresses
from vmlan.observe.ready import has_agent
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout, process_name
from vmlan.plan.steps import Start
from vmlan.plan.topology import Link


@dataclass(frozen=True)
class NicStatus:
    """A NIC of a machine, and the addresses that the guest says it has."""

    index: int
    network: str
    interface: str | None
    mac: str
    addresses: tuple[str, ...]
    up: bool | None = (
        None  #: whether its cable is plugged in; None: it is not running, or the card does not tell
    )
    shape: Shape = field(default_factory=Shape)  #: what slows the cable down


@dataclass(frozen=True)
class MachineStatus:
    """A machine. "silent": QEMU runs, and the guest's agent does not answer (yet)."""

    name: str
    state: Literal["running", "silent", "ended", "down"]
    nics: tuple[NicStatus, ...]


@dataclass(frozen=True)
class LabStatus:
    """A lab on this machine. "crashed": its keeper is gone, and something is left to clean up."""

    name: str
    file: str
    state: Literal["running", "crashed"]
    machines: int
    running: int


def machines(lab: Lab, layout: Layout) -> tuple[MachineStatus, ...]:
    """Every machine of a lab's file, as it is now."""
    links = topo.survey(lab)
    try:
        with KeeperClient(layout.keeper) as client:
            kept = client.processes()
    except KeeperGone:
        kept = {}
    shapes = cables.shapes(layout) if kept else {}

    def status(machine: Machine) -> MachineStatus:
        process = kept.get(process_name(machine.name))
        own = links.of(machine.name)
        if process is None or process.exit is not None:
            return MachineStatus(machine.name, "ended" if process else "down", _nics(own, {}))
        found = _ask(machine, layout, own)
        silent = found is None and has_agent(machine)
        plugged = cables.plugged(machine.name, own, layout)
        nics = tuple(
            replace(nic, up=plugged.get(nic.index), shape=shapes.get(nic.interface or "", Shape()))
            for nic in _nics(own, found or {})
        )
        return MachineStatus(machine.name, "silent" if silent else "running", nics)

    with ThreadPoolExecutor(max_workers=16) as pool:
        return tuple(pool.map(status, lab.machines))


def _ask(machine: Machine, layout: Layout, links: tuple[Link, ...]) -> dict[int, tuple[str, ...]] | None:
    """A guest's addresses by NIC; None if it does not answer within a second."""
    try:
        with Agent(layout.machine(machine.name).agent, machine.name, timeout=1.0) as agent:
            rows = nic_addresses(links, agent.nics())
    except VmlanError:
        return None
    found: dict[int, tuple[str, ...]] = {}
    for index, address in rows:
        found[index] = (*found.get(index, ()), address)
    return found


def _nics(links: tuple[Link, ...], found: dict[int, tuple[str, ...]]) -> tuple[NicStatus, ...]:
    return tuple(
        NicStatus(link.index, link.network.name, link.interface, link.mac, found.get(link.index, ()))
        for link in links
    )


def labs() -> tuple[LabStatus, ...]:
    """Every lab of this user that runs, or has crashed."""
    found: list[LabStatus] = []
    for layout in paths.all_layouts():
        story = journal.read(layout.journal)
        if story is None:
            continue
        own = [entry.step for entry in story.entries if isinstance(entry.step, Start) and entry.step.machine]
        try:
            with KeeperClient(layout.keeper) as client:
                alive = {name for name, kept in client.processes().items() if kept.exit is None}
            running = sum(1 for step in own if step.name in alive)
            found.append(LabStatus(story.lab, story.file, "running", len(own), running))
        except KeeperGone:
            found.append(LabStatus(story.lab, story.file, "crashed", len(own), 0))
    return tuple(found)
