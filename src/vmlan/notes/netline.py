"""The network options of a line, in all their spellings, as backends, hubs and cards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vmlan.notes import setting
from vmlan.notes.draft import Device, Draft
from vmlan.notes.options import Kind, Option, Row
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import shown

#: NICs by their device or model: what the lab calls them.
MODELS = {
    "virtio-net-pci": "virtio",
    "virtio-net": "virtio",
    "virtio": "virtio",
    "virtio-net-device": "virtio",
    "virtio-net-pci-transitional": "virtio",
    "virtio-net-pci-non-transitional": "virtio",
    "e1000-82540em": "e1000",
    "i82550": "i82551",
    "i82562": "i82551",
}
SAME = {"e1000", "e1000e", "e1000-82544gc", "e1000-82545em", "rtl8139", "ne2k_pci", "ne2k_isa", "pcnet"}
SAME |= {"vmxnet3", "i82551", "i82557b", "i82559er", "tulip", "usb-net"}
#: NICs of QEMU's that a lab file has no word for → the nearest.
_OTHERS = {"igb": "e1000e", "igbvf": "e1000e", "rocker": "e1000e", "sungem": "e1000", "dp8393x": "ne2k_pci"}
_OTHERS |= {"lance": "pcnet", "smc91c111": "e1000", "i82801": "i82551", "i82557a": "i82557b"}
_OTHERS |= {"i82557c": "i82557b", "i82558a": "i82557b", "i82558b": "i82557b", "i82559a": "i82559er"}
_OTHERS |= {"i82559b": "i82559er", "i82559c": "i82559er", "cadence_gem": "e1000", "lan9118": "e1000"}

#: Where a -redir is kept until it is a forward; no option of QEMU's has this name.
REDIRECTED = "redir"

NIC_DRIVERS = {name for name in (*MODELS, *SAME, *_OTHERS) if name != "virtio"}


@dataclass
class Backend:
    """Where a card can be connected to."""

    option: Option
    kind: str
    params: Params
    name: str  #: "" for one that nobody named
    used: bool = False


@dataclass
class Card:
    """A NIC: its model as the line has it, and what it is connected to, by `netdev` or by `hub`."""

    option: Option
    model: str | None
    params: Params
    netdev: str | None = None
    hub: int | None = None
    backend: Backend | None = None
    device: bool = False


@dataclass
class NetLine:
    """All of them; `said`: whether any option was there that keeps QEMU from adding its own NIC."""

    backends: dict[str, Backend] = field(default_factory=dict)
    on_hub: dict[int, list[Backend]] = field(default_factory=dict)
    hub_ports: dict[str, int] = field(default_factory=dict)
    cards: list[Card] = field(default_factory=list)
    dumps: list[tuple[Option, Params, int]] = field(default_factory=list)
    said: bool = False


def read(draft: Draft) -> NetLine:
    """Read the network options, and the -device options that are NICs, in the line's order."""
    line = NetLine()
    devices = {id(device.option): device for device in draft.devices}
    legacy: list[tuple[str, str]] = []
    for option in draft.options:
        if option.name == "net":
            _net(draft, line, option)
        elif option.name == "netdev":
            _netdev(draft, line, option)
        elif option.name == "nic":
            _nic(draft, line, option)
        elif option.name in {"redir", "tftp", "bootp", "smb"}:
            legacy += _legacy(draft, option)
        elif option.name == "nodefaults":
            line.said = True
        elif option.name == "usbdevice" and option.value.startswith("net:"):
            params = Params(option.value.removeprefix("net:"))
            line.said = True
            line.cards.append(Card(option, "usb-net", params, hub=_number(params.take("vlan"))))
        elif id(option) in devices and devices[id(option)].driver in NIC_DRIVERS:
            _device(line, devices[id(option)])
    _give(draft, line, legacy)
    return line


def _device(line: NetLine, device: Device) -> None:
    device.done = True
    vlan = device.params.take("vlan")
    hub = None if vlan is None else _number(vlan)
    card = Card(device.option, device.driver, device.params, device.params.take("netdev"), hub, device=True)
    line.cards.append(card)


