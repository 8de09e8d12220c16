"""One machine while its line is read: what was found so far, and what became of each option."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vmlan.model import Accel, Bus, Disk, Firmware, Nic
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Blank, Fate, Needed, Note
from vmlan.notes.shell import PLACEHOLDER, shown
from vmlan.qemu.facts import QemuFacts


@dataclass
class Medium:
    """A disk, CD, floppy or stick, and how the line attaches it.

    `slot` is its place on the machine's IDE controller where the line says one; `sets` are properties
    that have no key: "drive" or "device", name, value.
    """

    option: Option
    kind: Literal["disk", "cdrom", "floppy", "usb"]
    path: Path
    bus: Bus = "ide"
    slot: int | None = None
    overlay: bool = False
    read_only: bool = False
    bootindex: int | None = None
    sets: list[tuple[Literal["drive", "device"], str, str]] = field(default_factory=list)


@dataclass
class Drive:
    """A -drive (or what is short for one) before it is known what attaches it."""

    option: Option
    params: Params
    id: str | None
    interface: str | None  #: if=
    taken: bool = False


@dataclass
class Device:
    """A -device before it is known whether it is a disk, a NIC, or something else."""

    option: Option
    driver: str
    params: Params
    done: bool = False
    emptied: bool = False  #: a controller whose disks are on one of vmlan's own instead


@dataclass
class Kept:
    """Words for qemu-args, from one option."""

    option: Option
    words: list[str]


@dataclass
class Draft:
    """A machine in the making. What `words` of the line became is said through `became`."""

    folder: Path
    facts: QemuFacts | None
    trust: bool
    program: str
    options: tuple[Option, ...]
    absolute: bool = False  #: file names in qemu-args do not depend on where QEMU runs
    notes: list[Note] = field(default_factory=list)
    blanks: list[Blank] = field(default_factory=list)
    files: list[Needed] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)  #: ids of the options that something was said of
    # What the lab file has keys for.
    name: str | None = None
    memory: int | None = None
    no_memory: tuple[Option, str, str] | None = None  #: a -m that gives none: its words, and why
    cpus: int = 1
    cpu: str | None = None
    accel: Accel = Accel.AUTO
    accel_said: bool = False
    machine: str = "pc"
    asked_machine: str = "pc"  #: as the line has it: `pc-q35-xenial`
    firmware: Firmware = Firmware.BIOS
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    order: list[tuple[str, Option]] = field(default_factory=list)  #: -boot's letters, as our words
    boot: tuple[str, ...] = ()
    disks: list[Disk] = field(default_factory=list)
    nics: list[Nic] = field(default_factory=list)
    nic_bootindex: dict[int, int] = field(default_factory=dict)
    networks_of: dict[int, str] = field(default_factory=dict)  #: backends (by id()) → the lab's networks
    # What is put together when the whole line is read.
    drives: list[Drive] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    media: list[Medium] = field(default_factory=list)
    flashes: list[tuple[Option, str]] = field(default_factory=list)  #: -machine pflash0=NODE
    nodes: dict[str, Params] = field(default_factory=dict)  #: -blockdev, by node name
    chardevs: dict[str, tuple[Option, Params]] = field(default_factory=dict)
    objects: list[tuple[Option, str, Params]] = field(default_factory=list)
    numa: list[tuple[Option, Params]] = field(default_factory=list)
    audiodev: str | None = None
    made: set[str] = field(default_factory=set)  #: ids of chardevs whose words are in qemu-args
    serials: int = 0
    snapshot: Option | None = None
    unknown: list[str] = field(default_factory=list)  #: words that stand alone and may be anything
    firmware_given: bool = False  #: the line boots something that we cannot see (-bios, a saved state)

    def became(self, option: Option, fate: Fate, text: str = "", *, words: str | None = None) -> None:
        """Say what became of an option, or of some `words` of it; `text` only where something changed."""
        self.seen.add(id(option))
        note = Note(words if words is not None else option.words, fate, text)
        if note not in self.notes:
            self.notes.append(note)

    def out(self, option: Option, text: str, *, words: str | None = None) -> None:
        """An option, or some words of it, has no effect in the lab: why."""
        self.became(option, Fate.OUT, text, words=words)

    def keep(self, option: Option, *words: str, text: str = "") -> None:
        """An option goes on to QEMU, as these words."""
        self.kept.append(Kept(option, list(words)))
        self.became(option, Fate.ARGS, text)

    def fill(self, text: str, place: str) -> str:
        """A text with `<NAME>` for each variable, which the user is then told to fill in."""
        for found in PLACEHOLDER.finditer(text):
            blank = Blank(found.group(1), place)
            if blank not in self.blanks:
                self.blanks.append(blank)
        return shown(text)

    def file(self, text: str) -> str:
        """A file's name for qemu-args: as the line has it, or from the root, if that is asked for."""
        name = self.fill(text, "qemu-args")
        fat = re.match(r"fat:(rw:|floppy:|\d+:)*", name)
        before, after = (fat.group(), name[fat.end() :]) if fat else ("", name)
        if not self.absolute or after.startswith(("/", "<")) or not after or (not fat and ":" in after):
            return name
        return f"{before}{self.folder / after}"

    def unclear(self, option: Option, text: str, instead: str, *, words: str | None = None) -> bool:
        """Whether a value has a variable in it; then a note says so, and what the lab has `instead`."""
        why = unknown(text)
        if why:
            self.out(option, f"{why}; {instead}", words=words)
        return bool(why)

    def path(self, text: str, place: str, *, folder: bool = False) -> Path:
        """A file that the lab uses, as the line names it: relative to the lab's folder."""
        plain = self.fill(text, place).removeprefix("file:") or "."
        self.need(plain, folder=folder)
        if plain.startswith("~"):
            plain = os.path.expanduser(plain)  # noqa: PTH111 - pathlib's raises where there is no home
        return self.folder / plain

    def need(self, text: str, *, folder: bool = False) -> None:
        """The lab needs this file to be there."""
        needed = Needed(text, folder)
        if needed not in self.files:
            self.files.append(needed)

    @property
    def is_q35(self) -> bool:
        """Whether the machine is a Q35, with AHCI and PCI Express, rather than an i440FX."""
        return "q35" in self.machine

    def has_device(self, driver: str) -> bool:
        """Whether the installed QEMU has a device; yes, where there is none to be asked."""
        return self.facts is None or driver in self.facts.devices

    def version_before(self, major: int, minor: int) -> bool:
        """Whether the installed QEMU is older; no, where there is none."""
        return self.facts is not None and self.facts.version < (major, minor, 0)

    def takes(self, params: Iterable[tuple[str, str]], option: Option, whose: str) -> None:
        """Say of what was not understood of a list that it is left out."""
        for key, value in params:
            if key:
                self.out(
                    option,
                    f"{whose} has no such thing in a lab",
                    words=f"{option.words.split()[0]} {key}={shown(value)}",
                )


def unknown(text: str) -> str:
    """That a variable of the text is not known, as a sentence; "" if it has none."""
    names = dict.fromkeys(shown(found.group()) for found in PLACEHOLDER.finditer(text))
    if not names:
        return ""
    return f"what {' and '.join(names)} {'is, is' if len(names) == 1 else 'are, is'} not known"


def clean(text: str) -> bool:
    """Whether a text has no variable in it."""
    return PLACEHOLDER.search(text) is None
