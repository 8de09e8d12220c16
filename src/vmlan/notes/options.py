"""Every option that QEMU had from 0.9 to 11 on x86, and the words of a line as options.

The names, and which of them take an argument, are from `-help` of QEMU 5.2 to 11.1, and for what is
older from QEMU's own records: docs/about/removed-features.rst, and qemu-options.hx of 0.10 to 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from vmlan.notes.result import Refused, Why
from vmlan.notes.shell import PLACEHOLDER, shown


class Kind(Enum):
    """What is done with an option."""

    READ = "read"  #: it has a meaning in the lab file: a function of `READERS` reads it
    KEEP = "keep"  #: it is passed on as it is
    OURS = "ours"  #: vmlan does that in its own way
    GONE = "gone"  #: it has no effect: in QEMU, or in a lab
    ASK = "ask"  #: QEMU answers it and ends


@dataclass(frozen=True)
class Row:
    """An option: whether an argument follows, and what is done with it; `text` is the note's sentence."""

    takes: bool
    kind: Kind
    text: str = ""


@dataclass(frozen=True)
class Option:
    """An option of a line. `name` "" is a word that stands alone; "?" one that only a variable names."""

    name: str
    value: str
    words: str  #: as the notes have it, for people
    row: Row
    remark: str = ""  #: what was odd about how it is written

    @property
    def name_of(self) -> str:
        """The option as it was written, without its argument."""
        return self.words.split()[0] if self.words else ""


_SCREEN = "vmlan shows machines itself: `vmlan console` (serial port), `vmlan screen` (picture)"
_MONITOR = "vmlan talks to QEMU itself, over a QMP socket of the lab"
_PROCESS = "vmlan keeps QEMU among the lab's own processes, and as you: `vmlan down` ends it"
_ALWAYS = "vmlan always says it, and names every device itself"
_IGNORED = "QEMU has dropped it, and nothing took its place"
_KQEMU = "kqemu is gone since QEMU 0.12; `accel: auto` takes KVM where it works"
_FOREIGN = "it is for machines of other architectures, and does nothing on a PC"
_XEN = "it is for Xen's own tools, which start QEMU themselves"
_SAVED = "a saved state fits only the very machine that it was saved from, and this one has other devices"

#: What is done, the sentence, and the names: `name=` for one that takes an argument.
_NAMES: tuple[tuple[Kind, str, str], ...] = (
    (
        Kind.READ,
        "",
        """m= smp= cpu= M= machine= accel= enable-kvm no-kvm enable-hax name= boot= kernel= initrd= append=
        bios= pflash= hda= hdb= hdc= hdd= fda= fdb= cdrom= drive= blockdev= sd= mtdblock= snapshot
        device= set= net= netdev= nic= redir= tftp= bootp= smb= usb usbdevice= soundhw= audio= audiodev=
        vga= std-vga cirrusvga vmwarevga localtime startdate= rtc-td-hack no-acpi no-hpet balloon=
        watchdog= serial= parallel= gdb= s icount= chardev= object= virtfs= fsdev= tpmdev= overcommit=
        mem-path= pcidevice= no-kvm-irqchip hdachs= debugcon= no-kvm-pit-reinjection d= vmchannel=
        virtioconsole= incoming= readconfig= plugin= global= numa=""",
    ),
    (
        Kind.KEEP,
        "",
        """uuid= smbios= fw_cfg= option-rom= no-reboot action= watchdog-action= rtc= seed= msg= trace=
        compat= sandbox= mem-prealloc win2k-hack no-fd-bootchk acpitable= only-migratable D= dfilter=
        enable-sync-profile perfmap jitdump shim=""",
    ),
    (
        Kind.OURS,
        _SCREEN,
        """nographic curses sdl display= vnc= spice= full-screen no-frame alt-grab ctrl-grab no-quit
        show-cursor g= k= portrait rotate= echr=""",
    ),
    (Kind.OURS, _MONITOR, "monitor= qmp= qmp-pretty= mon="),
    (Kind.OURS, _PROCESS, "daemonize pidfile= runas= chroot= run-with= user= async-teardown"),
    (Kind.OURS, _ALWAYS, "nodefaults no-user-config nodefconfig"),
    (Kind.OURS, "vmlan starts a machine at once; `vmlan up` is the way to start it", "S preconfig"),
    (Kind.OURS, "the firmware of the installed QEMU is used", "L="),
    (
        Kind.GONE,
        _IGNORED,
        """no-kvm-pit tdf enable-audio clock= pci isa no-code-copy enable-fips enable-nesting nvram=
        cpu-vendor= bt= writeconfig= vcpu-thread= realtime=""",
    ),
    (Kind.GONE, _KQEMU, "no-kqemu kernel-kqemu enable-kqemu"),
    (
        Kind.GONE,
        "it tunes the emulation, and the guest does not see it",
        "tb-size= singlestep kvm-shadow-memory=",
    ),
    (Kind.GONE, _FOREIGN, "prom-env= dtb= semihosting semihosting-config= old-param"),
    (Kind.GONE, _XEN, "xen-domid= xen-attach xen-domid-restrict xen-create domid="),
    (Kind.GONE, "it is of Proxmox's own QEMU", "id="),
    (Kind.GONE, "a machine that shut down would stay, and `vmlan down` wait for it", "no-shutdown"),
    (Kind.GONE, _SAVED, "loadvm="),
    (Kind.GONE, "no file descriptor is handed on to a lab's QEMU", "add-fd="),
    (Kind.GONE, "disks on other machines are copied first; see the disk's own note", "iscsi="),
    (Kind.GONE, "it is for QEMU's own tests", "qtest= qtest-log= dump-vmstate= audio-help"),
    (
        Kind.GONE,
        "it is of a QEMU before 0.9; write -net options instead",
        """nics= macaddr= user-net dummy-net""",
    ),
    (Kind.ASK, "", "h help version"),
)

