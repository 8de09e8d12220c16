"""How long a command takes that has next to nothing to do, against the bare interpreter."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import starts
from place import Place

PYTHON = "python -c pass"
VARIANTS = (PYTHON, "vmlan --help", "vmlan ls", "vmlan ps")

#: A guest has started what it starts late by then (seconds).
SETTLED = 15.0


@contextmanager
def lab(place: Place) -> Iterator[None]:
    """A lab of two machines that runs, and has nothing left to do."""
    place.write(starts.lab(2))
    place.call("up")
    try:
        time.sleep(SETTLED)
        yield
    finally:
        place.call("down", "--now")


def measure(place: Place, variant: str) -> dict[str, float]:
    """Seconds from starting it to its end."""
    program, *words = variant.split()
    argv = [interpreter(place) if program == "python" else str(place.vmlan), *words]
    began = time.monotonic()
    subprocess.run(argv, cwd=place.folder, env=place.env, capture_output=True, check=True)
    return {"s": time.monotonic() - began}


def interpreter(place: Place) -> str:
    """The Python that vmlan runs on: it says so in its first line."""
    first = place.vmlan.read_text().partition("\n")[0]
    return first.removeprefix("#!").strip()
