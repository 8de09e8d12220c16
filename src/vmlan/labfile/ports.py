"""What it takes for the host side's NIC, or a VLAN, to be on a bridge."""

from __future__ import annotations

from vmlan.labfile.draft import Draft, Placed
from vmlan.labfile.located import Mark, Problems
from vmlan.labfile.words import quote
from vmlan.model import BridgeNetwork, MacvtapNetwork, Network, Place, Uplink


def check(draft: Draft, problems: Problems) -> None:
    """Note what is wrong with bridges' uplinks and ports' VLANs."""
    _uplinks(draft, problems)
    _macvtaps(draft, problems)
    _vlans(draft, problems)


def _uplinks(draft: Draft, problems: Problems) -> None:
    """The host side has one NIC, which can be a port of one bridge, and only if it is a NIC at all."""
    first: tuple[str, Mark] | None = None
    for network in draft.networks:
        if not isinstance(network.value, BridgeNetwork) or not network.value.uplink:
            continue
        at, name = network.where("uplink"), quote(network.value.name)
        if first is not None:
            what = (
                f"the host side's NIC is a port of {first[0]} already (at {first[1]}), and can be of one only"
            )
            problems.add(at, what, f"put the machines of {name} on {first[0]}")
            continue
        first = name, at
        if draft.lab.host.uplink is Uplink.NONE:
            what = f"the host side has no NIC that could be a port of {name}"
            real = draft.lab.host.place is Place.HOST
            hint = (
                "add uplink: with a NIC's name, such as eth0, to host:"
                if real
                else "add host: {uplink: simulated}"
            )
            problems.add(at, what, hint)
        elif draft.lab.host.uplink is Uplink.INTERNET:
            what = (
                f"no NIC can be a port of {name}: uplink: internet is the real network through ordinary "
                "sockets, which carry no frames"
            )
            problems.add(
                at, what, "write host: {uplink: simulated}; or here host: 10.1.1.1/24 with nat: true"
            )


def _macvtaps(draft: Draft, problems: Problems) -> None:
    """A macvtap has a device file that only root can open; and it is on some NIC, which is no port."""
    ports = {
        each.value.nic: each.value.name for each in draft.networks if isinstance(each.value, BridgeNetwork)
    }
    for network in draft.networks:
        if not isinstance(network.value, MacvtapNetwork):
            continue
        at, name = network.where("kind"), quote(network.value.name)
        if draft.lab.host.place is not Place.HOST:
            what = f"{name} is of kind macvtap, whose device files only root can open"
            problems.add(at, what, "add host: {place: host}; or kind: bridge with uplink: true")
        elif not network.value.parent and "parent" not in network.keys:
            what = f"nothing says on which NIC {name} is"
            problems.add(at, what, "add parent: eth0, or uplink: eth0 to host:")
        elif network.value.parent and network.value.parent in ports:
            bridge = quote(ports[network.value.parent])
            what = f"{name} is on {network.value.parent}, a port of {bridge}, and ports cannot have macvtaps"
            problems.add(at, what, f"put its machines on {bridge}")


def _vlans(draft: Draft, problems: Problems) -> None:
    networks: dict[str, Placed[Network]] = {network.value.name: network for network in draft.networks}
    for machine in draft.machines:
        for nic in machine.nics:
            network = networks.get(nic.value.network)
            if network is None or isinstance(network.value, BridgeNetwork):
                continue
            for key in ("vlan", "trunk"):
                if key in nic.keys:
                    name, kind = quote(nic.value.network), network.value.kind
                    what = f"a VLAN is for a port of a bridge, and {name} is of kind {kind}"
                    problems.add(nic.where(key), what, f"leave '{key}' out, or make it a bridge")
