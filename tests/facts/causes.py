"""What a fact needs, taken away: then its evidence must be missing, and for that reason.

A cause is taken from the running lab (`live`), from the example's file (`file`, which makes another lab), or
from the play itself (`shown` plays the fact without its step).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tests.facts import bridges, forwarding, media, taps, user
from tests.facts.play import Play, need

Live = Callable[[Play], AbstractContextManager[None]]


@dataclass(frozen=True)
class Cause:
    """`says`: a pattern of what is said to be missing; a check's verdict is in it.

    `taken` completes "it fails when …". `machines`: those of the changed file that are needed (none named: all).
    `anywhere`: it can be taken from a lab on a real host too; those of a file never are.
    """

    fact: str
    taken: str
    says: str
    live: Live | None = None
    file: tuple[tuple[str, str], ...] = ()
    machines: tuple[str, ...] = ()
    shown: Callable[[Play], str] | None = None
    anywhere: bool = True


def by(*do: str, undo: tuple[str, ...] = ()) -> Live:
    """Run commands, and afterwards those that make up for it.

    A command is one of vmlan's (`set …`, `link …`), of the host side's, of the outside's (`outside …`), or
    of a guest's (`vm1: …`).
    """

    @contextmanager
    def taken(play: Play) -> Iterator[None]:
        try:
            for line in do:
                _run(play, line)
            yield
        finally:
            for line in undo:
                _run(play, line)

    return taken


def _run(play: Play, line: str) -> None:
    first, *rest = line.split()
    words = {"set": ("set",), "link": ("link",), "outside": ("host", "--outside", "--")}.get(first)
    if words is None and first.endswith(":"):
        words = ("exec", first[:-1], "--")
    done = play.bench.vmlan(*(words or ("host", "--", first)), *rest)
    need(done.code == 0, f"{line} ended with {done.code}: {done.err.strip()}")


#: Each machine of `media` with something else than what it boots from; and no two minutes to look at it.
NO_MEDIA = (
    ("floppy: grub-floppy\n    boot: [floppy]", "disks: [{size: 64M}]"),
    ("usb: [grub-usb]", "disks: [{size: 64M}]"),
    ("cdrom: grub-cd ", "disks: [{size: 64M}] "),
    *((f"on: {name},", f"on: {name}, within: 8s,") for name in ("floppy", "stick", "cd")),
)
NOT_EMPTY = (
    ("  empty:                        # an empty disk: the BIOS tries it first, and then the CD\n    disks: [{size: 4G}]",
     "  empty:\n    disks: [{base: grub-usb}]"),
    ("on: empty,", "on: empty, within: 8s,"),
)  # fmt: skip
NO_ORDER = (("    boot: [cdrom, disk]\n", ""), ("on: cd-first,", "on: cd-first, within: 8s,"))
OTHER_PROCESSOR = (("machine: pc-q35-xenial", "machine: pc"), ("cpu: host", "cpu: qemu64"))
OTHER_DISKS = (
    ("one: {image: tiny, disks: [{base: grub-usb}]}", "one: {image: tiny, disks: [{size: 64M}]}"),
    ("booted:                      # from its copy, as the installed system itself would\n    disks: [{base: grub-usb}]",
     "booted:\n    disks: [{size: 64M}]"),
    ("on: booted,", "on: booted, within: 8s,"),
)  # fmt: skip
NO_HUB = (
    ("kind: hub", "kind: user"),
    ("alone:\n    image: tiny\n", "alone:\n    image: tiny\n    nics: [usual]\n"),
)
SHARED = (("alone: {kind: user}", "alone: {kind: bridge, host: 10.0.2.2/24, dhcp: true}"),)
A_CARD = (
    ('qemu-args: [-netdev, "tap,id=wire,ifname=wire,script=no,downscript=no"]',
     "nics: [{network: wire, address: 10.1.1.2/24}]"),
)  # fmt: skip
A_SWITCH = (
    ("wire: {kind: tap,", "wire: {kind: bridge,"),
    ("\nchecks:", "  vm2: {image: tiny, nics: [{network: wire, address: 10.1.1.9/24}]}\n\nchecks:"),
)
BRIDGED = by(
    "ip link add name both type bridge", "ip link set dev both up",
    "ip link set dev ask master both", "ip link set dev eth0 master both",
    undo=("ip link set dev eth0 nomaster", "ip link del dev both"),
)  # fmt: skip
ANSWERED = by(
    "nft add table ip own", "nft add chain ip own out { type nat hook postrouting priority srcnat ; }",
    "nft add rule ip own out oifname eth0 masquerade",
    undo=("nft delete table ip own",),
)  # fmt: skip
NO_SERVER = by(
    "outside nft add table ip own", "outside nft add chain ip own in { type filter hook input priority filter ; }",
    "outside nft add rule ip own in udp dport 67 drop",
    undo=("outside nft delete table ip own",),
)  # fmt: skip


def _playing(shown: Callable[..., str], *changed: object) -> Callable[[Play], str]:
    """A fact's play, with a step of it left out or changed."""
    return lambda play: shown(play, *changed)


