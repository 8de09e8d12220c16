"""Whether a card's cable is plugged in, as the card itself tells the guest.

QEMU has a command that plugs (`set_link`) and none that tells. But a card shows its guest the state in a
register that can be read without effect, and QEMU reads guest memory for us (`query-pci`, `xp`). It works for
any guest, and needs no agent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmlan.qemu.monitor import Monitor, Refused


@dataclass(frozen=True)
class _Register:
    """Where a card has its link state: PCI region, offset, size in bytes, mask; `down`: set means no link."""

    region: int
    offset: int
    size: int
    mask: int
    down: bool = False


#: By the model's name in the lab file.
_REGISTERS = {
    # The device configuration begins at 0x2000 of QEMU's region 4; its field `status` follows the MAC
    # (VIRTIO 1.2, 5.1.4: VIRTIO_NET_S_LINK_UP; QEMU, hw/virtio/virtio-pci.c).
    "virtio": _Register(4, 0x2006, 2, 0x0001),
    # STATUS.LU (Intel, PCI/PCI-X Family of Gigabit Ethernet Controllers, 13.4.2).
    "e1000": _Register(0, 0x0008, 4, 0x0002),
    "e1000e": _Register(0, 0x0008, 4, 0x0002),
    # MSR.LINKB, inverse (Realtek, RTL8139C data sheet, 5.13).
    "rtl8139": _Register(1, 0x0058, 1, 0x04, down=True),
}

_UNITS = {1: "b", 2: "h", 4: "w"}


def carriers(path: Path, cards: Sequence[tuple[str, str]], timeout: float = 1.0) -> dict[str, bool]:
    """The link state of cards, by id. `cards`: each card's id and model.

    A card of another model, or one that the firmware has not set up yet, is left out; so are all when QEMU
    does not answer in time.
    """
    asked = {name: _REGISTERS[model] for name, model in cards if model in _REGISTERS}
    if not asked:
        return {}
    found: dict[str, bool] = {}
    try:
        with Monitor(path, timeout) as monitor:
            regions = _regions(monitor.call("query-pci"))
            for name, register in asked.items():
                base = regions.get((name, register.region))
                value = None if base is None else _read(monitor, base + register.offset, register.size)
                if value is not None:
                    found[name] = bool(value & register.mask) != register.down
    except (OSError, Refused):
        pass
    return found


def _read(monitor: Monitor, address: int, size: int) -> int | None:
    """A number in the guest's physical memory; None where there is none."""
    found = re.search(r":\s*0x([0-9a-f]+)", monitor.say(f"xp /1x{_UNITS[size]} {address:#x}"))
    return int(found[1], 16) if found else None


def _regions(buses: Any) -> dict[tuple[str, int], int]:
    """Where the memory regions of devices with an id are, by id and number."""
    devices = [device for bus in buses for device in _all(bus["devices"])]
    return {
        (device["qdev_id"], region["bar"]): region["address"]
        for device in devices
        for region in device["regions"]
        if region["type"] == "memory" and region["address"] > 0
    }


def _all(devices: Any) -> list[Any]:
    """Devices, and those behind bridges."""
    behind = [device.get("pci_bridge", {}).get("devices", []) for device in devices]
    return [*devices, *(device for inner in behind for device in _all(inner))]
