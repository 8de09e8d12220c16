"""Whether a card's cable is plugged in, as the card itself tells the guest.

QEMU has a command that plugs (`set_link`) and none that tells. But a card shows its guest the state in a
register that can be read without effect, and QEMU reads guest memory for us (`query-pci`, `xp`). It works for
any guest, and needs no agent.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        with _Session(path, timeout) as session:
            regions = _regions(session.call("query-pci"))
            for name, register in asked.items():
                base = regions.get((name, register.region))
                value = None if base is None else session.read(base + register.offset, register.size)
                if value is not None:
                    found[name] = bool(value & register.mask) != register.down
    except (OSError, ValueError):
        pass
    return found


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


class _Session:
    """A session of QMP without QEMU's library, which would take longer to load than all of this takes."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
            self._line()
            self.call("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, command: str, **arguments: Any) -> Any:
        """One command, and its answer. Raises `OSError`, `ValueError`."""
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._socket.sendall(json.dumps(request).encode())
        while True:
            reply = json.loads(self._line())
            if "error" in reply:
                raise ValueError(str(reply["error"].get("desc")))
            if "return" in reply:  # else an event
                return reply["return"]

    def read(self, address: int, size: int) -> int | None:
        """A number in the guest's physical memory; None where there is none."""
        words = self.call("human-monitor-command", **{"command-line": f"xp /1x{_UNITS[size]} {address:#x}"})
        found = re.search(r":\s*0x([0-9a-f]+)", str(words))
        return int(found[1], 16) if found else None

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionResetError
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
