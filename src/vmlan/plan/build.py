"""Lab + Facts → Plan. The same two always give the same plan."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan.model import Lab, Place, Uplink
from vmlan.plan import machines, networks, real, templates, uplinks
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts
from vmlan.plan.steps import Command, MakeFolder, Plan, Space, Start, StartKeeper, Step

#: A user namespace that maps one user, and namespaces of its own for mounts, processes and, later,
#: networks (unshare(1)). The child is PID 1: when it dies, the kernel ends every process in there.
NAMESPACES = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
)

#: The same for root on a real host, whose users are the real ones.
HOST_NAMESPACES = tuple(word for word in NAMESPACES if word not in {"--user", "--map-root-user"})


def plan(lab: Lab, facts: Facts) -> Plan:
    """Everything that brings this lab up on this host.

    Raises `RequestError` for what cannot be, `HostError` for what collides with what this host has.
    """
    links = topo.survey(lab)
    if lab.host.place is Place.HOST:
        assert facts.host is not None, "facts: the host's were not gathered"
        real.refuse_collisions(lab, links, facts)
    steps = tuple(_steps(lab, links, facts))
    _unique(steps)
    return Plan(steps, tuple(_notes(lab, links, facts)), tuple(_details(lab, links, facts)))


_KEEPER = (
    "the lab's first process, in namespaces of its own: no root, and when it ends, everything in it ends"
)
_KEEPER_OF_HOST = "the lab's first process: when it ends, every process of the lab ends; networks are undone"


def _steps(lab: Lab, links: topo.Topology, facts: Facts) -> Iterator[Step]:
    layout = facts.layout
    yield MakeFolder("run-folder", "the lab's folder: gone when the lab ends", layout.run)
    yield StartKeeper(
        "keeper",
        _KEEPER if facts.host is None else _KEEPER_OF_HOST,
        (*(HOST_NAMESPACES if facts.host is not None else NAMESPACES), *facts.keeper, str(layout.keeper)),
        layout.keeper,
        layout.keeper_log,
    )
    yield MakeFolder("net-folder", "the network namespaces' files", layout.net)
    yield from networks.host_side(lab, links, facts)
    yield from _network_folders(lab, links, facts)
    yield from uplinks.uplink(lab, facts)
    for network in lab.networks:
        yield from networks.network(lab, network, links, facts)
    for machine in lab.machines:
        yield from machines.files(lab, machine, links, facts)
    yield from templates.steps(lab, links, facts)
    for machine in lab.machines:
        yield machines.start(lab, machine, links, facts)
    yield from _publish(lab, facts)


def _network_folders(lab: Lab, links: topo.Topology, facts: Facts) -> Iterator[Step]:
    layout = facts.layout
    if isinstance(lab.host.uplink, Uplink) and lab.host.uplink is not Uplink.NONE:
        name = {Uplink.SIMULATED: "outside", Uplink.INTERNET: "uplink"}[lab.host.uplink]
        yield MakeFolder("uplink-folder", "what the way out writes", layout.network(name))
    user = facts.user
    if links.leases:
        yield MakeFolder("names-folder", "the machines' names, watched by dnsmasq", layout.names, owner=user)
    for name in links.leases:
        yield MakeFolder(f"network-folder {name}", f"{name}'s leases", layout.network(name), owner=user)
        yield MakeFolder(
            f"reservations-folder {name}",
            f"{name}'s reservations, watched by dnsmasq",
            layout.network(name) / "reservations",
            owner=user,
        )


def _publish(lab: Lab, facts: Facts) -> Iterator[Step]:
    """A port of this machine, led into the lab: QEMU's own `hostfwd` listens inside of it."""
    if facts.host is not None:
        return  # QEMU listens on the real host itself
    inside = facts.layout.net / Space.HOST.value
    for forward in topo.published(lab):
        name = f"{forward.protocol}-{forward.bind}-{forward.host_port}"
        proto = forward.protocol.upper()
        again = ",reuseaddr" if forward.protocol == "tcp" else ""  # for UDP it would share the port
        yield Start(
            f"publish {name}",
            f"port {forward.host_port} of {forward.bind} on this machine: the guest's {forward.guest_port}",
            f"publish-{name}",
            Command(
                (
                    "socat",
                    f"{proto}4-LISTEN:{forward.host_port},bind={forward.bind}{again},fork",
                    f"EXEC:nsenter --net={inside} socat STDIO {proto}4\\:127.0.0.1\\:{forward.host_port}",
                ),
                space=Space.LAB,
            ),
            facts.layout.run / f"publish-{name}.log",
        )


def _notes(lab: Lab, links: topo.Topology, facts: Facts) -> Iterator[str]:
    yield from machines.notes(lab, facts)
    if facts.host is not None:
        yield from real.notes(lab, links, facts)
    already = facts.host is not None and facts.host.switches.get(real.IP_FORWARD) == "1"
    nat = any(getattr(network, "nat", False) for network in lab.networks)
    if nat and not lab.host.forwarding and not already:
        yield "nat: is on, but host.forwarding is off: nothing will pass through the host side"


def _details(lab: Lab, links: topo.Topology, facts: Facts) -> Iterator[str]:
    yield from real.details(lab, facts)
    yield from templates.notes(lab, links, facts)


def _unique(steps: tuple[Step, ...]) -> None:
    """Step ids are how a running lab is compared with its file."""
    ids = [step.id for step in steps]
    assert len(ids) == len(set(ids)), sorted(id for id in ids if ids.count(id) > 1)
