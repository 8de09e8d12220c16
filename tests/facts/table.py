"""The facts: each with the example that plays it, what the file says, what `explain` prints, what shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.facts import bridges, forwarding, media, taps, user
from tests.facts.play import Play


@dataclass(frozen=True)
class Fact:
    """One claim. `says`: words of the lab file; `explains`: patterns, each within one command of `explain`.

    A pattern that begins with `!` must be in none. `shown` looks at the running lab, gives its evidence in
    a line, and raises `NotShown`.
    """

    id: str
    words: str
    example: str
    says: tuple[str, ...]
    explains: tuple[str, ...]
    shown: Callable[[Play], str]


#: (On a real host a tap gets its name once it is marked as the lab's.)
WIRE = (
    r"tuntap add dev (wire|vml~\S+) mode tap",
    r"addr add 10\.1\.1\.1/24 dev wire",
    r"link set dev wire up",
)
HUB = r"-netdev user,id=(\S+) -netdev hubport,id=\S+,hubid=0,netdev=\1 -netdev hubport,id=(\S+),hubid=0 -device e1000,\S*netdev=\2"
PUB = r"link set dev eth0 addrgenmode none master pub"

FACTS = (
    Fact(
        "F01", "a machine boots from a floppy alone", "media",
        ("floppy: grub-floppy", "boot: [floppy]"),
        (r"-name floppy .*-drive if=none,id=floppy0,\S+ .*-device floppy,",),
        media.f01,
    ),
    Fact(
        "F02", "a rescue image boots as a USB disk; -usbdevice disk: is still understood", "media",
        ("usb: [grub-usb]",),
        (r"-name stick .*-device qemu-xhci,\S+ .*-device usb-storage,",),
        media.f02,
    ),
    Fact(
        "F03", "the BIOS goes on to a CD by itself; memory for a desktop", "media",
        ("cdrom: grub-cd",),
        (r"-name cd (?!.*bootindex).*-m 512M .*media=cdrom",),
        media.f03,
    ),
    Fact(
        "F04", "a named accelerator, and a distribution's own machine type", "processor",
        ("machine: pc-q35-xenial", "accel: tcg"),
        (r"-name emulated .*-machine pc-q35-[\d.]+,accel=tcg",),
        media.f04,
    ),
    Fact(
        "F05", "accel=kvm and -enable-kvm are the same; without KVM it runs all the same", "processor",
        ("accel: kvm",),
        (r"-name fast .*-machine pc,accel=(kvm|tcg)",),
        media.f05,
    ),
    Fact(
        "F06", "-cpu host; emulated, the richest model", "processor",
        ("cpu: host",),
        (r"-name handed-through .*(accel=kvm -cpu host|accel=tcg -cpu max) ",),
        media.f06,
    ),
    Fact(
        "F07", "an empty qcow2 disk of a given size", "install",
        ("disks: [{size: 4G}]",),
        (r"qemu-img create -q -f qcow2 \S+/empty/disk0\.qcow2 4294967296",),
        media.f07,
    ),
    Fact(
        "F08", "disk and CD: the boot device must be named", "install",
        ("boot: [cdrom, disk]",),
        (r"-name cd-first .*-device ide-cd,\S*bootindex=0", r"-name disk-first (?!.*bootindex)"),
        media.f08,
    ),
    Fact(
        "F09", "one disk is the copy-on-write base of many machines", "copies",
        ("one: {image: tiny, disks: [{base: grub-usb}]}", "two: {image: tiny, disks: [{base: grub-usb}]}"),
        (r"qemu-img create -q -f qcow2 -b (\S+) -F raw \S+/one/disk0\.qcow2$",
         r"qemu-img create -q -f qcow2 -b (\S+) -F raw \S+/two/disk0\.qcow2$"),
        media.f09,
    ),
    Fact(
        "F10", "a machine boots from its overlay", "copies",
        ("disks: [{base: grub-usb}]",),
        (r"-name booted .*file=\S+/booted/disk0\.qcow2,format=qcow2,backing\.driver=raw",),
        media.f10,
    ),
    Fact(
        "F11", "QEMU's default: a user-mode stack and an e1000 on hub 0", "hub",
        ("kind: hub", "model: e1000"), (HUB,), user.f11,
    ),
    Fact(
        "F12", "the default, -net and hubport are one network", "hub",
        ("kind: hub",), (HUB,), user.f12,
    ),
    Fact(
        "F13", "user-mode stacks of several machines are separate", "separate",
        ("alone: {kind: user}", "cable: {kind: socket}"),
        (r"-name vm1 .*-netdev user,id=net0 .*-netdev socket,id=net1,",),
        user.f13,
    ),
    Fact(
        "F14", "-nic none: no card and no backend", "hub",
        ("alone:\n    image: tiny\n\n",), (r"-name alone -nodefaults (?!.*-netdev)",), user.f14,
    ),
    Fact(
        "F15", "a tap, made without root; without a card no connectivity", "taps",
        ("tap,id=wire,ifname=wire",),
        (WIRE[0], r"-name deaf (?!.*-device e1000).*-netdev tap,id=wire,ifname=wire,script=no,downscript=no"),
        taps.f15,
    ),
    Fact(
        "F16", "a new tap is down and has no address; it is brought up, with 10.1.1.1/24", "taps",
        ("wire: {kind: tap, host: 10.1.1.1/24}",), WIRE, taps.f16,
    ),
    Fact(
        "F17", "10.1.1.1 is the host itself; the rest of 10.1.1.0/24 is behind the tap", "taps",
        ("wire: {kind: tap, host: 10.1.1.1/24}",), WIRE[1:], taps.f17,
    ),
    Fact(
        "F18", "probes are seen on the tap, and nothing answers without a card", "taps",
        ("tap,id=wire,ifname=wire",), WIRE, taps.f18,
    ),
    Fact(
        "F19", "with an e1000, the guest's DHCP requests are on the tap at once", "taps",
        ("nics: [{network: ask, model: e1000}]",),
        (r"-name asker ", r"-netdev tap,id=net0,ifname=ask,script=no,downscript=no -device e1000,"),
        taps.f19,
    ),
    Fact(
        "F20", "with 10.1.1.2/24, ping and both kinds of ARP are answered", "crossover",
        ("address: 10.1.1.2/24",), (r"vmlan\.nic=52:54:00:01:01:02,10\.1\.1\.2/24",), taps.f20,
    ),
    Fact(
        "F21", "host and guest are joined as by a crossover cable", "crossover",
        ("wire: {kind: tap",), (WIRE[0], r"-netdev tap,id=net0,ifname=wire,"), taps.f21,
    ),
    Fact(
        "F22", "forwarded packets leave by the external interface, and are not answered", "forwarding",
        ("forwarding: true", "uplink: simulated", "gateway: 10.1.1.1"),
        (r"sysctl -q -w net\.ipv4\.ip_forward=1", r"vmlan\.nic=\S+,10\.1\.1\.2/24,10\.1\.1\.1", "!nft"),
        forwarding.f22,
    ),
    Fact(
        "F23", "without the external address, the guest's pings are unreachable", "forwarding",
        ("uplink: simulated",),
        (r"addr add 198\.51\.100\.2/24 dev eth0", r"route add default via 198\.51\.100\.1"),
        forwarding.f23,
    ),
    Fact(
        "F24", "with ip_forward 0 they do not reach the external interface", "forwarding",
        ("forwarding: true",), (r"sysctl -q -w net\.ipv4\.ip_forward=1",), forwarding.f24,
    ),
    Fact(
        "F25", "the outside's DHCP does not reach through a forwarding host", "forwarding",
        ("ask: {kind: tap, host: 10.1.2.1/24}",),
        (r"tuntap add dev ask mode tap", r"dnsmasq .*--interface=out0 .*--dhcp-range=198\.51\.100\.100"),
        forwarding.f25,
    ),
    Fact(
        "F26", "NAT hides guests, and they are answered; a bridge makes them visible", "bridge",
        ("nat: true", "uplink: true"), (r"ip saddr 10\.2\.0\.0/24 oifname != \"lan\" masquerade", PUB), bridges.f26,
    ),
    Fact(
        "F27", "a bridge is a switch: it learns, and stops flooding", "bridge",
        ("vm1: {image: tiny, nics: [pub]}", "vm2: {image: tiny, nics: [pub]}"),
        (r"link add name pub address \S+ (mtu \d+ )?type bridge", PUB, r"link set dev vm1-pub .*master pub"),
        bridges.f27,
    ),
    Fact(
        "F28", "the bridge takes on the NIC's MAC, address and default route", "bridge",
        ("pub: {kind: bridge, uplink: true}",),
        (r"link add name pub address \S+ (mtu \d+ )?type bridge", r"addr del 198\.51\.100\.2/24 dev eth0",
         r"addr add 198\.51\.100\.2/24 (scope global )?dev pub",
         r"route (add|append unicast) default via 198\.51\.100\.1 dev pub"),
        bridges.f28,
    ),
    Fact(
        "F29", "the NIC itself has no address any more", "bridge",
        ("pub: {kind: bridge, uplink: true}",),
        (PUB, r"addr del 198\.51\.100\.2/24 dev eth0", r"addr (flush dev eth0 scope link|del fe80::\S+ dev eth0)"),
        bridges.f29,
    ),
    Fact(
        "F30", "a tap that is a port has no address; each packet is seen once", "bridge",
        ("vm1: {image: tiny, nics: [pub]}",),
        (r"link set dev vm1-pub addrgenmode none master pub", r"!addr add \S+ dev vm1-pub"),
        bridges.f30,
    ),
    Fact(
        "F31", "the guest's address comes from the outside's DHCP, and it is answered", "bridge",
        ("pub: {kind: bridge, uplink: true}",),
        (r"dnsmasq .*--interface=out0 .*--dhcp-range=198\.51\.100\.100,198\.51\.100\.199", PUB),
        bridges.f31,
    ),
)  # fmt: skip
