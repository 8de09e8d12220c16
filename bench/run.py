#!/usr/bin/env python3
"""Measure vmlan side by side with what one would do instead. README.md says what, how and why.

Everything runs as an ordinary user, interleaved in one run, and nothing is left behind but the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import commands
import ports
import snapshots
import starts
import traffic
import warm
from claims import claims
from place import Failed, Place, open_place
from results import Results
from series import Series, Table, turns

PARTS = ("commands", "ports", "starts", "warm", "snapshot", "throughput")

#: Where the figures go, if nothing else is said.
FIGURES = Path(__file__).parent / "results/figures.json"

#: A way that has failed so often, and never worked, is not tried again.
ENOUGH = 2


@dataclass(frozen=True)
class Size:
    """How often each thing is measured: a run for each round, by how many machines or ports."""

    starts: dict[int, int]
    warm: dict[int, int]
    ports: dict[int, int]
    commands: int
    snapshot: int
    boots: int  #: throughput: how often the guests are booted for it,
    sends: int  #: and how many turns each then has


#: 16 machines take minutes by hand: they are started twice, and the table says so.
FULL = Size({1: 5, 4: 5, 16: 2}, dict.fromkeys((1, 8, 10, 32, 100), 5), {1: 5, 10: 5, 100: 5}, 20, 5, 3, 4)
QUICK = Size({1: 2}, {1: 3, 8: 3}, {10: 3, 100: 3}, 8, 1, 1, 3)


@dataclass
class Bench:
    """What the parts work with."""

    place: Place
    guest: starts.Guest
    ways: starts.Ways
    size: Size
    left_out: list[str] = field(default_factory=list)


def main() -> int:
    given = arguments()
    try:
        with open_place(given.vmlan) as place:
            results = measure(place, given)
    except Failed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(results.as_text())
    if given.must_hold:
        return 1 if any(claim.holds is False for claim in claims(results.tables)) else 0
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer runs of fewer machines, about 3 minutes")
    parser.add_argument("--runs", type=int, help="how often each thing is measured, whatever it takes")
    parser.add_argument("-n", type=int, nargs="+", metavar="N", help="starts: how many machines (1 4 16)")
    parser.add_argument("--warm", type=int, nargs="+", metavar="N", help="warm: how many (1 8 10 32 100)")
    parser.add_argument("--ports", type=int, nargs="+", metavar="N", help="ports: how many (1 10 100)")
    parser.add_argument("--vmlan", type=Path, default=find_vmlan(), help="the vmlan to measure")
    parser.add_argument(
        "--json", type=Path, default=FIGURES, metavar="FILE", help="where every single figure goes"
    )
    parser.add_argument("--must-hold", action="store_true", help="end with 1 if a figure is beyond its bound")
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}: {', '.join(PARTS)}")
    if given.vmlan is None:
        parser.error("there is no vmlan here: `make setup` installs it, --vmlan names another")
    given.vmlan = given.vmlan.absolute()
    return given


def find_vmlan() -> Path | None:
    own = Path(__file__).parents[1] / ".venv/bin/vmlan"
    found = own if own.exists() else shutil.which("vmlan")
    return Path(found) if found else None


def size(given: argparse.Namespace) -> Size:
    """How much is measured: as it is meant, but for what was asked for."""
    base = QUICK if given.quick else FULL

    def runs(usual: dict[int, int], asked: list[int] | None) -> dict[int, int]:
        return {n: given.runs or usual.get(n, 3 if given.quick else 5) for n in asked or usual}

    return Size(
        starts=runs(base.starts, given.n),
        warm=runs(base.warm, given.warm),
        ports=runs(base.ports, given.ports),
        commands=4 * given.runs if given.runs else base.commands,
        snapshot=given.runs or base.snapshot,
        boots=base.boots if not given.runs else min(base.boots, given.runs),
        sends=base.sends if not given.runs else given.runs,
    )


def measure(place: Place, given: argparse.Namespace) -> Results:
    guest, ways = starts.guest(place), starts.ways(place)
    bench = Bench(place, guest, ways, size(given))
    results = Results(describe(place, guest, ways), left_out=bench.left_out)
    for part in PARTS:
        if given.parts and part not in given.parts:
            continue
        began = time.monotonic()
        try:
            results.tables += PART[part](bench)
        except Failed as failed:
            bench.left_out.append(f"{part}: {failed}")
            tell(f"{part}: left out: {failed}")
        results.took[part] = time.monotonic() - began
        tell(f"{part}: {results.took[part]:.0f} s")
        results.about["load at the end"] = load()
        keep(results, given.json)
    return results


def keep(results: Results, file: Path) -> None:
    """Write what has been found so far: of a run that is ended early, the parts that it has finished."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results.as_json(), indent=2) + "\n")


# The parts


def measure_commands(bench: Bench) -> list[Table]:
    with commands.lab(bench.place):
        one = partial(commands.measure, bench.place)
        found = interleave(commands.VARIANTS, bench.size.commands, one, bench.left_out)
    return [Table("commands", "start-up of a command", "s", found["s"])]


def measure_ports(bench: Bench) -> list[Table]:
    tables = []
    for count, rounds in bench.size.ports.items():
        scripts = ports.scripts(count, bench.place)
        one = partial(ports.measure, scripts, bench.place)
        found = interleave(ports.VARIANTS, rounds, one, bench.left_out)
        title = f"a bridge with {count} port{'s' * (count > 1)}"
        tables.append(Table(f"ports {count}", title, "s", found["s"]))
    return tables


