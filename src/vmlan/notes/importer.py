"""Command lines → a lab: one machine for each line, on networks that they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from vmlan.labfile.values import name_of
from vmlan.model import Accel, FileDisk, Lab, Machine, OverlayDisk
from vmlan.notes import chardevs, devices, finish, names, nics, passing, refusals, setting
from vmlan.notes.draft import Draft
from vmlan.notes.networks import Networks
from vmlan.notes.options import Option, parse
from vmlan.notes.readers import read
from vmlan.notes.result import Blank, Fate, Imported, Needed, Note, Refused
from vmlan.notes.shell import PLACEHOLDER, CommandLine, shown
from vmlan.qemu.facts import QemuFacts


def import_lines(
    lines: Sequence[CommandLine],
    qemu: QemuFacts | None,
    *,
    folder: Path,
    trust: bool = False,
    absolute: bool = False,
) -> Imported:
    """The lab of these command lines: a machine for each line that can be one.

    `qemu`: what the installed QEMU has; None where there is none (then every QEMU is believed to have
    everything). `folder`: where the lab file will be; relative paths of the lines start there. `trust`:
    also lines that run programs on this machine. `absolute`: file names in qemu-args, which are relative to
    where the lab file is, are made independent of that.
    """
    networks = Networks()
    machines: list[Machine] = []
    notes: list[Note] = []
    blanks: list[Blank] = []
    files: list[Needed] = []
    refused: list[Refused] = []
    for line in lines:
        found = _line(line, qemu, folder, trust, absolute)
        if isinstance(found, Refused):
            refused.append(replace(found, line=line.line))
            continue
        name = names.unique(_name(found), [machine.name for machine in machines], names.MACHINES)
        machines.append(_machine(found, networks, name))
        remarks = [Note(f"line {line.line}", Fate.OUT, remark) for remark in line.remarks]
        notes += [replace(note, machine=name) for note in (*remarks, *found.notes)]
        blanks += [blank for blank in found.blanks if blank not in blanks]
        files += [needed for needed in found.files if needed not in files]
    if not machines:
        return Imported(None, refused=tuple(refused))
    together, more = _together(machines)
    lab = Lab(name_of(folder), folder, machines=tuple(together), networks=tuple(networks.every))
    return Imported(lab, (*notes, *more), tuple(blanks), tuple(files), tuple(refused))


def _line(
    line: CommandLine, qemu: QemuFacts | None, folder: Path, trust: bool, absolute: bool
) -> Draft | Refused:
    """One line, read to its end."""
    program = line.words[0] if line.words else ""
    if (wrong := refusals.other_architecture(program)) is not None:
        return wrong
    options = parse(line.words[1:])
    if isinstance(options, Refused):
        return options
    wrong = refusals.asks(options) or (None if trust else refusals.runs_programs(options))
    if wrong is not None:
        return wrong
    draft = Draft(folder, qemu, trust, program, options, absolute)
    for option in options:
        if option.remark:
            draft.notes.append(Note(option.words, Fate.KEY, option.remark))
        if (later := _later(option, options)) is not None:
            draft.out(option, f"{later.name_of} comes again, and the last one counts")
        else:
            read(draft, option)
    wrong = refusals.other_machine(draft)
    if wrong is not None:
        return wrong
    _program(draft)
    return draft


#: Options of which QEMU takes the last; the others add up, or QEMU says itself what it makes of two.
_ONE = {name: name for name in ("cpu", "smp", "m", "kernel", "initrd", "append", "uuid", "vga", "bios")}
_ONE |= {"std-vga": "vga", "cirrusvga": "vga", "vmwarevga": "vga"}


def _later(option: Option, options: Sequence[Option]) -> Option | None:
    """The option that takes the place of this one."""
    if option.name not in _ONE:
        return None
    last = [each for each in options if _ONE.get(each.name) == _ONE[option.name]][-1]
    return None if last is option else last


def _program(draft: Draft) -> None:
    """What the program's name alone says."""
    base = re.split(r"[/\\]", draft.program)[-1]
    if "kvm" in base.lower() and not draft.accel_said:
        draft.accel, draft.accel_said = Accel.KVM, True
    if "i386" in base:
        why = "qemu-system-x86_64 runs 32-bit systems as well"
        draft.notes.append(Note(shown(base), Fate.OURS, why))
    elif PLACEHOLDER.search(draft.program) and not base.startswith("qemu-system-x86_64"):
        why = "which QEMU it is, is not known; it is read as one for x86"
        draft.notes.append(Note(shown(draft.program), Fate.OURS, why))


