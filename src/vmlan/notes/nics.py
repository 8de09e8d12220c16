"""The NICs of a machine, and the networks that they are on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Literal

from vmlan.labfile import values
from vmlan.model import Forward, Nic
from vmlan.notes import names, netline
from vmlan.notes.draft import Draft, clean
from vmlan.notes.netline import Backend, Card, NetLine
from vmlan.notes.networks import Networks
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import shown

#: Properties of NICs that QEMU 5.2 to 11.1 have, and no key; the first are virtio's alone.
_VIRTIO = {"disable-legacy", "disable-modern", "mq", "host_mtu", "guest_csum", "csum", "gso", "guest_tso4"}
_VIRTIO |= {
    "guest_tso6",
    "host_tso4",
    "host_tso6",
    "mrg_rxbuf",
    "ctrl_vq",
    "ctrl_rx",
    "rx_queue_size",
    "status",
}
_VIRTIO |= {"tx_queue_size", "iommu_platform", "ats", "packed", "event_idx", "vectors", "tx", "indirect_desc"}
_PCI = {"romfile", "rombar", "multifunction"}
_PLACES = {"addr", "bus", "id", "name", "acpi-index", "port"}

#: Sub-options of user-mode networking that go on with `-set netdev.ID.…`.
_USER = {"net", "host", "dns", "dhcpstart", "restrict", "hostname", "dnssearch", "domainname", "tftp", "smb"}
_USER |= {"bootfile", "ipv6", "ipv4", "ipv6-net", "ipv6-host", "ipv6-dns", "smbserver", "guestfwd"}
_USER |= {"tftp-server-name"}
_OLD_NAMES = {"ip": "net", "ipver4": "ipv4", "ipver6": "ipv6"}


@dataclass
class _Made:
    """A network of the lab, and the id of its user-mode backend for `-set`, if it has one."""

    name: str
    stack: str = ""


def resolve(draft: Draft, networks: Networks) -> None:
    """Fill in the machine's NICs, and add what they need to the lab's networks."""
    line = netline.read(draft)
    if not line.said:
        netline.default(draft, line)
    for card in line.cards:
        _card(draft, networks, line, card)
    _unused(draft, networks, line)
    for option, params, hub in line.dumps:
        _dump(draft, line, option, params, hub)
    _filters(draft, line)


def _card(draft: Draft, networks: Networks, line: NetLine, card: Card) -> None:
    index = len(draft.nics)
    option = card.option
    words = f"{option.name_of} netdev={shown(card.netdev or '')}"
    if card.netdev is not None and not clean(card.netdev) and card.netdev not in line.backends:
        draft.unclear(option, card.netdev, "here a NIC on a network that leads nowhere", words=words)
    kind = netline.model(draft, card)
    if kind == "virtio" and (card.model or "").endswith("non-transitional"):
        draft.keep(option, "-set", f"device.nic{index}.disable-legacy=on")
    if card.backend is not None:
        made = _network(draft, networks, card.backend, hub=None, index=index)
    elif card.netdev in line.backends:
        made = _network(draft, networks, line.backends[card.netdev or ""], hub=None, index=index)
    elif card.netdev in line.hub_ports:
        made = _hub(draft, networks, line, line.hub_ports[card.netdev or ""], index)
    elif card.hub is not None:
        made = _hub(draft, networks, line, card.hub, index)
    else:
        made = _Made(networks.nowhere())
        what = (
            f"no netdev '{shown(card.netdev)}' is on the line"
            if card.netdev
            else "it is connected to nothing"
        )
        draft.became(
            option, Fate.KEY, f"{what}; here a NIC on a network that leads nowhere", words=option.words
        )
    draft.nics.append(Nic(made.name, kind, _mac(draft, card)))
    _properties(draft, card, kind, index)
    draft.became(option, Fate.KEY)


def _mac(draft: Draft, card: Card) -> str | None:
    text = card.params.take("mac", "macaddr")
    if text is None:
        return None
    words = f"{card.option.name_of} mac={shown(text)}"
    if draft.unclear(card.option, text, "it gets a MAC of its own", words=words):
        return None
    try:
        return values.mac(text)
    except values.Wrong as wrong:
        draft.out(card.option, f"{wrong.what}: it gets one of its own", words=words)
        return None


def _properties(draft: Draft, card: Card, kind: str, index: int) -> None:
    allowed = _PCI | (_VIRTIO if kind == "virtio" else set())
    for key, value in card.params.rest:
        words = f"{card.option.name_of} {key}={shown(value)}"
        if key in _PLACES:
            continue
        if draft.unclear(card.option, value, "QEMU's default stands", words=words):
            continue
        if key == "bootindex" and value.isdigit():
            draft.nic_bootindex[index] = int(value)
        elif key in allowed and kind not in {"ne2k_isa", "usb-net"}:
            if key == "romfile" and value:
                draft.need(value)
                value = draft.file(value)
            draft.keep(card.option, "-set", f"device.nic{index}.{key}={value}")
        else:
            draft.out(card.option, "the NIC has no such property in a lab", words=words)


def _hub(draft: Draft, networks: Networks, line: NetLine, hub: int, index: int) -> _Made:
    """An emulated hub: with one user-mode backend it is kind hub; with a tap or socket, that network."""
    backends = line.on_hub.get(hub, [])
    users = [each for each in backends if each.kind == "user"]
    others = [each for each in backends if each.kind != "user"]
    cards = [card for card in line.cards if _hub_of(line, card) == hub]
    if not backends:
        if len(cards) > 1:
            return _Made(networks.socket(f"hub {id(draft)} {hub}"))
        draft.became(
            cards[0].option, Fate.KEY, "nothing else is on its hub; here a network that leads nowhere"
        )
        return _Made(networks.nowhere())
    for each in [*others, *users][1:]:
        each.used = True
        draft.out(each.option, "its hub leads elsewhere too, and a lab's network leads to one place")
    if others:
        return _network(draft, networks, others[0], hub=hub, index=index, many=len(cards) > 1)
    return _network(draft, networks, users[0], hub=hub, index=index)


def _hub_of(line: NetLine, card: Card) -> int | None:
    return line.hub_ports.get(card.netdev, card.hub) if card.netdev is not None else card.hub


def _network(
    draft: Draft, networks: Networks, backend: Backend, *, hub: int | None, index: int, many: bool = False
) -> _Made:
    """The lab's network for a backend; made the first time, and the same for a hub's other cards."""
    if backend.used:
        known = draft.networks_of.get(id(backend))
        if known is not None:
            if hub is None:
                draft.out(backend.option, "two NICs have this netdev, and QEMU refuses the second")
            return _Made(known)
    backend.used = True
    made = _make(draft, networks, backend, hub=hub, index=index, many=many)
    draft.networks_of[id(backend)] = made.name
    draft.became(backend.option, Fate.KEY)
    return made


def _make(
    draft: Draft, networks: Networks, backend: Backend, *, hub: int | None, index: int, many: bool
) -> _Made:
    option, params, kind = backend.option, backend.params, backend.kind
    if kind in {"user", "passt", "slirp"} or kind.startswith("vmnet-shared"):
        if kind != "user":
            what = "passt, a program beside QEMU" if kind == "passt" else "macOS's own networking"
            draft.became(option, Fate.KEY, f"{what}; here QEMU's own user-mode networking: kind: user")
            _leave(draft, backend, "user-mode networking has no such thing")
        return _user(draft, networks, backend, hub, index)
    if kind == "tap" and params.peek("br") is None and params.peek("helper") is None:
        return _Made(_tap(draft, networks, backend, many))
    if kind in {"bridge", "tap"} or kind.startswith("vmnet"):
        return _Made(_bridge(draft, networks, backend))
    if kind in {"socket", "stream", "dgram", "vde", "l2tpv3"}:
        return _Made(_socket(draft, networks, backend))
    what = f"a backend of kind '{shown(kind)}' takes what a lab has not"
    if kind in {"af-xdp", "netmap", "vhost-vdpa", "vhost-user"}:
        what = f"{kind} takes a network card or a program of this host, which a lab does not touch"
    draft.became(option, Fate.KEY, f"{what}; here a network that leads nowhere")
    _leave(draft, backend, "", quiet=True)
    return _Made(networks.nowhere())


def _wanted(name: str, otherwise: str) -> str:
    """A network's name: the line's own if it can be one."""
    return names.valid(name) or otherwise if clean(name) else otherwise


def _leave(draft: Draft, backend: Backend, why: str, *, quiet: bool = False) -> None:
    """Say of what is left of a backend that it is left out."""
    for key, value in backend.params.rest:
        backend.params.take(key)
        if not quiet:
            draft.out(backend.option, why, words=f"{backend.option.name_of} {key}={shown(value)}")


def _tap(draft: Draft, networks: Networks, backend: Backend, many: bool) -> str:
    """A tap; with several NICs on its hub, a bridge, which is what a hub on a tap is."""
    option, params = backend.option, backend.params
    ifname = params.take("ifname") or ""
    if ifname:
        draft.unclear(
            option, ifname, "the tap has another name", words=f"{option.name_of} ifname={shown(ifname)}"
        )
    for key in ("script", "downscript"):
        value = params.take(key)
        if value not in {None, "no", ""}:
            why = "vmlan makes and sets up the tap itself, and runs no script: give it host: ADDRESS/24"
            draft.out(option, why, words=f"{option.name_of} {key}={shown(value or '')}")
    for key, value in params.rest:
        params.take(key)
        why = "vmlan makes the tap itself, in the lab, and with one queue"
        draft.out(option, why, words=f"{option.name_of} {key}={shown(value)}")
    wanted = _wanted(ifname, _wanted(backend.name, "tap0"))
    if many:
        why = "several NICs are on its hub; here a bridge, which connects them all: kind: bridge"
        draft.became(option, Fate.KEY, why)
        return networks.bridge(wanted)
    why = "the tap is in the lab, without root; for the host side's address write host: 10.1.1.1/24"
    draft.became(option, Fate.KEY, why)
    return networks.tap(wanted)


def _bridge(draft: Draft, networks: Networks, backend: Backend) -> str:
    option, params = backend.option, backend.params
    name = (
        params.take("br")
        or params.take("ifname")
        or ("br0" if backend.kind in {"bridge", "tap"} else "bridge")
    )
    helper = params.take("helper")
    if helper is not None:
        why = "vmlan makes the bridge itself, and runs no helper"
        draft.out(option, why, words=f"{option.name_of} helper={shown(helper)}")
    if not clean(name):
        draft.unclear(option, name, "here br0", words=f"{option.name_of} br={shown(name)}")
        name = "br0"
    why = "the bridge is the lab's own, not this host's; for addresses write host: 10.2.0.1/24, dhcp: true"
    draft.became(option, Fate.KEY, why)
    _leave(draft, backend, "vmlan makes the bridge and its taps itself")
    return networks.bridge(_wanted(name, "br0"))


def _socket(draft: Draft, networks: Networks, backend: Backend) -> str:
    """Machines that meet at one port, group or path are on one network."""
    params = backend.params
    place = (
        params.take("mcast") or params.take("connect") or params.take("listen") or params.take("udp")
        or params.take("addr.port") or params.take("addr.path") or params.take("remote.port")
        or params.take("local.path") or params.take("sock") or params.take("dst") or backend.kind
    )  # fmt: skip
    meeting = place.rpartition(":")[2] if re.search(r":\d+$", place) else place
    why = "machines that meet at the same place are on one network of the lab: kind: socket"
    draft.became(backend.option, Fate.KEY, why)
    _leave(draft, backend, "", quiet=True)
    return networks.socket(meeting)


def _user(draft: Draft, networks: Networks, backend: Backend, hub: int | None, index: int) -> _Made:
    option, params = backend.option, backend.params
    forwards: list[Forward] = []
    redirected = params.take_all(netline.REDIRECTED)
    for rule in (*params.take_all("hostfwd"), *redirected):
        forward = _forward(draft, backend, rule, quiet=rule in redirected)
        if forward is None or forward in forwards:
            continue
        taken = [(each.host_port, each.protocol) for each in (*forwards, *networks.published)]
        if (forward.host_port, forward.protocol) in taken:
            words = f"{option.name_of} hostfwd={shown(rule)}"
            draft.out(option, f"port {forward.host_port} is published already: choose another", words=words)
        else:
            forwards.append(forward)
    wanted = ("hub" if hub == 0 else f"hub{hub}") if hub is not None else _wanted(backend.name, "user")
    name = networks.user(wanted, tuple(forwards), hub=hub is not None)
    stack = f"net{index}" if hub is None else f"hub{index}user"
    for key, value in params.rest:
        params.take(key)
        key = _OLD_NAMES.get(key, key)
        words = f"{option.name_of} {key}={shown(value)}"
        if key in {"tftp", "smb"} and value:
            draft.need(shown(value), folder=True)
            draft.keep(option, "-set", f"netdev.{stack}.{key}={draft.file(value)}")
        elif draft.unclear(option, value, "QEMU's default stands", words=words):
            continue
        elif key == "guestfwd" and "cmd:" not in value:
            draft.out(option, "what it leads to is outside of the lab", words=words)
        elif key in _USER:
            draft.keep(option, "-set", f"netdev.{stack}.{key}={value}")
        else:
            draft.out(option, "user-mode networking has no such thing", words=words)
    return _Made(name, stack)


_RULE = re.compile(r"(?:(tcp|udp)?:)?([^:]*):(\d+)-([^:]*):(\d+)")


def _forward(draft: Draft, backend: Backend, rule: str, *, quiet: bool) -> Forward | None:
    """`[tcp|udp]:[ADDRESS]:PORT-[GUEST]:PORT`; QEMU listens everywhere, a lab only on this host itself."""
    option = backend.option
    words = f"{option.name_of} hostfwd={shown(rule)}"
    if draft.unclear(option, rule, "the port is not published", words=words):
        return None
    found = _RULE.fullmatch(rule)
    if found is None or not all(1 <= int(port) <= 65535 for port in (found[3], found[5])):
        draft.out(option, "it is not PROTOCOL:[ADDRESS]:PORT-[GUEST]:PORT", words=words)
        return None
    protocol: Literal["tcp", "udp"] = "udp" if found[1] == "udp" else "tcp"
    try:
        bind = IPv4Address(found[2] or "127.0.0.1")
    except AddressValueError:
        bind = IPv4Address("127.0.0.1")
    port = int(found[3])
    if port < 1024:
        port += 8000
        draft.became(option, Fate.KEY, f"only root may listen below 1024; here on {port}", words=words)
    forward = Forward(port, int(found[5]), protocol, bind)
    if not found[2] and not quiet:
        everywhere = f"0.0.0.0:{port}:{found[5]}"
        why = f"QEMU would listen on every address; here on 127.0.0.1 alone ({everywhere} for all)"
        draft.became(option, Fate.KEY, why, words=words)
    if found[4] and found[4] not in {"10.0.2.15", "0.0.0.0"}:
        draft.became(
            option,
            Fate.KEY,
            f"it leads to the guest's own address, whatever that is, not {found[4]}",
            words=words,
        )
    return forward


def _unused(draft: Draft, networks: Networks, line: NetLine) -> None:
    """Backends that no NIC uses: a tap or bridge is made all the same, the others have no effect."""
    every = [*line.backends.values(), *(each for hub in line.on_hub.values() for each in hub)]
    for backend in every:
        if backend.used:
            continue
        backend.used = True
        if backend.kind == "tap" and backend.params.peek("br") is None:
            _tap(draft, networks, backend, many=False)
        elif backend.kind in {"tap", "bridge"}:
            _bridge(draft, networks, backend)
        else:
            draft.out(backend.option, "no NIC is connected to it, so the machine has none")
    if line.hub_ports and not line.cards:
        option = next(option for option in draft.options if "hubport" in option.value)
        why = "a hub port without a NIC is the old way to have no network: the machine has no NIC"
        draft.became(option, Fate.KEY, why)


def _dump(draft: Draft, line: NetLine, option: Option, params: Params, hub: int) -> None:
    """`-net dump,file=…` → filter-dump on the first NIC of that hub."""
    on = [index for index, card in enumerate(line.cards) if _hub_of(line, card) == hub]
    file = params.take("file") or f"qemu-vlan{hub}.pcap"
    if not on:
        draft.out(option, "no NIC is on its hub, so there is nothing to capture")
        return
    length = params.take("len")
    pairs = f"id=dump{hub},netdev=net{on[0]},file={draft.file(file).replace(',', ',,')}"
    if length and length.isdigit():
        pairs += f",maxlen={length}"
    text = f"dropped in QEMU 2.12; today -object filter-dump,{pairs}"
    draft.keep(option, "-object", f"filter-dump,{pairs}", text=text)


def _filters(draft: Draft, line: NetLine) -> None:
    """`-object filter-…` on a netdev of the line: on the NIC's netdev as the lab calls it."""
    for option, kind, params in draft.objects:
        if not kind.startswith("filter-"):
            continue
        netdev = params.take("netdev")
        on = [index for index, card in enumerate(line.cards) if card.netdev == netdev and netdev]
        if kind not in {"filter-dump", "filter-buffer"} or not on:
            draft.out(
                option, "it is on no NIC of the lab" if not on else "it needs another program beside QEMU"
            )
            continue
        pairs = "".join(
            f",{key}={(draft.file(value) if key == 'file' else value).replace(',', ',,')}"
            for key, value in params.rest
        )
        draft.keep(option, "-object", f"{kind},netdev=net{on[0]}{pairs}")
