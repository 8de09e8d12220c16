"""What a plan is made of: small frozen steps that know their commands, their reason and their undo.

`explain` prints exactly these values, `up` runs them, the journal stores them, `down` undoes them.
They are msgspec structs so that the journal can read back what an earlier process wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec


class Space(Enum):
    """Where a command runs: which process and network namespaces it sees."""

    HERE = "here"  #: outside of the lab, as the user's own process
    LAB = "lab"  #: in the lab's process space, in the network namespace of whoever started it
    HOST = "host"  #: on the lab's host side
    OUTSIDE = "outside"  #: on the simulated outside


class Command(msgspec.Struct, frozen=True):
    """One program to run: its argument list and what it reads on standard input.

    `user`: as whom, "UID:GID", where that is not who runs vmlan. `devices`: macvtap interfaces whose device
    files it finds open, as its descriptors from `FIRST_DEVICE` on. `taps`: those that it has to itself, in a
    network namespace of its own. `batch`: it is not interrupted by another that wakes up (`spaced`).
    """

    argv: tuple[str, ...]
    stdin: str = ""
    space: Space = Space.HOST
    user: str = ""
    devices: tuple[str, ...] = ()
    taps: tuple[str, ...] = ()
    batch: bool = False


class MakeFolder(msgspec.Struct, frozen=True, tag=True):
    """A folder that only the user can enter. `keep`: what is in it outlives the lab (disks).

    `owner`: whose it is, "UID:GID", where that is not who runs vmlan. `pipes`: the names of named pipes in it
    (fifo(7)), which are his too.
    """

    id: str
    reason: str
    path: Path
    keep: bool = False
    owner: str = ""
    pipes: tuple[str, ...] = ()


class WriteFile(msgspec.Struct, frozen=True, tag=True):
    """A small text file. `live`: it may be written anew, in place, while the lab runs."""

    id: str
    reason: str
    path: Path
    text: str
    live: bool = False


class StartKeeper(msgspec.Struct, frozen=True, tag=True):
    """The lab's PID 1, in namespaces of its own; ending it ends everything in the lab."""

    id: str
    reason: str
    argv: tuple[str, ...]
    socket: Path
    log: Path


class Run(msgspec.Struct, frozen=True, tag=True):
    """A program that does one thing and ends.

    `creates`: a file that it makes and that is kept; where that exists, there is nothing to do.
    """

    id: str
    reason: str
    command: Command
    undo: tuple[Command, ...] = ()
    creates: Path | None = None


class Interfaces(msgspec.Struct, frozen=True, tag=True):
    """Lines for `ip -batch`, or for `bridge -batch`. Neighbouring steps of one space and program run as one.

    `undo` is for `ip`, whatever the program. `makes`: interfaces that it makes on a real host, by name.
    """

    id: str
    reason: str
    lines: tuple[str, ...]
    undo: tuple[str, ...] = ()
    space: Space = Space.HOST
    program: Literal["ip", "bridge"] = "ip"
    makes: tuple[str, ...] = ()


class Switch(msgspec.Struct, frozen=True, tag=True):
    """A switch of the real host's kernel (sysctl(8)), and what it was before.

    Undone only if nobody else has set it meanwhile. `also`: other switches that the kernel sets together
    with this one, and how they were.
    """

    id: str
    reason: str
    name: str
    value: str
    before: str
    also: tuple[tuple[str, str], ...] = ()


class BridgeNic(msgspec.Struct, frozen=True, tag=True):
    """The real host's NIC becomes a port of a bridge, under guard (`host.lan`); `parts`: all that changes."""

    id: str
    reason: str
    nic: str
    bridge: str
    lab: str
    parts: tuple[Interfaces | Run, ...]


class Card(msgspec.Struct, frozen=True):
    """A card as its guest is told of it; without an address, the guest sees to it by itself.

    `address`: of IPv4, with prefix length. `lessor`: the guest is still to ask DHCP for it, on this
    interface of the host side.
    """

    mac: str
    address: str | None = None
    gateway: str | None = None
    lessor: str = ""


