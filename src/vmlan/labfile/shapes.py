"""The sections of the file: one Struct each, whose fields are its keys.

What only an editor checks by pattern (sizes, addresses) is parsed, with better words, in `values`.
Defaults stand here for the schema; the values themselves are `model`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Struct, UnsetType, field

from vmlan.labfile.describe import LAB_NAME, QUOTED, Name, key
from vmlan.labfile.machine_shapes import Disk, Machine, Nic
from vmlan.labfile.network_shapes import NETWORKS, Bridge, Hub, Nowhere, Socket, Tap, User

__all__ = ["NETWORKS", "Check", "Disk", "Host", "LabFile", "Machine", "Nic"]


class Host(Struct, forbid_unknown_fields=True):
    """The lab's host side: what guests see as "the host"."""

    place: Annotated[
        Literal["private"],
        key("Where the host side is. private: a network namespace of its own, no root needed."),
    ] = "private"
    forwarding: Annotated[
        bool,
        key(
            "Whether the host side forwards packets between its networks (net.ipv4.ip_forward).",
            "true or false",
        ),
    ] = False
    uplink: Annotated[
        Literal["none", "internet", "simulated"],
        key(
            "The host side's way out. internet: the real network, through user-mode sockets. "
            "simulated: an outside of documentation addresses (198.51.100.0/24, 203.0.113.0/24)."
        ),
    ] = "none"


class Check(Struct, forbid_unknown_fields=True):
    """What the lab must do: one side pings another, and reaches it or not; or a machine shows a text."""

    ping: (
        Annotated[
            str,
            key(
                "Whom to ping: a machine, host, or an address.",
                "a machine's name, host or an address",
                "vm2",
                "10.1.1.1",
            ),
        ]
        | UnsetType
    ) = UNSET
    from_: Annotated[
        str, key("Who pings: a machine, or host (the lab's host side).", "a machine's name or host", "vm1")
    ] = field(default="host", name="from")
    expect: Annotated[Literal["reachable", "unreachable"], key("What must come of it.")] = "reachable"
    via: (
        Annotated[
            str,
            key(
                "The network whose address of the pinged machine is meant, where it has several.",
                "a network's name",
                "lan",
            ),
        ]
        | UnsetType
    ) = UNSET
    screen: (
        Annotated[
            str,
            key(
                "What a machine must show, on its screen (in a text mode) or its serial console.",
                "words of one line, such as login:",
                "login:",
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = UNSET
    on: (
        Annotated[str, key("The machine that must show it; with `screen`.", "a machine's name", "vm1")]
        | UnsetType
    ) = UNSET
    hint: Annotated[
        str,
        key(
            "What to think of when the check fails.", "a text", "user-mode stacks are separate", number=QUOTED
        ),
    ] = ""


class LabFile(Struct, forbid_unknown_fields=True):
    """A lab: machines, the networks between them, and what must work."""

    machines: Annotated[
        dict[Name, Machine | None],
        key(
            "The machines by name; a name alone is a tiny machine.",
            "machines by name, such as {vm1: {image: tiny}}",
            minProperties=1,
        ),
    ]
    name: (
        Annotated[
            str,
            key(
                "The lab's name; the folder's when left out.",
                "a text, such as crossover",
                "crossover",
                number=QUOTED,
                pattern=LAB_NAME,
            ),
        ]
        | UnsetType
    ) = UNSET
    qemu: (
        Annotated[
            str,
            key(
                "The QEMU to use: a program's name or its path. The installed one when left out; the "
                "variable VMLAN_QEMU goes before both.",
                "a program, such as /opt/qemu/bin/qemu-system-x86_64",
                "/opt/qemu/bin/qemu-system-x86_64",
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = UNSET
    host: Annotated[Host | None, key("The lab's host side.", "keys such as {uplink: internet}")] = None
    networks: Annotated[
        dict[Name, Tap | Bridge | User | Socket | Hub | Nowhere] | None,
        key("The networks by name.", "networks by name, such as {wire: {kind: tap}}"),
    ] = None
    checks: Annotated[
        list[Check] | None,
        key("What the lab must do, in order.", "a list, such as [{ping: vm2, from: vm1}]"),
    ] = None