def _number(text: str | None) -> int:
    """A hub's number; what is none is 0."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 6 else 0


def _net(draft: Draft, line: NetLine, option: Option) -> None:
    line.said = True
    params = Params(option.value, "type")
    kind = params.take("type") or ""
    hub = _number(params.take("vlan"))
    if draft.unclear(option, kind, "it is left out"):
        return
    if kind == "none":
        draft.became(option, Fate.KEY)
    elif kind == "nic":
        params.take("name", "id")
        line.cards.append(Card(option, params.take("model"), params, hub=hub, netdev=params.take("netdev")))
    elif kind == "dump":
        line.dumps.append((option, params, hub))
    elif kind == "channel":
        draft.out(option, "dropped in QEMU 2.12; today it is guestfwd= of -netdev user")
    else:
        backend = Backend(option, kind, params, params.take_first("id") or params.take("name") or "")
        line.on_hub.setdefault(hub, []).append(backend)
        if backend.name:
            line.backends.setdefault(backend.name, backend)


def _netdev(draft: Draft, line: NetLine, option: Option) -> None:
    line.said = True
    params = Params(option.value, "type")
    kind, id_ = params.take("type") or "", params.take_first("id")
    if draft.unclear(option, kind, "it is left out"):
        return
    if id_ is None:
        draft.out(option, "it has no id, so no NIC can use it, and QEMU refuses it")
    elif id_ in line.backends or id_ in line.hub_ports:
        draft.out(option, f"there is a netdev '{shown(id_)}' already, and QEMU refuses a second")
    elif kind == "hubport":
        line.hub_ports[id_] = _number(params.take("hubid"))
        behind = params.take("netdev")
        if behind in line.backends:
            line.on_hub.setdefault(line.hub_ports[id_], []).append(line.backends[behind or ""])
        draft.became(option, Fate.KEY)
    else:
        for setter, key, value in setting.of_netdev(draft, id_):
            params.put(key, value)
            draft.became(setter, Fate.KEY)
        line.backends[id_] = Backend(option, kind, params, id_)


def _nic(draft: Draft, line: NetLine, option: Option) -> None:
    line.said = True
    params = Params(option.value, "type")
    kind = params.take("type") or "user"
    if draft.unclear(option, kind, "it is left out"):
        return
    if kind == "none":
        draft.became(option, Fate.KEY)
        return
    name = params.take_first("id") or ""
    card = Card(option, params.take("model"), Params(""))
    for key in ("mac", "macaddr", "addr", "vectors", "netdev"):
        if (value := params.take(key)) is not None:
            card.params.put(key, value)
    if kind == "hubport":
        card.hub = _number(params.take("hubid"))
    else:
        card.backend = Backend(option, kind, params, name)
    line.cards.append(card)


def _legacy(draft: Draft, option: Option) -> Iterator[tuple[str, str]]:
    """Options of QEMU before 3.1 that are sub-options of `user` today."""
    today = {"redir": REDIRECTED, "tftp": "tftp", "bootp": "bootfile", "smb": "smb"}[option.name]
    value = option.value
    if option.name == "redir":
        # -redir tcp:HOSTPORT:[GUEST]:GUESTPORT
        parts = value.split(":")
        if len(parts) != 4:
            draft.out(option, "it is not PROTOCOL:HOSTPORT:[GUEST]:GUESTPORT")
            return
        value = f"{parts[0]}::{parts[1]}-{parts[2]}:{parts[3]}"
    if option.name == "redir":
        why = "dropped in QEMU 3.1; today forward: of user-mode networking, on 127.0.0.1 alone"
    else:
        why = f"dropped in QEMU 3.1; today {today}= of user-mode networking"
    draft.became(option, Fate.KEY, why)
    yield today, value


def _give(draft: Draft, line: NetLine, legacy: list[tuple[str, str]]) -> None:
    """What -redir and the like said is for the line's first user-mode backend, or QEMU's own."""
    if not legacy:
        return
    every = [*line.backends.values(), *(each for hub in line.on_hub.values() for each in hub)]
    every += [card.backend for card in line.cards if card.backend]
    user = next((backend for backend in every if backend.kind == "user"), None)
    if user is None and not line.said:
        option = next(option for option in draft.options if option.name in {"redir", "tftp", "bootp", "smb"})
        user = Backend(option, "user", Params(""), "")
        default(draft, line, user)
    if user is None:
        option = next(option for option in draft.options if option.name in {"redir", "tftp", "bootp", "smb"})
        draft.out(option, "the line has no user-mode networking that it could be for")
        return
    for key, value in legacy:
        user.params.add(key, value)


def default(draft: Draft, line: NetLine, user: Backend | None = None) -> None:
    """The NIC that QEMU adds when nothing is said: on hub 0, with user-mode networking."""
    option = Option("", "", "no network option", Row(False, Kind.READ))
    line.said = True
    line.on_hub.setdefault(0, []).append(user or Backend(option, "user", Params(""), ""))
    line.cards.insert(0, Card(option, None, Params(""), hub=0))
    card = default_model(draft)
    text = f"QEMU then adds an {card} NIC on an emulated hub, with user-mode networking: kind: hub"
    draft.became(option, Fate.KEY, text)


def default_model(draft: Draft) -> str:
    """The model of a NIC that names none: e1000; on a Q35 since 2.12, e1000e."""
    if draft.asked_machine == "isapc":
        return "ne2k_isa"
    if not draft.is_q35:
        return "e1000"
    old = {"xenial", "bionic", "trusty", "zesty", "artful"} & set(draft.asked_machine.split("-"))
    return "e1000" if old else "e1000e"


def model(draft: Draft, card: Card) -> str:
    """What the lab calls the card's model."""
    asked = card.model
    if asked is None:
        return default_model(draft)
    words = f"{card.option.name_of} model={shown(asked)}"
    if draft.unclear(card.option, asked, f"here a {default_model(draft)} NIC", words=words):
        return default_model(draft)
    if asked in SAME:
        return asked
    if asked in MODELS:
        return MODELS[asked]
    near = _OTHERS.get(asked, default_model(draft))
    draft.became(card.option, Fate.KEY, f"a lab has no NIC '{asked}'; here the nearest, {near}", words=words)
    return near
