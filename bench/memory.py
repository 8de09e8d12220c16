"""How much memory a lab's machines take."""

from __future__ import annotations

import re
from pathlib import Path

from place import Failed, Place

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def of_machines(place: Place) -> float:
    """The proportional set size of all the QEMUs that have files in this place's runtime folder (MB)."""
    mine = place.env["XDG_RUNTIME_DIR"].encode()
    found = [folder for folder in Path("/proc").glob("[0-9]*") if _is_machine(folder, mine)]
    if not found:
        raise Failed("no QEMU of the lab is to be found in /proc")
    return sum(pss((folder / "smaps_rollup").read_text()) for folder in found) / 1000


def pss(rollup: str) -> int:
    """From /proc/PID/smaps_rollup (proc_pid_smaps(5)): each page's share, by how many have it mapped (kB)."""
    found = _PSS.search(rollup)
    return int(found[1]) if found else 0


def _is_machine(folder: Path, mine: bytes) -> bool:
    try:
        program, *words = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return False
    return b"qemu-system" in program and any(mine in word for word in words)
