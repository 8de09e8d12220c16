"""How results are shown: JSON for programs, tables for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any


def is_terminal(stream: Any = None) -> bool:
    """Whether a person watches: colour and moving lines are for them alone (and NO_COLOR turns both off)."""
    return (
        (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb" and "NO_COLOR" not in os.environ
    )


def print_json(value: Any) -> None:
    """A result, for programs: one JSON document."""
    print(json.dumps(value, indent=2, default=str))


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A result, for people: plain columns, each as wide as it must be; titles bold on a terminal."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in [list(titles), *cells]) for n in range(len(titles))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    print(f"\033[1m{line(titles)}\033[0m" if is_terminal() else line(titles))
    for row in cells:
        print(line(row))


def size(value: int) -> str:
    """Bytes as people write them; exact where it is a round number, else to one decimal."""
    number, unit = float(value), "B"
    for larger in ("K", "M", "G", "T"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:.0f}{unit}" if number == int(number) else f"{number:.1f}{unit}"


def styled(text: str, **style: Any) -> str:
    """Text with colour on a terminal, and without elsewhere."""
    if not is_terminal():
        return text
    import click

    return click.style(text, **style)
