"""Repeated measurements of one thing, and plain tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Series:
    """What one way of doing a thing took, each time (seconds), in the order of the rounds."""

    name: str
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  #: the words of those that did not work

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def ratio(self, other: Series) -> float:
        """How this one's median compares with the other's; under 1 is faster."""
        return self.median / other.median


def rows(series: Sequence[Series], against: Sequence[Series]) -> list[list[str]]:
    """A row for each series: name, median, least..most, and its ratio to each of `against`."""
    return [
        [
            one.name + (f" ({len(one.failures)} failed)" if one.failures else ""),
            f"{one.median:.3f}",
            f"{min(one.seconds):.3f}..{max(one.seconds):.3f}",
            *("" if one is other else f"{one.ratio(other):.2f}" for other in against),
        ]
        for one in series
    ]


def table(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be, two spaces apart: the first to the left, numbers to the right."""
    widths = [max(len(row[n]) for row in (titles, *cells)) for n in range(len(titles))]

    def line(row: Sequence[str]) -> str:
        first, *rest = [
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join([first, *rest]).rstrip()

    return "\n".join(line(row) for row in (titles, *cells)) + "\n"


def turns(round_: int, names: Sequence[str]) -> list[str]:
    """The order in this round: each goes first in turn, so that none always follows the same other."""
    start = round_ % len(names)
    return [*names[start:], *names[:start]]
