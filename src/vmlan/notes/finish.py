"""The last steps of a machine: media in order, what boots, qemu-args without clashes, defaults."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from vmlan.labfile.machines import MEMORY_OF_OTHERS
from vmlan.model import MIB, Disk, FileDisk, Firmware, Machine, OverlayDisk
from vmlan.notes import disks
from vmlan.notes.draft import Draft, Medium
from vmlan.notes.options import Kind, Option, Row
from vmlan.notes.result import Fate, Note

_NOBODY = Row(False, Kind.READ)


@dataclass
class Media:
    """A machine's media as the lab file has them."""

    disks: list[Disk] = field(default_factory=list)
    cdroms: list[Path] = field(default_factory=list)
    floppies: list[Path] = field(default_factory=list)
    usb: list[Path] = field(default_factory=list)
    bootindex: dict[str, int] = field(default_factory=dict)  #: `boot:`'s word → the lowest


def drives(draft: Draft) -> None:
    """The drives that attach themselves."""
    waiting = {device.params.peek("drive") for device in draft.devices if not device.done}
    for drive in draft.drives:
        if drive.id is not None and drive.id in waiting and drive.interface not in {"none", "pflash"}:
            waiting.discard(drive.id)
    disks.resolve(draft)


#: How many disks and CDs a machine's own controller takes.
_UNITS = {False: 4, True: 6}


def media(draft: Draft) -> Media:
    """Disks in the order of their places, and what else there is."""
    made = Media()
    every = _in_order(draft)
    cdroms = sum(1 for each in every if each.kind == "cdrom")
    room = _UNITS[draft.is_q35] - cdroms
    for each in every:
        number = {"disk": len(made.disks), "cdrom": len(made.cdroms), "floppy": len(made.floppies)}.get(
            each.kind, len(made.usb)
        )
        if each.bootindex is not None:
            made.bootindex[each.kind] = min(each.bootindex, made.bootindex.get(each.kind, each.bootindex))
        if each.kind == "disk":
            if each.bus == "ide" or (each.bus == "sata" and draft.is_q35):
                room -= 1
                if room < 0:
                    each.bus = "virtio" if draft.is_q35 else "sata"
                    why = f"the machine's own controller is full; here bus: {each.bus}"
                    draft.became(each.option, Fate.KEY, why)
            made.disks.append(_disk(draft, each))
        else:
            _removable(draft, each, made)
        for group, key, value in each.sets:
            target = f"{each.kind}{number}" if group == "drive" else f"dev-{each.kind}{number}"
            draft.keep(each.option, "-set", f"{group}.{target}.{key}={value}")
    return made


def _removable(draft: Draft, each: Medium, made: Media) -> None:
    if each.kind == "cdrom":
        made.cdroms.append(each.path)
    elif each.kind == "floppy":
        if len(made.floppies) == 2:
            draft.out(each.option, "a PC has two floppy drives")
        else:
            made.floppies.append(each.path)
    else:
        made.usb.append(each.path)


def _in_order(draft: Draft) -> list[Medium]:
    """Disks on IDE by their place on it (-hdb after -hda), everything else as the line has it."""
    position_of = {id(option): number for number, option in enumerate(draft.options)}
    draft.media.sort(key=lambda each: position_of.get(id(each.option), len(position_of)))
    ide = [each for each in draft.media if each.kind == "disk" and each.bus == "ide"]
    taken = {each.slot for each in draft.media if each.slot is not None and each.kind in {"disk", "cdrom"}}
    free = (slot for slot in range(100) if slot not in taken)
    slots = {id(each): each.slot if each.slot is not None else next(free) for each in ide}
    placed = iter(sorted(ide, key=lambda each: slots[id(each)]))
    for position, each in enumerate(sorted(ide, key=lambda each: slots[id(each)])):
        if each.slot is not None and each.slot != position and each.option.name:
            why = f"disks follow each other on the controller; there it is disk {position}, not {each.slot}"
            draft.became(each.option, Fate.KEY, why)
    return [next(placed) if any(each is one for one in ide) else each for each in draft.media]


def _disk(draft: Draft, each: Medium) -> Disk:
    if draft.snapshot is not None or each.overlay:
        return OverlayDisk(each.path, bus=each.bus)
    if each.read_only and each.bus in {"ide", "sata"}:
        why = "QEMU has no read-only IDE disks; here a copy-on-write disk over it (base:)"
        draft.became(each.option, Fate.KEY, why, words=f"{each.option.name_of} readonly=on")
        return OverlayDisk(each.path, bus=each.bus)
    return FileDisk(each.path, bus=each.bus, read_only=each.read_only)


def boot(draft: Draft, media: Media) -> tuple[str, ...]:
    """What the machine boots from, in order: -boot's letters, else the devices' bootindex."""
    there = {
        "disk": bool(media.disks),
        "cdrom": bool(media.cdroms),
        "floppy": bool(media.floppies),
        "usb": bool(media.usb),
        "network": bool(draft.nics),
    }
    found: list[str] = []
    for word, option in draft.order:
        if word in found:
            continue
        if there[word]:
            found.append(word)
        else:
            draft.out(option, f"it names a {word}, and the machine has none")
    if draft.order:
        return tuple(found)
    indices = dict(media.bootindex)
    if draft.nic_bootindex:
        indices["network"] = min(draft.nic_bootindex.values())
    return tuple(word for word, _ in sorted(indices.items(), key=lambda pair: pair[1]) if there[word])


