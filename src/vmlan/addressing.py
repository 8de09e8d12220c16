"""Names and numbers that nobody should have to choose: MACs, interface names, leases.

All are pure functions of names, so that the same lab file always makes the same lab.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

#: Linux cuts interface names at 15 bytes without a word (IFNAMSIZ is 16 with the NUL, linux/if.h).
INTERFACE_NAME_MAX = 15

#: QEMU's own prefix; the last three bytes are ours to choose.
MAC_PREFIX = "52:54:00"


def _digest(*words: str) -> bytes:
    return hashlib.sha256("\0".join(words).encode()).digest()


def mac_address(lab: str, machine: str, nic: int) -> str:
    """The MAC of a machine's n-th NIC: QEMU's prefix and three bytes that depend on the names alone."""
    return MAC_PREFIX + "".join(f":{byte:02x}" for byte in _digest(lab, machine, str(nic))[:3])


def short_digest(*words: str) -> str:
    """Eight characters that follow from the words."""
    return _digest(*words).hex()[:8]


def interface_name(wanted: str) -> str:
    """`wanted`, or, where that is too long for Linux, its beginning and a digest: at most 15 bytes."""
    if len(wanted) <= INTERFACE_NAME_MAX:
        return wanted
    return f"{wanted[:10]}~{_digest(wanted).hex()[:4]}"


def port_name(machine: str, network: str, among: int, index: int) -> str:
    """The tap of a machine's NIC: MACHINE-NETWORK, with the NIC's index where it has `among` > 1 there."""
    tail = f".{index}" if among > 1 else ""
    return interface_name(f"{machine}-{network}{tail}")


def local_ipv6(lab: str, network: str) -> IPv6Interface:
    """The host side's IPv6 address where the file names none: the first of a /64 in fd00::/8.

    RFC 4193: `fd`, a global ID of 40 bits, here the lab's, and 16 bits for the network in it.
    """
    prefix = b"\xfd" + _digest("ipv6", lab)[:5] + _digest("ipv6", lab, network)[:2]
    return IPv6Interface((int.from_bytes(prefix + b"\0" * 7 + b"\1"), 64))


def eui64(host: IPv6Interface, mac: str) -> IPv6Interface:
    """The address that a station makes itself of a /64 and its MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Interface((int(host.network.network_address) + int.from_bytes(identifier), 64))


@dataclass(frozen=True)
class Leases:
    """How a subnet is shared out: one reserved address per NIC, and a range for anybody else."""

    reserved: tuple[IPv4Address, ...]
    first: IPv4Address
    last: IPv4Address


def share_out(host: IPv4Interface, static: Iterable[IPv4Address], nics: int) -> Leases | None:
    """Reserve an address for each of `nics` NICs, in order; None where the subnet is too small.

    In a /24 the reservations start at .11 and the range is .100-.199, as people number by hand;
    a small subnet is used from its first address, and its upper half is the range.
    """
    subnet = host.network
    taken = {host.ip, *static}
    base, size = int(subnet.network_address), subnet.num_addresses
    roomy = size >= 256
    first, last = (100, 199) if roomy else (max(size // 2, 1), size - 2)
    low = 11 if roomy else 1
    free = (IPv4Address(base + n) for n in range(low, size - 1) if not (roomy and first <= n <= last))
    reserved: list[IPv4Address] = []
    for address in free:
        if len(reserved) == nics:
            break
        if address not in taken:
            reserved.append(address)
    if len(reserved) < nics:
        return None
    return Leases(tuple(reserved), IPv4Address(base + first), IPv4Address(base + last))
