"""`-device`: the ones that are disks and controllers become keys; the others go to qemu-args."""

from __future__ import annotations

import re
from typing import Literal

from vmlan.model import Bus
from vmlan.notes import chardevs, disks, sound
from vmlan.notes.draft import Device, Draft, Drive, clean
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import shown

#: Disks by their device: what they are in the lab, and on which bus.
_DISKS: dict[str, tuple[Literal["disk", "cdrom", "floppy", "usb"], Bus]] = {
    "virtio-blk": ("disk", "virtio"),
    "virtio-blk-pci": ("disk", "virtio"),
    "virtio-blk-pci-transitional": ("disk", "virtio"),
    "virtio-blk-pci-non-transitional": ("disk", "virtio"),
    "virtio-blk-device": ("disk", "virtio"),
    "ide-hd": ("disk", "ide"),
    "ide-drive": ("disk", "ide"),
    "ide-cd": ("cdrom", "ide"),
    "scsi-hd": ("disk", "scsi"),
    "scsi-disk": ("disk", "scsi"),
    "scsi-cd": ("cdrom", "ide"),
    "nvme": ("disk", "nvme"),
    "nvme-ns": ("disk", "nvme"),
    "usb-storage": ("usb", "ide"),
    "floppy": ("floppy", "ide"),
}

_AHCI = {"ahci", "ich9-ahci"}
_CONTROLLERS = {*_AHCI, "virtio-scsi", "virtio-scsi-pci", "virtio-scsi-pci-non-transitional"}
_CONTROLLERS |= {"virtio-scsi-pci-transitional", "isa-fdc", "piix3-ide", "piix4-ide", "nvme-subsys"}
#: Controllers whose disks are on vmlan's own virtio-scsi instead; without disks they stay.
_OTHER_SCSI = {"lsi", "lsi53c895a", "lsi53c810", "megasas", "megasas-gen2", "mptsas1068", "pvscsi"}
_OTHER_SCSI |= {"am53c974", "dc390"}
_USB_SCSI = {"usb-uas", "usb-bot"}

#: Where a device sits: QEMU chooses it for ours.
_PLACES = {"bus", "addr", "unit", "lun", "scsi-id", "channel", "port", "acpi-index", "id"}

_COMMON = {"serial", "logical_block_size", "physical_block_size", "min_io_size", "opt_io_size", "share-rw"}
_COMMON |= {"write-cache", "rerror", "werror", "discard_granularity"}
#: Properties of disks that QEMU 5.2 to 11.1 have, and no key.
_PROPERTIES: dict[str, set[str]] = {
    "virtio": _COMMON | {"num-queues", "queue-size", "config-wce", "disable-legacy", "disable-modern"}
    | {"iothread", "romfile", "cyls", "heads", "secs", "iommu_platform", "ats", "packed", "event_idx"}
    | {"multifunction"},
    "ide": _COMMON | {"rotation_rate", "wwn", "ver", "model", "cyls", "heads", "secs", "bios-chs-trans"},
    "sata": _COMMON | {"rotation_rate", "wwn", "ver", "model"},
    "scsi": _COMMON | {"rotation_rate", "wwn", "ver", "product", "vendor", "removable", "device_id"},
    "nvme": _COMMON | {"max_ioqpairs", "cmb_size_mb", "msix_qsize", "num_queues"},
    "usb": {"removable", "serial", "logical_block_size", "physical_block_size"},
    "cdrom": {"serial", "ver", "model", "wwn"},
    "floppy": {"drive-type"},
}  # fmt: skip

_PROGRAM_BESIDE = "another program must run beside QEMU for it ({}), which vmlan does not start"


def read(draft: Draft, option: Option) -> None:
    """`-device DRIVER,…`: noted for when the whole line is read."""
    params = Params(option.value, "driver")
    driver = params.take("driver") or ""
    draft.devices.append(Device(option, driver, params))
    if driver == "isa-fdc":
        for name in params.take_all("driveA", "driveB"):
            draft.devices.append(Device(option, "floppy", Params(f"drive={name}")))


