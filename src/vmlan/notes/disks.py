"""Disks, CDs, floppies and sticks: every spelling of them, as media of the machine."""

from __future__ import annotations

import re
from pathlib import PurePath

from vmlan.model import Bus
from vmlan.notes.draft import Draft, Drive, Medium
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import PLACEHOLDER, shown

#: Short options: interface, medium, and place on the controller.
_SHORT = {
    "hda": ("ide", "disk", 0),
    "hdb": ("ide", "disk", 1),
    "hdc": ("ide", "disk", 2),
    "hdd": ("ide", "disk", 3),
    "cdrom": ("ide", "cdrom", 2),
    "fda": ("floppy", "disk", 0),
    "fdb": ("floppy", "disk", 1),
    "sd": ("sd", "disk", 0),
    "mtdblock": ("mtd", "disk", 0),
    "pflash": ("pflash", "disk", None),
    "": ("ide", "disk", 0),
}

#: if= → how the lab attaches it.
_BUSES: dict[str | None, Bus] = {"ide": "ide", "scsi": "scsi", "virtio": "virtio", None: "ide"}

#: Protocols of QEMU's whose disk is on another machine, or comes from another program.
_REMOTE = re.compile(
    r"(nbd|iscsi|ssh|https?|ftps?|tftp|rbd|gluster|sheepdog|vxhs|nfs|iser|nvme)(\+\w+)?:", re.IGNORECASE
)
_PROTOCOL = re.compile(r"[A-Za-z0-9_+.-]{2,}:")

#: -drive's own parameters that go on with `-set drive.ID.…`.
_DRIVE_SETS = {"cache", "aio", "discard", "detect-zeroes", "rerror", "werror", "copy-on-read", "group"}
_DRIVE_SETS |= {"cache.direct", "cache.no-flush", "cache.writeback", "bps", "bps_rd", "bps_wr", "iops"}
_DRIVE_SETS |= {"iops_rd", "iops_wr", "bps_max", "bps_rd_max", "bps_wr_max", "iops_max", "iops_rd_max"}
_DRIVE_SETS |= {"iops_wr_max", "iops_size", "l2-cache-size", "cache-size", "lazy-refcounts"}

_DIGITS = re.compile(r"\d{1,2}", re.ASCII)
_FORMATS = {"raw", "qcow2", "host_device", "file"}


def short(draft: Draft, option: Option) -> None:
    """`-hda FILE` and the like. Their argument is a file name as it is, commas and all."""
    interface, media, index = _SHORT[option.name]
    value = option.value
    params = Params("")
    if value.startswith("file=") and "," not in value:
        value = value.removeprefix("file=")
        draft.out(
            option, f"QEMU would look for a file named '{shown(option.value)}'; taken as {shown(value)}"
        )
    params.put("file", value)
    params.put("media", media)
    if index is not None:
        params.put("index", str(index))
    draft.drives.append(Drive(option, params, None, interface))


def drive(draft: Draft, option: Option) -> None:
    """`-drive file=…,if=…`."""
    params = Params(option.value)
    draft.drives.append(Drive(option, params, params.take_first("id"), params.take("if")))


def blockdev(draft: Draft, option: Option) -> None:
    """`-blockdev`: a node; the ones that make up an image are put together, as if they were a -drive."""
    params = Params(option.value, "driver")
    node = params.take("node-name")
    if node is None:
        draft.out(option, "it has no node-name, so nothing can use it")
        return
    draft.nodes[node] = params
    below = params.peek("file")
    file = params.take("filename", "file.filename")
    if file is None and below in draft.nodes:
        file = draft.nodes[below].peek("filename")
    if file is None:
        draft.out(option, "only image files are read here, and it is none: write the disk as a file")
        return
    params.put("filename", file)
    made = Params("")
    made.put("file", file)
    made.put("format", params.peek("driver") or "raw")
    if (params.peek("read-only") or "") == "on":
        made.put("readonly", "on")
    for key, name in (("discard", "discard"), ("detect-zeroes", "detect-zeroes")):
        if (value := params.peek(key)) is not None:
            made.put(name, value)
    draft.drives = [each for each in draft.drives if each.id != below]
    draft.drives.append(Drive(option, made, node, "none"))
    draft.became(option, Fate.KEY)


def snapshot(draft: Draft, option: Option) -> None:
    """`-snapshot`: nothing is written to any disk."""
    draft.snapshot = option
    why = "each disk is copy-on-write over its file (base:); what the guest wrote goes with `down --disks`"
    draft.became(option, Fate.KEY, why)


