"""Which function reads which option."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from vmlan.notes import chardevs, devices, disks, passing, processor, sound
from vmlan.notes.draft import Draft, Medium
from vmlan.notes.options import Kind, Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import shown

Reader = Callable[[Draft, Option], None]


def kernel(draft: Draft, option: Option) -> None:
    """`-kernel FILE`."""
    draft.kernel = draft.path(option.value, "kernel")
    draft.became(option, Fate.KEY)


def initrd(draft: Draft, option: Option) -> None:
    """`-initrd FILE`."""
    files = option.value.split(",")
    if len(files) > 1:
        draft.out(option, "it names multiboot modules, and a lab has one initrd: the first is kept")
    draft.initrd = draft.path(files[0].split(" ")[0] if len(files) > 1 else option.value, "initrd")
    draft.became(option, Fate.KEY)


def append(draft: Draft, option: Option) -> None:
    """`-append TEXT`."""
    draft.append = " ".join(draft.fill(option.value, "append").splitlines())
    draft.became(option, Fate.KEY)


_LETTERS = {
    "a": "floppy",
    "b": "floppy",
    "c": "disk",
    "d": "cdrom",
    "n": "network",
    "o": "network",
    "p": "network",
}


def boot(draft: Draft, option: Option) -> None:
    """`-boot LETTERS` or `-boot order=…,once=…,menu=…`."""
    params = Params(option.value, "order")
    order, once = params.take("order"), params.take("once")
    draft.became(option, Fate.KEY)
    if once is not None and not draft.unclear(
        option, once, "the boot order is the usual one", words=f"-boot once={shown(once)}"
    ):
        why = "it is tried first at every start; take it out of boot: after the installation"
        draft.became(option, Fate.KEY, why, words=f"-boot once={once}")
        order = once + (order or "")
    if order is not None and not draft.unclear(
        option, order, "the boot order is the usual one", words=f"-boot {shown(order)}"
    ):
        draft.order = []
        for letter in order:
            if letter not in _LETTERS:
                draft.out(option, f"there is no boot device '{letter}' on a PC", words=f"-boot {order}")
                continue
            draft.order.append((_LETTERS[letter], option))
    more = []
    for key, value in params.rest:
        words = f"-boot {key}={shown(value)}"
        if draft.unclear(option, value, "QEMU's default stands", words=words):
            continue
        if key in {"menu", "strict", "splash-time", "reboot-timeout"}:
            if (key, value) != ("menu", "off"):
                more.append(f"{key}={value}")
        else:
            draft.out(option, "the firmware's picture is not kept", words=words)
    if more:
        draft.keep(option, "-boot", ",".join(more))


def usb(draft: Draft, option: Option) -> None:
    """`-usb`."""
    draft.keep(option, "-usb")


_USB = {
    "tablet": "usb-tablet",
    "mouse": "usb-mouse",
    "keyboard": "usb-kbd",
    "wacom-tablet": "usb-wacom-tablet",
}
_USB |= {"ccid": "usb-ccid"}


def usbdevice(draft: Draft, option: Option) -> None:
    """`-usbdevice NAME` and `-usbdevice KIND:WHAT`."""
    kind, _, what = option.value.partition(":")
    if kind == "net":
        return  # `netline` reads it
    if kind == "disk":
        if what.startswith("format="):
            what = what.partition(":")[2]
        path = draft.path(what, "usb")
        draft.media.append(Medium(option, "usb", path))
        name = shown(what) if clean_name(what) else PurePath(path).name
        why = f"QEMU dropped it in 2.12; the image is now a USB disk (usb-storage): usb: [{name}]"
        draft.became(option, Fate.KEY, why)
    elif kind == "host":
        _usb_host(draft, option, what)
    elif kind in _USB and draft.has_device(_USB[kind]):
        draft.keep(option, "-usb", "-device", _USB[kind])
    elif not draft.unclear(option, option.value, "it is left out"):
        draft.out(option, "what it is connected to is not in a lab, or QEMU has it no more")


def clean_name(text: str) -> bool:
    """Whether a file's name can be shown in a list of YAML as it is."""
    return not set(text) & set(",[]{}#:'\"\n")


def _usb_host(draft: Draft, option: Option, what: str) -> None:
    separator, keys = (":", ("vendorid", "productid")) if ":" in what else (".", ("hostbus", "hostaddr"))
    parts = what.split(separator)
    if len(parts) != 2:
        draft.out(option, "it is not BUS.ADDRESS or VENDOR:PRODUCT")
        return
    prefix = "0x" if separator == ":" else ""
    pairs = [
        f",{key}={prefix}{draft.fill(part, 'qemu-args')}"
        for key, part in zip(keys, parts, strict=True)
        if part not in {"*", ""}
    ]
    why = "dropped in QEMU 2.12; today -device usb-host, which needs the device, and the right to open it"
    draft.keep(option, "-usb", "-device", f"usb-host{''.join(pairs)}", text=why)


