"""The host side's way out: a simulated outside, or the real network through user-mode sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmlan import addressing
from vmlan.model import Lab, Uplink
from vmlan.plan import services
from vmlan.plan import topology as topo
from vmlan.plan.facts import Facts
from vmlan.plan.layout import Layout
from vmlan.plan.spaces import namespace, put_over
from vmlan.plan.steps import Command, Interfaces, Space, Start, Step, WriteFile


def uplink(lab: Lab, facts: Facts) -> Iterator[Step]:
    """The way out: none, a simulated outside, or the real network through user-mode sockets."""
    if lab.host.uplink is Uplink.SIMULATED:
        yield from _simulated(lab, facts.layout)
    elif lab.host.uplink is Uplink.INTERNET:
        yield from _internet(facts)


def _simulated(lab: Lab, layout: Layout) -> Iterator[Step]:
    yield from namespace(
        Space.OUTSIDE, layout, "the outside: one more namespace, so that no packet leaves this machine"
    )
    outside, nic = layout.net / Space.OUTSIDE.value, topo.OUTSIDE_NIC
    yield Interfaces(
        "uplink",
        "the host side's way out: a cable to the outside",
        (
            f"link add name {topo.UPLINK} address {addressing.mac_address(lab.name, 'host', 0)} type veth"
            f" peer name {nic} address {addressing.mac_address(lab.name, 'outside', 0)}",
            f"link set dev {nic} netns {outside}",
            f"addr add {topo.OUTSIDE_HOST} dev {topo.UPLINK}",
            f"link set dev {topo.UPLINK} up",
            f"route add default via {topo.OUTSIDE_ROUTER.ip}",
        ),
        (f"link del dev {topo.UPLINK}",),
    )
    yield Interfaces(
        "outside",
        f"a router that knows no private network, and {topo.INTERNET_HOST.ip}, a host on the internet",
        (
            "link set dev lo up",
            f"addr add {topo.OUTSIDE_ROUTER} dev {nic}",
            f"addr add {topo.INTERNET_HOST} dev lo",
            f"link set dev {nic} up",
        ),
        space=Space.OUTSIDE,
    )
    yield services.outside_dhcp(layout)


#: What the host side has when its way out is user-mode sockets: QEMU's own numbers, which people know.
INTERNET_ADDRESS, INTERNET_GATEWAY = "10.0.2.15", "10.0.2.2"


def _internet(facts: Facts) -> Iterator[Step]:
    """An interface of the host side whose packets become ordinary sockets of the user's.

    Neither program may lead to the real host's loopback: `--no-map-gw` (passt(1)),
    `--disable-host-loopback` (slirp4netns(1)). Each has mounts of its own, so that it goes on reading
    the real /etc/resolv.conf when the lab puts its own over it.
    """
    layout = facts.layout
    folder = layout.network("uplink")
    argv, ready = (_slirp4netns if facts.internet == "slirp4netns" else _pasta)(layout, folder)
    yield Start(
        "uplink",
        "the way out: the real network, through ordinary sockets; this machine's loopback stays out of reach",
        "uplink",
        Command(("unshare", "--mount", *argv), space=Space.LAB),
        folder / "uplink.log",
        ready=ready,
    )
    yield WriteFile(
        "resolv-file",
        "names on the real network",
        layout.resolv_conf,
        f"nameserver {services.INTERNET_DNS}\n",
    )
    if "resolv.conf" in facts.etc:
        yield put_over(layout.resolv_conf.as_posix(), "/etc/resolv.conf")


def _pasta(layout: Layout, folder: Path) -> tuple[tuple[str, ...], Path]:
    """The command for pasta, and the file that it makes when it is ready."""
    pid = folder / "pid"
    return (
        "pasta", "--foreground", "--stderr", "--pid", str(pid), "--config-net", "--ns-ifname", topo.UPLINK,
        "--address", INTERNET_ADDRESS, "--netmask", "24", "--gateway", INTERNET_GATEWAY,
        "--no-map-gw", "--dns-forward", services.INTERNET_DNS,
        "--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none",
        "--netns", str(layout.net / Space.HOST.value),
    ), pid  # fmt: skip


def _slirp4netns(layout: Layout, folder: Path) -> tuple[tuple[str, ...], Path]:
    """The command for slirp4netns, whose addresses are these by itself, and the file of its readiness."""
    api = folder / "api"
    return (
        "slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", f"--api-socket={api}",
        "--netns-type=path", str(layout.net / Space.HOST.value), topo.UPLINK,
    ), api  # fmt: skip
