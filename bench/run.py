#!/usr/bin/env python3
"""Measure vmlan side by side with what one would do by hand. README.md says what, how and why.

Everything runs as an ordinary user, interleaved in one run, and nothing is left behind.
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
from functools import partial
from pathlib import Path
from typing import Any

import boots
import commands
import ports
from place import Failed, Place, open_place
from series import Series, rows, table, turns

#: Two machines, cold, against the hand-written script with the packaged kernel: at most this.
MUST_HOLD = 0.6
PARTS = ("boots", "ports", "commands")

Results = dict[str, list[Series]]


def main() -> int:
    given = arguments()
    try:
        with open_place(given.vmlan) as place:
            guest = boots.guest(place)
            about = describe(place, guest)
            results: Results = {}
            for part in given.only or PARTS:
                results |= PART[part](place, guest, given)
            about["load at the end"] = load()
    except Failed as failed:
        print(f"bench: {failed}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(report(about, results))
    if given.json:
        given.json.write_text(json.dumps(as_json(about, results), indent=2) + "\n")
    return verdict(results) if given.must_hold else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is measured (5)")
    parser.add_argument("-n", type=int, nargs="+", default=[1, 2], help="how many machines (1 2)")
    parser.add_argument("--ports", type=int, nargs="+", default=[10, 100], help="how many ports (10 100)")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure only these parts")
    parser.add_argument("--vmlan", type=Path, default=find_vmlan(), help="the vmlan to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single figure there")
    parser.add_argument(
        "--must-hold",
        action="store_true",
        help=f"end with 1 if two machines take more than {MUST_HOLD} of the script with the bzImage",
    )
    given = parser.parse_args()
    if given.vmlan is None:
        parser.error("there is no vmlan here: `make setup` installs it, --vmlan names another")
    if given.must_hold and 2 not in given.n:
        parser.error("--must-hold is about two machines: give -n 2")
    given.vmlan = given.vmlan.absolute()
    return given


def find_vmlan() -> Path | None:
    own = Path(__file__).parents[1] / ".venv/bin/vmlan"
    found = own if own.exists() else shutil.which("vmlan")
    return Path(found) if found else None


# The parts


def measure_boots(place: Place, guest: boots.Guest, given: argparse.Namespace) -> Results:
    return {
        f"start to first ping, {count} machine{'s' * (count > 1)}": interleave(
            boots.VARIANTS, given.rounds, partial(boots.measure, count, place, guest)
        )
        for count in given.n
    }


def measure_ports(place: Place, _: boots.Guest, given: argparse.Namespace) -> Results:
    results: Results = {}
    for count in given.ports:
        scripts = ports.scripts(count, place)
        results[f"a bridge with {count} ports"] = interleave(
            ports.VARIANTS, given.rounds, partial(ports.measure, scripts, place)
        )
    return results


def measure_commands(place: Place, _: boots.Guest, given: argparse.Namespace) -> Results:
    with commands.lab(place):
        found = interleave(commands.VARIANTS, 4 * given.rounds, partial(commands.measure, place))
    return {"start-up of a command": found}


PART: dict[str, Callable[[Place, boots.Guest, argparse.Namespace], Results]] = {
    "boots": measure_boots,
    "ports": measure_ports,
    "commands": measure_commands,
}


def interleave(names: Sequence[str], rounds: int, measure: Callable[[str], float]) -> list[Series]:
    """Measure each once in every round, so that what the machine does meanwhile hits all alike.

    One that fails is told and counted, and the rest goes on. Raises `Failed` if one never worked.
    """
    series = {name: Series(name) for name in names}
    for round_ in range(rounds):
        for name in turns(round_, names):
            try:
                series[name].seconds.append(measure(name))
                said = f"{series[name].seconds[-1]:.3f} s"
            except Failed as failed:
                series[name].failures.append(str(failed))
                said = f"FAILED: {failed}"
            print(f"round {round_ + 1} of {rounds}: {name}: {said}", file=sys.stderr, flush=True)
    for one in series.values():
        if not one.seconds:
            raise Failed(f"{one.name} never worked: {one.failures[-1]}")
    return list(series.values())


# What is told


def describe(place: Place, guest: boots.Guest) -> dict[str, str]:
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], env=place.env, capture_output=True, text=True)
    model = next((line for line in lines_of("/proc/cpuinfo") if line.startswith("model name")), ":?")
    return {
        "day": time.strftime("%Y-%m-%d"),
        "processor": f"{model.partition(':')[2].strip()}, {os.cpu_count()} cores",
        "accelerator": guest.accel,
        "QEMU": qemu.stdout.partition("\n")[0].removeprefix("QEMU emulator version "),
        "kernel": platform.release(),
        "load at the start": load(),
    }


def lines_of(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def report(about: dict[str, str], results: Results) -> str:
    text = ["".join(f"{name}: {value}\n" for name, value in about.items())]
    for title, series in results.items():
        against = series[:2] if series[0].name == boots.BZIMAGE else series[:1]
        ratios = [f"÷ {other.name}" for other in against]
        text.append(table([f"{title} (s)", "median", "range", *ratios], rows(series, against)))
    return "\n".join(text)


def as_json(about: dict[str, str], results: Results) -> dict[str, Any]:
    return {
        "about": about,
        "results": {
            title: {one.name: {"seconds": one.seconds, "failures": one.failures} for one in series}
            for title, series in results.items()
        },
    }


def verdict(results: Results) -> int:
    """0 if what must hold holds, else 1."""
    series = {one.name: one for one in results.get("start to first ping, 2 machines", ())}
    if not series:
        print("bench: the boots were not measured, so nothing can be said", file=sys.stderr)
        return 2
    ratio = series[boots.VMLAN].ratio(series[boots.BZIMAGE])
    holds = ratio <= MUST_HOLD
    print(f"two machines: {ratio:.2f} of the script with the bzImage; at most {MUST_HOLD}: {holds}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