def resolve(draft: Draft) -> None:
    """Make media of the drives that attach themselves (all but if=none), in the line's order."""
    for option, node in draft.flashes:
        chips = [each for each in draft.drives if each.id == node and not each.taken]
        for each in chips:
            each.interface = "pflash"
        if not chips:
            draft.out(
                option, f"no image file is behind '{shown(node)}'", words=f"-machine pflash={shown(node)}"
            )
    for each in draft.drives:
        if each.interface == "none" or each.taken:
            continue
        each.taken = True
        if each.interface == "pflash":
            flash(draft, each)
        elif each.interface in {"sd", "mtd", "xen", "uml"}:
            card(draft, each)
        else:
            attach(draft, each)


def attach(draft: Draft, each: Drive) -> Medium | None:
    """A drive as a medium on the controller that it names itself."""
    option, params = each.option, each.params
    media = params.take("media")
    if each.interface == "floppy":
        kind, bus = "floppy", None
    elif media == "cdrom":
        kind, bus = "cdrom", None
    else:
        kind, bus = "disk", _BUSES.get(each.interface)
        if bus is None:
            draft.out(option, "QEMU has no such interface", words=f"-drive if={shown(each.interface or '')}")
            bus = "ide"
    medium = image(draft, each, kind)
    if medium is None:
        return None
    medium.bus = bus or "ide"
    medium.slot = _slot(draft, option, params)
    rest(draft, medium, params)
    draft.media.append(medium)
    if each.interface == "scsi":
        here = "bus: scsi (virtio-scsi)" if kind == "disk" else "the machine's own CD drive: cdrom:"
        why = f"PCs have had no SCSI of their own since QEMU 2.12; here {here}"
        draft.became(option, Fate.KEY, why)
    draft.became(option, Fate.KEY)
    return medium


def _slot(draft: Draft, option: Option, params: Params) -> int | None:
    """A drive's place on the controller: index=, or unit= of bus=."""
    index, unit, bus = params.take("index"), params.take("unit"), params.take("bus") or "0"
    for key, value in (("index", index), ("unit", unit), ("bus", bus)):
        if value is not None and not _DIGITS.fullmatch(value):
            words = f"{option.name_of} {key}={shown(value)}"
            if not draft.unclear(option, value, "it gets a free place", words=words):
                draft.out(option, "it is no place on a controller", words=words)
            return None
    if index is not None:
        return int(index)
    return None if unit is None else int(bus) * 2 + int(unit)


def image(draft: Draft, each: Drive, kind: str) -> Medium | None:
    """What a drive's file is; None if there is no medium in the lab for it."""
    option, params = each.option, each.params
    file = params.take("file", "file.filename")
    format_ = params.take("format", "driver")
    if file is None or file in {"", "none"}:
        nested = [(key, value) for key, value in params.rest if key.startswith("file.")]
        if nested:
            _keep_whole(draft, each, [*nested, ("format", format_ or "raw")], kind)
        elif kind == "cdrom":
            draft.keep(option, "-device", "ide-cd", text="a drive without a disc")
        else:
            draft.out(option, "it names no file")
        return None
    if file.startswith("json:"):
        inner = Params(file.removeprefix("json:"))
        behind = inner.take("file.filename", "filename")
        if behind is None:
            what = "its JSON has no file name" if inner.peek("") is None else "its JSON cannot be read"
            draft.out(option, f"{what}: write the disk as a file")
            return None
        format_, file = inner.peek("driver") or format_, behind
    if _REMOTE.match(file):
        file = _copied(draft, option, file)
    elif _PROTOCOL.match(file) and not re.match(r"(file|host_\w+):", file):
        _keep_whole(draft, each, [("file", file), ("format", format_ or "raw")], kind)
        return None
    read_only = params.take("readonly", "read-only")
    medium = Medium(option, kind, draft.path(file, _place(kind)))  # type: ignore[arg-type]
    medium.read_only = read_only not in {None, "off"} and kind == "disk"
    medium.overlay = params.take_on("snapshot") or False
    if medium.overlay:
        why = "what the guest writes goes to a copy-on-write disk over it (base:), kept until `down --disks`"
        draft.became(option, Fate.KEY, why, words=f"{option.name_of} snapshot=on")
    if format_ is not None and format_ not in _FORMATS and PLACEHOLDER.search(format_) is None:
        name = PurePath(shown(file)).stem
        why = f"vmlan takes qcow2 and raw images: qemu-img convert -O qcow2 {shown(file)} {name}.qcow2"
        draft.out(option, why, words=f"{option.name_of} format={format_}")
    return medium


def _place(kind: str) -> str:
    return {"disk": "disks", "cdrom": "cdrom", "floppy": "floppy", "usb": "usb"}[kind]


def _copied(draft: Draft, option: Option, file: str) -> str:
    """A disk on another machine, as the copy that the user has to make of it."""
    name = PurePath(re.split(r"[:/?]", shown(file).rstrip("/"))[-1] or "disk").stem or "disk"
    copy = f"{name}.qcow2"
    why = (
        f"a lab's QEMU cannot reach a disk that another program serves; "
        f"copy it first: qemu-img convert -O qcow2 {shown(file)} {copy}"
    )
    draft.became(option, Fate.KEY, why, words=f"{option.name_of} {shown(file)}")
    return copy


