"""The host's NIC as a port of a bridge: the change as steps, and what it means in words.

What is there is read by `host.lan.gather`; the change is made, proved and, unless it is confirmed, undone by
the guard (`host.lan.guard`), which runs the very commands that these steps print.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmlan.plan import lan_lines
from vmlan.plan.lan_facts import SWITCHES, NicFacts
from vmlan.plan.lan_snapshot import FOREVER, Snapshot
from vmlan.plan.steps import Command, Interfaces, Run, Step, batches, ip_batch


def bridged(snapshot: Snapshot, nic: str, bridge: str, lab: str, altname: str = "") -> tuple[Step, ...]:
    """The steps that put `bridge` in the place of `nic`, which becomes its port.

    `altname` is the mark by which the bridge is known as ours; it begins with `lan_snapshot.MARK`.
    """
    link = snapshot.link(nic)
    assert link is not None, "refusals() comes first"
    name = altname or f"vmlan-{bridge}"
    quiet = (f"link set dev {bridge} addrgenmode none",) if lan_lines.addrgenmode(snapshot, nic) else ()
    steps: list[Step] = [
        Interfaces(
            f"nic-bridge {bridge}",
            f"a bridge in {nic}'s place, for the lab {lab}: it has {nic}'s MAC and MTU, since it will be"
            " the host's station",
            (
                f"link add name {bridge} address {link['address']} mtu {link['mtu']} type bridge",
                f"link property add dev {bridge} altname {name}",
                *quiet,
            ),
            (f"link del dev {bridge}",),
        )
    ]
    switches = [f"net/ipv4/conf/{bridge}/rp_filter=0", *_switches(snapshot, nic, bridge)]
    words = f"what {nic} does with what arrives; but a way back is looked for only when all ways are moved"
    steps.append(Run(f"nic-switches {bridge}", words, Command(("sysctl", "-q", "-w", *switches))))
    if rules := lan_lines.rules_for(snapshot, nic, bridge, "inet6"):
        steps.append(
            Run(
                f"nic-rules6 {bridge}",
                f"the IPv6 rules that name {nic}, for {bridge}",
                Command(("ip", "-6", "-batch", "-"), "".join(f"rule add {rule}\n" for rule in rules)),
                (
                    Command(
                        ("ip", "-6", "-force", "-batch", "-"), "".join(f"rule del {rule}\n" for rule in rules)
                    ),
                ),
            )
        )
    steps.append(Interfaces(f"nic-up {bridge}", f"{bridge} is up", (f"link set dev {bridge} up",)))
    for id_, reason, lines in lan_lines.to_bridge(snapshot, nic, bridge):
        steps.append(Interfaces(f"nic-{id_} {bridge}", reason, tuple(lines)))
        if id_ == "port":
            steps.append(_carrier(nic, bridge))
    strictness = snapshot.sysctls.get(f"ipv4/conf/{nic}/rp_filter", "0")
    if strictness != "0":
        switch = f"net/ipv4/conf/{bridge}/rp_filter={strictness}"
        words = f"packets must come by the way that leads back, as on {nic} (RFC 3704)"
        steps.append(Run(f"nic-strict {bridge}", words, Command(("sysctl", "-q", "-w", switch))))
    return tuple(steps)


def _carrier(nic: str, bridge: str) -> Step:
    """A bridge sends nothing until the kernel has seen to it that it has a port (net/core/link_watch.c).

    A question that is lost in it is asked again only after 1 s. Until it is up, what the host sends leaves by
    the NIC.
    """
    until = f"until ip link show dev {bridge} | grep -q 'state UP'; do sleep 0.01; done"
    words = f"wait until {bridge} can send: until then, {nic} does"
    return Run(f"nic-carrier {bridge}", words, Command(("timeout", "2", "sh", "-c", until)))


def _switches(snapshot: Snapshot, nic: str, bridge: str) -> Iterator[str]:
    return (
        f"net/{family}/conf/{bridge}/{name}={value}"
        for family, names in SWITCHES.items()
        for name in names
        if name != "rp_filter"
        and (value := snapshot.sysctls.get(f"{family}/conf/{nic}/{name}"))
        != snapshot.sysctls.get(f"{family}/conf/default/{name}")
        and value is not None
    )


def commands(steps: tuple[Step, ...]) -> list[Command]:
    """What runs, in order: neighbouring interface steps as one `ip -batch`, as everywhere."""
    found: list[Command] = []
    for group in batches(steps):
        interfaces = tuple(step for step in group if isinstance(step, Interfaces))
        if interfaces:
            found.append(ip_batch(interfaces))
        found += [step.command for step in group if isinstance(step, Run)]
    return found


def ways(snapshot: Snapshot, nic: str, bridge: str) -> tuple[str, ...]:
    """What will be reachable by which way, a line for each route."""
    found = []
    for words in _moved(snapshot, nic):
        via, table = lan_lines.value(words, "via"), lan_lines.value(words, "table")
        way = f"{via} on {bridge}" if via and words.count("via") == 1 else bridge
        where = f" (table {table})" if table not in {None, "main"} else ""
        found.append(f"{lan_lines.destination(words)}: through {way}, until now through {nic}{where}")
    return tuple(found)


def preview(snapshot: Snapshot, nic: str, bridge: str, facts: NicFacts | None = None) -> tuple[str, ...]:
    """What the user should know before; `ways` says more."""
    return tuple(_preview(snapshot, nic, bridge, facts or NicFacts()))


def _preview(snapshot: Snapshot, nic: str, bridge: str, facts: NicFacts) -> Iterator[str]:
    link = snapshot.link(nic) or {}
    addresses = [info for family in lan_lines.FAMILIES for info in snapshot.addresses_of(nic, family)]
    shown = [f"{info['local']}/{info['prefixlen']}" for info in addresses if info["scope"] != "link"]
    if shown:
        yield f"this host keeps {_some(shown)}, on {bridge}; {nic} becomes a port of it, without an address"
    else:
        yield f"{nic} becomes a port of {bridge}; without an address, this host is no station of its network"
    if count := len(_moved(snapshot, nic)):
        routes = "the route through" if count == 1 else f"the {count} routes through"
        yield f"{routes} {nic} will lead through {bridge} (vmlan explain names each)"
    yield f"guests on {bridge} are stations of {nic}'s network, each with its own MAC and address"
    yield from _cautions(snapshot, nic, bridge, int(link.get("mtu", 1500)))
    for program in facts.dhcp_clients:
        yield (
            f"{program} holds a lease on {nic}: it may not hear the server any more, and may give {nic} its"
            f" address again when it renews, which does no harm; {bridge} renews the lease by itself"
        )


#: How many addresses are named.
_SHOWN = 3


def _some(words: list[str]) -> str:
    """The first of many."""
    more = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _moved(snapshot: Snapshot, nic: str) -> list[list[str]]:
    """The routes that will lead through the bridge, as `ip` takes them."""
    return [words for family in lan_lines.FAMILIES for words in lan_lines.moved_routes(snapshot, nic, family)]


def _cautions(snapshot: Snapshot, nic: str, bridge: str, mtu: int) -> Iterator[str]:
    if not any(lan_lines.destination(words) == "default" for words in _moved(snapshot, nic)):
        yield f"no default route of this host leads through {nic}"
    leased = [
        info
        for info in snapshot.addresses_of(nic, "inet")
        if int(info.get("valid_life_time", FOREVER)) != FOREVER
    ]
    for info in leased:
        left = int(info["valid_life_time"])
        yield (
            f"{info['local']} is a lease, which ends in {left} s: it is renewed on {bridge}, if the DHCP"
            f" server answers there; what holds it on {nic} now cannot be relied on to"
        )
    if any(info.get("temporary") for info in snapshot.addresses_of(nic, "inet6")):
        yield "temporary IPv6 addresses come back as ordinary ones: only the kernel makes others"
    if mtu != 1500:
        yield f"{nic} has an MTU of {mtu}: guests whose NIC has another one cannot talk to all of its network"
    if rules := rules_that_name(snapshot, nic):
        yield (
            f"packets will arrive by {bridge}, and firewall rules of this host name {nic}"
            f" ({', '.join(rules[:3])}): they match no more; say the same of"
            f" {bridge} before, or new connections may be refused"
        )


def rules_that_name(snapshot: Snapshot, nic: str) -> list[str]:
    """Where nftables rules, sets or chains of this host name the NIC: `FAMILY TABLE CHAIN`."""
    return list(
        dict.fromkeys(
            " ".join(str(body[key]) for key in ("family", "table", "chain", "name") if key in body)
            for entry in snapshot.nft or ()
            for body in entry.values()
            if isinstance(body, dict) and _names(body, nic)
        )
    )


#: What a table, a chain or a set is called may be the NIC's name by chance.
_NAMES = {"comment", "name", "table", "chain"}


def _names(value: object, nic: str) -> bool:
    if isinstance(value, dict):
        return any(_names(one, nic) for key, one in value.items() if key not in _NAMES)
    if isinstance(value, list):
        return any(_names(one, nic) for one in value)
    return value == nic


def why_not_now(confirm_within: float, *, terminal: bool) -> str | None:
    """Why a NIC is not changed now; None if it may be.

    Whoever cannot be asked cannot confirm: without a terminal, only who says that there is nothing to
    confirm (`--confirm-within 0`) has a NIC changed.
    """
    if not confirm_within >= 0:  # nor is nan
        return "--confirm-within is a number of seconds, 0 or more"
    if confirm_within > 0 and not terminal:
        return (
            "nobody is at a terminal who could confirm the change of a NIC, so it was not made; with"
            " `--confirm-within 0` it is made and kept without being confirmed, if this host still reaches"
            " what it did"
        )
    return None
