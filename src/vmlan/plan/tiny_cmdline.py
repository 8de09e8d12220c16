"""The kernel command line of the embedded guest `tiny`. Pure: planning uses it."""

from __future__ import annotations

from collections.abc import Sequence

#: What each machine boots with. Beyond the console and silence on it (each character costs time
#: under emulation): what a guest of a lab gains nothing from, and a boot under emulation pays for.
#: Names as in Linux Documentation/admin-guide/kernel-parameters.txt.
_BASE = (
    "console=ttyS0",
    "quiet",
    "random.trust_cpu=on",  # randomness at once, from RDRAND
    "mitigations=off",
    "no_timer_check",  # on a busy host an emulated timer can fail the check, and the kernel gives up
    "rodata=off",  # else 0.1 s to protect the kernel's pages and to check that they are
    "cryptomgr.notests=1",  # with the next: else 0.2 s of self-tests of algorithms
    # The first is nothing but a self-test; the others start programs that look for modules nobody needs.
    "initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap",
    "noreplace-smp",  # else a machine with one processor spends its time on taking locks out of the code
    "init_on_alloc=0",
    "audit=0",
    # With what follows, less code is run for each thing that the guest does: security modules, accounting,
    # checks. Code that runs for the first time is what costs most there.
    "lsm=",
    "cgroup_disable=memory,cpuacct",
    "psi=0",
    "noautogroup",
    "hardened_usercopy=off",
    "kfence.sample_interval=0",
    "nowatchdog",
    # An idle guest is idle, and wakes up less for a packet: else the kernel compares its clocks twice a
    # second, and its timer goes on until what a packet took is freed.
    "tsc=reliable",
    "rcu_nocbs=0",
)

#: The lines of its cards' interrupts are asked of the BIOS instead of ACPI. ACPI's answer is a loop over the
#: whole bus (QEMU, hw/i386/acpi-build.c: build_prt), run anew for each card: 0.3 s of emulation. The BIOS's
#: table has the cards that are there at the start; one that is plugged in has no line.
_NO_LINES = ("acpi=noirq",)


def append(
    hostname: str, nics: Sequence[tuple[str, str, str | None]], extra: str = "", *, lines: bool = True
) -> str:
    """The command line for a machine of that name, with the fixed addresses of its cards (`identity`).

    `lines`: cards may be plugged into it that need a line for their interrupts. `extra` goes last, and so
    overrides. Linux cuts the line off at 2047 characters (x86: COMMAND_LINE_SIZE).
    """
    return " ".join([*_base(lines), identity(hostname, nics), *extra.split()])


def template(extra: str = "", *, bound: bool, lines: bool = True) -> str:
    """The command line for a machine that is told only later who it is; `bound`: its cards have drivers."""
    return " ".join([*_base(lines), f"vmlan.template={'bound' if bound else 'unbound'}", *extra.split()])


def _base(lines: bool) -> tuple[str, ...]:
    return _BASE if lines else (*_BASE, *_NO_LINES)


def identity(hostname: str, nics: Sequence[tuple[str, str, str | None]]) -> str:
    """Who a machine is: words for its command line, or to be told .

    `nics` are the cards' fixed addresses, IPv4 or IPv6: MAC, address with prefix length ("10.1.1.2/24"),
    gateway or None. A card without one of IPv4 asks by DHCP.
    """
    words = [f"vmlan.hostname={hostname}"]
    for mac, address, gateway in nics:
        words.append(f"vmlan.nic={','.join([mac.lower(), address, *([gateway] if gateway else [])])}")
    return " ".join(words)
