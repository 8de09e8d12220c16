"""Slowing a machine's cable down on the host side: rate, delay and loss, each way, by the kernel's queues.

What a guest gets leaves through its tap, whose queue can be told to be slow. What it sends arrives there, and
arriving packets have no queue: they are led through an interface of kind `ifb` whose only use is to have one
(tc(8), ifb). `tc` shows what is set, so nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vmlan.addressing import interface_name
from vmlan.errors import CommandFailed, HostError
from vmlan.host import enter
from vmlan.host.effects import HostEffects
from vmlan.host.shapes import Shape, read
from vmlan.plan import marks
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command

#: A queue that is full for longer than this drops (tc-tbf(8), latency).
_LATENCY = "100ms"

#: A burst must hold what the rate gives between two ticks of a slow kernel (100 a second), and two frames.
_TICKS, _LEAST_BURST = 100, 3200


def shapes(layout: Layout) -> dict[str, Shape]:
    """How each interface of the host side is slowed down. Raises `NotRunning`."""
    with enter.keeper(layout) as keeper:
        return read(keeper, layout)


def merged(now: Shape, wanted: Shape) -> Shape:
    """What is set, with what is wanted besides."""
    given = {key: value for key in ("rate", "delay", "loss") if (value := getattr(wanted, key)) is not None}
    return replace(now, **given)


def commands(interface: str, shape: Shape, *, led: bool, layout: Layout | None = None) -> tuple[Command, ...]:
    """What slows an interface down, both ways. `led`: its arriving packets have been led through one.

    `layout`: whose interface it is, which matters on a real host, where what is made is marked.
    """
    queue = " ".join(_queue(shape))
    back = _back(interface)
    there = Command(("tc", "-batch", "-"), f"qdisc replace dev {interface} root {queue}\n")
    if led:
        return (there, Command(("tc", "-batch", "-"), f"qdisc replace dev {back} root {queue}\n"))
    add = "link add name {} type ifb"
    made = marks.making(layout, back, add) if layout is not None else (add.format(back),)
    made = (*made, f"link set dev {back} up")
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


def clearing(interface: str, *, shaped: bool, led: bool, layout: Layout | None = None) -> tuple[Command, ...]:
    """What takes it all away again."""
    back = _back(interface)
    if layout is not None and layout.on_host:
        back = marks.altname(layout, back)

    def lines() -> Iterator[str]:
        if shaped:
            yield f"qdisc del dev {interface} root"
        if led:
            yield f"qdisc del dev {interface} ingress"

    text = "".join(f"{line}\n" for line in lines())
    away = (Command(("ip", "link", "del", "dev", back)),) if led else ()
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
        clearing(interface, shaped=shaped, led=led, layout=layout)
        if shape is None
        else commands(interface, shape, led=led, layout=layout)
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