class Told(msgspec.Struct, frozen=True, tag=True):
    """What a guest that goes on from a template is told: who it is, through the pipes `identity`.

    Before, the template's state is put into the file `state`, with `macs` where those of its cards stand.
    `words`: what its command line would have said. `cards`: those in its template's places; `bound`: they
    have drivers already. `elsewhere`: how many others it has. `disks`: their files in /dev. `domain`: in
    which it looks names up. `later`: for how long it puts off what nobody waits for (seconds).
    """

    name: str
    words: str
    cards: tuple[Card, ...]
    bound: bool
    elsewhere: int
    disks: tuple[str, ...]
    domain: str
    later: int
    state: Path
    macs: tuple[str, ...]
    identity: Path


class Installed(msgspec.Struct, frozen=True, tag=True):
    """A machine whose system is on its first disk: it gets a copy of its template's, and its agent tells it.

    `template`: the template's disk. `disk`: its own, to which nobody has written. `agent`: its pipes.
    """

    template: Path
    disk: Path
    agent: Path


class Warm(msgspec.Struct, frozen=True):
    """How a machine goes on where its template was stopped, instead of booting.

    `command` starts QEMU with the template's memory, to be written to privately. `load` and `plug` are lines
    for QEMU's monitor (QEMU, docs/system/monitor): what loads the state of the template's devices, and what
    plugs the machine's own cards and disks in. Then its guest is told who it is; an installed system goes on
    first, is told by its agent, and is given its cards then.
    """

    template: str  #: the template's key
    folder: Path  #: where it is
    command: Command
    load: tuple[str, ...]
    plug: tuple[str, ...]
    told: Told | Installed


class Saved(msgspec.Struct, frozen=True):
    """How a machine goes on where its own state was saved: it is loaded, and stays stopped.

    `command` starts QEMU with the same devices in the same places; `load` is for QEMU's monitor.
    """

    command: Command
    load: tuple[str, ...]


class Start(msgspec.Struct, frozen=True, tag=True):
    """A program that stays, held by the keeper under `name`; it has started once `ready` exists.

    `boots`: the agent of an emulated machine: until it answers, the guest boots, which takes a core.
    `command` boots a machine; `warm`: how it goes on from a template instead; `saved`: from its own state.
    """

    id: str
    reason: str
    name: str
    command: Command
    log: Path
    ready: Path | None = None
    machine: str | None = None
    boots: Path | None = None
    warm: Warm | None = None
    saved: Saved | None = None


class MakeTemplate(msgspec.Struct, frozen=True, tag=True):
    """A machine like `machines`, but with no cards or disks, is booted once, and kept as it was then.

    `folder` is there when it is whole; it is made under another name. `parts`: all that shaped it, by name.
    `macs`: of its cards, in whose places each machine's own MACs are put. `bound`: its guest's drivers have
    them already, so that they stand in its memory too. `disk`: makes the disk of an installed system, which
    has no cards in places, and is done when its agent says that all is started.
    """

    id: str
    reason: str
    key: str
    name: str
    command: Command
    log: Path
    qmp: Path
    agent: Path
    identity: Path
    save: tuple[str, ...]
    folder: Path
    parts: tuple[tuple[str, str], ...]
    macs: tuple[str, ...]
    bound: bool
    machines: tuple[str, ...]
    disk: Command | None = None


Step: TypeAlias = (
    MakeFolder | WriteFile | StartKeeper | Run | Interfaces | Switch | BridgeNic | MakeTemplate | Start
)

#: The descriptors of a program that is given open device files: what every `sh` can open by number.
FIRST_DEVICE, LAST_DEVICE = 3, 9


