"""What the links of a lab are called, for `seen-on` and `not-seen-on`: the names that `vmlan capture` takes.

`observe.links` has the links themselves, which takes a plan; a test compares the names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vmlan import addressing
from vmlan.labfile.draft import Draft, PlacedCheck
from vmlan.labfile.located import Problems
from vmlan.labfile.words import listed, nearest, quote
from vmlan.model import BridgeNetwork, NoNetwork, TapNetwork, Uplink

#: What the ways out are called, and their interfaces.
UPLINK, OUTSIDE = {"uplink", "eth0"}, {"outside", "out0"}


def look(placed: PlacedCheck, draft: Draft, problems: Problems) -> None:
    """Note each link that a check names and the lab does not have."""
    if not placed.links:
        return
    shown, others = _names(draft)
    wanted = {name for key, name, _ in placed.links if key == "seen-on"}
    for key, name, at in placed.links:
        if name not in shown and name not in others:
            problems.add(at, f"unknown link {quote(name)}", _hint(name, draft, shown, others))
        elif key == "not-seen-on" and name in wanted:
            problems.add(at, f"{quote(name)} stands under seen-on too", "leave it out of one of them")


def _names(draft: Draft) -> tuple[list[str], set[str]]:
    """The names that are shown, and the others that are taken as well."""
    shown: list[str] = []
    others: set[str] = set()
    nics = list(_nics(draft))
    used = {network for _, _, network in nics}
    for placed in draft.networks:
        kind, name = placed.value, placed.value.name
        if isinstance(kind, TapNetwork | BridgeNetwork):
            shown.append(name)
            others.add(addressing.interface_name(name))
        elif not isinstance(kind, NoNetwork) and name in used:
            shown.append(name)
    among = Counter((machine, network) for machine, _, network in nics)
    nowhere = {placed.value.name for placed in draft.networks if isinstance(placed.value, NoNetwork)}
    for machine, index, network in nics:
        if network not in nowhere:
            shown.append(f"{machine}:{index}")
            others |= {machine, addressing.port_name(machine, network, among[machine, network], index)}
    # Who has a mistake in it was read in part: what it would be called is not known, and told already.
    read = {each.value.name for each in draft.machines} | {each.value.name for each in draft.networks}
    others |= {name for name in (*draft.machine_names, *draft.network_names) if name not in read}
    uplink = draft.lab.host.uplink
    if uplink is not Uplink.NONE:
        shown.append("uplink")
        others |= UPLINK if isinstance(uplink, Uplink) else {uplink.value}
    if uplink is Uplink.SIMULATED:
        shown.append("outside")
        others |= OUTSIDE
    return shown, others


def _nics(draft: Draft) -> Iterator[tuple[str, int, str]]:
    """Every NIC: its machine, its number, its network."""
    for machine in draft.machines:
        for index, nic in enumerate(machine.value.nics):
            yield machine.value.name, index, nic.network


def _hint(name: str, draft: Draft, shown: list[str], others: set[str]) -> str:
    if name in UPLINK | OUTSIDE:
        return "the lab has no such way out: host: {uplink: simulated} makes one"
    if name in draft.machine_names:
        return f"{name} has no NIC that leads anywhere"
    if name in draft.network_names:
        return "no frame passes there"
    near = nearest(name, [*shown, *others])
    if near is not None:
        return f"did you mean {quote(near)}?"
    return f"the lab has {listed(shown, 'and')}" if shown else "the lab has none: add networks and NICs"