TABLE: dict[str, Row] = {
    name.removesuffix("="): Row(name.endswith("="), kind, text)
    for kind, text, names in _NAMES
    for name in names.split()
}

_ALONE = Row(False, Kind.READ)
_UNKNOWN = Row(False, Kind.GONE)

#: Options whose argument may look like an option, because it is free text.
_FREE = {"append", "name", "fw_cfg", "smbios"}


def parse(words: Sequence[str]) -> tuple[Option, ...] | Refused:
    """The options of a line (without the program), or why QEMU itself would not take it."""
    found: list[Option] = []
    rest = iter(enumerate(words))
    for index, word in rest:
        after = words[index + 1] if index + 1 < len(words) else None
        if not word.startswith("-") or word == "-":
            found.append(Option("", word, shown(word), _ALONE))
            continue
        name = word[2:] if word.startswith("--") else word[1:]
        if PLACEHOLDER.search(name):
            taken = after is not None and not _is_option(after)
            found.append(Option("?", word, " ".join(map(shown, words[index : index + 1 + taken])), _UNKNOWN))
            if taken:
                next(rest)
            continue
        row = TABLE.get(name)
        if row is None:
            return _no_such(word, name)
        if not row.takes:
            found.append(Option(name, "", word, row))
            continue
        if after is None or (_is_option(after) and name not in _FREE):
            what = f"the next word is the option {after}" if after else "the line ends there"
            return Refused(Why.NO_ARGUMENT, f"{word} has no argument: {what}")
        next(rest)
        value, parts = _to_its_end(name, words[index + 1 :])
        for _ in range(parts - 1):
            next(rest)
        remark = "a blank after a comma is left out" if parts > 1 else ""
        found.append(Option(name, value, f"{word} {shown(value)}", row, remark))
    return tuple(found)


#: Options whose argument is a list that goes on after a comma.
_LISTS = {"net", "netdev", "nic", "device", "drive", "chardev", "machine", "M", "object", "cpu", "smp"}


def _to_its_end(name: str, words: Sequence[str]) -> tuple[str, int]:
    """An argument, and of how many words it is: people write `-net nic, model=e1000`."""
    value, parts = words[0], 1
    while name in _LISTS and value.endswith(",") and parts < len(words):
        if "=" not in words[parts] or words[parts].startswith("-"):
            break
        value, parts = value + words[parts], parts + 1
    return value, parts


def _is_option(word: str) -> bool:
    return word.startswith("-") and word.lstrip("-") in TABLE


def _no_such(word: str, name: str) -> Refused:
    before, equals, after = name.partition("=")
    if equals and before in TABLE:
        near = f"it is written -{before} {shown(after)}"
    else:
        near = " or ".join(f"-{close}" for close in _near(before)) or "`qemu-system-x86_64 -help` lists them"
        near = f"did you mean {near}?" if near.startswith("-") else near
    return Refused(Why.NO_SUCH_OPTION, f"QEMU never had an option '{shown(word)}'; {near}")


#: What people write who have another tool in mind.
_MEANT = {"vcpu": "smp", "vcpus": "smp", "cpus": "smp", "ram": "m", "memory": "m", "mem": "m", "disk": "hda"}
_MEANT |= {"iso": "cdrom", "cd": "cdrom", "kvm": "enable-kvm", "network": "nic", "floppy": "fda"}


def _near(name: str) -> Iterator[str]:
    if name.lower() in _MEANT:
        yield _MEANT[name.lower()]
    else:
        yield from get_close_matches(name, sorted(TABLE), n=1, cutoff=0.7)
