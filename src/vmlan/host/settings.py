"""What can change while a lab runs: how it is now, as the kernel tells, and the commands that change it.

Nothing of it is written down: the journal and lab.yaml stay as they are, so that `up` has nothing to mend,
and `down` and `up` bring back what the file says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import msgspec

from vmlan import spelling
from vmlan.addressing import interface_name
from vmlan.errors import HostError, RequestError, UnknownName
from vmlan.host import enter, journal
from vmlan.host.effects import HostEffects
from vmlan.model import BridgeNetwork, Lab, Place, Uplink
from vmlan.plan import bridges, uplinks
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Switch

#: The table that holds our own FORWARD policy: other tables stay as they are.
POLICY_TABLE = "vmlan_forward_policy"

_SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


@dataclass(frozen=True)
class Setting:
    """Something that can be set: `now` as it is, `file` as `up` makes it, by lab.yaml or by itself."""

    name: str
    now: str
    takes: str
    file: str
    what: str


class World:
    """A running lab's host side at one moment: what is asked twice is asked of it once."""

    def __init__(self, lab: Lab, layout: Layout) -> None:
        self.lab = lab
        self.layout = layout

    def say(self, *argv: str) -> str:
        """What a command on the host side prints. Raises `HostError` if it fails."""
        result = enter.run_on_host_side(self.layout, argv)
        if not result.ok:
            raise HostError(f"{argv[0]} on the host side: {(result.stderr or result.stdout).strip()}")
        return result.stdout

    @cached_property
    def rules(self) -> list[dict[str, Any]]:
        """The whole of the host side's nftables."""
        text = self.say("nft", "-j", "list", "ruleset")
        found: list[dict[str, Any]] = json.loads(text)["nftables"] if text.strip() else []
        return found


def settings(lab: Lab, layout: Layout) -> tuple[Setting, ...]:
    """Everything that can be set in this lab, as it is now. Raises `NotRunning`."""
    world = World(lab, layout)
    return tuple(_read(name, world) for name in names(lab))


def one(lab: Lab, layout: Layout, name: str) -> Setting:
    """One of them. Raises `UnknownName`."""
    _must_be_known(name, lab)
    return _read(name, World(lab, layout))


def names(lab: Lab) -> list[str]:
    """What can be set in this lab. Of a real host that is what the lab has made itself."""
    nat = [f"{net.name}.nat" for net in lab.networks if _may_nat(net)]
    if lab.host.place is Place.HOST:
        return [*(["host.forwarding"] if lab.host.forwarding else []), *nat]
    uplink = ["host.uplink.address"] if lab.host.uplink is not Uplink.NONE else []
    return ["host.forwarding", "host.forward-policy", *uplink, *nat]


def _may_nat(net: object) -> bool:
    return isinstance(net, BridgeNetwork) and net.host is not None and not net.uplink


def change(lab: Lab, layout: Layout, name: str, value: str) -> tuple[Setting, tuple[Command, ...]]:
    """Set something; gives how it then is, and what was run (nothing, if it was so already).

    Raises `UnknownName`, `RequestError` for a value that it cannot have, `HostError` if it did not work.
    """
    _must_be_known(name, lab)
    world = World(lab, layout)
    now = _read(name, world).now
    wanted, commands = _commands(name, value, now, world)
    effects = HostEffects(layout)
    try:
        if layout.on_host and name == "host.forwarding" and commands:
            _remember(layout, wanted)
        for command in commands:
            effects.run(command)
    finally:
        effects.close()
    after = _read(name, World(lab, layout))
    if after.now != wanted:
        raise HostError(
            f"{name} is {after.now} still, although the commands for {wanted} worked",
            hint="vmlan host -- nft list ruleset shows who else has a word in it",
        )
    return after, commands


def _remember(layout: Layout, wanted: str) -> None:
    """A switch of the real host: the journal must know to what the lab has set it, to put it back."""
    story = journal.read(layout.journal)
    assert story is not None, "the lab runs"
    book = journal.Journal(layout.journal, story.lab, Path(story.file), story.world)
    try:
        for entry in story.entries:
            if isinstance(entry.step, Switch):
                step = msgspec.structs.replace(entry.step, value="1" if wanted == "on" else "0")
                book.begin([step])
                book.done([step])
    finally:
        book.close()


def _must_be_known(name: str, lab: Lab) -> None:
    known = names(lab)
    if name in known:
        return
    network, dot, key = name.rpartition(".")
    if dot and key == "nat" and lab.network(network) is not None:
        raise RequestError(
            f"network {network} cannot have NAT", hint="kind: bridge with host: (and without uplink:) can"
        )
    if name == "host.uplink.address" and lab.host.place is Place.HOST:
        raise RequestError("this host's own address is not the lab's to change")
    if name == "host.uplink.address":
        raise RequestError("the host side has no uplink", hint="host: {uplink: simulated} gives it one")
    if lab.host.place is Place.HOST and name in {"host.forwarding", "host.forward-policy"}:
        what = "this host passes packets on as it does without the lab, and others rely on that"
        hint = "host: {forwarding: true} makes it the lab's affair"
        raise RequestError(what, hint=hint if name == "host.forwarding" else None)
    near = spelling.nearest(name, known)
    raise UnknownName(
        f"'{name}' is nothing that can be set",
        hint=f"did you mean {near}?" if near else f"this lab has {', '.join(known)}",
    )


# Reading


