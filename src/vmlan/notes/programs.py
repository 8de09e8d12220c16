"""Which words are QEMU, which are its options, and which programs merely start another one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vmlan.notes.tokens import OPEN, PLACEHOLDER

_NAME = r"(?:qemu|kvm|kvm-spice|qemu-kvm|qemu-kvm-spice|qemu-system|qemu-system-[\w.+-]+?)w?"

_PROGRAM = re.compile(rf"{_NAME}(?:\.(?i:exe|lnk|bat|real))?\Z", re.ASCII)

_VARIABLE = re.compile(r"QEMU|KVM", re.IGNORECASE)

#: Variables that are named after QEMU and hold something else.
_NOT_PROGRAM = re.compile(r"IMG|NBD|ARG|OPT|FLAG|DIR|HOME|PID|LOG|_IO\b|PARAM|VERSION", re.IGNORECASE)

#: The program as it looks in raw text, without and with a look at what stands before it.
PROGRAM_BODY = rf"""(?:{_NAME}|qemu-system-[^\s"'`]+)(?:\.(?:exe|lnk|bat))?(?![\w/-])"""
PROGRAM_TEXT = re.compile(rf"(?<![\w.-]){PROGRAM_BODY}", re.ASCII)

_OPTION = re.compile(r"--?[A-Za-z]")


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: QEMU's options since 0.9, of the kind that no other program has.
_TELLING = _words(
    """
    accel append audiodev bios blockdev boot cdrom chardev curses daemonize device dtb enable-kvm fda fdb
    fsdev full-screen fw_cfg gdb hda hdb hdc hdd icount incoming initrd kernel loadvm localtime machine
    mem-path monitor mtdblock net netdev nic no-acpi no-fd-bootchk no-hpet no-kqemu no-kvm no-reboot
    no-shutdown nodefaults nographic numa object parallel pflash prom-env qmp readconfig redir rtc sd serial
    smbios smp snapshot soundhw spice startdate std-vga tdf tpmdev trace usb usbdevice vga virtfs
    virtioconsole vnc watchdog win2k-hack
    """
)

#: The others.
_OPTIONS = _TELLING | _words(
    """
    D L M S U acpitable action add-fd alt-grab alt-trap async-teardown audio audio-help balloon bootp bt
    chroot clock compat cpu cpu-throttle ctrl-grab d debugcon dfilter display drive dump-vmstate echr
    enable-audio enable-fips enable-nesting enable-sync-profile fsdev g global h hax hdachs help icount
    incoming isa iscsi jitdump k kernel-kqemu kvm-shadow-memory loader m mem-prealloc mon msg name no-frame
    no-kvm-irqchip no-kvm-pit no-kvm-pit-reinjection no-quit no-user-config nodefconfig nouserconfig
    old-param only-migratable option-rom overcommit p pcidevice perfmap pidfile plugin portrait preconfig
    qmp-pretty qtest qtest-log readonly realtime rotate rtc-td-hack run-with runas s sandbox sdl secret
    semihosting semihosting-config set shim show-cursor singlestep smb tb-size tftp usbdisk uuid version
    vmwarevga writeconfig xen-attach xen-create xen-domid xen-domid-restrict
    """
)

#: Programs that a lone line may begin with, and whose options look like QEMU's.
_OTHERS = re.compile(
    r"qemu-(?:img|nbd|io|ga|storage-daemon|edid)|virsh|virt-\w+|find|grep|ls|gcc|cc|ld|docker|podman|apt(?:-get)?"
    r"|git|curl|wget|ssh|scp|dd|cp|mv|rm|make|echo|printf|man|lxc|incus"
)


def basename(word: str) -> str:
    """The last part of a path as either system writes it."""
    return re.split(r"[/\\]", word)[-1]


def is_program(word: str) -> bool:
    """Whether the word, at the place of a command, is QEMU."""
    base = basename(word)
    literal = PLACEHOLDER.sub("X", base)
    if literal != base:
        names = [match for match in PLACEHOLDER.findall(base) if _VARIABLE.search(match)]
        if any(not _NOT_PROGRAM.search(name) for name in names):
            return literal == "X" or not _NOT_PROGRAM.search(literal)
    return _PROGRAM.match(literal) is not None


def is_option(word: str) -> bool:
    """Whether the word looks like an option of any program."""
    return _OPTION.match(word) is not None


def option_name(word: str) -> str:
    """The option's name without its dashes; '' for another word."""
    return re.split(r"[=\s]", word.lstrip("-"), maxsplit=1)[0] if is_option(word) else ""


def is_qemu_option(word: str) -> bool:
    """Whether the word is an option that some QEMU since 0.9 has had."""
    return option_name(word) in _OPTIONS


def looks_like_qemu(words: Sequence[str]) -> bool:
    """Whether a command of an unknown program has the options of a QEMU."""
    if not words or is_option(words[0]) or _OTHERS.fullmatch(basename(words[0])):
        return False
    before = itertools.takewhile(lambda word: not is_option(word), words[1:])
    if not all(PLACEHOLDER.search(word) for word in before):  # it is a sentence
        return False
    names = {option_name(word) for word in words[1:]}
    return bool(names & _TELLING) or len(names & _OPTIONS) > 1


_FILE = re.compile(
    r"(?:[~/.\\]|[A-Za-z]:\\)\S|.*\.(?:img|iso|ima|qcow2?|raw|vmdk|vdi|vhdx?|bin|flp|dsk|elf|kvm|disk)\Z",
    re.IGNORECASE | re.DOTALL,
)


def plausible(words: Sequence[str]) -> bool:
    """Whether what follows the program is a command's arguments rather than the rest of a sentence."""
    if len(words) < 2:
        return False
    first = words[1]
    return is_option(first) or bool(re.match(f"-?{OPEN}", first) or _FILE.match(first))


@dataclass(frozen=True)
class Prefix:
    """A program that starts the command after it.

    `values`: its short options (letters) and long ones (words) that take a value. `operands`: how many
    words stand between its options and the command. `nested`: the option whose value is the command as one
    text. `why`: what a lab does instead.
    """

    values: str = ""
    operands: int = 0
    nested: str = ""
    why: str = ""


_ROOT = "a lab needs no root"
_LASTS = "a lab runs until `vmlan down`"
_SPACE = "the lab's networks are its own"

#: By name; a name of several words is a program with a subcommand.
PREFIXES: dict[str, Prefix] = {
    "sudo": Prefix("CDghpRrTtUu user group prompt chdir host", why=_ROOT),
    "doas": Prefix("uC", why=_ROOT),
    "pkexec": Prefix(" user", why=_ROOT),
    "kdesudo": Prefix("u", why=_ROOT),
    "gksudo": Prefix("u", why=_ROOT),
    "su": Prefix("gGsw", nested="c", why="a lab runs as the user who starts it"),
    "sg": Prefix(nested="c", why="a lab runs as the user who starts it"),
    "runuser": Prefix("ugGsw", nested="c", why="a lab runs as the user who starts it"),
    "exec": Prefix("a"),
    "command": Prefix(),
    "builtin": Prefix(),
    "nohup": Prefix(why=_LASTS),
    "setsid": Prefix(why=_LASTS),
    "disown": Prefix(why=_LASTS),
    "nice": Prefix("n adjustment"),
    "ionice": Prefix("cnpPu class classdata"),
    "chrt": Prefix("TPD", operands=1),
    "taskset": Prefix(operands=1),
    "timeout": Prefix("ks kill-after signal", operands=1, why=_LASTS),
    "gtimeout": Prefix("ks kill-after signal", operands=1, why=_LASTS),
    "time": Prefix("fo format output"),
    "env": Prefix("uC unset chdir"),
    "start": Prefix(),
    "call": Prefix(),
    "cmd": Prefix(),
    "ip netns exec": Prefix(operands=1, why=_SPACE),
    "ip vrf exec": Prefix(operands=1, why=_SPACE),
    "unshare": Prefix("SGRw", why=_SPACE),
    "nsenter": Prefix("tSGrw target", why=_SPACE),
    "script": Prefix("EIOBTmto log-out log-in log-io", nested="c", why="see `vmlan console`"),
    "strace": Prefix("oesaEPuIbSX output trace"),
    "ltrace": Prefix("oesanulx"),
    "gdb": Prefix("x ex iex command eval-command cd args-are"),
    "lldb": Prefix("o s"),
    "valgrind": Prefix(),
    "perf stat": Prefix("eopCrI"),
    "perf record": Prefix("eopCFc"),
    "stdbuf": Prefix("ioe"),
    "unbuffer": Prefix(),
    "rlwrap": Prefix("fHbCcDz"),
    "numactl": Prefix("NmCpilP"),
    "cgexec": Prefix("g"),
    "systemd-run": Prefix("pMHtEu unit slice property uid gid description setenv"),
    "systemd-inhibit": Prefix(" what who why mode"),
    "dbus-run-session": Prefix(),
    "dbus-launch": Prefix(),
    "xvfb-run": Prefix("enfpsw"),
    "xterm": Prefix("TNgb fn geometry title fa fs bg fg"),
    "gnome-terminal": Prefix("t title geometry"),
    "konsole": Prefix("p"),
    "screen": Prefix("SsctephT"),
    "tmux new-session": Prefix("sntFxyce"),
    "tmux new": Prefix("sntFxyce"),
    "tmux new-window": Prefix("ntFce"),
    "watch": Prefix("nd interval"),
    "ssh": Prefix("bcDEeFIiJLlmOopQRSWw", operands=1),
    "bash": Prefix("O rcfile", nested="c"),
    "sh": Prefix(nested="c"),
    "dash": Prefix(nested="c"),
    "zsh": Prefix(nested="c"),
    "chroot": Prefix(operands=1),
    "fakeroot": Prefix("lfibs"),
    "faketime": Prefix("fp", operands=1),
    "setarch": Prefix(operands=1),
    "linux32": Prefix(),
    "linux64": Prefix(),
    "caffeinate": Prefix("tw"),
    "firejail": Prefix(),
    "torsocks": Prefix(),
    "proxychains": Prefix("f"),
    "optirun": Prefix("bcd"),
    "primusrun": Prefix(),
    "prime-run": Prefix(),
    "gamemoderun": Prefix(),
    "pw-jack": Prefix("p"),
    "padsp": Prefix("sndm"),
    "aoss": Prefix(),
    "winpty": Prefix(),
    "wine": Prefix(),
    "coproc": Prefix(),
    "arch": Prefix(),
    "eval": Prefix(),
}
