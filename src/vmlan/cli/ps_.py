"""`vmlan ps`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan import labfile, lifecycle
from vmlan.cli import common
from vmlan.host import paths
from vmlan.model import Lab
from vmlan.observe import status


@click.command("ps")
@common.file_option
@common.json_option
def command(file: Path | None, as_json: bool) -> None:
    """This lab's machines, with the addresses that the guests say they have, and its networks."""
    import msgspec

    path = lifecycle.find_file(file)
    lab = labfile.load(path)
    found = status.machines(lab, paths.layout(path))
    if as_json:
        networks = [
            {
                "name": network.name,
                "kind": network.kind,
                "host": str(getattr(network, "host", None) or "") or None,
            }
            for network in lab.networks
        ]
        common.print_json({"lab": lab.name, "machines": msgspec.to_builtins(found), "networks": networks})
        return
    rows: list[tuple[str, ...]] = []
    for machine in found:
        name, state = machine.name, str(machine.state)
        for nic in machine.nics:
            rows.append(
                (name, state, nic.network, nic.interface or "-", nic.mac, ", ".join(nic.addresses) or "-")
            )
            name = state = ""
        if not machine.nics:
            rows.append((name, state, "-", "-", "-", "-"))
    common.print_table(("MACHINE", "STATE", "NETWORK", "INTERFACE", "MAC", "ADDRESS"), rows)
    if lab.networks:
        print()
        common.print_table(("NETWORK", "KIND", "HOST SIDE", "OFFERS"), [*_networks(lab)])


def _networks(lab: Lab) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for network in lab.networks:
        offers = [word for word in ("dhcp", "nat") if getattr(network, word, False)]
        offers += [
            f"{each.bind}:{each.host_port}→{each.guest_port}" for each in getattr(network, "forward", ())
        ]
        rows.append(
            (network.name, network.kind, str(getattr(network, "host", None) or "-"), ", ".join(offers) or "-")
        )
    return rows
