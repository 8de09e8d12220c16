"""Marking what a lab makes in a real host's network, so that nothing else is ever removed. Pure.

An interface of ours has an alternative name that nobody else gives (ip-link(8), altname; Linux 5.5), and is
removed by that name alone: another interface that happens to have the ordinary name is not found by it. It is
made under a name that is a mark in itself, and gets its ordinary one last, so that there is no instant at
which one of ours could not be told from somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmlan.addressing import short_digest
from vmlan.plan.layout import Layout

_PREFIX = "vmlan-"


def prefix(layout: Layout) -> str:
    """What the alternative names of all interfaces of a lab begin with."""
    return f"{_PREFIX}{layout.id}."


def altname(layout: Layout, interface: str) -> str:
    """The mark of one of its interfaces."""
    return prefix(layout) + interface


def is_marked(layout: Layout, altnames: Iterable[str]) -> bool:
    """Whether an interface with these alternative names is the lab's."""
    return any(name.startswith(prefix(layout)) for name in altnames)


def table(layout: Layout, network: str) -> str:
    """The name of a network's table of rules; on a real host, one that is this lab's alone."""
    words = f"vmlan_{layout.id}.{network}" if layout.on_host else f"vmlan_{network}"
    return words.replace("-", "_")


def making(layout: Layout, interface: str, add: str) -> tuple[str, ...]:
    """The lines that make an interface, marked where the host is real. `add` has `{}` for its name."""
    if not layout.on_host:
        return (add.format(interface),)
    first = _first_name(layout, interface)
    return (
        add.format(first),
        f"link property add dev {first} altname {altname(layout, interface)}",
        f"link set dev {first} name {interface}",
    )


def removing(layout: Layout, interface: str) -> tuple[str, ...]:
    """The lines that take it away, however far its making came."""
    if not layout.on_host:
        return (f"link del dev {interface}",)
    return (f"link del dev {altname(layout, interface)}", f"link del dev {_first_name(layout, interface)}")


def makes(layout: Layout, interface: str) -> tuple[str, ...]:
    """For `Interfaces.makes`: its name, where the host is real."""
    return (interface,) if layout.on_host else ()


def _first_name(layout: Layout, interface: str) -> str:
    """The name that it has at first: of ours by its form, and of this one by its digest."""
    return f"vml~{short_digest(layout.id, interface)}"
