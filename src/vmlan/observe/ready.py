"""Waiting until a machine is really there: its agent answers, and every NIC has its address."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from vmlan.errors import GuestError, Timeout
from vmlan.guest.agent import Agent, AgentSilent, GuestNic
from vmlan.host import messages
from vmlan.model import Machine
from vmlan.plan.layout import MachineFiles
from vmlan.plan.topology import Link

#: How long a machine may take to boot (seconds); emulation on a busy machine is slow.
BOOT_TIMEOUT = 180.0


@dataclass(frozen=True)
class Ready:
    """A machine that is there. `addresses` by NIC index; `seconds` since the wait began."""

    machine: str
    addresses: tuple[tuple[int, str], ...]
    seconds: float


def wait_ready(
    machine: Machine,
    links: tuple[Link, ...],
    files: MachineFiles,
    timeout: float = BOOT_TIMEOUT,
    progress: Callable[[str], None] = lambda _: None,
) -> Ready:
    """Wait for the agent, then for the address of every NIC that gets one from us, QEMU or the outside.

    Raises `Timeout`, which says what is missing, and `NotRunning` if the machine ends meanwhile.
    """
    began = time.monotonic()
    deadline = began + timeout
    try:
        agent = Agent(files.agent, machine.name, timeout)
    except AgentSilent:
        raise Timeout(
            f"machine {machine.name} has not booted within {timeout:.0f} s",
            hint=f"vmlan console {machine.name} shows what it is doing; its log: {files.serial_log}",
        ) from None
    with agent:
        expected = [link for link in links if link.address or link.address6 or link.leased_elsewhere]
        if expected:
            progress("waits for " + ("its address" if len(expected) == 1 else "its addresses"))
        while missing := _missing(expected, nics := agent.nics()):
            if time.monotonic() > deadline:
                raise Timeout(_why(machine, missing), hint=f"vmlan exec {machine.name} -- ip addr")
            time.sleep(0.02)
    return Ready(machine.name, addresses(links, nics), time.monotonic() - began)


def known(machine: str, links: tuple[Link, ...], served: frozenset[str]) -> Ready | None:
    """A machine that is there by its guest's own word: every card of it that waits for an address has it.

    `served`: the MACs of those. None: it has to be waited for.
    """
    expected = [link for link in links if link.address or link.address6 or link.leased_elsewhere]
    if any(link.mac not in served or link.address is None or link.address6 is not None for link in expected):
        return None
    return Ready(machine, tuple((link.index, str(link.address)) for link in expected), 0.0)


def addresses(links: tuple[Link, ...], nics: tuple[GuestNic, ...]) -> tuple[tuple[int, str], ...]:
    """The guest's own word on the addresses of its NICs, by index, matched by MAC."""
    own = {nic.mac: nic for nic in nics}
    return tuple(
        (link.index, str(address))
        for link in links
        if link.mac in own
        for address in (*own[link.mac].addresses, *own[link.mac].addresses6)
    )


def _missing(expected: list[Link], nics: tuple[GuestNic, ...]) -> list[Link]:
    own = {nic.mac: nic for nic in nics}
    return [link for link in expected if link.mac not in own or not _is_there(link, own[link.mac])]


def _is_there(link: Link, nic: GuestNic) -> bool:
    """Whether the guest has every address that the link is to have, or any where it is not ours to say."""
    if link.leased_elsewhere and not nic.addresses:
        return False
    has4 = link.address is None or link.address in nic.addresses
    return has4 and (link.address6 is None or link.address6 in nic.addresses6)


def _why(machine: Machine, missing: list[Link]) -> str:
    rows = ", ".join(f"NIC {link.index} on {link.network.name} ({_wanted(link)})" for link in missing)
    return f"machine {machine.name} has booted, but has no address yet: {rows}"


def _wanted(link: Link) -> str:
    return " and ".join(str(each) for each in (link.address, link.address6) if each) or "any address"


def ended(machine: str, files: MachineFiles) -> GuestError:
    """The error for a machine whose QEMU has ended, with its last words and what they mean."""
    words = files.log.read_text(errors="replace").strip() if files.log.exists() else ""
    tail = "".join(f"\n    {line}" for line in words.splitlines()[-10:])
    said = messages.explain(("qemu-system-x86_64",), words)
    why = f": {said['meaning']}" if "meaning" in said else ""
    return GuestError(
        f"machine {machine} has ended{why}{tail}", hint=said.get("hint", "vmlan up starts it again")
    )
