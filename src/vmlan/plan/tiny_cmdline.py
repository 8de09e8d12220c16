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
    "initcall_blacklist=crypto_kdf108_init",  # is nothing but a self-test
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
)


#: What the guest answers when it knows who it is; the MACs of the cards that have their addresses follow.
KNOWN = "known"


def append(hostname: str, nics: Sequence[tuple[str, str, str | None]], extra: str = "") -> str:
    """The command line for a machine of that name, with the fixed addresses of its cards (`identity`).

    `extra` goes last, and so overrides. Linux cuts the line off at 2047 characters (x86: COMMAND_LINE_SIZE).
    """
    return " ".join([*_BASE, identity(hostname, nics), *extra.split()])


def template(extra: str = "") -> str:
    """The command line for a machine that is told only later who it is."""
    return " ".join([*_BASE, "vmlan.template", *extra.split()])


def identity(hostname: str, nics: Sequence[tuple[str, str, str | None]]) -> str:
    """Who a machine is: words for its command line, or to be told .

    `nics` are the cards' fixed addresses, IPv4 or IPv6: MAC, address with prefix length ("10.1.1.2/24"),
    gateway or None. A card without one of IPv4 asks by DHCP.
    """
    words = [f"vmlan.hostname={hostname}"]
    for mac, address, gateway in nics:
        words.append(f"vmlan.nic={','.join([mac.lower(), address, *([gateway] if gateway else [])])}")
    return " ".join(words)


#: How long a machine that is told who it is puts off what nobody waits for (seconds): its own part, and for
#: each machine of its lab, so that the last of many has started before the first asks for its leases.
_LATER, _LATER_EACH = 30, 1


def cards(count: int, leases: Sequence[tuple[str, str, str, str]], machines: int) -> str:
    """What one of so many machines is told besides: how many cards it has, and what DHCP will lease them.

    Of `leases`, each is a MAC, an address with prefix length, that of gateway and DNS, and a domain.
    It is given that at once, and asks for it later: what is reserved for it nobody else is leased.
    """
    words = [f"vmlan.cards={count}", f"vmlan.later={_LATER + _LATER_EACH * machines}"]
    words += [
        f"vmlan.lease={mac.lower()},{address},{server},{domain}" for mac, address, server, domain in leases
    ]
    return " ".join(words)