MEDIA = ("floppy", "stick", "cd")
DISKS = ("empty", "disk-first", "cd-first")
PROCESSORS = ("emulated", "handed-through")

CAUSES = (
    Cause("F01", "there is no floppy", "check 1 fails: not shown", file=NO_MEDIA, machines=MEDIA),
    Cause("F02", "there is no USB disk", "check 2 fails: not shown", file=NO_MEDIA, machines=MEDIA),
    Cause("F02", "the old line has -cdrom", "is no USB disk",
          shown=_playing(media.f02, "-cdrom L.iso -m 512")),
    Cause("F03", "there is no CD", "check 3 fails: not shown", file=NO_MEDIA, machines=MEDIA),
    Cause("F04", "the machine type is pc", "it is a pc-i440fx", file=OTHER_PROCESSOR, machines=PROCESSORS),
    Cause("F05", "one line has no -enable-kvm", "do not import to the same",
          shown=_playing(media.f05, ("-cdrom L.iso", media.SAME_KVM[1]))),
    Cause("F06", "the processor is qemu64", "its processor is qemu64", file=OTHER_PROCESSOR, machines=PROCESSORS),
    Cause("F07", "the disk is a copy of another", "check 2 fails: not shown", file=NOT_EMPTY, machines=("empty",)),
    Cause("F08", "no order is given", "check 1 fails: not shown", file=NO_ORDER, machines=DISKS),
    Cause("F09", "a machine's disk has no base", "one's disk has 67108864 bytes", file=OTHER_DISKS),
    Cause("F10", "the disk is empty", "check 3 fails: not shown", file=OTHER_DISKS),
    Cause("F11", "the network is kind: user", "info network shows no hub 0", file=NO_HUB),
    Cause("F12", "one spelling is -nic user", "2 different labs",
          shown=_playing(user.f12, (*user.SPELLINGS, "-nic user,model=e1000"))),
    Cause("F13", "the network alone is a bridge", "check 2 fails: reachable", file=SHARED),
    Cause("F13", "the cable is pulled", "check 4 fails: unreachable; trace: link-down",
          by("link vm2:1 down", undo=("link vm2:1 up",))),
    Cause("F14", "the guest has a card", "check 3 fails: reachable", file=NO_HUB),
    Cause("F15", "the guest has a card", "check 1 fails: reachable", file=A_CARD),
    Cause("F16", "nobody gives it the address", "its addresses are", shown=_playing(taps.f16, "addr add")),
    Cause("F16", "nobody brings it up", "it is not up", shown=_playing(taps.f16, "link set dev wire up")),
    Cause("F17", "the tap has no address", "check 2 fails: unreachable",
          by("ip addr del 10.1.1.1/24 dev wire", undo=("ip addr add 10.1.1.1/24 dev wire",))),
    Cause("F18", "the guest has a card", "check 3 fails: reachable", file=A_CARD),
    Cause("F19", "the cable is pulled", "not seen on ask",
          by("link asker down", undo=("link asker up",))),
    Cause("F20", "the guest has no address", "check 1 fails: unreachable; trace: no-address",
          by("vm1: ip addr del 10.1.1.2/24 dev eth0", undo=("vm1: ip addr add 10.1.1.2/24 dev eth0",))),
    Cause("F20", "the cable is pulled", "check 1 fails: unreachable; trace: link-down",
          by("link vm1 down", undo=("link vm1 up",))),
    Cause("F21", "the cable is a switch with another on it", "check 5 fails: reachable", file=A_SWITCH),
    Cause("F22", "forwarding is off", "not seen on uplink; .*trace: not-forwarded",
          by("set host.forwarding off", undo=("set host.forwarding on",))),
    Cause("F22", "the policy drops", "not seen on uplink; .*trace: filtered",
          by("set host.forward-policy drop", undo=("set host.forward-policy accept",)), anywhere=False),
    Cause("F22", "the guest has no default route", "not seen on wire; .*trace: no-route-in-guest",
          by("vm1: ip route del default", undo=("vm1: ip route add default via 10.1.1.1",))),
    Cause("F22", "the cable is pulled", "not seen on wire; .*trace: link-down",
          by("link vm1 down", undo=("link vm1 up", "vm1: ip route replace default via 10.1.1.1"))),
    Cause("F22", "there is NAT", "check 1 fails: reachable", ANSWERED),
    Cause("F23", "the address stays", "ICMP net unreachable is not seen",
          shown=_playing(forwarding.f23, "198.51.100.2/24")),
    Cause("F24", "forwarding stays on", "the request is seen on eth0", shown=_playing(forwarding.f24, "on")),
    Cause("F25", "the router is a bridge", "check 4 fails: reachable; seen on uplink", BRIDGED),
    Cause("F26", "there is no NAT", "check 1 fails: unreachable; .*trace: no-nat-for-private-source",
          by("set lan.nat off", undo=("set lan.nat on",))),
    Cause("F26", "the guest's tap is no port", "vm1 is not answered",
          by("ip link set dev vm1-pub nomaster", undo=("ip link set dev vm1-pub master pub",))),
    Cause("F27", "the bridge forgets at once (its table)", "knows vm1 behind None",
          by("ip link set dev pub type bridge ageing_time 0 fdb_flush",
             undo=("ip link set dev pub type bridge ageing_time 30000",))),
    Cause("F27", "the bridge forgets at once (the third port)", "two's conversation is seen on vm2-pub",
          by("ip link set dev pub type bridge ageing_time 0 fdb_flush",
             undo=("ip link set dev pub type bridge ageing_time 30000",)),
          shown=_playing(bridges.apart)),
    Cause("F28", "the bridge gets no address", "check 3 fails: unreachable; .*trace: no-route-on-host",
          by("ip addr del 198.51.100.2/24 dev pub", undo=("ip addr add 198.51.100.2/24 dev pub", "ip route replace default via 198.51.100.1 dev pub"))),
    Cause("F29", "the NIC has an address", "eth0 has",
          by("ip addr add 198.51.100.3/24 dev eth0", undo=("ip addr del 198.51.100.3/24 dev eth0",))),
    Cause("F30", "the tap has an address", "vm1-pub has",
          by("ip addr add 10.9.9.1/24 dev vm1-pub", undo=("ip addr del 10.9.9.1/24 dev vm1-pub",))),
    Cause("F31", "the outside serves no DHCP", "check 6 fails: unreachable", NO_SERVER),
    Cause("F31", "the NIC is no port", "check 6 fails: unreachable; not seen on (outside|uplink)",
          by("ip link set dev eth0 nomaster", undo=("ip link set dev eth0 master pub",))),
)  # fmt: skip
