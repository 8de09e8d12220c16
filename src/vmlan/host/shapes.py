"""How slow cables are: what the kernel's queues on the host side tell. `host.shaping` sets it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vmlan.host.keeper_client import KeeperClient
from vmlan.plan.layout import Layout


@dataclass(frozen=True)
class Shape:
    """How a cable is slowed down, each way; what is None is not. Bits a second, seconds, per cent."""

    rate: int | None = None
    delay: float | None = None
    loss: float | None = None

    @property
    def words(self) -> str:
        """As people write it: `10Mbit, 50ms, 1% lost`; empty where nothing is slowed."""
        parts = []
        if self.rate is not None:
            parts.append(rate_words(self.rate))
        if self.delay is not None:
            parts.append(f"{self.delay * 1000:g}ms")
        if self.loss is not None:
            parts.append(f"{self.loss:g}% lost")
        return ", ".join(parts)


def rate_words(rate: int) -> str:
    """A rate in the largest unit that gives a short number."""
    for size, unit in ((10**9, "Gbit"), (10**6, "Mbit"), (10**3, "kbit")):
        if rate >= size:
            return f"{rate / size:.4g}{unit}"
    return f"{rate}bit"


def read(keeper: KeeperClient, layout: Layout) -> dict[str, Shape]:
    """How each interface of the host side is slowed down, as `tc` tells; those that are not are left out.

    Raises `KeeperGone`, `MissingProgram`.
    """
    result = keeper.run(("nsenter", f"--net={layout.net / 'host'}", "tc", "-j", "qdisc", "show"))
    try:
        rows = json.loads(result.stdout) if result.ok else []
    except ValueError:
        rows = []
    found = {row["dev"]: _shape(row) for row in rows if row.get("root")}
    return {name: shape for name, shape in found.items() if shape != Shape()}


def _shape(row: dict[str, Any]) -> Shape:
    options = row.get("options", {})
    if row["kind"] == "tbf":
        return Shape(rate=8 * int(options["rate"]))
    if row["kind"] != "netem":
        return Shape()
    rate = options.get("rate", {}).get("rate")
    delay = options.get("delay", {}).get("delay")
    loss = options.get("loss-random", {}).get("loss")
    return Shape(8 * int(rate) if rate else None, delay or None, round(100 * loss, 4) if loss else None)