class Plan(msgspec.Struct, frozen=True):
    """Everything that `up` will do, in order, and what the user should know about it."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()  #: for those who want to know more


def batches(steps: tuple[Step, ...], *, machines: bool = False) -> list[tuple[Step, ...]]:
    """The steps, grouped as they run: neighbouring `Interfaces` of one kind together, others alone.

    `machines`: neighbouring machines together too, of which several are started at a time.
    """
    groups: list[tuple[Step, ...]] = []
    for step in steps:
        last = groups[-1][-1] if groups else None
        if (
            isinstance(step, Interfaces)
            and isinstance(last, Interfaces)
            and (last.space, last.program) == (step.space, step.program)
        ) or (machines and _is_machine(step) and _is_machine(last)):
            groups[-1] += (step,)
        else:
            groups.append((step,))
    return groups


def _is_machine(step: Step | None) -> bool:
    return isinstance(step, Start) and step.machine is not None


def meeting(cards: Sequence[Card]) -> Command | None:
    """The host side looks whether cards are there that it leases addresses to; None: it does to none.

    It asks each by itself (`probe`: ip-neighbour(8), arp(7)), since it knows whose addresses these are; to
    ask all on a bridge for each would wake them all. Who is asked knows the host side then, too.
    """
    lines = [
        f"neigh replace {card.address.partition('/')[0]} lladdr {card.mac} nud probe dev {card.lessor}\n"
        for card in cards
        if card.lessor and card.address is not None
    ]
    return Command(("ip", "-batch", "-"), "".join(lines)) if lines else None


def ip_batch(steps: tuple[Interfaces, ...]) -> Command:
    """The one `ip -batch`, or `bridge -batch`, that does these steps (ip(8), bridge(8)).

    Each reason is a comment before its lines.
    """
    text = "".join(
        f"# {' '.join(step.reason.split())}\n" + "".join(f"{line}\n" for line in step.lines) for step in steps
    )
    return Command((steps[0].program, "-batch", "-"), text, steps[0].space)


def switch_command(step: Switch) -> Command:
    """The command that sets a switch (sysctl(8))."""
    return Command(("sysctl", "-q", "-w", f"{step.name}={step.value}"))


def ip_undo(step: Interfaces) -> Command | None:
    """The `ip -batch` that takes these interfaces away; `-force` goes on where one is gone already."""
    if not step.undo:
        return None
    return Command(("ip", "-force", "-batch", "-"), "".join(f"{line}\n" for line in step.undo), step.space)


def spaced(command: Command, layout_net: Path | None) -> tuple[str, ...]:
    """The argument list that runs a command in its space: `nsenter` into that network namespace.

    `layout_net` None: it is run there already. A user who is not root gets no more rights by what he runs
    (setpriv(1), no-new-privs). Device files are opened before that: they are root's.

    Emulated machines run in batch (chrt(1), sched(7)): when many wake up together, for one broadcast, they
    then have their turns one after the other. If they interrupt each other, all of them are busy for as long
    as all take together, and the clock's ticks of each, 250 a second, take more than what there is to do.
    """
    argv = ("chrt", "--batch", "0", *command.argv) if command.batch else command.argv
    owner = ""
    if command.user:
        uid, _, gid = command.user.partition(":")
        become = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--init-groups", "--no-new-privs", "--")
        argv, owner = (*become, *argv), f" user {uid} group {gid}"
    if command.taps:
        made = "; ".join(f"ip tuntap add dev {name} mode tap{owner}" for name in command.taps)
        argv = ("unshare", "--net", "sh", "-ec", f'{made}; exec "$@"', "sh", *argv)
    if command.devices:
        opened = "".join(
            f" {number}<>/dev/tap$(cat /sys/class/net/{name}/ifindex)"
            for number, name in enumerate(command.devices, FIRST_DEVICE)
        )
        argv = ("sh", "-c", f'exec{opened} && exec "$@"', "sh", *argv)
    if command.space in (Space.HOST, Space.OUTSIDE) and layout_net is not None:
        return ("nsenter", f"--net={layout_net / command.space.value}", *argv)
    return argv
