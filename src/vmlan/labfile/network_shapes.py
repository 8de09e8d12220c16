"""The kinds of networks: one Struct each, whose fields are its keys."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from vmlan.labfile.describe import CIDR, FORWARD, key

_FORWARD_TAKES = 'HOSTPORT:GUESTPORT, such as "8080:80"'

_HOST_ADDRESS = key(
    "The host side's address on this network, with its prefix length.",
    "an address with its prefix length, such as 10.1.1.1/24",
    "10.1.1.1/24",
    pattern=CIDR,
)


class Tap(Struct, tag="tap", tag_field="kind", forbid_unknown_fields=True):
    """One tap interface: the host side and one guest, as with a crossover cable."""

    host: Annotated[str, _HOST_ADDRESS] | UnsetType = UNSET


class Bridge(Struct, tag="bridge", tag_field="kind", forbid_unknown_fields=True):
    """A switch with a port for each guest and, with an address, for the host side."""

    host: Annotated[str, _HOST_ADDRESS] | UnsetType = UNSET
    dhcp: Annotated[
        bool,
        key("Whether the host side gives guests their addresses (DHCP); needs `host`.", "true or false"),
    ] = False
    nat: Annotated[
        bool,
        key(
            "Whether guests' packets leave with the host side's address (masquerading); needs `host`.",
            "true or false",
        ),
    ] = False


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
    "user": User,
    "socket": Socket,
    "hub": Hub,
    "none": Nowhere,
}
