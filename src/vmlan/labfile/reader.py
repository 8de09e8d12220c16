"""The whole file → a draft of the lab, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vmlan.labfile import machines, networks, shapes, values
from vmlan.labfile.draft import Draft, PlacedNetwork
from vmlan.labfile.located import Entry, Located, Problems
from vmlan.labfile.read_checks import read_check
from vmlan.labfile.section import Section
from vmlan.labfile.words import nearest, quote
from vmlan.model import BridgeNetwork, HostNic, HostSide, Lab, MacvtapNetwork, Network, Place, Uplink

#: Top-level keys that begin so are the user's own: a place for anchors.
OWN_KEYS = "x-"

_EXAMPLE = "such as machines: {vm1: {image: tiny}}"


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
    name = top.parsed("name", values.lab_name) or values.name_of(folder)
    network_entries = _named(top.group("networks", may_be_empty=True), "network", networks.RESERVED, problems)
    machine_entries = _named(_machines(top), "machine", machines.RESERVED, problems)
    read_networks = [
        networks.read_network(each, entry, name, problems) for each, entry in network_entries.items()
    ]
    read_machines = [
        machines.read_machine(each, entry, folder, problems) for each, entry in machine_entries.items()
    ]
    checks = tuple(
        check for node in top.items("checks", may_be_empty=True) if (check := read_check(node, problems))
    )
    host = _host(top)
    placed_networks = tuple(_on_its_nic(network, host) for network in read_networks if network is not None)
    placed_machines = tuple(machine for machine in read_machines if machine is not None)
    return Draft(
        lab=Lab(
            name=name,
            folder=folder,
            qemu=top.parsed("qemu", values.program(folder)),
            machines=tuple(machine.value for machine in placed_machines),
            networks=tuple(network.value for network in placed_networks),
            host=host,
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
    place = Place(section.get("place") or "private")
    return HostSide(
        place=place,
        forwarding=section.get("forwarding") or False,
        uplink=_uplink(section, place) or Uplink.NONE,
    )


def _uplink(section: Section, place: Place) -> Uplink | HostNic | None:
    """The way out: one of ours for a host side of our own, a NIC for the real host's."""
    text = section.get("uplink")
    if text is None:
        return None
    at, kinds = section.marks["uplink"], [uplink.value for uplink in Uplink]
    if text == Uplink.NONE.value:
        return Uplink.NONE
    if place is Place.PRIVATE:
        if text in kinds:
            return Uplink(text)
        if near := nearest(text, kinds):
            section.problems.add(at, f"unknown uplink {quote(text)}", f"did you mean {quote(near)}?")
        else:
            what = f"{quote(text)}: a NIC as uplink needs place: host"
            section.problems.add(at, what, f"add it, or write one of {', '.join(kinds)}")
        return None
    if text in kinds:
        what = (
            f"uplink: {text} is for a host side of the lab's own, and place: host is this machine's network"
        )
        section.problems.add(at, what, "name one of its NICs, such as eth0; or leave place out")
        return None
    return section.parsed("uplink", lambda name: HostNic(values.interface_name(name)))


def _on_its_nic(network: PlacedNetwork, host: HostSide) -> PlacedNetwork:
    """A network that is on the host side's NIC, with that NIC's name in it."""
    if not isinstance(host.uplink, HostNic):
        return network
    value: Network = network.value
    if isinstance(value, BridgeNetwork) and value.uplink:
        value = replace(value, nic=host.uplink.name)
    elif isinstance(value, MacvtapNetwork) and not value.parent:
        value = replace(value, parent=host.uplink.name)
    return replace(network, value=value)
