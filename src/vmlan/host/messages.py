"""What the programs that we run say when they fail, and what it means here.

One table: program, a piece of its message, our meaning, what to do. The program's own words are
always shown too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict


class Meaning(TypedDict, total=False):
    """The arguments that `CommandFailed` takes to explain itself."""

    meaning: str
    hint: str


_TABLE: tuple[tuple[str, str, str, str], ...] = (
    (
        "unshare", "Operation not permitted",
        "this user may not make namespaces here",
        "vmlan doctor says which setting forbids it, and how to allow it",
    ),
    (
        "unshare", "No space left on device",
        "this host allows no more user namespaces",
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
    (
        "ip", "/dev/net/tun",
        "the tap device cannot be opened",
        "sudo modprobe tun; in a container, start it with --device /dev/net/tun",
    ),
    ("ip", "Operation not supported", "this kernel lacks a kind of interface that the lab needs", "vmlan doctor names its module"),
    ("nft", "Operation not supported", "this kernel lacks nftables, or its NAT", "sudo modprobe nft_masq nft_chain_nat"),
    ("nft", "Could not process rule: No such file or directory", "this kernel lacks nftables, or its NAT", "sudo modprobe nft_masq nft_chain_nat"),
    (
        "qemu-system-x86_64", "could not open /dev/net/tun",
        "the tap device cannot be opened",
        "sudo modprobe tun; in a container, start it with --device /dev/net/tun",
    ),
    (
        "qemu-system-x86_64", "could not configure /dev/net/tun",
        "another process holds the tap, or it is not this user's",
        "vmlan ps shows the lab's taps",
    ),
    ("qemu-system-x86_64", "Could not set up host forwarding rule", "a port to publish is taken, or below 1024", "choose another port in forward:"),
    (
        "qemu-system-x86_64", "'user' is not compiled into this binary",
        "this QEMU was built without user-mode networking (slirp)",
        "use another QEMU, or a bridge with uplink: internet",
    ),
    (
        "qemu-system-x86_64", "Could not access KVM kernel module",
        "this user may not use /dev/kvm",
        "sudo usermod -aG kvm $USER, then log in again; or accel: tcg",
    ),
    ("qemu-system-x86_64", 'Failed to get "write" lock', "an image is open elsewhere already, and two writers would destroy it", "stop whoever has it open"),
    ("qemu-system-x86_64", 'Failed to get shared "write" lock', "an image is open elsewhere already", "stop whoever has it open"),
    ("qemu-system-x86_64", "Cannot allocate memory", "there is not enough memory for this machine", "give it less memory:, or start fewer"),
    ("qemu-system-x86_64", "unsupported machine type", "this QEMU has no such machine type", "qemu-system-x86_64 -machine help lists what it has"),
    ("qemu-system-x86_64", "unable to find CPU model", "this QEMU has no such processor", "qemu-system-x86_64 -cpu help lists what it has"),
    ("qemu-system-x86_64", "initrd is too large", "the machine has too little memory for what it boots", "give it more memory:; tiny needs 64M"),
    ("qemu-img", "Could not open", "the image cannot be opened", "does the file exist, and may you read it?"),
    ("qemu-img", "No space left on device", "the disk is full", "free some space, or set XDG_STATE_HOME to a larger disk"),
    ("pasta", "Failed to", "the way to the real network could not be set up", "host: {uplink: none} brings the lab up without it"),
    ("dnsmasq", "Address already in use", "another server has the DHCP or DNS port inside the lab", "two networks with dhcp: cannot share an address"),
)  # fmt: skip


def explain(argv: Sequence[str], words: str) -> Meaning:
    """What a failed program's words mean, as arguments for `CommandFailed`; empty if we do not know."""
    program = Path(argv[0]).name
    for name, piece, meaning, hint in _TABLE:
        if name == program and piece in words:
            return {"meaning": meaning, "hint": hint}
    return {}
