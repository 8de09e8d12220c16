"""Small programs that a lab's host side runs by themselves: they import nothing of ours.

Each is given to the interpreter as a file (`probe` is the command), and says in plain lines what it found.
"""

from __future__ import annotations

import sys
from pathlib import Path


def probe(name: str, *words: str) -> tuple[str, ...]:
    """The command that runs one of these programs, without any of our modules or the user's."""
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name(f"{name}.py")), *words)
