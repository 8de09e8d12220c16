"""Machines of a running lab that its file does not have: copies of machines that ran (`vmlan clone`).

They are remembered in RUN/clones, which goes with the lab, and are machines as any other until then.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import TypeAlias

from vmlan.errors import RequestError
from vmlan.model import Lab, Nic
from vmlan.plan import topology
from vmlan.plan.layout import Layout

#: A clone's name, and whose copy it was.
Clone: TypeAlias = tuple[str, str]


def read(layout: Layout) -> tuple[Clone, ...]:
    """The clones of the lab that runs."""
    with contextlib.suppress(OSError, ValueError):
        return tuple((str(name), str(of)) for name, of in json.loads(layout.clones.read_bytes()))
    return ()


def write(layout: Layout, clones: Sequence[Clone]) -> None:
    """Remember them."""
    new = layout.clones.with_suffix(".new")
    new.write_text(json.dumps(clones))
    new.replace(layout.clones)


def added(lab: Lab, clones: Sequence[Clone]) -> Lab:
    """The lab with its clones. One of a machine that the file no longer has is left out."""
    for name, of in clones:
        origin = lab.machine(of)
        if origin is None or lab.machine(name) is not None:
            continue
        # Its MACs follow from its name, as with any machine that is given none; so do leased addresses.
        nics = tuple(
            replace(nic, mac=None, address=_next(lab, nic), address6=None, gateway6=None)
            for nic in origin.nics
        )
        lab = replace(lab, machines=(*lab.machines, replace(origin, name=name, nics=nics)))
    return lab


def _next(lab: Lab, nic: Nic) -> IPv4Interface | None:
    """For a card with a fixed address: the next one that nobody on its network has. Raises `RequestError`."""
    if nic.address is None:
        return None
    network = lab.network(nic.network)
    own = topology.host_address(network) if network is not None else None
    taken = {link.address.ip for link in topology.survey(lab).on(nic.network) if link.address is not None}
    taken |= {own.ip} if own is not None else set()
    for address in nic.address.network.hosts():
        if address > nic.address.ip and address not in taken:
            return IPv4Interface(f"{address}/{nic.address.network.prefixlen}")
    raise RequestError(f"network {nic.network} has no address left after {nic.address}")
