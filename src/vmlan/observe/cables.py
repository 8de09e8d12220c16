"""The cables of a lab's machines: plugged in or not, slowed down or not. Observed, and never remembered."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmlan.errors import VmlanError
from vmlan.guest.agent import Agent
from vmlan.host.keeper_client import KeeperClient
from vmlan.host.shapes import Shape, read
from vmlan.plan.layout import Layout
from vmlan.plan.topology import Link
from vmlan.qemu import carrier


@dataclass(frozen=True)
class Cable:
    """The cable of a NIC. `up` None: neither the card nor the guest tells."""

    link: Link
    up: bool | None
    shape: Shape = field(default_factory=Shape)

    @property
    def words(self) -> str:
        """Its state in a few words."""
        plugged = {True: "up", False: "down", None: "not known"}[self.up]
        return ", ".join(part for part in (plugged, self.shape.words) if part)


def of_machine(
    machine: str, links: tuple[Link, ...], layout: Layout, shapes: dict[str, Shape], *, ask: bool = True
) -> tuple[Cable, ...]:
    """A running machine's cables. `ask`: ask the guest where the card itself cannot be read."""
    found = plugged(machine, links, layout)
    if ask and len(found) < len(links):
        found = {**_guest_says(machine, links, layout), **found}
    return tuple(
        Cable(link, found.get(link.index), shapes.get(link.interface or "", Shape())) for link in links
    )


def plugged(machine: str, links: tuple[Link, ...], layout: Layout) -> dict[int, bool]:
    """The cables by NIC, as the cards tell; those of other models are left out."""
    cards = [(f"nic{link.index}", link.nic.model) for link in links]
    told = carrier.carriers(layout.machine(machine).qmp, cards)
    return {link.index: told[f"nic{link.index}"] for link in links if f"nic{link.index}" in told}


def shapes(layout: Layout) -> dict[str, Shape]:
    """What slows the host side's interfaces down; nothing where it cannot be told."""
    try:
        with KeeperClient(layout.keeper) as keeper:
            return read(keeper, layout)
    except VmlanError:
        return {}


def _guest_says(machine: str, links: tuple[Link, ...], layout: Layout) -> dict[int, bool]:
    """The same as a Linux guest sees it (sysfs-class-net, carrier); a card that is not up has no say."""
    try:
        with Agent(layout.machine(machine).agent, machine, timeout=1.0) as agent:
            names = {nic.mac: nic.name for nic in agent.nics()}
            found: dict[int, bool] = {}
            for link in links:
                path = f"/sys/class/net/{names.get(link.mac, '')}/carrier"
                said = agent.run(("cat", path), timeout=5.0).stdout.strip() if link.mac in names else ""
                if said in {"0", "1"}:
                    found[link.index] = said == "1"
            return found
    except VmlanError:
        return {}
