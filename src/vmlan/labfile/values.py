"""Sizes, MACs, addresses, forwards, names and paths: from the text of the file to the model's types."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Literal

from vmlan.addressing import INTERFACE_NAME_MAX
from vmlan.catalogue import CATALOGUE
from vmlan.labfile.words import nearest, plain, quote
from vmlan.model import Forward, Medium, Named

#: Units count in 1024, as QEMU's do.
UNITS = {"B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

_SIZE = re.compile(r"(\d{1,20}(?:\.\d{1,6})?)\s?(?:([KMGT])(?:i?B)?|(B))?", re.IGNORECASE | re.ASCII)
_MAC = re.compile(r"([0-9a-f]{2})(?:([:-])[0-9a-f]{2})(?:\2[0-9a-f]{2}){4}", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~@+-]*")
_LAB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_FORWARD = re.compile(
    r"(?:(tcp|udp):)?(?:([0-9.]+):)?(\d{1,9}):(\d{1,9})(?:/(tcp|udp))?", re.IGNORECASE | re.ASCII
)


class Wrong(ValueError):
    """A text that is not what its key takes: what is wrong, and what would be right."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def size(least: str) -> Callable[[str], int]:
    """A parser of sizes with a unit (512M, 2GiB, 1.5G), in bytes, that takes none below `least`."""
    fewest = _bytes(least)

    def parse(text: str) -> int:
        value = _bytes(text)
        if value < fewest:
            raise Wrong(f"{quote(text)} is too little", f"at least {least}")
        return value

    return parse


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise Wrong(f"{quote(text)} is not a size", "write a number and a unit (K, M, G or T), such as 512M")
    number, unit = str(found[1]), found[2] or found[3]
    if unit is None:
        raise Wrong(f"{quote(text)} has no unit", f"write {number}M or {number}G")
    whole, _, decimals = number.partition(".")
    scale: int = 10 ** len(decimals)
    value, rest = divmod(int(whole + decimals) * UNITS[unit.upper()], scale)
    if rest:
        raise Wrong(f"{quote(text)} is not a whole number of bytes", "write it in a smaller unit")
    if value >= 2**63:
        raise Wrong(f"{quote(text)} is more than any machine can have", "check the unit")
    return value


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s?(ms|s|m)?", re.ASCII)


def duration(text: str) -> float:
    """A time with a unit (500ms, 10s, 2m), in seconds; from a millisecond to a day."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise Wrong(f"{quote(text)} is not a time", "write a number and a unit (ms, s or m), such as 10s")
    number, unit = float(found[1]), found[2]
    if unit is None:
        raise Wrong(f"{quote(text)} has no unit", f"write {found[1]}s")
    thousandths = round(number * {"ms": 1, "s": 1000, "m": 60_000}[unit])
    if not 1 <= thousandths <= 86_400_000:
        raise Wrong(f"{quote(text)} is too {'much' if thousandths else 'little'}", "from 1ms to a day")
    return thousandths / 1000


def mac(text: str) -> str:
    """A card's hardware address as six lower-case pairs with colons."""
    if not _MAC.fullmatch(text):
        raise Wrong(
            f"{quote(text)} is not a MAC address",
            "six pairs of hexadecimal digits, such as 52:54:00:12:34:56",
        )
    normal = text.lower().replace("-", ":")
    first = int(normal[:2], 16)
    if first & 1:
        raise Wrong(
            f"{normal} is a multicast address, which no card can have",
            f"the first pair of a card's own is even, as in {first & 0xFC | 2:02x}{normal[2:]}",
        )
    if normal == "00:00:00:00:00:00":
        raise Wrong(f"{normal} is no card's address", "write one such as 52:54:00:12:34:56")
    return normal


def address(text: str) -> IPv4Address:
    """An IPv4 address without a prefix length."""
    bare, slash, _ = text.partition("/")
    if slash:
        raise Wrong(f"{quote(text)} has a prefix length", f"only the address: {plain(bare)}")
    return _address(text, "10.1.1.1")


def _address(text: str, example: str) -> IPv4Address:
    if ":" in text:
        raise Wrong(
            f"{quote(text)} is an IPv6 address",
            f"here is IPv4, such as {example}; IPv6 has keys of its own: host6, address6, gateway6",
        )
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise Wrong(
            f"{quote(text)} is not an address", f"four numbers from 0 to 255, such as {example}"
        ) from None


