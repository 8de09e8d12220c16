"""Options that go on to QEMU: as they are, or in the form that QEMU takes today."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmlan.model import MIB
from vmlan.notes.draft import Device, Draft
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import shown

#: Keys of kept options that name a file; -trace writes its `file`.
_FILES = {"file", "data", "path", "romfile"}
_FILES_OF = {"trace": {"events"}}

#: The key of a first word that has none.
_IMPLIED = {"fw_cfg": "name", "trace": "enable"}

#: Options that are not in every QEMU since 5.2, and the release that brought each.
_SINCE = {"action": (6, 0), "compat": (6, 0), "perfmap": (8, 0), "jitdump": (8, 0), "shim": (10, 0)}

#: QEMU's log items on x86 since 5.2 (`-d help`).
_LOGS = {"out_asm", "in_asm", "op", "op_opt", "op_ind", "int", "exec", "cpu", "fpu", "mmu", "pcall"}
_LOGS |= {"cpu_reset", "unimp", "guest_errors"}
_LOGS |= {"page", "nochain", "plugin", "strace"}


def keep(draft: Draft, option: Option) -> None:
    """An option as it is; a file that it names is the user's."""
    if option.name in _SINCE and draft.version_before(*_SINCE[option.name]):
        draft.out(
            option, f"QEMU has it since {'.'.join(map(str, _SINCE[option.name]))}, and here is an older"
        )
        return
    if not option.row.takes:
        draft.keep(option, f"-{option.name}")
        return
    if option.name in {"option-rom", "shim"}:
        draft.need(shown(Params(option.value, "romfile").peek("romfile") or ""))
        name, comma, more = option.value.partition(",")
        draft.keep(option, f"-{option.name}", f"{draft.file(name)}{comma}{more}")
        return
    if option.name == "D":
        draft.keep(option, "-D", draft.file(option.value))
        return
    params = Params(option.value, _IMPLIED.get(option.name))
    files = _FILES_OF.get(option.name, _FILES)
    if any(key in files for key, _ in params.rest):
        pairs = []
        for key, value in params.rest:
            if key in files:
                draft.need(shown(value))
                value = draft.file(value)
            elif draft.unclear(
                option, value, "QEMU's default stands", words=f"{option.name_of} {key}={shown(value)}"
            ):
                continue
            pairs.append(f"{key}={value.replace(',', ',,')}")
        draft.keep(option, f"-{option.name}", ",".join(pairs))
    elif not draft.unclear(option, option.value, "it is left out"):
        draft.keep(option, f"-{option.name}", option.value)


def globals_(draft: Draft, option: Option) -> None:
    """`-global DRIVER.PROPERTY=VALUE`, or as driver=,property=,value=."""
    if draft.unclear(option, option.value, "the property is left out"):
        return
    if "cfi.pflash01" in option.value:
        draft.out(option, "the firmware's flash is vmlan's, and not one with secure boot")
        return
    if re.fullmatch(r"virtio-blk-(pci|device)\.scsi=.*", option.value):
        draft.out(option, "not every QEMU's disk has this property")
        return
    floppy = re.fullmatch(r"isa-fdc\.drive[AB]=(.*)", option.value)
    if floppy and floppy[1]:  # how -device attached a floppy until QEMU 6.0
        draft.devices.append(Device(option, "floppy", Params(f"drive={floppy[1]}")))
        return
    if floppy:
        draft.became(option, Fate.OURS, "vmlan attaches the machine's floppies itself")
        return
    draft.keep(option, "-global", option.value)


def read_numa(draft: Draft, option: Option) -> None:
    """`-numa …`: noted for when the machine's memory is known."""
    params = Params(option.value, "type")
    kind = params.take("type") or ""
    if kind == "node":
        draft.numa.append((option, params))
    elif not draft.unclear(option, option.value, "the memory's layout is left out"):
        draft.keep(option, "-numa", option.value)


def numa(draft: Draft, memory: int) -> None:
    """`-numa node`: since QEMU 5.1 each node must name its memory (memdev=), which it could leave to QEMU."""
    for number, (option, params) in enumerate(draft.numa):
        if draft.unclear(option, option.value, "the memory's layout is left out"):
            continue
        before: list[str] = []
        size = params.take("mem")
        if params.peek("memdev") is None:
            share = f"{memory // len(draft.numa) // MIB}M" if size is None else size + "M" * size.isdigit()
            before = ["-object", f"memory-backend-ram,id=node{number},size={share}"]
            params.put("memdev", f"node{number}")
        text = "today each node names its memory, so it has a memory-backend-ram" if before else ""
        draft.keep(option, *before, "-numa", f"node,{params}", text=text)


