"""`vmlan confirm`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan.cli import common
from vmlan.errors import HostError, RequestError
from vmlan.host import identity, nic_change, paths
from vmlan.host.lab_file import file_of
from vmlan.host.lan import client


@click.command("confirm")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path),
    help="The lab file (default: whichever lab waits for it).",
)
@click.option(
    "--this-session",
    is_flag=True,
    help="Confirm from an SSH connection that was there before the change, which does not prove that a new"
    " one gets through.",
)
@common.quiet_option
@common.json_option
def command(file: Path | None, this_session: bool, quiet: bool, as_json: bool) -> None:
    """Keep the change of this host's NIC that `vmlan up` has made; run it from a new login."""
    if not identity.is_root():
        raise HostError("the change of this host's NIC is root's", hint="sudo vmlan confirm")
    status = client.confirm(_waiting(file), client.session(), this_session=this_session)
    if as_json:
        common.print_json(
            {"nic": status.nic, "bridge": status.bridge, "lab": status.lab, "state": status.state}
        )
    elif not quiet:
        print(
            f"{status.nic} stays a port of {status.bridge} until the lab {status.lab} ends (sudo vmlan down)"
        )


def _waiting(file: Path | None) -> Path:
    """The folder of the change that waits. A new login is seldom in the lab's folder, so it is looked for."""
    ids = paths.host_ids() if file is None else [paths.lab_id(file_of(file))]
    folders = [nic_change.folder(paths.host_layout(id_)) for id_ in ids]
    found = [(folder, status) for folder in folders if (status := client.status(folder)) is not None]
    waiting = [folder for folder, status in found if status.state == "waiting"]
    if len(waiting) == 1:
        return waiting[0]
    if waiting:
        raise RequestError("more than one lab waits to be confirmed", hint="vmlan confirm -f FILE says which")
    if len(found) == 1:
        return found[0][0]
    raise RequestError(
        "no NIC of this host waits to be confirmed",
        hint="sudo vmlan ls shows the labs; whether one was put back, `journalctl -t vmlan` says",
    )