def _machine(draft: Draft, networks: Networks, name: str) -> Machine:
    """Put together what takes the whole line to see."""
    setting.apply(draft)
    devices.resolve_disks(draft)
    finish.drives(draft)
    nics.resolve(draft, networks)
    setting.rest(draft)
    objects = list(passing.objects(draft))
    devices.rest(draft)
    chardevs.finish(draft)
    media = finish.media(draft)
    boot = finish.boot(draft, media)
    image = finish.image(draft, media)
    memory = finish.memory(draft, image)
    passing.numa(draft, memory)
    args = finish.arguments(draft, objects, usb=bool(media.usb))
    finish.defaults(draft)
    finish.unsaid(draft)
    return Machine(
        name=name,
        image=image,
        memory=memory,
        cpus=draft.cpus,
        cpu=draft.cpu or "max",
        accel=draft.accel,
        machine=draft.machine,
        firmware=draft.firmware,
        disks=tuple(media.disks),
        floppy=tuple(media.floppies),
        cdrom=tuple(media.cdroms),
        usb=tuple(media.usb),
        boot=boot,
        kernel=draft.kernel,
        initrd=draft.initrd if draft.kernel else None,
        append=draft.append if draft.kernel or image == "tiny" else "",
        nics=tuple(draft.nics),
        qemu_args=args,
    )


def _name(draft: Draft) -> str:
    """-name, else what the first medium is called, else vm."""
    if draft.name and (name := names.valid(draft.name)):
        return name
    shorts = ("hda", "cdrom", "fda", "kernel", "hdb")
    for wanted in shorts:
        for option in draft.options:
            if option.name == wanted:
                path = PurePath(PLACEHOLDER.sub("", option.value))
                stem = "" if path.name.startswith(".") else names.valid(path.stem)
                if stem:
                    return stem
    return "vm"


def _together(machines: list[Machine]) -> tuple[list[Machine], list[Note]]:
    """What two machines cannot both have: a disk to write to, or a MAC."""
    notes: list[Note] = []
    writers: dict[Path, list[str]] = {}
    for machine in machines:
        for disk in machine.disks:
            if isinstance(disk, FileDisk) and not disk.read_only:
                writers.setdefault(disk.path, []).append(machine.name)
    shared = {path for path, owners in writers.items() if len(owners) > 1}
    for path in sorted(shared):
        owners = " and ".join(dict.fromkeys(writers[path]))
        why = (
            f"{owners} have it, and only one could write to it; each has a copy-on-write disk over it (base:)"
        )
        notes.append(Note(path.name, Fate.KEY, why))
    macs: set[str] = set()
    made = []
    for machine in machines:
        disks = tuple(
            OverlayDisk(disk.path, bus=disk.bus)
            if isinstance(disk, FileDisk) and disk.path in shared
            else disk
            for disk in machine.disks
        )
        cards = []
        for nic in machine.nics:
            if nic.mac in macs:
                why = "another NIC of the lab has this MAC; this one gets one of its own"
                notes.append(Note(nic.mac or "", Fate.OUT, why, machine.name))
                nic = replace(nic, mac=None)
            macs |= {nic.mac} if nic.mac else set()
            cards.append(nic)
        made.append(replace(machine, disks=disks, nics=tuple(cards)))
    return made, notes