def interface(text: str) -> IPv4Interface:
    """A station's address with the prefix length of its network; one that a station can have."""
    bare, slash, prefix = text.partition("/")
    ip = _address(bare, "10.1.1.1/24")
    if not slash:
        raise Wrong(f"{quote(text)} has no prefix length", f"write {bare}/24")
    if "." in prefix:
        raise Wrong(f"{quote(text)} has a mask", f"write the number of its bits, such as {bare}/24")
    if not re.fullmatch(r"\d{1,2}", prefix, re.ASCII) or not 1 <= int(prefix) <= 32:
        raise Wrong(f"{quote('/' + prefix)} is not a prefix length", f"1 to 32, such as {bare}/24")
    value = IPv4Interface((ip, int(prefix)))
    for is_so, what in (
        (ip.is_multicast, "a multicast address"),
        (ip.is_loopback, "a loopback address"),
        (int(ip) >> 24 == 0, "an address of no network"),
        (int(ip) >> 28 == 15, "a reserved address"),
    ):
        if is_so:
            raise Wrong(
                f"{ip} is {what}, which no station can have", "take a private one, such as 10.1.1.1/24"
            )
    _refuse_ends(value)
    return value


def address6(text: str) -> IPv6Address:
    """An IPv6 address without a prefix length."""
    bare, slash, _ = text.partition("/")
    if slash:
        raise Wrong(f"{quote(text)} has a prefix length", f"only the address: {plain(bare)}")
    return _address6(text, "fd00:1::1")


def _address6(text: str, example: str) -> IPv6Address:
    if "%" in text:
        raise Wrong(f"{quote(text)} names an interface", f"only the address: {plain(text.partition('%')[0])}")
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise Wrong(f"{quote(text)} is not an IPv6 address", f"write one such as {example}") from None


def interface6(text: str) -> IPv6Interface:
    """A station's IPv6 address with the prefix length of its network; one that a station can have."""
    bare, slash, prefix = text.partition("/")
    ip = _address6(bare, "fd00:1::1/64")
    if not slash:
        raise Wrong(f"{quote(text)} has no prefix length", f"write {bare}/64")
    if not re.fullmatch(r"\d{1,3}", prefix, re.ASCII) or not 1 <= int(prefix) <= 128:
        raise Wrong(f"{quote('/' + prefix)} is not a prefix length", f"1 to 128, such as {bare}/64")
    value = IPv6Interface((ip, int(prefix)))
    for is_so, what in (
        (ip.is_multicast, "a multicast address"),
        (ip.is_loopback, "the loopback address"),
        (int(ip) == 0, "no address"),
        (ip.is_link_local, "a link-local address, which every station has by itself"),
        (ip.ipv4_mapped is not None, "an IPv4 address in another form"),
    ):
        if is_so:
            raise Wrong(f"{ip} is {what}", "take a private one, such as fd00:1::1/64")
    if value.network.prefixlen < 127 and ip == value.network.network_address:
        first = f"{value.network.network_address + 1}/{value.network.prefixlen}"
        raise Wrong(
            f"{ip} is the network itself (its routers' anycast)", f"{first} would be its first address"
        )
    return value


def _refuse_ends(value: IPv4Interface) -> None:
    network = value.network
    if network.prefixlen > 30:  # two stations, or one: every address is a station's
        return
    if value.ip == network.network_address:
        first = f"{network.network_address + 1}/{network.prefixlen}"
        raise Wrong(f"{value.ip} is the network itself", f"{first} would be its first address")
    if value.ip == network.broadcast_address:
        last = f"{network.broadcast_address - 1}/{network.prefixlen}"
        raise Wrong(f"{value.ip} is the network's broadcast address", f"{last} would be its last address")


