"""`vmlan up`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.cli.progress import open_progress
from vmlan.observe.ready import BOOT_TIMEOUT


@click.command("up")
@click.argument("machines", nargs=-1, metavar="[MACHINE]...")
@common.file_option
@click.option("--dry-run", is_flag=True, help="Only print what would run (as `vmlan explain`).")
@click.option(
    "--timeout",
    type=common.SECONDS,
    default=BOOT_TIMEOUT,
    show_default=True,
    help="Seconds each machine may take to be ready.",
)
@click.option(
    "--confirm-within",
    type=common.SECONDS,
    default=lifecycle.CONFIRM_WITHIN,
    show_default=True,
    help="With place: host: seconds in which `vmlan confirm` must follow a change of this host's NIC, else it"
    " is taken back; 0 keeps it at once.",
)
@click.option("--cold", is_flag=True, help="Boot every machine, whatever templates there are.")
@common.overcommit_option
@click.option("-v", "--verbose", is_flag=True, help="Show every command as it runs.")
@common.quiet_option
@common.json_option
def command(
    machines: tuple[str, ...],
    file: Path | None,
    dry_run: bool,
    timeout: float,
    confirm_within: float,
    cold: bool,
    overcommit: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Bring the lab up, or only some of its MACHINEs, and return when every one is ready.

    What runs already stays as it is; if a step fails, what was begun is undone.
    """
    found = lifecycle.find_file(file)
    if dry_run:
        from vmlan.cli import explain_

        explain_.show(found, None, script=False, cold=cold, as_json=as_json)
        return
    with open_progress(quiet=quiet or as_json, verbose=verbose) as progress:
        report = lifecycle.up(
            found, machines, progress, timeout, confirm_within, overcommit=overcommit, cold=cold
        )
    if as_json:
        common.print_json(
            {
                "lab": report.lab.name,
                "started": report.started,
                "running": report.running,
                "seconds": round(report.seconds, 3),
                "machines": {
                    one.machine: {
                        "seconds": round(one.seconds, 3),
                        "addresses": [address for _, address in one.addresses],
                    }
                    for one in report.ready
                },
            }
        )
    elif not quiet:
        print(_summary(report))


def _summary(report: lifecycle.UpReport) -> str:
    if not report.started:
        return f"{report.lab.name}: is up already ({_count(report.running)})"
    others = f", {len(report.running)} ran already" if report.running else ""
    return f"{report.lab.name}: {_count(report.started)} up in {report.seconds:.1f} s{others}"


def _count(names: tuple[str, ...]) -> str:
    return f"{len(names)} machine{'' if len(names) == 1 else 's'}"