def _read(name: str, world: World) -> Setting:
    lab = world.lab
    if name == "host.forwarding":
        now = "on" if world.say("sysctl", "-n", "net.ipv4.ip_forward").strip() == "1" else "off"
        file = "on" if lab.host.forwarding else "off"
        return Setting(name, now, "on|off", file, "the host side passes packets on (net.ipv4.ip_forward)")
    if name == "host.forward-policy":
        now = "drop" if _dropping(world) else "accept"
        return Setting(name, now, "accept|drop", "accept", "what becomes of packets that are passed on")
    if name == "host.uplink.address":
        own = ", ".join(map(str, _uplink_addresses(world))) or "none"
        return Setting(
            name, own, "none|ADDRESS/PREFIX", str(_given(lab)[0]), f"the host side's on {topo.outward(lab)}"
        )
    net = _network(name, lab)
    file = "on" if net.nat else "off"
    return Setting(name, "on" if _has_nat(net, world) else "off", "on|off", file, "what leaves it is masked")


def _dropping(world: World) -> bool:
    chains = (row["chain"] for row in world.rules if "chain" in row)
    return any(chain.get("hook") == "forward" and chain.get("policy") == "drop" for chain in chains)


def _uplink_addresses(world: World) -> list[IPv4Interface]:
    interface = topo.outward(world.lab)
    assert interface is not None
    rows = json.loads(world.say("ip", "-j", "-4", "addr", "show", "dev", interface))
    infos = [info for row in rows for info in row.get("addr_info", ()) if info.get("scope") == "global"]
    return [IPv4Interface(f"{info['local']}/{info['prefixlen']}") for info in infos]


def _given(lab: Lab) -> tuple[IPv4Interface, IPv4Address]:
    """The address that `up` gives the uplink, and the router there."""
    if lab.host.uplink is Uplink.SIMULATED:
        return topo.OUTSIDE_HOST, topo.OUTSIDE_ROUTER.ip
    return IPv4Interface(f"{uplinks.INTERNET_ADDRESS}/24"), IPv4Address(uplinks.INTERNET_GATEWAY)


def _network(name: str, lab: Lab) -> BridgeNetwork:
    found = lab.network(name.rpartition(".")[0])
    assert isinstance(found, BridgeNetwork)
    return found


def _has_nat(net: BridgeNetwork, world: World) -> bool:
    """Whether our table for it has its rule."""
    table = bridges.nat_step(net, interface_name(net.name), world.layout).undo[0].argv[-1]
    rules = (row["rule"] for row in world.rules if "rule" in row)
    return any(
        rule["table"] == table and any("masquerade" in expression for expression in rule["expr"])
        for rule in rules
    )


# Changing


def _commands(name: str, value: str, now: str, world: World) -> tuple[str, tuple[Command, ...]]:
    """The value in its usual form, and what brings it about."""
    makers: dict[str, Callable[[str, World], tuple[str, Iterator[Command]]]] = {
        "host.forwarding": _forwarding,
        "host.forward-policy": _policy,
        "host.uplink.address": _address,
    }
    if name in makers:
        wanted, commands = makers[name](value, world)
    else:
        wanted, commands = _nat(_network(name, world.lab), value, world)
    return wanted, () if wanted == now else tuple(commands)


def _switch(value: str) -> bool:
    if value.lower() not in _SWITCH:
        raise RequestError(f"'{value}' is not a switch's position", hint="on or off")
    return _SWITCH[value.lower()]


def _forwarding(value: str, world: World) -> tuple[str, Iterator[Command]]:
    on = _switch(value)

    def commands() -> Iterator[Command]:
        switches = ["net.ipv4.ip_forward"]
        if world.lab.host.place is Place.PRIVATE and any(map(topo.host_address6, world.lab.networks)):
            switches.append("net.ipv6.conf.all.forwarding")
        yield Command(("sysctl", "-q", "-w", *(f"{switch}={int(on)}" for switch in switches)))

    return "on" if on else "off", commands()


def _policy(value: str, world: World) -> tuple[str, Iterator[Command]]:
    if value not in {"accept", "drop"}:
        raise RequestError(f"'{value}' is not a policy", hint="accept or drop")

    def commands() -> Iterator[Command]:
        if value == "drop":
            rules = (
                f"table inet {POLICY_TABLE} {{\n"
                "  chain forward {\n"
                "    type filter hook forward priority filter; policy drop;\n"
                "  }\n"
                "}\n"
            )
            yield Command(("nft", "-f", "-"), rules)
        elif any(row.get("table", {}).get("name") == POLICY_TABLE for row in world.rules):
            yield Command(("nft", "delete", "table", "inet", POLICY_TABLE))

    return value, commands()


def _address(value: str, world: World) -> tuple[str, Iterator[Command]]:
    wanted = None if value == "none" else _interface(value)
    interface, router = str(topo.outward(world.lab)), _given(world.lab)[1]

    def commands() -> Iterator[Command]:
        lines = [f"addr del {own} dev {interface}" for own in _uplink_addresses(world) if own != wanted]
        if wanted is not None:
            lines.append(f"addr replace {wanted} dev {interface}")
            if router in wanted.network:
                # The default route went with the last address of its interface.
                lines.append(f"route replace default via {router} dev {interface}")
        yield Command(("ip", "-batch", "-"), "".join(f"{line}\n" for line in lines))

    return str(wanted or "none"), commands()


def _interface(value: str) -> IPv4Interface:
    if not re.fullmatch(r"[0-9.]+/\d{1,2}", value):
        raise RequestError(
            f"'{value}' is not an address with its prefix length", hint="none, or such as 198.51.100.7/24"
        )
    try:
        return IPv4Interface(value)
    except ValueError:
        raise RequestError(f"'{value}' is not an address", hint="such as 198.51.100.7/24") from None


def _nat(net: BridgeNetwork, value: str, world: World) -> tuple[str, Iterator[Command]]:
    on = _switch(value)
    step = bridges.nat_step(net, interface_name(net.name), world.layout)
    return "on" if on else "off", iter((step.command,) if on else step.undo)