def measure_starts(bench: Bench) -> list[Table]:
    bench.left_out += bench.ways.left_out
    if starts.WARM in bench.ways.names:
        warm.prepare(bench.place)
    tables = []
    for count, rounds in bench.size.starts.items():
        one = partial(starts.measure, count, bench.place, bench.guest, bench.ways.env)
        names = [way for way in bench.ways.names if way != starts.TUNED or count <= starts.FEW]
        found = interleave(names, rounds, one, bench.left_out)
        title = f"start to first ping, {warm.name(count)}"
        tables.append(Table(f"starts {count}", title, "s", found[starts.SECONDS], against=2))
        memory = found[starts.EACH]
        tables.append(Table(f"memory {count}", f"memory of each of {count}, at the first ping", "MB", memory))
    return tables


def measure_warm(bench: Bench) -> list[Table]:
    if why := warm.missing(bench.place):
        raise Failed(why)
    warm.prepare(bench.place)
    counts = bench.size.warm
    found = interleave(
        [warm.name(count) for count in counts],
        max(counts.values()),
        partial(warm.measure, bench.place),
        bench.left_out,
    )
    return [
        Table("warm", "warm start to first ping", "s", found[starts.SECONDS]),
        Table("warm each", "warm start, for each machine", "s", found["s each"]),
        Table("warm memory", "memory of each machine, warm", "MB", found[starts.EACH]),
    ]


def measure_snapshot(bench: Bench) -> list[Table]:
    if why := snapshots.missing(bench.place):
        raise Failed(why)
    saved = snapshots.prepare(bench.place)
    one = partial(snapshots.measure, saved)
    found = interleave(snapshots.WAYS, bench.size.snapshot, one, bench.left_out)
    onto = "onto the running lab" if saved.onto else "of a lab that is down"
    title = f"{snapshots.MACHINES} machines back from a snapshot, {onto}"
    return [Table("snapshot", title, "s", found[starts.SECONDS])]


def measure_throughput(bench: Bench) -> list[Table]:
    ways = traffic.ways(bench.place)
    rate, ping = [Series(way) for way in ways], [Series(way) for way in ways]
    for boot in range(bench.size.boots):
        tell(f"throughput: boot {boot + 1} of {bench.size.boots}")
        with traffic.labs(bench.place, ways) as pairs:
            one = partial(traffic.measure, pairs, traffic.Pace())
            found = interleave(ways, bench.size.sends, one, bench.left_out)
        for kept, name in ((rate, traffic.RATE), (ping, traffic.PING)):
            for old, new in zip(kept, found[name], strict=True):
                old.values += new.values
                old.failures += new.failures
    return [
        Table("throughput", "TCP from guest to guest", traffic.RATE, rate, paired=True),
        Table("ping", "ping from guest to guest", traffic.PING, ping, paired=True),
    ]


PART: dict[str, Callable[[Bench], list[Table]]] = {
    "commands": measure_commands,
    "ports": measure_ports,
    "starts": measure_starts,
    "warm": measure_warm,
    "snapshot": measure_snapshot,
    "throughput": measure_throughput,
}


def interleave(
    names: Sequence[str],
    rounds: int,
    measure: Callable[[str], dict[str, float]],
    left_out: list[str],
) -> dict[str, list[Series]]:
    """Measure each once in every round, so that what the machine does meanwhile hits all alike.

    `measure` answers with one figure or several, by their units: a list of series for each. What fails is
    told and counted, and the rest goes on; what never works is left out, which is said in `left_out`.
    """
    rows: dict[str, list[dict[str, float] | None]] = {name: [] for name in names}
    failures: dict[str, list[str]] = {name: [] for name in names}
    for round_ in range(rounds):
        for name in turns(round_, names):
            if len(failures[name]) >= ENOUGH and not any(rows[name]):
                continue
            try:
                rows[name].append(measure(name))
                said = ", ".join(f"{value:.3f} {unit}" for unit, value in (rows[name][-1] or {}).items())
            except Failed as failed:
                rows[name].append(None)
                failures[name].append(str(failed))
                said = f"FAILED: {failed}"
            tell(f"round {round_ + 1} of {rounds}: {name}: {said}")
    left_out += [f"{name}: {failures[name][-1]}" for name in names if not any(rows[name])]
    units = dict.fromkeys(unit for name in names for row in rows[name] if row for unit in row)
    if not units:
        raise Failed("nothing of it worked")
    return {
        unit: [
            Series(name, [row.get(unit) if row else None for row in rows[name]], failures[name])
            for name in names
        ]
        for unit in units
    }


# What is told


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def describe(place: Place, guest: starts.Guest, ways: starts.Ways) -> dict[str, str]:
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], env=place.env, capture_output=True, text=True)
    model = next((line for line in lines_of("/proc/cpuinfo") if line.startswith("model name")), ":?")
    memory = next(line for line in lines_of("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "day": time.strftime("%Y-%m-%d"),
        "processor": f"{model.partition(':')[2].strip()}, {os.cpu_count()} cores",
        "memory": f"{int(memory.split()[1]) / 1e6:.0f} GB",
        "accelerator": guest.accel + (" (emulation)" if guest.accel == "tcg" else ""),
        "QEMU": qemu.stdout.partition("\n")[0].removeprefix("QEMU emulator version "),
        "vmlan": place.call("--version").strip(),
        "compared with": ", ".join(ways.versions) or "the script by hand only",
        "kernel": platform.release().partition("-")[0],
        "load at the start": load(),
    }


def lines_of(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
