"""`vmlan clone`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan.cli import common
from vmlan.cli.progress import open_progress
from vmlan.errors import RequestError
from vmlan.host import lab_file
from vmlan.observe.ready import BOOT_TIMEOUT


@click.command("clone")
@click.argument("machine")
@click.argument("name")
@common.file_option
@click.option(
    "--timeout", type=common.SECONDS, default=BOOT_TIMEOUT, show_default=True, help="Seconds to be ready in."
)
@common.quiet_option
@common.json_option
def command(machine: str, name: str, file: Path | None, timeout: float, quiet: bool, as_json: bool) -> None:
    """Fork a running MACHINE: NAME goes on from where it is, with MACs and addresses of its own.

    What runs in it runs in both from then on; its disks are copied. The new machine is one of the lab's until
    `vmlan down`; lab.yaml stays as it is.
    """
    from vmlan import forks
    from vmlan.labfile import machines, values

    found = lab_file.find_file(file)
    try:
        values.name("machine", machines.RESERVED)(name)
    except values.Wrong as wrong:
        raise RequestError(wrong.what, hint=wrong.hint) from None
    with open_progress(quiet=quiet or as_json) as progress:
        report = forks.fork(found, machine, name, progress, timeout)
    addresses = [address for _, address in report.machine.addresses]
    if as_json:
        common.print_json(
            {
                "machine": name,
                "of": machine,
                "addresses": addresses,
                "stood_still": round(report.stood_still, 3),
                "seconds": round(report.seconds, 3),
            }
        )
    elif not quiet:
        where = f" ({', '.join(addresses)})" if addresses else ""
        print(f"{name}{where}: a copy of {machine}, which stood still for {report.stood_still:.1f} s")
