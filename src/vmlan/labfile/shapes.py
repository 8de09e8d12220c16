"""The sections of the file: one Struct each, whose fields are its keys.

What only an editor checks by pattern (sizes, addresses) is parsed, with better words, in `values`.
Defaults stand here for the schema; the values themselves are `model`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

from vmlan.labfile.describe import DURATION, LAB_NAME, QUOTED, Name, key
from vmlan.labfile.machine_shapes import Disk, Machine, Nic
from vmlan.labfile.network_shapes import NETWORKS, Bridge, Hub, Macvtap, Nowhere, Socket, Tap, User
from vmlan.reasons import SHORT, Reason

__all__ = ["NETWORKS", "Check", "Disk", "Host", "LabFile", "Machine", "Nic"]

#: What `reason` takes. That a packet was delivered is no reason for a check to be unreachable.
REASONS = [each.value for each in Reason if each is not Reason.DELIVERED] + list(SHORT)

_Link: TypeAlias = Annotated[str, key("", "a link, such as uplink or vm1:0", number=QUOTED)]


class Host(Struct, forbid_unknown_fields=True):
    """The lab's host side: what guests see as "the host"."""

    place: Annotated[
        Literal["private", "host"],
        key(
            "Where the host side is. private: a network namespace of its own, no root needed. host: this "
            "machine's own network, which takes root (sudo vmlan up)."
        ),
    ] = "private"
    forwarding: Annotated[
        bool,
        key(
            "Whether the host side forwards packets between its networks (net.ipv4.ip_forward).",
            "true or false",
        ),
    ] = False
    uplink: Annotated[
        Literal["none", "internet", "simulated"] | str,
        key(
            "The host side's way out. internet: the real network, through user-mode sockets. "
            "simulated: an outside of documentation addresses (198.51.100.0/24, 203.0.113.0/24). With "
            "`place: host`: a NIC of this machine, such as eth0.",
            "none, internet or simulated; with place: host, a NIC such as eth0",
            "internet",
            "eth0",
            number=QUOTED,
        ),
    ] = "none"


class Check(Struct, forbid_unknown_fields=True):
    """What the lab must do: one side reaches another (or does not), or a machine shows a text."""

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
    tcp: (
        Annotated[
            str,
            key(
                "Where to connect to: a machine, host, or an address, and a TCP port.",
                "a machine or an address, and a port, such as vm2:80",
                "vm2:80",
                "10.1.1.1:22",
            ),
        ]
        | UnsetType
    ) = UNSET
    arp: (
        Annotated[
            str,
            key(
                "Whom to ask for by ARP: a machine, host or an address, whose MAC answers; or a MAC, whose "
                "address is looked for.",
                "a machine's name, host, an address or a MAC",
                "10.1.1.2",
                "52:54:00:12:34:56",
            ),
        ]
        | UnsetType
    ) = UNSET
    dhcp: (
        Annotated[
            str,
            key(
                "The network on which an address is asked for, by the card that `from` has there.",
                "a network's name",
                "lan",
            ),
        ]
        | UnsetType
    ) = UNSET
    dns: (
        Annotated[
            str,
            key(
                "The name to look up. Machines are NAME.LAB.internal.",
                "a name, such as vm2.shop.internal",
                "vm2.shop.internal",
            ),
        ]
        | UnsetType
    ) = UNSET
    from_: Annotated[
        str,
        key("Who asks: a machine, or host (the lab's host side).", "a machine's name or host", "vm1"),
    ] = field(default="host", name="from")
    is_: (
        Annotated[
            str,
            key(
                "What must be answered. dns: an address, or a machine that has it; arp: a MAC, or a machine "
                "that has it (of a MAC: its address); dhcp: the server's address.",
                "an address, a MAC or a machine's name",
                "10.2.0.12",
                "vm2",
            ),
        ]
        | UnsetType
    ) = field(default=UNSET, name="is")
    expect: Annotated[Literal["reachable", "unreachable"], key("What must come of it.")] = "reachable"
    within: (
        Annotated[
            str,
            key(
                "How long it may take until it is as expected; six seconds when left out (two minutes for a "
                "screen), and for what must be unreachable no time at all.",
                "a time with a unit, such as 10s",
                "10s",
                "500ms",
                number=("{0} has no unit", "write {0}s"),
                pattern=DURATION,
            ),
        ]
        | UnsetType
    ) = UNSET
    via: (
        Annotated[
            str,
            key(
                "The network whose address of the target is meant, where it has several; with dns, the "
                "network whose DNS is asked.",
                "a network's name",
                "lan",
            ),
        ]
        | UnsetType
    ) = UNSET
    seen_on: (
        Annotated[
            list[_Link] | _Link,
            key(
                "Links on which what the check sends must be seen, by the names that vmlan capture knows.",
                "a network, a machine, one of its NICs (vm1:0), uplink or outside; or a list of them",
                "uplink",
                ["wire", "uplink"],
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = field(default=UNSET, name="seen-on")
    not_seen_on: (
        Annotated[
            list[_Link] | _Link,
            key(
                "Links on which nothing of what the check sends may be seen.",
                "a network, a machine, one of its NICs (vm1:0), uplink or outside; or a list of them",
                "uplink",
                ["vm3"],
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = field(default=UNSET, name="not-seen-on")
    reason: (
        Annotated[
            str,
            key(
                "Why nobody may answer, as vmlan trace finds it; with ping or tcp, and expect: unreachable.",
                "a reason, such as no-route-in-guest",
                "no-nat",
                enum=REASONS,
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
        dict[Name, Tap | Bridge | Macvtap | User | Socket | Hub | Nowhere] | None,
        key("The networks by name.", "networks by name, such as {wire: {kind: tap}}"),
    ] = None
    checks: Annotated[
        list[Check] | None,
        key("What the lab must do, in order.", "a list, such as [{ping: vm2, from: vm1}]"),
    ] = None
