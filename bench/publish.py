#!/usr/bin/env python3
"""Write docs/performance.md and its picture from the figures of a run.

publish.py [--into FOLDER] [FIGURES]: a file of run.py's, else standard input.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from claims import HEADS, claims
from picture import Bar, Panel, svg
from results import Results, from_json
from series import Series, Table, figure

DOCS = Path(__file__).resolve().parents[1] / "docs"

_INTRODUCTION = """\
# How fast it is

What `make bench` measured, and `make bench-docs` wrote here: vmlan next to what one would do instead, in one
run on one machine. Look at the ratios rather than the seconds. The figures are medians; within a table the
ways are measured in turn, once in each round, so that what else the machine does hits all alike.

![Start to first ping: by hand, libvirt, munet, vmlan](performance.svg)
"""

_HOW = """\
## How each was run

The guest is the same for all: vmlan's own tiny guest, 256 MB, one processor, one virtio card, on one
bridge with the host side at 10.2.0.1, and under the same accelerator. That guest was made to boot
quickly, which all have the good of. A start counts until every machine has answered a ping of the host
side; one with a guest that never does is counted as failed (under emulation on a busy machine, a guest's
kernel may find that its timer does not work, unless `no_timer_check` is said). None is run as root:
whatever wants root gets namespaces in which an ordinary user is root, and with which it all ends.

- **by hand** (`bench/by-hand.sh`): single `ip` and `nft` commands, one dnsmasq with reserved addresses,
  QEMU with `-kernel -initrd -append console=ttyS0 -nographic`. *bzImage* is the kernel as its package has
  it, *vmlinux (PVH)* the same unpacked, *vmlan's -append* with the kernel's words that vmlan uses
  besides.
- **libvirt** (`bench/by-libvirt.sh`): `virsh net-create`, then `virsh create` for each machine, with the
  least a domain needs. Its daemon runs before the clock starts, and has asked QEMU what it can do. It is
  told not to use control groups, a security driver and QEMU's own mount namespace, which is less work for
  it than usual. Its dnsmasq pings an address before leasing it, as it always does, and it has no polkit
  and no system bus.
- **munet** (`bench/by-munet.sh`): qemu nodes with a kernel and an initrd, on a switch. It has no DHCP,
  and sets the addresses on the guests' consoles. It always takes machine type q35. Two words for the
  kernel help it: `quiet`, without which it takes the kernel's messages for answers and gives up, and no
  driver for virtio consoles, as vmlan's guest would wait for the names of those that munet adds.
- **vmlan up**: from the start of the command to the end of a second one, `vmlan host -- sh -c 'until ping
  …'`. Both interpreters' start-up counts. *cold* boots every machine (`--cold`); *warm* goes on from a
  template that was made before; *the very first* has to make it, and knows nothing but its guest and its
  QEMU.

A bridge of P ports is made in a network namespace of its own: a command for each line, the same lines as
one `ip -batch`, and the batch of `vmlan explain`. Throughput is TCP between two guests (busybox's nc,
which starts dd on both ends), on vmlan's bridge and on one made by hand with the same QEMU command lines
(but for where the guest's agent is); its ratio is the median of the ratios within each round. Memory is
the proportional set size of the QEMU processes: a page that several share counts for each in part.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("figures", nargs="?", type=Path, help="a file of run.py's (standard input)")
    parser.add_argument("--into", type=Path, default=DOCS, help="the folder to write to (docs)")
    given = parser.parse_args()
    found = given.figures.read_text() if given.figures else sys.stdin.read()
    try:
        results = from_json(json.loads(found))
    except (ValueError, KeyError, TypeError) as wrong:
        print(
            f"publish: these are no figures of bench/run.py ({wrong}): run `make bench` first",
            file=sys.stderr,
        )
        return 2
    (given.into / "performance.md").write_text(document(results))
    (given.into / "performance.svg").write_text(svg(panels(results.tables)))
    return 0


def document(results: Results) -> str:
    """All of it, good or bad."""
    about = [[name, value] for name, value in results.about.items()]
    parts = [
        _INTRODUCTION,
        "## The machine\n",
        markdown(["", ""], about),
        "## What must hold\n",
        markdown(HEADS, [claim.row() for claim in claims(results.tables)]),
        "## The figures\n",
    ]
    parts += [markdown(table.heads(), table.rows()) for table in results.tables if table.worked]
    if results.left_out:
        parts += ["Left out:\n", "".join(f"- {one_line(reason)}\n" for reason in results.left_out)]
    minutes = sum(results.took.values()) / 60
    took = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in results.took.items())
    parts += [f"The run took {minutes:.0f} minutes: {took}.\n", _HOW]
    return "\n".join(parts)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the rest to the right."""
    sides = ["---", *["--:"] * (len(heads) - 1)]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (heads, sides, *rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def one_line(reason: str) -> str:
    """A program's words may be many lines: the first tells which way, the last what was the matter."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else f"{lines[0]} … {lines[-1]}"


def panels(tables: Sequence[Table]) -> list[Panel]:
    """The starts, a panel for each number of machines; and what warm starts take, by how many."""
    found = [
        Panel(f"{t.title} ({t.unit})", bars(t)) for t in tables if t.key.startswith("starts ") and t.worked
    ]
    for key in ("warm", "warm memory"):
        found += [Panel(f"{t.title} ({t.unit})", bars(t)) for t in tables if t.key == key and t.worked]
    return found


def bars(table: Table) -> list[Bar]:
    return [bar(one, table.key.startswith("warm") or one.name.startswith("vmlan")) for one in table.worked]


def bar(one: Series, ours: bool) -> Bar:
    return Bar(one.name, one.median, min(one.worked), max(one.worked), figure(one.median), ours)


if __name__ == "__main__":
    sys.exit(main())
