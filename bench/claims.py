"""What must hold (issue 6), and whether it does, from the tables of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import commands
import snapshots
import starts
import traffic
import warm
from series import Series, Table, figure


@dataclass(frozen=True)
class Claim:
    """A figure that must not be more (or, with `least`, less) than its bound; None: it was not measured."""

    text: str
    bound: float
    found: float | None
    unit: str = ""
    least: bool = False

    @property
    def holds(self) -> bool | None:
        if self.found is None:
            return None
        return self.found >= self.bound if self.least else self.found <= self.bound

    def row(self) -> list[str]:
        sign = "≥" if self.least else "≤"
        found = "–" if self.found is None else f"{figure(self.found)}{self.unit}"
        said = {None: "not measured", True: "yes", False: "NO"}[self.holds]
        return [self.text, f"{sign} {self.bound:g}{self.unit}", found, said]


HEADS = ["must hold", "bound", "found", "holds"]


def claims(tables: list[Table]) -> list[Claim]:
    return list(_claims({table.key: table for table in tables}))


def _claims(tables: dict[str, Table]) -> Iterator[Claim]:
    def ratio(key: str, mine: str, other: str) -> float | None:
        return _of(tables, key, mine, other, Series.ratio)

    def median(key: str, name: str) -> float | None:
        found = tables[key].get(name) if key in tables else None
        return found.median if found else None

    for n in (1, 4):
        found = ratio(f"starts {n}", starts.COLD, starts.BZIMAGE)
        yield Claim(f"cold start ÷ the script with the packaged kernel, N = {n}", 0.5, found)
    for n in sorted({1, 4} | {int(key.split()[1]) for key in tables if key.startswith("starts ")}):
        found = ratio(f"starts {n}", starts.COLD, starts.VMLINUX)
        yield Claim(f"cold start ÷ the script with the unpacked kernel, N = {n}", 1.05, found)
    found = ratio("starts 4", starts.WARM, starts.BZIMAGE)
    yield Claim("warm start ÷ the script with the packaged kernel, N = 4", 0.12, found)
    many, few = median("warm each", warm.name(100)), median("warm each", warm.name(10))
    cost = many / few if many and few else None
    yield Claim("warm start, what one of 100 machines costs ÷ one of 10", 1.5, cost)
    yield Claim("100 machines up, addressed and answering", 25, median("warm", warm.name(100)), " s")
    # What all share is shared out among them: of a few machines, each has a large share.
    found = median("warm memory", warm.name(100))
    yield Claim("memory (PSS) of each of 100, warm", 30, found, " MB")
    found = ratio("snapshot", snapshots.RESTORE, snapshots.COLD)
    yield Claim("`snapshot restore` of 4 machines ÷ their cold start", 0.2, found)
    for way in (traffic.COLD, traffic.WARM):
        found = _of(tables, "throughput", way, traffic.BY_HAND, Series.paired)
        yield Claim(f"throughput from guest to guest ÷ a bridge by hand ({way})", 0.97, found, least=True)
    for verb, bound in (("--help", 4), ("ps", 8)):
        found = ratio("commands", f"vmlan {verb}", commands.PYTHON)
        yield Claim(f"`vmlan {verb}` ÷ `python -c pass`", bound, found)


def _of(
    tables: dict[str, Table], key: str, mine: str, other: str, ratio: Callable[[Series, Series], float]
) -> float | None:
    if key not in tables:
        return None
    one, its = tables[key].get(mine), tables[key].get(other)
    return ratio(one, its) if one and its else None
