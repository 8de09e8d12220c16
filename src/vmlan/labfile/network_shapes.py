"""The kinds of networks: one Struct each, whose fields are its keys."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from vmlan.labfile.describe import CIDR, CIDR6, FORWARD, QUOTED, key

_FORWARD_TAKES = 'HOSTPORT:GUESTPORT, such as "8080:80"'

_HOST_ADDRESS = key(
    "The host side's address on this network, with its prefix length.",
    "an address with its prefix length, such as 10.1.1.1/24",
    "10.1.1.1/24",
    pattern=CIDR,
)

_HOST6_ADDRESS = key(
    "The host side's IPv6 address on this network, with its prefix length. auto: one of fd00::/8, made from "
    "the names of lab and network.",
    "auto, or an address with its prefix length, such as fd00:1::1/64",
    "auto",
    "fd00:1::1/64",
    pattern=f"^auto$|{CIDR6}",
)


class Tap(Struct, tag="tap", tag_field="kind", forbid_unknown_fields=True):
    """One tap interface: the host side and one guest, as with a crossover cable."""

    host: Annotated[str, _HOST_ADDRESS] | UnsetType = UNSET
    host6: Annotated[str, _HOST6_ADDRESS] | UnsetType = UNSET


class Bridge(Struct, tag="bridge", tag_field="kind", forbid_unknown_fields=True):
    """A switch with a port for each guest and, with an address, for the host side."""

    host: Annotated[str, _HOST_ADDRESS] | UnsetType = UNSET
    dhcp: Annotated[
        bool,
        key(
            "Whether the host side gives guests their addresses (DHCP, and router advertisements where there "
            "is a `host6`); needs `host`.",
            "true or false",
        ),
    ] = False
    nat: Annotated[
        bool,
        key(
            "Whether guests' packets leave with the host side's address (masquerading); needs `host`.",
            "true or false",
        ),
    ] = False
    host6: Annotated[str, _HOST6_ADDRESS] | UnsetType = UNSET
    uplink: Annotated[
        bool,
        key(
            "Whether the host side's NIC is a port too: guests are then stations of the outside, which gives "
            "them their addresses. The host side's own address moves from its NIC to the bridge.",
            "true or false",
        ),
    ] = False
    vlan: (
        Annotated[
            int,
            key(
                "The VLAN of the host side's own port, where ports have VLANs; 1 when left out.",
                "a VLAN's number, from 1 to 4094",
                20,
                least=1,
                most=4094,
            ),
        ]
        | UnsetType
    ) = UNSET


class Macvtap(Struct, tag="macvtap", tag_field="kind", forbid_unknown_fields=True):
    """Guests on the network of a real NIC, which stays as it is (`place: host`).

    Guests reach each other and the outside; the host and these guests do not reach each other.
    """

    parent: (
        Annotated[
            str,
            key(
                "The NIC whose network it is; that of the host side's `uplink` when left out.",
                "a NIC's name, such as eth0",
                "eth0",
                number=QUOTED,
            ),
        ]
        | UnsetType
    ) = UNSET


_Forwards: TypeAlias = Annotated[
    list[
        Annotated[
            str,
            key(
                "",
                _FORWARD_TAKES,
                number=("{0} is one port", f"it takes {_FORWARD_TAKES}"),
                pattern=FORWARD,
            ),
        ]
    ],
    key(
        "Ports of the real host that lead to the guest: HOSTPORT:GUESTPORT, with an address before and "
        "/udp after if wanted. Without an address only this host itself reaches them.",
        'a list, such as ["8080:80"]',
        ["8080:80", "0.0.0.0:2222:22", "5353:53/udp"],
    ),
]


class User(Struct, tag="user", tag_field="kind", forbid_unknown_fields=True):
    """QEMU's own user-mode stack, a separate one for each machine (10.0.2.0/24)."""

    forward: _Forwards = []


class Hub(Struct, tag="hub", tag_field="kind", forbid_unknown_fields=True):
    """QEMU's emulated hub with its user-mode stack on it, separate for each machine: QEMU's own default."""

    forward: _Forwards = []


class Socket(Struct, tag="socket", tag_field="kind", forbid_unknown_fields=True):
    """Machine to machine through QEMU's sockets; nothing of it on the host side."""


class Nowhere(Struct, tag="none", tag_field="kind", forbid_unknown_fields=True):
    """A network that leads nowhere: its NICs have no peer."""


NETWORKS: dict[str, type[Struct]] = {
    "tap": Tap,
    "bridge": Bridge,
    "macvtap": Macvtap,
    "user": User,
    "socket": Socket,
    "hub": Hub,
    "none": Nowhere,
}
