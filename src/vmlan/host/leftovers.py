"""What a lab of host placement left in the host's network, found by its marks rather than by its journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmlan.errors import CommandFailed, HostError
from vmlan.host.effects import Effects
from vmlan.plan import marks
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Interfaces, Step


def sweep(effects: Effects, layout: Layout, steps: Iterable[Step]) -> tuple[str, ...]:
    """Remove what is marked as the lab's and still there; notes on what has a name of it and is not its.

    `vmlan set` and `vmlan link` make some of it while the lab runs. Raises `HostError` for what stays.
    """
    for command in _removals(effects, layout):
        try:
            effects.run(command)
        except CommandFailed as failed:
            error = failed
            break
    else:
        error = None
    found = effects.interfaces()
    stays = [name for name, altnames in found.items() if marks.is_marked(layout, altnames)]
    if stays or error is not None:
        what = f"{', '.join(stays)} could not be removed" if stays else "rules could not be removed"
        raise HostError(f"{what}: {error}" if error else what, hint="vmlan down --force tries again")
    names = {name for step in steps if isinstance(step, Interfaces) for name in step.makes}
    return tuple(
        f"{name} is not this lab's any more (it lacks its mark), and was left as it is"
        for name in sorted(names & found.keys())
    )


def _removals(effects: Effects, layout: Layout) -> Iterator[Command]:
    for altnames in effects.interfaces().values():
        for name in altnames:
            if name.startswith(marks.prefix(layout)):
                yield Command(("ip", "link", "del", "dev", name))
                break
    for family, table in effects.tables():
        if table.startswith(marks.table(layout, "")):
            yield Command(("nft", "delete", "table", family, table))
