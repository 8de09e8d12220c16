"""What `vmlan ps` prints. Nothing here loads click (`cli.main` says why)."""

from __future__ import annotations

from pathlib import Path

from vmlan.cli import output
from vmlan.host import kept_lab, lab_file, paths
from vmlan.model import Lab
from vmlan.observe import status
from vmlan.plan import topology as topo


def show(file: Path | None, *, as_json: bool) -> None:
    """A lab's machines, with the addresses that the guests say they have, and its networks."""
    path = lab_file.find_file(file)
    layout = paths.layout(path)
    lab = kept_lab.load(path, layout)
    found = status.machines(lab, layout)
    if as_json:
        import msgspec

        networks = [
            {
                "name": network.name,
                "kind": network.kind,
                "host": _text(topo.host_address(network)),
                "host6": _text(topo.host_address6(network)),
            }
            for network in lab.networks
        ]
        output.print_json({"lab": lab.name, "machines": msgspec.to_builtins(found), "networks": networks})
        return
    rows: list[tuple[str, ...]] = []
    for machine in found:
        name, state = machine.name, str(machine.state)
        for nic in machine.nics:
            where = (nic.network, nic.interface or "-", nic.mac, ", ".join(nic.addresses) or "-")
            link = [word for word in ("down" if nic.up is False else "", nic.shape.words) if word]
            rows.append((name, state, *where, ", ".join(link) or "-"))
            name = state = ""
        if not machine.nics:
            rows.append((name, state, "-", "-", "-", "-", "-"))
    titles = ("MACHINE", "STATE", "NETWORK", "INTERFACE", "MAC", "ADDRESS", "LINK")
    # Cables are rarely pulled or slow: only then do they have a column.
    width = len(titles) if any(row[-1] != "-" for row in rows) else len(titles) - 1
    output.print_table(titles[:width], [row[:width] for row in rows])
    if lab.networks:
        print()
        output.print_table(("NETWORK", "KIND", "HOST SIDE", "OFFERS"), [*_networks(lab)])


def _networks(lab: Lab) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for network in lab.networks:
        offers = [word for word in ("dhcp", "nat", "uplink") if getattr(network, word, False)]
        offers += [
            f"{each.bind}:{each.host_port}→{each.guest_port}" for each in getattr(network, "forward", ())
        ]
        own = [str(each) for each in (topo.host_address(network), topo.host_address6(network)) if each]
        rows.append((network.name, network.kind, ", ".join(own) or "-", ", ".join(offers) or "-"))
    return rows


def _text(address: object) -> str | None:
    return None if address is None else str(address)
