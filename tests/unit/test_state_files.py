"""A state, cut where MACs stand in it, and put together again with others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import labs
from vmlan.qemu import state_files

ONE, TWO = "52:54:00:76:6d:00", "52:54:00:76:6d:01"
OCTETS = {mac: bytes.fromhex(mac.replace(":", "")) for mac in (ONE, TWO)}


def test_what_the_shell_puts_together_is_the_state_with_other_macs(tmp_path: Path) -> None:
    """With bytes in the MACs that mean something to shells, to printf and to QEMU's monitor."""
    folder = tmp_path / 'it\'s a "folder"'
    folder.mkdir()
    parts = [bytes(range(256)), b"\n\0", b"%s"]
    state = parts[0] + OCTETS[ONE] + parts[1] + OCTETS[TWO] + parts[2]
    for number, piece in enumerate(state_files.cut(state, [ONE, TWO])):
        (folder / state_files.PIECE.format(number)).write_bytes(piece)
    own = ["52:54:00:25:5c:27", "52:54:00:22:0a:00"]
    line = state_files.load_pieces(folder, own, labs.QEMU)
    quoted = line.removeprefix('migrate_incoming "exec:').removesuffix('"')
    script = quoted.replace('\\"', '"').replace("\\\\", "\\")
    said = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    assert (
        said == parts[0] + bytes.fromhex("525400255c27") + parts[1] + bytes.fromhex("525400220a00") + parts[2]
    )


def test_without_cards_it_is_one_file() -> None:
    assert state_files.cut(b"state", []) == [b"state"]
    assert state_files.load_pieces(Path("/t"), [], labs.QEMU) == state_files.load(
        Path("/t/state.0"), labs.QEMU
    )


@pytest.mark.parametrize(
    "state",
    [
        b"nothing",
        OCTETS[TWO] + b"before" + OCTETS[ONE],
        OCTETS[ONE] + b"twice" + OCTETS[ONE] + OCTETS[TWO],
        OCTETS[ONE],
    ],
)
def test_one_with_macs_that_are_elsewhere_is_not_cut(state: bytes) -> None:
    with pytest.raises(ValueError, match="52:54:00:76:6d:0"):
        state_files.cut(state, [ONE, TWO])