READERS: dict[str, Reader] = {
    **dict.fromkeys(("M", "machine"), processor.machine),
    **dict.fromkeys(("enable-kvm", "no-kvm", "enable-hax"), processor.kvm),
    **dict.fromkeys(
        ("hda", "hdb", "hdc", "hdd", "fda", "fdb", "cdrom", "sd", "mtdblock", "pflash"), disks.short
    ),
    **dict.fromkeys(("vga", "std-vga", "cirrusvga", "vmwarevga"), passing.vga),
    **dict.fromkeys(("localtime", "rtc-td-hack", "no-acpi", "no-hpet", "no-kvm-irqchip"), passing.today),
    **dict.fromkeys(("virtioconsole", "vmchannel"), chardevs.virtio_console),
    **dict.fromkeys(("soundhw", "audio"), sound.cards),
    **dict.fromkeys(("gdb", "s"), chardevs.gdb),
    **dict.fromkeys(("virtfs", "fsdev"), passing.virtfs),
    "no-kvm-pit-reinjection": passing.today,
    "accel": processor.accel,
    "m": processor.memory,
    "smp": processor.smp,
    "cpu": processor.cpu,
    "icount": processor.icount,
    "overcommit": processor.overcommit,
    "mem-path": processor.memory_path,
    "name": processor.name,
    "boot": boot,
    "kernel": kernel,
    "initrd": initrd,
    "append": append,
    "bios": disks.bios,
    "drive": disks.drive,
    "blockdev": disks.blockdev,
    "snapshot": disks.snapshot,
    "hdachs": passing.hdachs,
    "device": devices.read,
    "pcidevice": devices.assign,
    "usb": usb,
    "usbdevice": usbdevice,
    "audiodev": sound.audiodev,
    "balloon": passing.balloon,
    "watchdog": passing.watchdog,
    "startdate": passing.startdate,
    "serial": chardevs.serial,
    "parallel": chardevs.parallel,
    "debugcon": chardevs.debugcon,
    "chardev": chardevs.read,
    "object": passing.read_object,
    "global": passing.globals_,
    "numa": passing.read_numa,
    "tpmdev": passing.tpm,
    "d": passing.log,
    "incoming": passing.incoming,
    "readconfig": passing.readconfig,
    "plugin": passing.plugin,
}

#: Options that are read later, all together: `netline` and `setting` do.
LATER = {"net", "netdev", "nic", "redir", "tftp", "bootp", "smb", "set"}


def read(draft: Draft, option: Option) -> None:
    """Read one option of the line, whatever it is."""
    if option.row.takes and not option.value:
        draft.out(option, "its argument is empty")
    elif option.name == "":
        _alone(draft, option)
    elif option.name == "?":
        draft.unclear(option, option.value, "it is left out")
        draft.unknown.append(option.words)
    elif option.row.kind is Kind.KEEP:
        passing.keep(draft, option)
    elif option.row.kind is Kind.OURS:
        draft.became(option, Fate.OURS, option.row.text)
        for id_ in (option.value.removeprefix("chardev:"), Params(option.value, "chardev").peek("chardev")):
            chardevs.use(draft, id_)
    elif option.row.kind is Kind.GONE:
        draft.out(option, option.row.text)
    elif option.name not in LATER:
        READERS[option.name](draft, option)


def _alone(draft: Draft, option: Option) -> None:
    """A word that is no option: to QEMU the image of a disk; in notes often something else."""
    word = option.value
    bare = shown(word)
    if bare.startswith("<") and bare.endswith(">") and bare.count("<") == 1 and bare != word:
        draft.unclear(option, word, "it is left out")
        draft.unknown.append(bare)
    elif any(mark in word for mark in "./\\") or (word.isalnum() and _only_medium(draft, word)):
        disks.short(draft, option)
        draft.became(option, Fate.KEY, "a word alone is a disk's image: disks:")
    else:
        draft.out(option, "a word alone would be a disk's image, and this is hardly one")


def _only_medium(draft: Draft, word: str) -> bool:
    """Whether the line has no other medium, and the word is no program's name."""
    names = {option.name for option in draft.options}
    media = {"hda", "hdb", "drive", "cdrom", "fda", "kernel", "usbdevice", "blockdev", "append", "pflash"}
    return not (names & media) and word.lower() not in {"qemu", "kvm"}
