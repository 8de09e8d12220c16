"""QEMUs of several ages, as tools/qemus fetches them: once, into the user's cache."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

VERSIONS = ("5.2", "7.2", "10.0", "11.1")


@functools.cache
def qemu(version: str) -> Path:
    """The program of that version. The test fails, rather than being left out, if it cannot be had."""
    done = subprocess.run(
        [ROOT / "tools/qemus", version], capture_output=True, text=True, check=False, timeout=280
    )
    if done.returncode != 0:
        pytest.fail(f"tools/qemus {version} ended with {done.returncode}:\n{done.stderr}", pytrace=False)
    return Path(done.stdout.split()[1])