def _keep_whole(draft: Draft, each: Drive, pairs: list[tuple[str, str]], kind: str) -> None:
    """A drive that is no image file goes to qemu-args, with the device that QEMU would give it."""
    id_ = each.id or f"extra{len(draft.kept)}"
    made = Params("")
    made.put("if", "none")
    made.put("id", id_)
    for key, value in pairs:
        is_file = key in {"file", "file.dir", "file.filename"}
        made.put(key, draft.file(value) if is_file else draft.fill(value, "qemu-args"))
        if key in {"file", "file.dir"}:
            folder = re.match(r"(fat:)(rw:|floppy:|\d+:)*(.*)", value)
            if key == "file.dir" or folder:
                draft.need(shown(folder[3] if folder else value), folder=True)
    file = made.peek("file") or ""
    if file.startswith("fat:") and ":rw:" not in file:  # QEMU does not write to the folder
        made.put(*(("readonly", "on") if kind == "floppy" else ("snapshot", "on")))
    bus = "virtio-blk-pci" if each.interface == "virtio" else "ide-hd"
    device = {"cdrom": "ide-cd", "floppy": "floppy", "usb": "usb-storage"}.get(kind, bus)
    draft.keep(
        each.option, "-drive", str(made), "-device", f"{device},drive={id_}", text="it is no image file"
    )


def rest(draft: Draft, medium: Medium, params: Params) -> None:
    """What else a drive says, as properties without a key, or as a note."""
    for key, value in params.rest:
        words = f"{medium.option.name_of} {key}={shown(value)}"
        if draft.unclear(medium.option, value, "QEMU's default stands", words=words):
            continue
        if key in {"boot", "addr", "if", "id"}:
            if key == "boot":
                why = "only early KVM had it: the firmware boots every disk by itself; see boot:"
                draft.out(medium.option, why, words=words)
        elif key == "bootindex" and value.isdigit():
            medium.bootindex = int(value)
        elif key in _DRIVE_SETS:
            medium.sets.append(("drive", key, value))
        elif key == "serial" and medium.kind == "disk":
            medium.sets.append(("device", "serial", value))
        elif key in {"cyls", "heads", "secs"} and medium.bus in {"ide", "virtio", "scsi"}:
            medium.sets.append(("device", key, value))
        else:
            draft.out(medium.option, "the disk has no such property in a lab", words=words)


_OTHER_FIRMWARE = re.compile(r"seabios|coreboot|(^|/)bios[\w-]*\.bin|\.rom$|\.elf$", re.IGNORECASE)


def flash(draft: Draft, each: Drive) -> None:
    """A flash chip: on a PC that is UEFI's program, or its variables."""
    option, file = each.option, each.params.take("file") or ""
    if _OTHER_FIRMWARE.search(file):
        draft.need(shown(file))
        draft.firmware_given = True
        draft.keep(
            option,
            "-drive",
            f"if=pflash,format=raw,readonly=on,file={draft.file(file).replace(',', ',,')}",
        )
        return
    uefi(draft, option, file)


def uefi(draft: Draft, option: Option, file: str) -> None:
    """UEFI by whatever file: vmlan's own OVMF, with variables of the machine's own."""
    from vmlan.model import Firmware

    first = draft.firmware is not Firmware.UEFI
    draft.firmware = Firmware.UEFI
    what = (
        "the OVMF that is installed here: firmware: uefi"
        if first
        else "the machine has UEFI variables of its own"
    )
    draft.became(option, Fate.KEY, f"{what}, instead of {shown(file) or 'it'}")


def bios(draft: Draft, option: Option) -> None:
    """`-bios FILE`: UEFI, or a firmware of the user's."""
    if re.search(r"ovmf|uefi|edk2|\.fd$", option.value, re.IGNORECASE):
        uefi(draft, option, option.value)
        return
    draft.firmware_given = True
    draft.need(shown(option.value))
    draft.keep(option, "-bios", draft.file(option.value))


def card(draft: Draft, each: Drive) -> None:
    """An SD card or a flash disk. PCs have no slot for either, so QEMU refuses them."""
    file = each.params.take("file") or ""
    if each.interface != "sd" or not file:
        draft.out(each.option, "a PC has no such place for a disk, and QEMU refuses it")
        return
    draft.need(shown(file))
    id_ = f"card{len(draft.kept)}"
    source = f"if=none,id={id_},file={draft.file(file).replace(',', ',,')},format=raw"
    why = "a PC has no SD slot, and QEMU refuses it; here one on a PCI card"
    draft.keep(
        each.option, "-device", "sdhci-pci", "-drive", source, "-device", f"sd-card,drive={id_}", text=why
    )