def assign(draft: Draft, option: Option) -> None:
    """`-pcidevice host=…` of the old kvm, and `-device pci-assign`."""
    params = Params(option.value)
    draft.devices.append(Device(option, "pci-assign", params))


def resolve_disks(draft: Draft) -> None:
    """The devices that are disks: each takes its drive."""
    ahci = {device.params.peek("id") for device in draft.devices if device.driver in _AHCI}
    by_id = {each.id: each for each in reversed(draft.drives) if each.id is not None}
    for device in draft.devices:
        if device.driver not in _DISKS or device.params.peek("drive") is None:
            continue
        name = device.params.take("drive") or ""
        device.done = True
        drive = by_id.get(name)
        if drive is None or drive.taken:
            what = "is attached already" if drive else "is not on the line"
            draft.out(device.option, f"the drive '{shown(name)}' {what}, and QEMU refuses it")
            continue
        drive.taken = True
        _disk(draft, device, drive, ahci)


def _disk(draft: Draft, device: Device, drive: Drive, ahci: set[str | None]) -> None:
    option = device.option
    kind, bus = _DISKS[device.driver]
    place = (device.params.peek("bus") or "").split(".")[0]
    if bus == "ide" and kind == "disk" and place in ahci:
        bus = "sata"
    if device.driver.startswith("scsi-") and (controller := _scsi(draft, place)) is not None:
        controller.emptied = True
        if controller.driver in _USB_SCSI:
            kind = "usb"
        elif kind == "disk":
            draft.became(option, Fate.KEY, f"here on virtio-scsi (bus: scsi) instead of {controller.driver}")
    drive.params.take("media", "index", "unit", "bus")
    medium = disks.image(draft, drive, kind)
    draft.became(option, Fate.KEY)
    draft.became(drive.option, Fate.KEY)
    if medium is None:
        return
    medium.bus = bus
    disks.rest(draft, medium, drive.params)
    if device.driver == "scsi-cd":
        draft.became(option, Fate.KEY, "the disc is in the machine's own CD drive: cdrom:")
    allowed = _PROPERTIES[bus if kind == "disk" else kind]
    if device.driver.endswith("non-transitional"):
        medium.sets.append(("device", "disable-legacy", "on"))
    for key, value in device.params.rest:
        words = f"-device {key}={shown(value)}"
        if key in _PLACES:
            continue
        if draft.unclear(option, value, "QEMU's default stands", words=words):
            continue
        if key == "bootindex" and value.lstrip("-").isdigit():
            medium.bootindex = int(value)
        elif key in allowed:
            medium.sets.append(("device", key, value))
        else:
            draft.out(option, "not every QEMU's disk has this property", words=words)
    draft.media.append(medium)


def _scsi(draft: Draft, place: str) -> Device | None:
    """The controller of a SCSI disk, by its id or as the line's first, if it is none that vmlan has."""
    others = [each for each in draft.devices if each.driver in _OTHER_SCSI | _USB_SCSI]
    if place:
        return next((each for each in others if each.params.peek("id") == place), None)
    return next((each for each in others if each.driver not in _USB_SCSI), None)


def rest(draft: Draft) -> None:
    """Every device that is neither disk nor NIC, and the drives that nothing attaches."""
    screens = [
        device for device in draft.devices if _WITHOUT_GL.get(device.driver, device.driver) in _SCREENS
    ]
    for device in draft.devices:
        if device.done:
            continue
        device.done = True
        if device.driver in _CONTROLLERS or device.emptied:
            _controller(draft, device)
        else:
            _other(draft, device)
    if screens and not any(kept.words[:1] == ["-vga"] for kept in draft.kept):
        why = "with it QEMU adds no screen of its own: -vga none in qemu-args"
        draft.keep(screens[0].option, "-vga", "none", text=why)
    for drive in draft.drives:
        if not drive.taken:
            drive.taken = True
            draft.out(drive.option, "nothing attaches this drive to the machine")


