"""`vmlan link`."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Literal

import click

from vmlan.cli import common
from vmlan.cli.commands import lines, tell
from vmlan.errors import NotRunning, RequestError, UnknownName
from vmlan.host import enter, kept_lab, lab_file, paths
from vmlan.host.lock import exclusive
from vmlan.host.shapes import Shape
from vmlan.observe import cables
from vmlan.observe.cables import Cable
from vmlan.plan import topology as topo
from vmlan.plan.layout import Layout
from vmlan.plan.topology import Link

#: How long a card may take to notice (seconds): an e1000 agrees on its link for half a second.
_SETTLES = 3.0


def _rate(value: str) -> int:
    """Bits a second: 10M, 500k, 1G, 10Mbit."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s?([kKMG])(?:bit)?(?:/s)?", value)
    if found is None:
        raise click.BadParameter(f"'{value}' is not a rate: write bits a second with k, M or G, such as 10M")
    rate = int(Decimal(found[1]) * {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}[found[2]])
    if not 1000 <= rate <= 10**11:
        raise click.BadParameter(f"'{value}' is not from 1k to 100G")
    return rate


def _delay(value: str) -> float:
    """A time with its unit, at most a minute; in seconds."""
    from vmlan.labfile import values

    try:
        seconds = values.duration(value)
    except values.Wrong as wrong:
        raise click.BadParameter(f"{wrong.what}: {wrong.hint}") from None
    if seconds > 60:
        raise click.BadParameter(f"'{value}' is more than a minute")
    return seconds


def _loss(value: str) -> float:
    """Per cent of the packets: 10%, 0.5%."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,4})?)\s?%?", value)
    if found is None or not 0 < float(found[1]) <= 100:
        raise click.BadParameter(f"'{value}' is not a share of the packets, such as 10%")
    return float(found[1])


@click.command("link")
@common.file_option
@common.quiet_option
@click.option("-v", "--verbose", is_flag=True, help="Show every command as it runs.")
@common.json_option
@click.option("--rate", type=_rate, metavar="RATE", help="Bits a second, each way: 10M, 500k.")
@click.option("--delay", type=_delay, metavar="TIME", help="Hold each packet back, each way: 50ms.")
@click.option("--loss", type=_loss, metavar="PERCENT", help="Lose this share of the packets, each way: 10%.")
@click.option("--clear", is_flag=True, help="No rate, no delay and no loss any more.")
@click.argument("machine", metavar="MACHINE[:N]")
@click.argument("action", required=False, type=click.Choice(["up", "down"]))
def command(
    file: Path | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    rate: int | None,
    delay: float | None,
    loss: float | None,
    clear: bool,
    machine: str,
    action: Literal["up", "down"] | None,
) -> None:
    """Pull the cable of MACHINE's NICs (or of its NIC N, counted from 0), or slow it down.

    `down` takes the carrier from the guest's card, `up` gives it back. Without anything to do, shows how the
    cables are. `vmlan down` forgets it all.
    """
    path = lab_file.find_file(file)
    layout = paths.layout(path)
    lab = kept_lab.load(path, layout)
    name, number = _target(machine)
    lab_file.machine(lab, name)
    links = _links(topo.survey(lab).of(name), name, number)
    wanted = Shape(rate, delay, loss)
    if clear and wanted != Shape():
        raise click.UsageError("--clear takes rate, delay and loss away: give it alone")
    _must_run(layout, name)
    ran: list[str] = []
    if clear or wanted != Shape() or action:
        with exclusive(layout.run, wait=5.0):
            if clear or wanted != Shape():
                ran += _shape(layout, links, None if clear else wanted)
            if action:
                ran += _plug(layout, name, links, up=action == "up")
    if verbose:
        tell(ran)
    found = cables.of_machine(name, links, layout, cables.shapes(layout))
    if as_json:
        common.print_json({"machine": name, "links": [_as_json(cable) for cable in found]})
    elif not quiet:
        rows = [(f"{name}:{each.link.index}", each.link.network.name, each.words) for each in found]
        common.print_table(("NIC", "NETWORK", "LINK"), rows)


def _target(text: str) -> tuple[str, int | None]:
    name, colon, number = text.partition(":")
    if colon and not re.fullmatch(r"\d{1,3}", number, re.ASCII):
        raise RequestError(f"'{number}' is not a NIC's number", hint=f"they count from 0: {name}:0")
    return name, int(number) if colon else None


def _links(links: tuple[Link, ...], name: str, number: int | None) -> tuple[Link, ...]:
    chosen = tuple(link for link in links if number in (None, link.index))
    if not chosen:
        has = f"it has {name}:0 to {name}:{len(links) - 1}" if links else "it has none"
        raise UnknownName(f"machine {name} has no NIC{'' if number is None else f' {number}'}", hint=has)
    return chosen


def _must_run(layout: Layout, name: str) -> None:
    kept = enter.machine_process(layout, name)
    if kept is None or kept.exit is not None:
        raise NotRunning(f"machine {name} is not running", hint="vmlan up")


def _shape(layout: Layout, links: tuple[Link, ...], wanted: Shape | None) -> list[str]:
    """Slow down each cable that has an end on the host side; one that has none is refused."""
    able = [link for link in links if link.interface]
    unable = [link for link in links if not link.interface]
    if unable and wanted is not None:
        first = unable[0]
        raise RequestError(
            f"{first.machine}:{first.index} is on {first.network.name}, of kind {first.network.kind}: "
            "its packets pass through QEMU alone, and nothing on the host side could slow them down",
            hint="up and down work there; rate, delay and loss on kind: bridge and tap"
            + (f"; name one: {able[0].machine}:{able[0].index}" if able else ""),
        )
    from vmlan.host import shaping

    now = shaping.shapes(layout)
    ran: list[str] = []
    for link in able:
        assert link.interface
        shape = None if wanted is None else shaping.merged(now.get(link.interface, Shape()), wanted)
        ran += lines(shaping.apply(layout, link.interface, shape))
    return ran


def _plug(layout: Layout, name: str, links: tuple[Link, ...], *, up: bool) -> list[str]:
    """Plug the cables in, or pull them, and wait until the cards show it."""
    from vmlan.qemu import qmp

    ran = []
    for link in links:
        qmp.command(layout.machine(name).qmp, name, "set_link", name=f"nic{link.index}", up=up)
        ran.append(f"(QMP, {name}) set_link nic{link.index} {'on' if up else 'off'}")
    deadline = time.monotonic() + _SETTLES
    while time.monotonic() < deadline:
        if all(each is up for each in cables.plugged(name, links, layout).values()):
            break
        time.sleep(0.1)
    return ran


def _as_json(cable: Cable) -> dict[str, object]:
    link, shape = cable.link, cable.shape
    return {
        "nic": link.index,
        "network": link.network.name,
        "interface": link.interface,
        "up": cable.up,
        "rate": shape.rate,
        "delay": shape.delay,
        "loss": shape.loss,
    }