def virtfs(draft: Draft, option: Option) -> None:
    """`-virtfs local,path=…` and `-fsdev`: a folder of this host, shared with the guest."""
    params = Params(option.value, "fsdriver")
    driver = params.peek("fsdriver")
    if driver not in {"local", "synth"}:
        draft.out(option, "this kind of file sharing is gone since QEMU 9.2, or needs another program")
        return
    pairs = []
    for key, value in params.rest:
        words = f"{option.name_of} {key}={shown(value)}"
        if key == "path":
            draft.need(shown(value), folder=True)
            value = draft.file(value)
        elif draft.unclear(option, value, "QEMU's default stands", words=words):
            continue
        if key != "fsdriver":
            pairs.append(f",{key}={value.replace(',', ',,')}")
    draft.keep(option, f"-{option.name}", f"{driver}{''.join(pairs)}")


def tpm(draft: Draft, option: Option) -> None:
    """`-tpmdev`: a TPM is another program (swtpm), or this host's own."""
    params = Params(option.value, "type")
    if (chardev := params.peek("chardev")) in draft.chardevs:
        draft.out(draft.chardevs[chardev or ""][0], "it is for the TPM, which is left out")
    why = "a TPM needs another program beside QEMU (swtpm), which vmlan does not start"
    if params.peek("type") == "passthrough":
        why = "it would take this host's own TPM"
    draft.out(option, why)


def log(draft: Draft, option: Option) -> None:
    """`-d ITEM,…`: QEMU's own log, which is in the lab's log of the machine."""
    items = option.value.split(",")
    good = [item for item in items if item in _LOGS or item.startswith("trace:")]
    if draft.unclear(option, option.value, "the log is left out") or not good:
        draft.out(option, "QEMU has no such log items")
        return
    for item in items:
        if item not in good:
            draft.out(option, "QEMU has no such log item", words=f"-d {shown(item)}")
    draft.keep(option, "-d", ",".join(good))


def vga(draft: Draft, option: Option) -> None:
    """`-vga CARD` and its early spellings."""
    card = {"std-vga": "std", "cirrusvga": "cirrus", "vmwarevga": "vmware"}.get(option.name, option.value)
    if draft.unclear(option, card, "here the standard VGA"):
        return
    if card == "std":
        draft.became(option, Fate.OURS, "" if option.name == "vga" else "it is the usual card today")
    elif card == "qxl":
        draft.out(option, "QXL is for SPICE, and a lab has no SPICE: the machine has a standard VGA")
    elif card == "none":
        draft.keep(option, "-vga", "none")
    elif (device := _VGA.get(card)) and draft.has_device(device):
        draft.keep(option, "-vga", card)
    else:
        draft.out(option, f"the installed QEMU's PC has no screen '{card}': it has a standard VGA")


_VGA = {"cirrus": "cirrus-vga", "vmware": "vmware-svga", "virtio": "virtio-vga"}

#: What replaced an option, and since when the option is gone; "" where it is still there.
_TODAY: dict[str, tuple[tuple[str, ...], str]] = {
    "localtime": (("-rtc", "base=localtime"), "3.1"),
    "rtc-td-hack": (("-rtc", "driftfix=slew"), "2.12"),
    "no-acpi": (("-machine", "acpi=off"), "9.0"),
    "no-hpet": (("-machine", "hpet=off"), "9.0"),
    "no-kvm-irqchip": (("-machine", "kernel-irqchip=off"), "3.0"),
    "no-kvm-pit-reinjection": (("-global", "kvm-pit.lost_tick_policy=discard"), "9.0"),
}


def today(draft: Draft, option: Option) -> None:
    """An option that has another spelling today."""
    words, since = _TODAY[option.name]
    draft.keep(option, *words, text=f"dropped in QEMU {since}; today {' '.join(words)}")


def startdate(draft: Draft, option: Option) -> None:
    """`-startdate DATE` → `-rtc base=DATE`."""
    if draft.unclear(option, option.value, "the clock is left as it is"):
        return
    if option.value != "now" and not re.fullmatch(r"\d{4}-\d\d?-\d\d?(T\d\d?:\d\d?:\d\d?)?", option.value):
        draft.out(option, "it is no date that QEMU reads, such as 2006-06-17 or 2006-06-17T16:01:21")
        return
    base = "utc" if option.value == "now" else option.value
    draft.keep(option, "-rtc", f"base={base}", text=f"dropped in QEMU 3.1; today -rtc base={base}")