def image(draft: Draft, media: Media) -> Literal["tiny"] | None:
    """Vmlan's own guest, if nothing on the line can be booted."""
    if media.disks or media.cdroms or media.floppies or media.usb or draft.kernel:
        return None
    if draft.firmware_given or draft.firmware is Firmware.UEFI:
        return None
    if any("-drive" in kept.words for kept in draft.kept) or any(
        word == "network" for word, _ in draft.order
    ):
        return None
    option = Option("", "", "no medium", _NOBODY)
    if draft.unknown:
        draft.out(
            option, f"what it boots is perhaps in {' or '.join(draft.unknown[:3])}: add disks: or cdrom:"
        )
        return None
    draft.became(
        option, Fate.KEY, "the line names nothing to boot; here vmlan's own small guest: image: tiny"
    )
    return "tiny"


def memory(draft: Draft, image: Literal["tiny"] | None) -> int:
    """-m, or the lab's own default, which is more than QEMU's 128 MB."""
    if draft.memory is not None:
        return draft.memory
    size = Machine.memory if image == "tiny" else MEMORY_OF_OTHERS
    here = f"here memory: {size // MIB}M"
    if draft.no_memory is not None:
        option, words, why = draft.no_memory
        draft.out(option, f"{why}; {here}", words=words)
    else:
        little = "" if image == "tiny" else ", too little for most systems with a desktop"
        option = Option("", "", "no -m", _NOBODY)
        draft.became(option, Fate.KEY, f"QEMU would give 128M{little}; {here}")
    return size


def defaults(draft: Draft) -> None:
    """What QEMU and vmlan take for granted differently."""
    if draft.cpu is None:
        why = "QEMU would take qemu64; here cpu: max, the richest there is"
        draft.became(Option("", "", "no -cpu", _NOBODY), Fate.KEY, why)
    if not draft.accel_said:
        why = "QEMU would emulate; here accel: auto, which is KVM where it works"
        draft.became(Option("", "", "no -accel", _NOBODY), Fate.KEY, why)
    if draft.initrd is not None and draft.kernel is None:
        option = next(option for option in draft.options if option.name == "initrd")
        draft.out(option, "without -kernel it has no effect")
    if draft.append and draft.kernel is None:
        option = next(option for option in draft.options if option.name == "append")
        draft.out(option, "without -kernel it has no effect")


def unsaid(draft: Draft) -> None:
    """The net under everything: no option is dropped in silence."""
    for option in draft.options:
        if id(option) not in draft.seen:
            draft.notes.append(
                Note(option.words, Fate.OUT, "vmlan does not know what to do with it in a lab")
            )


#: The ids that vmlan gives itself.
_OWN = re.compile(
    r"(net|nic|disk|cdrom|floppy|usb|xhci|serial|agent|fdc|ahci|scsi)\d+|hub\d+(user|port)|dev-.*"
)
_REFERS = re.compile(r"(?<=[=,:])([A-Za-z][\w.-]*)")


def arguments(
    draft: Draft, objects: Sequence[tuple[Option, list[str]]], *, usb: bool = False
) -> tuple[str, ...]:
    """The qemu-args, in the line's order, objects first; no id of theirs is one of vmlan's.

    `usb`: the machine has USB for a medium of its own, and needs no other controller unless it is named.
    """
    usb = usb and not any("usb-bus" in word for kept in draft.kept for word in kept.words)
    words = [word for _, made in objects for word in made]
    once: set[tuple[str, ...]] = set()
    position = {id(option): number for number, option in enumerate(draft.options)}
    for kept in sorted(draft.kept, key=lambda kept: position.get(id(kept.option), len(position))):
        if tuple(kept.words) in once and kept.words[0] != "-device":
            continue
        once.add(tuple(kept.words))
        words += [word for word in kept.words if not (word == "-usb" and (usb or "-usb" in words))]
    return tuple(_renamed(words))


def _renamed(words: list[str]) -> list[str]:
    """Ids of the line that vmlan has too get another name, wherever they are named."""
    clashing: set[str] = set()
    for option, value in pairwise(words):
        if option in {"-device", "-drive", "-netdev", "-chardev", "-object", "-audiodev", "-fsdev"}:
            clashing |= {each for each in re.findall(r"(?:^|,)id=([^,]+)", value) if _OWN.fullmatch(each)}
    if not clashing:
        return words

    def rename(found: re.Match[str]) -> str:
        name, dot, rest = found[1].partition(".")
        return f"old-{name}{dot}{rest}" if name in clashing else found[1]

    made = []
    for before, word in zip(["", *words], words, strict=False):
        is_value = before.startswith("-") and before not in {"-set", "-append", "-name", "-fw_cfg", "-smbios"}
        made.append(_REFERS.sub(rename, word) if is_value and not word.startswith("filter-") else word)
    return made
