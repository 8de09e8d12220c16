"""From nothing to machines that answer: a script by hand, and `vmlan up`, with the same guests."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from place import Failed, Place, run

BY_HAND = Path(__file__).with_name("by-hand.sh")

#: What is compared. The first two are what users do; the third knows all that vmlan knows.
BZIMAGE = "by hand, bzImage"
VMLINUX = "by hand, vmlinux (PVH)"
TUNED = "by hand, vmlinux, vmlan's -append"
VMLAN = "vmlan up, cold"
VARIANTS = (BZIMAGE, VMLINUX, TUNED, VMLAN)

#: Runs on the lab's host side: every address given is pinged until it answers.
_PING_ALL = 'for a; do until ping -q -c 1 -W 0.2 "$a" >/dev/null 2>&1; do :; done; done'


@dataclass(frozen=True)
class Guest:
    """The guest that vmlan would start here, and how."""

    vmlinux: Path
    bzimage: Path
    initrd: Path
    append: str
    accel: str


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
    steps = place.json("explain")["steps"]
    return read_guest(next(step["shell"] for step in steps if step["ids"] == ["machine vm1"]))


def read_guest(shell: str) -> Guest:
    """Read it from QEMU's command line, as `vmlan explain` prints it."""
    words = shlex.split(shell.replace("\\\n", " "))

    def after(option: str) -> str:
        return words[words.index(option) + 1]

    accel = re.search(r"accel=(\w+)", after("-machine"))
    if accel is None:
        raise Failed(f"vmlan's command line names no accelerator: {shell}")
    kernel = Path(after("-kernel"))
    return Guest(kernel, kernel.with_name("vmlinuz"), Path(after("-initrd")), after("-append"), accel[1])


def measure(count: int, place: Place, guest: Guest, variant: str) -> float:
    """Seconds from the start until every one of `count` guests has answered a ping of the host side."""
    if variant == VMLAN:
        return _up(count, place)
    kernel = guest.bzimage if variant == BZIMAGE else guest.vmlinux
    env = {**place.env, "ACCEL": guest.accel}
    if variant == TUNED:
        env["APPEND"] = guest.append
    return float(run([str(BY_HAND), str(kernel), str(guest.initrd), str(count)], place.folder, env))


def _up(count: int, place: Place) -> float:
    """Two commands, as a user would give them: `vmlan up`, then `vmlan host -- ping` in a loop."""
    place.write(lab(count))
    cold = ("--cold",) if "--cold" in place.call("up", "--help") else ()
    try:
        began = time.monotonic()
        report = place.json("up", *cold)
        addresses = [machine["addresses"][0].partition("/")[0] for machine in report["machines"].values()]
        place.call("host", "--", "sh", "-c", _PING_ALL, "sh", *addresses)
        return time.monotonic() - began
    finally:
        place.call("down", "--now")
