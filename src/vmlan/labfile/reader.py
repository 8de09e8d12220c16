"""The whole file → a draft of the lab, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vmlan.labfile import machines, networks, shapes, values
from vmlan.labfile.draft import Draft, Placed
from vmlan.labfile.located import Entry, Located, Problems
from vmlan.labfile.section import Section, described
from vmlan.labfile.words import nearest, quote
from vmlan.model import HOST_SIDE, Check, HostSide, Lab, PingCheck, ScreenCheck, Uplink

#: Top-level keys that begin so are the user's own: a place for anchors.
OWN_KEYS = "x-"

_EXAMPLE = "such as machines: {vm1: {image: tiny}}"

_LATER_CHECKS = {
    key: f"'{key}' is not in this version; a check is ping: with from:, expect: and via:, or screen: with on:"
    for key in ("seen-on", "not-seen-on", "reason", "tcp", "arp", "dns", "within")
}


def read(root: Located, folder: Path, problems: Problems) -> Draft | None:
    """What the file describes, as far as it can be told; None when it has no sections at all."""
    if root.empty:
        problems.add(root.at, "the file is empty", f"describe at least one machine, {_EXAMPLE}")
        return None
    if root.entries is None:
        what = f"the file is {'a list' if root.items is not None else 'one text'}, where keys should be"
        problems.add(root.at, what, f"begin with a key, {_EXAMPLE}")
        return None
    top = Section(root, shapes.LabFile, problems)
    top.only(own=OWN_KEYS)
    network_entries = _named(top.group("networks", may_be_empty=True), "network", networks.RESERVED, problems)
    machine_entries = _named(_machines(top), "machine", machines.RESERVED, problems)
    read_networks = [networks.read_network(name, entry, problems) for name, entry in network_entries.items()]
    read_machines = [
        machines.read_machine(name, entry, folder, problems) for name, entry in machine_entries.items()
    ]
    checks = tuple(
        check for node in top.items("checks", may_be_empty=True) if (check := _check(node, problems))
    )
    placed_networks = tuple(network for network in read_networks if network is not None)
    placed_machines = tuple(machine for machine in read_machines if machine is not None)
    return Draft(
        lab=Lab(
            name=top.parsed("name", values.lab_name) or values.name_of(folder),
            folder=folder,
            qemu=top.parsed("qemu", values.program(folder)),
            machines=tuple(machine.value for machine in placed_machines),
            networks=tuple(network.value for network in placed_networks),
            host=_host(top),
            checks=tuple(check.value for check in checks),
        ),
        machine_names={name: entry.at for name, entry in machine_entries.items()},
        network_names={name: entry.at for name, entry in network_entries.items()},
        machines=placed_machines,
        networks=placed_networks,
        checks=checks,
    )


def _machines(top: Section) -> Located | None:
    node = top.group("machines")
    if not top.has("machines") and not any(nearest(key, ["machines"]) for key in top.marks):
        top.problems.add(top.at, "the lab has no machines", f"add them, {_EXAMPLE}")
    elif node is not None and not node.entries:
        top.problems.add(node.at, "the lab has no machines", f"name at least one, {_EXAMPLE}")
    return node


def _named(
    node: Located | None, what: str, reserved: frozenset[str], problems: Problems
) -> Mapping[str, Entry]:
    """The entries of `machines` or `networks`, with their names checked."""
    entries = {} if node is None or node.entries is None else node.entries
    parse = values.name(what, reserved)
    seen: dict[str, str] = {}
    for name, entry in entries.items():
        try:
            parse(name)
        except values.Wrong as wrong:
            problems.add(entry.at, wrong.what, wrong.hint)
        other = seen.setdefault(name.lower(), name)
        if other != name:
            hint = f"{quote(other)} is at {entries[other].at}: choose another name"
            problems.add(entry.at, f"{what} {quote(name)} differs from {quote(other)} only in case", hint)
    return entries


def _host(top: Section) -> HostSide:
    node = top.group("host", may_be_empty=True)
    if node is None:
        return HostSide()
    section = Section(node, shapes.Host, top.problems)
    section.only()
    _place(section)
    return HostSide(
        forwarding=section.get("forwarding") or False,
        uplink=_uplink(section) or Uplink.NONE,
    )


def _place(section: Section) -> None:
    node = section.node("place")
    if node is not None and node.value == "host":
        section.problems.add(node.at, "place: host is not in this version", "leave it out, or write private")
    else:
        section.get("place")


def _uplink(section: Section) -> Uplink | None:
    node = section.node("uplink")
    if node is None:
        return None
    kinds = [uplink.value for uplink in Uplink]
    if not isinstance(node.value, str) or node.value in kinds or nearest(node.value, kinds):
        return section.parsed("uplink", Uplink)
    what = f"{quote(node.value)}: a NIC as uplink needs place: host, which is not in this version"
    section.problems.add(node.at, what, f"one of {', '.join(kinds)}")
    return None


def _check(node: Located, problems: Problems) -> Placed[Check] | None:
    if node.entries is None:
        problems.add(node.at, f"a check cannot be {described(node)}", "write {ping: vm2, from: vm1}")
        return None
    section = Section(node, shapes.Check, problems)
    section.only(known=_LATER_CHECKS)
    if section.has("screen") or (section.has("on") and not section.has("ping")):
        return _screen_check(section)
    _misplaced(section, "ping", ("on",))
    target, source = section.get("ping"), section.get("from")
    if not section.has("ping") and not any(key in node.entries for key in _LATER_CHECKS):
        problems.add(node.at, "the check does not say whom to ping", "add ping: with a machine or an address")
    if target is None or (source is None and section.has("from")):
        return None
    check = PingCheck(
        target=target,
        source=source or HOST_SIDE,
        reachable=section.get("expect") != "unreachable",
        via=section.get("via"),
        hint=section.get("hint") or "",
    )
    return Placed(check, node.at, section.marks)


def _screen_check(section: Section) -> Placed[Check] | None:
    _misplaced(section, "screen", ("ping", "from", "expect", "via"))
    text, on = section.parsed("screen", _words), section.get("on")
    for key, what, hint in (
        ("screen", "the check does not say what to look for", "add screen: with words of one line"),
        ("on", "the check does not say whose screen", "add on: with a machine's name"),
    ):
        if not section.has(key):
            section.problems.add(section.at, what, hint)
    if text is None or on is None:
        return None
    return Placed(ScreenCheck(text, on, section.get("hint") or ""), section.at, section.marks)


def _words(text: str) -> str:
    if not text.strip():
        raise values.Wrong("there is nothing to look for", "write words that the screen shows")
    return values.line(text)


def _misplaced(section: Section, kind: str, keys: tuple[str, ...]) -> None:
    """Note keys that belong to the other kind of check."""
    for key in keys:
        if section.has(key):
            what = f"{quote(key)} does not go with {kind}:"
            section.problems.add(section.marks[key], what, "write two checks, or leave it out")
