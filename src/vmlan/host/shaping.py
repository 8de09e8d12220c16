"""Slowing a machine's cable down on the host side: rate, delay and loss, each way, by the kernel's queues.

What a guest gets leaves through its tap, whose queue can be told to be slow. What it sends arrives there, and
arriving packets have no queue: they are led through an interface of kind `ifb` whose only use is to have one
(tc(8), ifb). `tc` shows what is set, so nothing is remembered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from vmlan.addressing import interface_name
from vmlan.errors import CommandFailed, HostError
from vmlan.host import enter
from vmlan.host.effects import HostEffects
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command

#: A queue that is full for longer than this drops (tc-tbf(8), latency).
_LATENCY = "100ms"

#: A burst must hold what the rate gives between two ticks of a slow kernel (100 a second), and two frames.
_TICKS, _LEAST_BURST = 100, 3200


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


def shapes(layout: Layout) -> dict[str, Shape]:
    """How each interface of the host side is slowed down, as `tc` tells; those that are not are left out."""
    result = enter.run_on_host_side(layout, ("tc", "-j", "qdisc", "show"))
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


def merged(now: Shape, wanted: Shape) -> Shape:
    """What is set, with what is wanted besides."""
    given = {key: value for key in ("rate", "delay", "loss") if (value := getattr(wanted, key)) is not None}
    return replace(now, **given)


def commands(interface: str, shape: Shape, *, led: bool) -> tuple[Command, ...]:
    """What slows an interface down, both ways. `led`: its arriving packets have been led through one."""
    queue = " ".join(_queue(shape))
    back = _back(interface)
    there = Command(("tc", "-batch", "-"), f"qdisc replace dev {interface} root {queue}\n")
    if led:
        return (there, Command(("tc", "-batch", "-"), f"qdisc replace dev {back} root {queue}\n"))
    made = (f"link add name {back} type ifb", f"link set dev {back} up")
    lines = (
        f"qdisc replace dev {back} root {queue}",
        f"qdisc add dev {interface} handle ffff: ingress",
        f"filter add dev {interface} parent ffff: protocol all prio 1 u32 match u32 0 0"
        f" action mirred egress redirect dev {back}",
    )
    return (
        there,
        Command(("ip", "-batch", "-"), "".join(f"{line}\n" for line in made)),
        Command(("tc", "-batch", "-"), "".join(f"{line}\n" for line in lines)),
    )


def clearing(interface: str, *, shaped: bool, led: bool) -> tuple[Command, ...]:
    """What takes it all away again."""

    def lines() -> Iterator[str]:
        if shaped:
            yield f"qdisc del dev {interface} root"
        if led:
            yield f"qdisc del dev {interface} ingress"

    text = "".join(f"{line}\n" for line in lines())
    away = (Command(("ip", "link", "del", "dev", _back(interface))),) if led else ()
    return (*((Command(("tc", "-batch", "-"), text),) if text else ()), *away)


def _queue(shape: Shape) -> tuple[str, ...]:
    """The queue for a shape: a token bucket holds a rate; delay and loss take netem, which has a rate too."""
    if shape.delay is None and shape.loss is None:
        assert shape.rate is not None
        burst = max(shape.rate // 8 // _TICKS, _LEAST_BURST)
        return ("tbf", "rate", f"{shape.rate}bit", "burst", f"{burst}b", "latency", _LATENCY)
    words = ["netem"]
    if shape.delay is not None:
        words += ["delay", f"{shape.delay * 1000:g}ms"]
    if shape.loss is not None:
        words += ["loss", f"{shape.loss:g}%"]
    if shape.rate is not None:
        words += ["rate", f"{shape.rate}bit"]
    return tuple(words)


def _back(interface: str) -> str:
    """The ifb of an interface; no network or machine can have a name with `~` there."""
    return interface_name(f"in~{interface}")


def is_led(layout: Layout, interface: str) -> bool:
    """Whether an interface's arriving packets are led through a queue."""
    return enter.run_on_host_side(layout, ("ip", "link", "show", "dev", _back(interface))).ok


def apply(layout: Layout, interface: str, shape: Shape | None) -> tuple[Command, ...]:
    """Slow an interface down, or (None) no longer; returns what was run.

    Raises `HostError` where this kernel cannot, and then leaves it as fast as it was made.
    """
    shaped, led = interface in shapes(layout), is_led(layout, interface)
    wanted = (
        clearing(interface, shaped=shaped, led=led) if shape is None else commands(interface, shape, led=led)
    )
    effects = HostEffects(layout)
    try:
        for number, command in enumerate(wanted):
            try:
                effects.run(command)
            except CommandFailed as failed:
                if shape is not None and number:
                    apply(layout, interface, None)
                raise _explained(failed) from failed
    finally:
        effects.close()
    return wanted


def _explained(failed: CommandFailed) -> HostError:
    """What a refusal means: a module of the kernel's that is not there."""
    lacks = "Specified qdisc kind is unknown" in failed.output or "Unknown device type" in failed.output
    if not lacks:
        return failed
    given = failed.command
    for word, what, module in (
        ("netem", "delay or lose packets", "sch_netem"),
        ("type ifb", "slow down what a machine sends", "ifb"),
        ("tbf", "limit a rate", "sch_tbf"),
    ):
        if word in given:
            return HostError(
                f"this kernel cannot {what}: module {module} is missing",
                hint=f"sudo modprobe {module}, if this system has it",
            )
    return failed
