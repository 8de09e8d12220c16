"""Repeated measurements of one thing, and plain tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Series:
    """What one way of doing a thing took, in the order of the rounds; None where it did not work."""

    name: str
    values: list[float | None] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  #: the words of those that did not work

    @property
    def worked(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def median(self) -> float:
        return statistics.median(self.worked)

    def ratio(self, other: Series) -> float:
        """How this one's median compares with the other's; under 1 is less."""
        return self.median / other.median

    def paired(self, other: Series) -> float:
        """The median of the ratios within each round: for small differences on a machine that varies."""
        both = zip(self.values, other.values, strict=False)
        return statistics.median(mine / its for mine, its in both if mine is not None and its is not None)


@dataclass
class Table:
    """Some ways of doing one thing. The rest are compared with the first `against` of them."""

    key: str  #: by which the claims and the picture find it: "starts 4"
    title: str
    unit: str
    series: list[Series]
    against: int = 1
    paired: bool = False

    @property
    def worked(self) -> list[Series]:
        return [one for one in self.series if one.worked]

    def get(self, name: str) -> Series | None:
        return next((one for one in self.worked if one.name == name), None)

    def heads(self) -> list[str]:
        others = self.series[: self.against]
        return [
            f"{self.title} ({self.unit})",
            "runs",
            "median",
            "range",
            *(f"÷ {other.name}" for other in others),
        ]

    def rows(self) -> list[list[str]]:
        """A row for each series: name, runs, median, least..most, and its ratios."""
        return [self._row(one) for one in self.worked]

    def _row(self, one: Series) -> list[str]:
        return [
            one.name,
            f"{len(one.worked)}" + (f" + {len(one.failures)} failed" if one.failures else ""),
            figure(one.median),
            f"{figure(min(one.worked))}..{figure(max(one.worked))}",
            *(self._ratio(one, other) for other in self.series[: self.against]),
        ]

    def _ratio(self, one: Series, other: Series) -> str:
        if one is other or not other.worked:
            return ""
        return f"{one.paired(other) if self.paired else one.ratio(other):.2f}"


def figure(value: float) -> str:
    """With as many digits as say something."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def text(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
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
