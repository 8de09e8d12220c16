"""How long a command takes that has next to nothing to do, against the bare interpreter."""

from __future__ import annotations

import subprocess
import time

import boots
from place import Place

PYTHON = "python -c pass"
VARIANTS = (PYTHON, "vmlan --help", "vmlan ls", "vmlan ps")


def measure(place: Place, variant: str) -> float:
    """Seconds from starting it to its end. No lab runs; the lab file describes two machines."""
    place.write(boots.lab(2))
    program, *words = variant.split()
    argv = [interpreter(place) if program == "python" else str(place.vmlan), *words]
    began = time.monotonic()
    subprocess.run(argv, cwd=place.folder, env=place.env, capture_output=True, check=True)
    return time.monotonic() - began


def interpreter(place: Place) -> str:
    """The Python that vmlan runs on: it says so in its first line."""
    first = place.vmlan.read_text().partition("\n")[0]
    return first.removeprefix("#!").strip()