def _controller(draft: Draft, device: Device) -> None:
    """A controller that only has disks of ours: vmlan adds one itself."""
    id_ = device.params.peek("id")
    users = [
        other
        for other in draft.devices
        if not other.done and id_ and (other.params.peek("bus") or "").split(".")[0] == id_
    ]
    if users:
        _pass_on(draft, device)
    else:
        draft.became(device.option, Fate.OURS, "vmlan adds the controllers that its disks need")
        for key, value in device.params.rest:
            if key not in _PLACES:
                words = f"-device {device.driver} {key}={shown(value)}"
                draft.out(device.option, "vmlan's own controller has QEMU's defaults", words=words)


#: Screens with which QEMU adds none of its own (QEMU, system/vl.c: default_list).
_SCREENS = {"VGA", "isa-vga", "cirrus-vga", "isa-cirrus-vga", "vmware-svga", "virtio-vga", "ati-vga"}
_SPICE = {"qxl", "qxl-vga"}
_SERIAL = {"virtio-serial", "virtio-serial-pci", "virtio-serial-pci-non-transitional"}
#: Names that QEMU has for its own devices (QEMU, softmmu/qdev-monitor.c: qdev_alias_table).
_ALIASES = {
    "virtio-gpu": "virtio-gpu-pci",
    "virtio-balloon": "virtio-balloon-pci",
    "virtio-rng": "virtio-rng-pci",
    "virtio-9p": "virtio-9p-pci",
    "virtio-keyboard": "virtio-keyboard-pci",
    "virtio-mouse": "virtio-mouse-pci",
    "virtio-tablet": "virtio-tablet-pci",
    "virtio-input-host": "virtio-input-host-pci",
    "virtio-scsi": "virtio-scsi-pci",
    "virtio-serial": "virtio-serial-pci",
    "virtio-crypto": "virtio-crypto-pci",
    "ahci": "ich9-ahci",
    "lsi": "lsi53c895a",
    "es1370": "ES1370",
    "ac97": "AC97",
}
#: With OpenGL, which needs a screen of this host's → the same without.
_WITHOUT_GL = {
    "virtio-gpu-gl": "virtio-gpu-pci",
    "virtio-gpu-gl-pci": "virtio-gpu-pci",
    "virtio-vga-gl": "virtio-vga",
    "virtio-gpu-rutabaga": "virtio-gpu-pci",
    "virtio-vga-rutabaga": "virtio-vga",
}


def _other(draft: Draft, device: Device) -> None:
    option, driver, params = device.option, device.driver, device.params
    text = "it"
    if draft.unclear(option, driver, "the device is left out"):
        return
    if driver == "isa-serial" and chardevs.isa_serial(draft, option, params):
        return
    if driver in {"pci-assign", "kvm-pci-assign"}:
        device.driver = "vfio-pci"
        text = "gone since QEMU 3.0; today vfio-pci, which"
    if driver in _WITHOUT_GL:
        device.driver = _WITHOUT_GL[driver]
        why = f"its graphics need a screen of this host; here {device.driver}"
        draft.became(option, Fate.ARGS, why)
    device.driver = _ALIASES.get(device.driver, device.driver)
    if re.fullmatch(r"virtio-\w+-device", device.driver):
        device.driver = f"{device.driver.removesuffix('-device')}-pci"
        draft.became(option, Fate.ARGS, f"a PC has its virtio devices on PCI; here {device.driver}")
    if driver.startswith("vhost-user"):
        draft.out(option, _PROGRAM_BESIDE.format("vhost-user"))
    elif driver in _SPICE:
        draft.out(option, "QXL is for SPICE, and a lab has no SPICE: the machine has a standard VGA")
    elif device.driver in _SERIAL and not _port_stays(draft, params):
        draft.became(option, Fate.OURS, "vmlan gives every machine a virtio-serial controller")
    elif driver == "virtserialport" and (params.peek("name") or "").endswith("qemu.guest_agent.0"):
        chardevs.use(draft, params.take("chardev"))
        draft.became(option, Fate.OURS, "vmlan gives every machine a port for the guest agent: `vmlan exec`")
    elif "tpmdev" in dict(params.rest):
        draft.out(option, "the TPM that it is for is left out")
    elif not draft.has_device(device.driver):
        draft.out(option, f"the installed QEMU has no device '{device.driver}'")
    else:
        _pass_on(draft, device, text)


