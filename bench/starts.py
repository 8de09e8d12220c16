"""From nothing to machines that answer: by hand, with other programs, with `vmlan up`; the same guests."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import memory
import others
from place import Failed, Place, fresh, run

HERE = Path(__file__).parent

#: What is compared. The first two are what users do by hand; TUNED knows all that vmlan knows.
BZIMAGE = "by hand, bzImage"
VMLINUX = "by hand, vmlinux (PVH)"
TUNED = "by hand, vmlinux, vmlan's -append"
LIBVIRT = "libvirt, bzImage"
MUNET = "munet, bzImage"
COLD = "vmlan up, cold"
FIRST = "vmlan up, the very first"
WARM = "vmlan up, warm"

#: For how many machines TUNED is of interest: it says what the guest's part is, and takes its time.
FEW = 4

#: Why the last two are not there.
NO_TEMPLATES = "this vmlan has no templates (`up --help` knows no --cold)"

#: Runs on the lab's host side: every address given is pinged until it answers.
_PING_ALL = 'for a; do until ping -q -c 1 -W 0.2 "$a" >/dev/null 2>&1; do :; done; done'

#: What is measured of each start.
SECONDS, EACH = "s", "MB"


@dataclass(frozen=True)
class Guest:
    """The guest that vmlan would start here, and how."""

    vmlinux: Path
    bzimage: Path
    initrd: Path
    append: str
    accel: str


@dataclass(frozen=True)
class Ways:
    """The ways of starting that can be measured here, and why others cannot."""

    names: tuple[str, ...]
    env: Mapping[str, dict[str, str]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


def ways(place: Place) -> Ways:
    found = {LIBVIRT: others.libvirt(place.env), MUNET: others.munet(place.env)}
    names = [BZIMAGE, VMLINUX, TUNED, *(name for name, other in found.items() if not other.missing), COLD]
    left_out = [f"{name}: {other.missing}" for name, other in found.items() if other.missing]
    if place.offers("up", "--cold"):
        names += [FIRST, WARM]
    else:
        left_out += [f"{name}: {NO_TEMPLATES}" for name in (FIRST, WARM)]
    versions = tuple(other.version for other in found.values() if not other.missing)
    return Ways(tuple(names), {n: o.env for n, o in found.items()}, tuple(left_out), versions)


def lab(count: int) -> str:
    """The lab file: examples/lan, with `count` machines of one kind."""
    machines = "\n".join(f"  vm{n}: {{image: tiny, nics: [lan]}}" for n in range(1, count + 1))
    return (
        "name: bench\n"
        "host: {forwarding: true, uplink: simulated}\n"
        "networks:\n  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}\n"
        f"machines:\n{machines}\n"
    )


def guest(place: Place) -> Guest:
    """Ask vmlan what it would run; where the tiny guest is not built yet, this builds it."""
    place.write(lab(1))
    return read_guest(command(place, "vm1"))


def command(place: Place, machine: str) -> str:
    """The command that boots a machine, as `vmlan explain` prints it."""
    cold = ("--cold",) if place.offers("explain", "--cold") else ()
    steps = place.json("explain", *cold)["steps"]
    return next(str(step["shell"]) for step in steps if step["ids"] == [f"machine {machine}"])


def read_guest(shell: str) -> Guest:
    """Read it from QEMU's command line, as `vmlan explain` prints it."""
    words = shlex.split(shell.replace("\\\n", " "))

    def after(option: str) -> str:
        return words[words.index(option) + 1]

    accel = re.search(r"accel=(\w+)", after("-machine"))
    if accel is None:
        raise Failed(f"vmlan's command line names no accelerator: {shell}")
    kernel = Path(after("-kernel"))
    # The host's name is the one thing in it that is a machine's own.
    append = " ".join(word for word in after("-append").split() if not word.startswith("vmlan.hostname="))
    return Guest(kernel, kernel.with_name("vmlinuz"), Path(after("-initrd")), append, accel[1])


def measure(
    count: int, place: Place, guest: Guest, env: Mapping[str, dict[str, str]], way: str
) -> dict[str, float]:
    """Seconds from the start until every one of `count` guests has answered a ping of the host side.

    And the memory that each one's QEMU takes at that moment (proportional set size, MB).
    """
    if way == FIRST:
        with fresh(place, guest.vmlinux.parent) as unused:
            return up(count, unused)
    if way in (COLD, WARM):
        return up(count, place, cold=way == COLD)
    script = {LIBVIRT: "by-libvirt.sh", MUNET: "by-munet.sh"}.get(way, "by-hand.sh")
    kernel = guest.vmlinux if way in (VMLINUX, TUNED) else guest.bzimage
    patience = f"{60 + 12 * count}"  # several times what it takes, even where all else is slow
    given = {**place.env, **env.get(way, {}), "ACCEL": guest.accel, "PATIENCE": patience}
    if way == TUNED:
        given["APPEND"] = guest.append
    said = run([str(HERE / script), str(kernel), str(guest.initrd), str(count)], place.folder, given)
    seconds, kb = said.split()
    return {SECONDS: float(seconds), EACH: int(kb) / 1000 / count}


def up(count: int, place: Place, cold: bool = False) -> dict[str, float]:
    """Two commands, as a user would give them: `vmlan up`, then `vmlan host -- ping` in a loop."""
    place.write(lab(count))
    option = ("--cold",) if cold and place.offers("up", "--cold") else ()
    try:
        began = time.monotonic()
        report = place.json("up", *option)
        ping(place, addresses(report))
        return {SECONDS: time.monotonic() - began, EACH: memory.of_machines(place) / count}
    finally:
        place.call("down", "--now")


def addresses(report: dict[str, dict[str, dict[str, list[str]]]]) -> list[str]:
    """Each machine's first address, as `vmlan up --json` says."""
    return [machine["addresses"][0].partition("/")[0] for machine in report["machines"].values()]


def ping(place: Place, hosts: list[str]) -> None:
    """Until all of them have answered."""
    place.call("host", "--", "sh", "-c", _PING_ALL, "sh", *hosts)
