"""The lines of QEMU's monitor that save a machine's state to a file, and load it from there. Pure.

A state is a stream of the devices' fields, without sums over them (QEMU, docs/devel/migration): what stands
in a field can be replaced by as many bytes.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
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


#: What is left of the file of a state that was cut: pieces, by their numbers.
PIECE = "state.{}"


def load_pieces(folder: Path, macs: Sequence[str], qemu: QemuFacts) -> str:
    """The same of a state that was cut where MACs of cards stood, with these in their places."""
    if not macs:
        return load(folder / PIECE.format(0), qemu)
    script = f"cd {shlex.quote(str(folder))} && cat {PIECE.format(0)}"
    for number, mac in enumerate(macs, 1):
        octets = "".join(f"\\{int(octet, 16):03o}" for octet in mac.split(":"))
        script += f" && printf '{octets}' && cat {PIECE.format(number)}"
    return f"migrate_incoming {monitor_quote(f'exec:{script}')}"


def cut(state: bytes, macs: Sequence[str]) -> list[bytes]:
    """Cut a state where these MACs stand in it, each once, and in this order. Raises `ValueError`."""
    pieces: list[bytes] = []
    for mac in macs:
        octets = bytes.fromhex(mac.replace(":", ""))
        before, found, state = state.partition(octets)
        if not found or octets in state:
            raise ValueError(f"{mac} is not there once, and after those before it")
        pieces.append(before)
    return [*pieces, state]


def _has_file(qemu: QemuFacts) -> bool:
    return features.FEATURES["way to save to a file"].has(qemu)