def _port_stays(draft: Draft, params: Params) -> bool:
    """Whether a port that stays is on this virtio-serial controller by name."""
    id_ = params.peek("id")
    return any(
        id_ and not other.done and (other.params.peek("bus") or "").split(".")[0] == id_
        and not (other.params.peek("name") or "").endswith("qemu.guest_agent.0")
        and chardevs.stays(draft, other.params.peek("chardev"))
        for other in draft.devices
    )  # fmt: skip


def _pass_on(draft: Draft, device: Device, subject: str = "it") -> None:
    """The device as it is, but for what cannot be in a lab."""
    option, params = device.option, device.params
    chardev = params.peek("chardev")
    before: list[str] = []
    if chardev is not None:
        words = chardevs.words(draft, chardev)
        if words is None:
            draft.out(option, f"what it is connected to ({chardevs.what(draft, chardev)}) is not in a lab")
            return
        before += words
    if (drive := params.peek("drive")) is not None:
        found = next((each for each in draft.drives if each.id == drive and not each.taken), None)
        if found is None:
            draft.out(option, f"the drive '{shown(drive)}' is not on the line, and QEMU refuses it")
            return
        found.taken = True
        file = found.params.take("file") or ""
        draft.need(shown(file))
        if found.params.peek("format") is None:  # so that QEMU need not guess it from what a guest wrote
            found.params.put("format", "qcow2" if file.endswith(".qcow2") else "raw")
        found.params.put("file", draft.file(file))
        before += ["-drive", f"if=none,id={drive},{found.params}"]
        draft.became(found.option, Fate.ARGS)
    if device.driver in _USB and params.peek("bus") is None:
        before.append("-usb")
    if device.driver in sound.DEVICES:
        before += sound.backend(draft)
        params.put("audiodev", draft.audiodev or "")
    if params.peek("addr") is not None and params.peek("bus") in {None, "pci.0", "pcie.0"}:
        words_ = f"-device {device.driver} addr={shown(params.take('addr') or '')}"
        draft.out(option, "vmlan's own devices may be in that slot: QEMU takes a free one", words=words_)
    pairs: list[tuple[str, str]] = []
    for key, value in params.rest:
        if clean(value) or key in _HOST_KEYS:
            is_file = key in {"romfile", "file"} and value
            pairs.append((key, draft.file(value) if is_file else draft.fill(value, "qemu-args")))
            if key in {"romfile", "file"} and value:
                draft.need(shown(value))
        else:
            draft.unclear(
                option, value, "the device's own default stands", words=f"-device {key}={shown(value)}"
            )
    listed = "".join(f",{key}={value.replace(',', ',,')}" for key, value in pairs)
    host = device.driver.startswith(("vfio", "usb-host", "virtio-input-host"))
    text = f"{subject} needs a device of this host that the lab's QEMU may open" if host else ""
    draft.keep(option, *before, "-device", f"{device.driver}{listed}", text=text)


#: Devices on USB, for which the machine must have a controller.
_USB = {"usb-tablet", "usb-mouse", "usb-kbd", "usb-host", "usb-audio", "usb-serial", "usb-ccid", "usb-hub"}
_USB |= {"usb-wacom-tablet", "usb-redir", "usb-mtp", "usb-braille", "u2f-emulated", "usb-bot", "usb-uas"}

#: What a variable may stay in: the user fills it in.
_HOST_KEYS = {"host", "evdev", "romfile", "file", "hostbus", "hostaddr", "sysfsdev"}
