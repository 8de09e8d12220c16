"""The lines of QEMU's monitor that save a machine's state to a file, and load it from there. Pure."""

from __future__ import annotations

import shlex
from pathlib import Path

from vmlan.qemu import features
from vmlan.qemu.cmdline import monitor_quote
from vmlan.qemu.facts import QemuFacts


def save(file: Path, qemu: QemuFacts) -> str:
    """QEMU opens the file itself since 8.2 (`features`); before, cat(1) does."""
    where = f"file:{file}" if _has_file(qemu) else f"exec:cat > {shlex.quote(str(file))}"
    return f"migrate -d {monitor_quote(where)}"


def load(file: Path, qemu: QemuFacts) -> str:
    """The reverse, for a QEMU that waits for it."""
    where = f"file:{file}" if _has_file(qemu) else f"exec:cat {shlex.quote(str(file))}"
    return f"migrate_incoming {monitor_quote(where)}"


def _has_file(qemu: QemuFacts) -> bool:
    return features.FEATURES["way to save to a file"].has(qemu)
