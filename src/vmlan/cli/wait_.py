"""`vmlan wait`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan.cli import common
from vmlan.host import kept_lab, lab_file, paths
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
    path = lab_file.find_file(file)
    layout = paths.layout(path)
    lab = kept_lab.load(path, layout)
    lab_file.machine(lab, machine)
    evidence = wait.wait(wait.parse(condition), lab, machine, layout, timeout)
    if as_json:
        common.print_json({"machine": machine, "condition": condition, "evidence": evidence})
    elif not quiet:
        print(evidence)