def balloon(draft: Draft, option: Option) -> None:
    """`-balloon virtio|none`."""
    if Params(option.value, "type").peek("type") == "none":
        draft.became(option, Fate.OURS, "dropped in QEMU 3.1; a machine has no balloon anyway")
        return
    why = "dropped in QEMU 3.1; today -device virtio-balloon-pci"
    draft.keep(option, "-device", "virtio-balloon-pci", text=why)


def watchdog(draft: Draft, option: Option) -> None:
    """`-watchdog DEVICE`."""
    if draft.unclear(option, option.value, "it is left out"):
        return
    if not draft.has_device(option.value):
        draft.out(option, f"the installed QEMU has no watchdog '{option.value}'")
        return
    draft.keep(option, "-device", option.value, text=f"dropped in QEMU 7.2; today -device {option.value}")


def incoming(draft: Draft, option: Option) -> None:
    """`-incoming`: the machine would wait for one that moves here."""
    draft.out(option, "the machine would wait for another that moves here; it starts on its own")


def readconfig(draft: Draft, option: Option) -> None:
    """`-readconfig FILE`: options that are not on the line."""
    draft.fill(option.value, "-readconfig")
    draft.out(option, "what the file says is not on the line: add its settings as options, and import again")


def plugin(draft: Draft, option: Option) -> None:
    """`-plugin FILE`: a program in QEMU's own process; only for who trusts the line."""
    params = Params(option.value, "file")
    draft.need(shown(params.peek("file") or ""))
    file = params.take("file") or ""
    pairs = "".join(f",{key}={value}" for key, value in params.rest)
    draft.keep(option, "-plugin", f"{draft.file(file)}{pairs}", text="it runs in QEMU, with your rights")


def hdachs(draft: Draft, option: Option) -> None:
    """`-hdachs C,H,S[,T]`: the first disk's geometry."""
    numbers = option.value.split(",")
    if len(numbers) < 3 or not all(number.isdigit() for number in numbers[:3]):
        draft.out(option, "its numbers are not a disk's geometry")
        return
    words = [
        word
        for key, number in zip(("cyls", "heads", "secs"), numbers, strict=False)
        for word in ("-set", f"device.dev-disk0.{key}={number}")
    ]
    draft.keep(option, *words, text="dropped in QEMU 2.12; today properties of the disk")


#: -object: kinds that need nothing beside them, in every QEMU since 5.2.
_OBJECTS = {
    "iothread",
    "throttle-group",
    "rng-random",
    "rng-builtin",
    "secret",
    "can-bus",
    "cryptodev-backend",
}
_OBJECTS |= {"memory-backend-ram", "memory-backend-file", "memory-backend-memfd", "input-linux", "iommufd"}
_OBJECTS |= {"authz-simple", "cryptodev-backend-builtin", "thread-context"}
_HOST = {"input-linux", "iommufd"}


def objects(draft: Draft) -> Iterator[tuple[Option, list[str]]]:
    """`-object`: the ones that can be in a lab, before the devices that use them."""
    for option, kind, params in draft.objects:
        if kind.startswith("filter-"):
            continue
        if kind == "secret" and not _is_named(draft, option, params.peek("id") or ""):
            draft.out(option, "nothing on the line uses it")
            continue
        if kind not in _OBJECTS:
            draft.out(option, "what it is for is not in a lab, or not in every QEMU")
            continue
        pairs = []
        for key, value in params.rest:
            if key in {"mem-path", "filename", "file", "evdev"}:
                value = draft.file(value)
            elif draft.unclear(option, value, "its default stands", words=f"-object {key}={shown(value)}"):
                continue
            if key == "file":
                draft.need(value)
            pairs.append(f",{key}={value.replace(',', ',,')}")
        file = params.peek("filename") or "/dev/urandom"
        host = kind in _HOST or (kind == "rng-random" and file not in {"/dev/urandom", "/dev/random"})
        text = "it needs a device of this host that the lab's QEMU may open" if host else ""
        draft.became(option, Fate.ARGS, text)
        yield option, ["-object", f"{kind}{''.join(pairs)}"]


def _is_named(draft: Draft, option: Option, id_: str) -> bool:
    """Whether another option of the line names this object."""
    return any(
        re.search(rf"[=\"]{re.escape(id_)}\b", each.value) for each in draft.options if each is not option
    )


def read_object(draft: Draft, option: Option) -> None:
    """`-object KIND,id=…`."""
    params = Params(option.value, "qom-type")
    draft.objects.append((option, params.take("qom-type") or "", params))
