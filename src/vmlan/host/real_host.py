"""Reading a real host's own network, for labs of host placement. Nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from vmlan.host import journal, paths
from vmlan.host.run import find, run
from vmlan.plan.coexist import BRIDGE_CALLS_IPTABLES
from vmlan.plan.facts import Existing, HostFacts, Reach, RunAs
from vmlan.plan.layout import Layout
from vmlan.plan.marks import table as table_name
from vmlan.plan.real import IP_FORWARD
from vmlan.plan.steps import Switch

_SWITCHES = (IP_FORWARD, BRIDGE_CALLS_IPTABLES)


def gather(layout: Layout, user: RunAs | None, *, running: bool) -> HostFacts:
    """What a lab of host placement must know of this host. `running`: its own tables are its own."""
    found = rules()
    own = table_name(layout, "") if running else None
    seen = {(family, name) for family, name in tables(found or ()) if own is None or not name.startswith(own)}
    return HostFacts(
        interfaces=tuple(interfaces()),
        reaches=tuple(_reaches()),
        tables=frozenset(seen),
        switches=_switches(),
        rules=None if found is None else tuple(found),
        legacy=_legacy(),
        hosts=_text(Path("/etc/hosts")),
        user=user,
    )


def interfaces() -> Iterator[Existing]:
    """Every interface that this host has (ip-link(8))."""
    for row in json.loads(run(("ip", "-j", "link", "show")).stdout):
        name = row["ifname"]
        yield Existing(
            name,
            frozenset(row.get("altnames", ())),
            row.get("master"),
            Path("/sys/class/net", name, "wireless").exists(),
        )


def _reaches() -> Iterator[Reach]:
    """What this host has a route to, other than by its default routes; in every table of routes.

    A table for one's own addresses (`local`), link-local and multicast ranges say nothing about anybody else.
    """
    for family in ("-4", "-6"):
        rows = run(("ip", "-j", family, "route", "show", "table", "all"), check=False).stdout
        for row in json.loads(rows or "[]"):
            if row.get("table") == "local" or row.get("type") in {
                "local",
                "broadcast",
                "multicast",
                "anycast",
            }:
                continue
            if row["dst"] == "default" or row["dst"].startswith(("fe80:", "ff")):
                continue
            by = row.get("dev") or row.get("type") or "a route of several ways"
            yield Reach(ip_network(row["dst"]), by)


def rules() -> list[Mapping[str, Any]] | None:
    """The whole of nftables, as `nft -j` has it; None where this user may not see it, or there is no nft."""
    if not find("nft"):
        return None
    result = run(("nft", "-j", "list", "ruleset"), check=False)
    if not result.ok:
        return None
    found: list[Mapping[str, Any]] = json.loads(result.stdout)["nftables"] if result.stdout.strip() else []
    return found


def tables(ruleset: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """The tables of it: family and name."""
    return {(row["table"]["family"], row["table"]["name"]) for row in ruleset if "table" in row}


def _legacy() -> str:
    """The rules of the older iptables, where that is in use; its program would otherwise load its modules."""
    if "filter" not in _text(Path("/proc/net/ip_tables_names")).split() or not find("iptables-legacy-save"):
        return ""
    return run(("iptables-legacy-save",), check=False).stdout


def _switches() -> dict[str, str]:
    """The switches that a plan may depend on; those that a lab has set, as they were before it did."""
    found = {name: value for name in _SWITCHES if (value := switch(name)) is not None}
    for folder in sorted(Path("/proc/sys/net/ipv4/conf").glob("*")):
        if folder.name != "all" and (value := _text(folder / "forwarding").strip()):
            found[f"net/ipv4/conf/{folder.name}/forwarding"] = value  # a name may have dots in it
    for _, held in held_switches():
        for name, step in held.items():
            # The kernel sets those of all interfaces along (ip-sysctl, ip_forward).
            along = {each for each in found if name == IP_FORWARD and each.startswith("net/ipv4/conf/")}
            found |= {name: step.before, **dict.fromkeys(along, step.before), **dict(step.also)}
    return found


def switch(name: str) -> str | None:
    """How a switch is (sysctl(8)); None: the kernel has none of that name."""
    path = name if "/" in name else name.replace(".", "/")
    return _text(Path("/proc/sys", path)).strip() or None


def held_switches() -> Iterator[tuple[str, dict[str, Switch]]]:
    """Of each lab of host placement in this network: its id, and the switches that it has set."""
    from vmlan.host import world

    here = world.network()
    for id_ in paths.host_ids():
        try:
            story = journal.read(paths.HOST_BOOKS / id_ / "journal")
        except PermissionError:
            continue
        if story is not None and story.world == here:
            yield id_, {each.step.name: each.step for each in story.entries if isinstance(each.step, Switch)}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