def forward(text: str) -> Forward:
    """`[ADDRESS:]HOSTPORT:GUESTPORT[/udp]`, or the protocol in front (`udp:5353:53`)."""
    found = _FORWARD.fullmatch(text.strip())
    if found is None:
        raise Wrong(
            f"{quote(text)} is not a forward",
            'write "HOSTPORT:GUESTPORT", such as "8080:80", "0.0.0.0:8080:80" or "5353:53/udp"',
        )
    before, bind, host_port, guest_port, after = found.groups()
    if before and after:
        raise Wrong(
            f"{quote(text)} names a protocol twice", f'write "{host_port}:{guest_port}/{after.lower()}"'
        )
    for port in (host_port, guest_port):
        if not 1 <= int(port) <= 65535:
            raise Wrong(f"{port} is not a port", "1 to 65535")
    protocol: Literal["tcp", "udp"] = "udp" if "udp" in {str(before).lower(), str(after).lower()} else "tcp"
    ports = int(host_port), int(guest_port)
    return Forward(*ports, protocol, _address(bind, "127.0.0.1")) if bind else Forward(*ports, protocol)


def name(what: str, reserved: frozenset[str]) -> Callable[[str], str]:
    """A parser of the names of `what` (machines, networks), which become host and interface names."""

    def parse(text: str) -> str:
        if not _NAME.fullmatch(text):
            raise Wrong(
                f"{quote(text)} cannot be a {what}'s name",
                "a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            )
        if text.lower() in reserved:
            raise Wrong(
                f"no {what} can be named {quote(text)}, which has a meaning of its own", "choose another name"
            )
        return text

    return parse


def interface_name(text: str) -> str:
    """The name of a network interface of this machine; what Linux allows (dev_valid_name), on one line."""
    if len(text.encode()) > INTERFACE_NAME_MAX or text in {".", "..", "lo"} or not _INTERFACE.fullmatch(text):
        raise Wrong(
            f"{quote(text)} cannot be the name of a NIC", "`ip link` shows what there is, such as eth0"
        )
    return text


def lab_name(text: str) -> str:
    """A lab's name as it is written."""
    if not _LAB_NAME.fullmatch(text):
        hint = "letters, digits, '-', '.' and '_', a letter or digit at both ends, up to 63"
        raise Wrong(f"{quote(text)} cannot be a lab's name", hint)
    return text


def name_of(folder: Path) -> str:
    """A lab's name from its folder's: what a name cannot contain becomes '-'."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", folder.name)[:63].strip("._-")
    return safe or "lab"


def word(text: str) -> str:
    """One word that goes into a command line's comma-separated list."""
    if not text or re.search(r"[\s,]", text):
        raise Wrong(
            f"{quote(text)} is not one word", "no spaces and commas; further options go in 'qemu-args'"
        )
    return text


def line(text: str) -> str:
    """Text without line breaks."""
    if "\n" in text or "\r" in text:
        raise Wrong("the text has more than one line", "write it on one")
    return text


def path(folder: Path) -> Callable[[str], Path]:
    """A parser of paths: relative to `folder`, with `~` as the user's home; absolute, not resolved."""

    def parse(text: str) -> Path:
        if not text:
            raise Wrong("the path is empty", "write one, such as ./disk.qcow2")
        if _URL.match(text):
            raise Wrong(
                f"{quote(text)}: addresses of the web are not in this version", "fetch it, and write its path"
            )
        try:
            return folder / Path(text).expanduser()
        except RuntimeError:
            raise Wrong(f"there is no home folder for {quote(text)}", "write the whole path") from None

    return parse


def medium(folder: Path) -> Callable[[str], Medium]:
    """A parser of what a machine is given: an image's name in the catalogue, or a path."""
    as_path = path(folder)

    def parse(text: str) -> Medium:
        return Named(text) if text in CATALOGUE else as_path(text)

    return parse


def image(folder: Path) -> Callable[[str], Medium | Literal["tiny"]]:
    """A parser of what a machine boots: `tiny`, an image's name, or a path (with a dot, a slash or `~`)."""
    as_medium = medium(folder)

    def parse(text: str) -> Medium | Literal["tiny"]:
        if text == "tiny":
            return "tiny"
        if text and text not in CATALOGUE and not re.search(r"[./~]", text):
            near = nearest(text, ["tiny", *CATALOGUE])
            raise Wrong(
                f"{quote(text)} is not a known image",
                f"did you mean '{near}'?"
                if near
                else f"'tiny', a name that `vmlan image ls` shows, or a path (./{plain(text)})",
            )
        return as_medium(text)

    return parse


def program(folder: Path) -> Callable[[str], str]:
    """A parser of programs: a name that is looked for on PATH, or a path."""
    as_path = path(folder)

    def parse(text: str) -> str:
        if re.search(r"[/~]", text) or not text:
            return str(as_path(text))
        return word(text)

    return parse
