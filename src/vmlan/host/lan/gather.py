"""Reading a network namespace: the snapshot, and what there is to know of one NIC beyond it.

Standard library only, for the guard. Everything is read of the network namespace of this process.
"""

from __future__ import annotations

import contextlib
import json
import struct
import time
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from vmlan.errors import HostError
from vmlan.host.run import find, run
from vmlan.plan.lan_facts import SWITCHES, Connection, NicFacts
from vmlan.plan.lan_snapshot import Snapshot

_PROC_NET = Path("/proc/sys/net")


def gather(*nics: str) -> Snapshot:
    """This network namespace as it is now. Raises `HostError` if `ip` cannot be asked."""
    nft = run(("nft", "-j", "list", "ruleset"), check=False) if find("nft") else None
    links, addresses = _json("-d", "link"), _json("addr")
    return Snapshot(
        links=links,
        addresses=tuple(
            {"ifname": one.get("ifname"), "addr_info": one.get("addr_info", [])} for one in addresses
        ),
        routes4=_lines("-4", "route", "show", "table", "all"),
        routes6=_lines("-6", "route", "show", "table", "all"),
        rules4=_json("-4", "rule"),
        rules6=_json("-6", "rule"),
        neighbours=(*_json("neigh"), *_json("neigh", "show", "proxy")),
        sysctls=dict(_sysctls(*nics)),
        nft=tuple(json.loads(nft.stdout)["nftables"]) if nft and nft.ok and nft.stdout else None,
        at=time.clock_gettime(time.CLOCK_BOOTTIME),
    )


def _json(*words: str) -> tuple[Mapping[str, Any], ...]:
    said = run(("ip", "-j", *words)).stdout
    try:
        return tuple(json.loads(said) if said.strip() else ())
    except ValueError:
        raise HostError(f"ip -j {' '.join(words)} printed no JSON") from None


def _lines(*words: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in run(("ip", "-d", "-o", *words)).stdout.splitlines() if line.strip())


def _sysctls(*nics: str) -> Iterator[tuple[str, str]]:
    for path in ("ipv4/ip_forward", "ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"):
        yield from _sysctl(path)
    for family, names in SWITCHES.items():
        for interface in ("all", "default", *nics):
            for name in names:
                yield from _sysctl(f"{family}/conf/{interface}/{name}")


def _sysctl(path: str) -> Iterator[tuple[str, str]]:
    with contextlib.suppress(OSError):  # another kernel has others
        yield path, (_PROC_NET / path).read_text().strip()


def connections() -> list[Connection]:
    """The established TCP connections of this network namespace (proc(5), /proc/net/tcp)."""
    return [one for name in ("tcp", "tcp6") for one in _connections(Path("/proc/self/net") / name)]


def _connections(table: Path) -> Iterator[Connection]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        if words[3] == "01":  # TCP_ESTABLISHED
            (local, port), (peer, peer_port) = _endpoint(words[1]), _endpoint(words[2])
            yield Connection(local, port, peer, peer_port)


def _endpoint(text: str) -> tuple[str, int]:
    """An address and a port, printed as the host's own 32-bit words."""
    address, _, port = text.partition(":")
    words = [int(address[n : n + 8], 16) for n in range(0, len(address), 8)]
    found = ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found), int(port, 16)


# One NIC

#: Programs that hold an interface's lease, and those that speak 802.1X on it: as /proc/PID/comm has them.
_DHCP_CLIENTS = {"dhclient", "dhcpcd", "udhcpc", "pump", "dhcp6c"}
_MANAGERS = {"NetworkManager": "NetworkManager", "systemd-network": "systemd-networkd"}


def nic_facts(nic: str, snapshot: Snapshot) -> NicFacts:
    """What is known of a NIC beyond the snapshot: its kind, who manages it, who holds its lease."""
    folder = Path("/sys/class/net") / nic
    index = int((snapshot.link(nic) or {}).get("ifindex", 0))
    running = [
        (comm, argv) for comm, argv in _processes() if comm in {*_DHCP_CLIENTS, *_MANAGERS, "wpa_supplicant"}
    ]
    managers = {_MANAGERS[comm] for comm, _ in running if comm in _MANAGERS}
    return NicFacts(
        wireless=any((folder / name).exists() for name in ("wireless", "phy80211")),
        manager=next((name for name in sorted(managers) if _manages(name, index)), None),
        dhcp_clients=tuple(
            sorted({comm for comm, argv in running if comm in _DHCP_CLIENTS and _is_about(comm, argv, nic)})
        ),
        supplicant=any(comm == "wpa_supplicant" and nic in argv for comm, argv in running),
    )


def _manages(manager: str, index: int) -> bool:
    """Whether it says that it manages the interface; if it says nothing of it, it does not."""
    if manager == "NetworkManager":
        said = _read(Path(f"/run/NetworkManager/devices/{index}"))
        return "managed=true" in said.split()
    said = _read(Path(f"/run/systemd/netif/links/{index}"))
    return "ADMIN_STATE=" in said and "ADMIN_STATE=unmanaged" not in said


def _is_about(comm: str, argv: list[str], nic: str) -> bool:
    """Whether a DHCP client is at work on the NIC; dhcpcd without a name is so on all."""
    named = [word for word in argv[1:] if not word.startswith(("-", "/"))]
    return (
        nic in argv
        or any(word in {f"-i{nic}", f"--interface={nic}"} for word in argv)
        or (comm == "dhcpcd" and (not named or any(word.startswith(f"{nic} ") for word in argv)))
        or any(f" {nic} " in f" {word} " for word in argv)
    )


def _processes() -> Iterator[tuple[str, list[str]]]:
    """The programs of this network namespace: their names and arguments."""
    ours = _namespace("self")
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        comm = _read(folder / "comm").strip()
        if comm and _namespace(folder.name) in {ours, ""}:
            yield comm, _read(folder / "cmdline").rstrip("\0").split("\0")


def _namespace(pid: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
