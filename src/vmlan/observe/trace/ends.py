"""Who sends, and to which address: what `trace SRC DST` means."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from vmlan.errors import RequestError, UnknownName
from vmlan.model import HOST_SIDE, HubNetwork, MacvtapNetwork, NoNetwork, UserNetwork
from vmlan.observe.checks import aims
from vmlan.observe.links import OUTSIDE
from vmlan.observe.trace.values import Verdict
from vmlan.observe.trace.world import World
from vmlan.plan import topology as topo
from vmlan.plan.topology import Link
from vmlan.reasons import Reason
from vmlan.spelling import nearest


@dataclass(frozen=True)
class Aim:
    """The address that is meant; or, where there is none, the verdict that says so."""

    address: str
    verdict: Verdict | None = None


def known(world: World, name: str, *, address: bool) -> None:
    """Raise `UnknownName` for what is no machine, nor the host side, nor (where it may be) an address."""
    machines = [machine.name for machine in world.scene.lab.machines]
    names = [*machines, HOST_SIDE, *([OUTSIDE] if world.map.of(OUTSIDE) else [])]
    if name in names:
        return
    if address:
        try:
            ip_address(name)
        except ValueError:
            pass
        else:
            return
    close = nearest(name, names)
    also = " or an address" if address else ""
    raise UnknownName(
        f"lab {world.scene.lab.name} has no machine '{name}'",
        hint=f"did you mean {close}?" if close else f"a machine ({', '.join(names)}){also}",
    )


def aim(world: World, source: str, target: str, via: str | None) -> Aim:
    """The address that a source means by a target."""
    try:
        return Aim(str(ip_address(target)))
    except ValueError:
        pass
    if target == source:
        raise RequestError(f"{source} reaches itself without any network", hint="name two of them")
    if target == OUTSIDE:
        return Aim(str(topo.OUTSIDE_ROUTER.ip))
    if target == HOST_SIDE:
        return _host(world, source, via)
    return _machine(world, source, target, via)


def _host(world: World, source: str, via: str | None) -> Aim:
    links = world.scene.links
    found = aims.host_addresses(source, world.scene.lab, links, via) if source != OUTSIDE else []
    if source == OUTSIDE or not found:
        found = [*found, str(topo.OUTSIDE_HOST.ip)] if world.map.of(OUTSIDE) else found
    if found:
        return Aim(found[0])
    why = f"the host side has no address on a network of {source}'s"
    return Aim("", Verdict(Reason.NO_PATH, HOST_SIDE, why, ("lab.yaml: give the network host:",)))


def _machine(world: World, source: str, target: str, via: str | None) -> Aim:
    links = aims.meant(target, source, via, world.scene.links)
    if not world.runs(target):
        why = f"{target} is not running"
        return Aim("", Verdict(Reason.NOT_RUNNING, target, why, (f"vmlan up {target}",)))
    if not [link for link in links if not isinstance(link.network, NoNetwork)]:
        where = f" on {via}" if via else ""
        why = f"{target} has no NIC{where} that leads anywhere"
        return Aim("", Verdict(Reason.NO_PATH, target, why, ("lab.yaml: give it nics:",)))
    known = [str(each.ip) for link in links for each in (link.address, link.address6) if each is not None]
    found = known or _observed(world, target, links)
    if not found:
        why = f"{target} has no address on {', '.join(dict.fromkeys(link.network.name for link in links))}"
        return Aim("", Verdict(Reason.NO_ADDRESS, target, why, ("lab.yaml: give the NIC an address:",)))
    alone = _alone(world, source, links)
    if alone is not None:
        return Aim(found[0], alone)
    return Aim(found[0])


def _observed(world: World, machine: str, links: list[Link]) -> list[str]:
    macs = {link.mac for link in links}
    every = [address for address, mac in world.addresses(machine).items() if mac in macs]
    return sorted(every, key=lambda address: ":" in address)


def _alone(world: World, source: str, links: list[Link]) -> Verdict | None:
    """Nobody gets behind a user-mode stack: each machine has its own; nor do host and macvtap meet."""
    if source == HOST_SIDE and all(isinstance(link.network, MacvtapNetwork) for link in links):
        why = f"{links[0].machine} is on a macvtap of {links[0].network.name}: it and this host do not meet"
        fix = ("lab.yaml: a bridge with uplink: true is for guests that are to reach the host",)
        return Verdict(Reason.NO_PATH, links[0].machine, why, fix)
    if not all(isinstance(link.network, UserNetwork | HubNetwork) for link in links):
        return None
    target, network = links[0].machine, links[0].network.name
    why = f"{target} is only on {network}, behind a user-mode stack of its own, which nobody gets through"
    fix = ("lab.yaml: put both on a network of kind bridge, tap or socket",)
    return Verdict(Reason.NO_PATH, target, why, fix)
