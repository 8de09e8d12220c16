"""What runs now: asked of the keeper and of the guests, never remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from vmlan import together
from vmlan.catalogue import has_agent
from vmlan.errors import KeeperGone, VmlanError
from vmlan.guest.agent import Agent
from vmlan.host import paths
from vmlan.host.keeper_client import KeeperClient, Kept
from vmlan.host.shapes import Shape
from vmlan.model import Lab, Machine
from vmlan.observe import cables
from vmlan.observe.ready import addresses as nic_addresses
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout, process_name
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
    place: Literal["private", "host"] = "private"


def machines(lab: Lab, layout: Layout) -> tuple[MachineStatus, ...]:
    """Every machine of a lab's file, as it is now. All that is asked for it is asked at once."""
    links = topo.survey(lab)
    try:
        with KeeperClient(layout.keeper) as client:
            kept = client.processes()
    except KeeperGone:
        kept = {}
    running = [machine for machine in lab.machines if _runs(kept.get(process_name(machine.name)))]
    shapes: dict[str, Shape] = {}
    said: dict[str, dict[int, tuple[str, ...]] | None] = {}
    plugged: dict[str, dict[int, bool]] = {}

    def ask_guest(machine: Machine) -> None:
        said[machine.name] = _ask(machine, layout, links.of(machine.name))

    def ask_cards(machine: Machine) -> None:
        plugged[machine.name] = cables.plugged(machine.name, links.of(machine.name), layout)

    guests = [partial(ask_guest, machine) for machine in running]  # who take longest to answer
    cards = [partial(ask_cards, machine) for machine in running]
    queues = [lambda: shapes.update(cables.shapes(layout))] if kept else []
    together.do([*queues, *guests, *cards])

    def status(machine: Machine) -> MachineStatus:
        process, own = kept.get(process_name(machine.name)), links.of(machine.name)
        if machine not in running:
            return MachineStatus(machine.name, "ended" if process else "down", _nics(own, {}, {}, {}))
        found = said[machine.name]
        nics = _nics(own, found or {}, plugged[machine.name], shapes)
        silent = found is None and has_agent(machine)
        return MachineStatus(machine.name, "silent" if silent else "running", nics)

    return tuple(status(machine) for machine in lab.machines)


def _runs(process: Kept | None) -> bool:
    return process is not None and process.exit is None


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


def _nics(
    links: tuple[Link, ...],
    found: dict[int, tuple[str, ...]],
    plugged: dict[int, bool],
    shapes: dict[str, Shape],
) -> tuple[NicStatus, ...]:
    return tuple(
        NicStatus(
            link.index,
            link.network.name,
            link.interface,
            link.mac,
            found.get(link.index, ()),
            plugged.get(link.index),
            shapes.get(link.interface or "", Shape()),
        )
        for link in links
    )


def labs() -> tuple[LabStatus, ...]:
    """Every lab of this user that runs, or has crashed."""
    from vmlan.host import journal  # what it reads takes long to load, and `ps` needs none of it
    from vmlan.plan.steps import Start

    found: list[LabStatus] = []
    for layout in paths.all_layouts():
        story = journal.read(layout.journal)
        if story is None:
            continue
        place: Literal["private", "host"] = "host" if layout.on_host else "private"
        own = [entry.step for entry in story.entries if isinstance(entry.step, Start) and entry.step.machine]
        try:
            with KeeperClient(layout.keeper) as client:
                alive = {name for name, kept in client.processes().items() if kept.exit is None}
            running = sum(1 for step in own if step.name in alive)
            found.append(LabStatus(story.lab, story.file, "running", len(own), running, place))
        except KeeperGone:
            found.append(LabStatus(story.lab, story.file, "crashed", len(own), 0, place))
    return tuple(found)
