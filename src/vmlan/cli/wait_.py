"""`vmlan wait`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan import labfile, lifecycle
from vmlan.cli import common
from vmlan.host import paths
from vmlan.observe import wait


@click.command("wait")
@common.file_option
@click.option(
    "--timeout", type=common.SECONDS, default=60.0, show_default=True, help="Seconds to wait at most."
)
@common.quiet_option
@common.json_option
@click.argument("machine")
@click.argument("condition")
def command(
    file: Path | None, timeout: float, quiet: bool, as_json: bool, machine: str, condition: str
) -> None:
    """Wait until CONDITION holds for MACHINE: agent, address, port:N, text:WORDS on its
    serial console, or screen:WORDS on its screen in a text mode.

    Ends with 0 as soon as it holds, and with 1 if it does not hold in time.
    """
    path = lifecycle.find_file(file)
    lab = labfile.load(path)
    lifecycle.machine(lab, machine)
    evidence = wait.wait(wait.parse(condition), lab, machine, paths.layout(path), timeout)
    if as_json:
        common.print_json({"machine": machine, "condition": condition, "evidence": evidence})
    elif not quiet:
        print(evidence)
