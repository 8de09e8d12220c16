"""The lines of QEMU's monitor that save a machine's state to a file, and load it from there. Pure.

A state is a stream of the devices' fields, without sums over them (QEMU, docs/devel/migration): what stands
in a field can be replaced by as many bytes, and pages of memory can be added.
"""

from __future__ import annotations

import mmap
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmlan.qemu import features
from vmlan.qemu.cmdline import monitor_quote
from vmlan.qemu.facts import QemuFacts


def save(file: Path, qemu: QemuFacts) -> str:
    """QEMU opens the file itself since 8.2 (`features`); before, cat(1) does."""
    where = f"file:{file}" if _has_file(qemu) else f"exec:cat > {shlex.quote(str(file))}"
    return f"migrate -d {monitor_quote(where)}"


def load(file: Path, qemu: QemuFacts) -> str:
    """The reverse, for a QEMU that waits for it."""
    where = f"file:{file}" if _has_file(qemu) else f"exec:cat {shlex.quote(str(file))}"
    return f"migrate_incoming {monitor_quote(where)}"


#: What migration calls the memory that a machine has in a file (`cmdline`: the id of its backend).
_BLOCK = b"pc.ram"
#: Of how many bytes a page is there, and what says of a page that it follows, or that no more do (QEMU,
#: migration/ram.c: TARGET_PAGE_SIZE on x86, RAM_SAVE_FLAG_PAGE, RAM_SAVE_FLAG_EOS).
PAGE = 4096
_PAGE_FOLLOWS, _NO_MORE = 0x08, 0x10
#: What a section begins and ends with (QEMU, migration/savevm.h: QEMU_VM_SECTION_...).
_START, _END, _FOOTER = b"\x01", b"\x03", b"\x7e"


def with_pages(state: bytes, pages: Mapping[int, bytes]) -> bytes:
    """The state of a machine without its memory, with these pages of it, by where they are in it.

    Whoever loads it has them in the place of those that it finds in the file. Raises `ValueError`.
    """
    before, found, _ = state.partition(b"\x03ram")
    number = before[-4:]
    # The last part of the section for memory, in which no page has been left to save.
    last = _END + number + _NO_MORE.to_bytes(8, "big") + _FOOTER + number
    if not found or before[-5:-4] != _START or state.count(last) != 1:
        raise ValueError("it has no section for memory, or not one that can be added to")
    where = state.index(last) + len(_END + number)
    name = len(_BLOCK).to_bytes(1, "big") + _BLOCK
    added = b"".join(
        (place | _PAGE_FOLLOWS).to_bytes(8, "big") + name + page for place, page in sorted(pages.items())
    )
    return state[:where] + added + state[where:]


def places(state: bytes, macs: Sequence[str]) -> list[list[int]]:
    """Where each of these MACs stands in a state. Raises `ValueError` if one does not."""
    found = [occurrences(state, mac) for mac in macs]
    for mac, where in zip(macs, found, strict=True):
        if not where:
            raise ValueError(f"{mac} does not stand in it")
    return found


def occurrences(within: bytes | mmap.mmap, mac: str) -> list[int]:
    """Where a MAC stands."""
    octets, found = _octets(mac), []
    place = within.find(octets)
    while place >= 0:
        found.append(place)
        place = within.find(octets, place + 1)
    return found


def with_macs(state: bytes, where: Sequence[Sequence[int]], macs: Sequence[str]) -> bytes:
    """The state with these MACs in the places of those that stood there."""
    changed = bytearray(state)
    for own, mac in zip(where, macs, strict=True):
        for place in own:
            changed[place : place + 6] = _octets(mac)
    return bytes(changed)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _has_file(qemu: QemuFacts) -> bool:
    return features.FEATURES["way to save to a file"].has(qemu)
