"""The change of a real host's NIC into a bridge's port, as `up` and `down` see it; `host.lan` does it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vmlan.errors import HostError
from vmlan.plan.layout import Layout
from vmlan.plan.steps import BridgeNic

if TYPE_CHECKING:
    from vmlan.host.lan import client
    from vmlan.plan.lan_snapshot import Snapshot


def folder(layout: Layout) -> Path:
    """Where the change of a lab is written down."""
    assert layout.book is not None
    return layout.book / "lan"


@dataclass
class NicChange:
    """How the NIC of a lab is to be changed. `applied`: once it is."""

    layout: Layout
    file: Path
    snapshot: Snapshot
    confirm_within: float  #: seconds; 0: it is kept at once
    tell: Callable[[str], None]
    applied: client.Applied | None = field(default=None, init=False)

    def apply(self, step: BridgeNic) -> None:
        """Change it, under guard. Raises `HostError` after everything is as it was."""
        from vmlan.host.lan import client

        down = ("down", "--now", "--force", "-q", "-f", str(self.file))
        end = (sys.executable, "-P", "-m", "vmlan.cli.main", *down)
        request = client.Request(
            folder=folder(self.layout),
            nic=step.nic,
            bridge=step.bridge,
            lab=step.lab,
            snapshot=self.snapshot,
            steps=step.parts,
            confirm_within=self.confirm_within,
            ssh=client.session(),
            then=end,
        )
        self.applied = client.apply(request, self.tell)

    def release(self) -> None:
        """The rest of `up` has worked: from now on only a missing `confirm` takes it back.

        Raises `NicRolledBack` if that has happened meanwhile.
        """
        if self.applied is None:
            return
        for gateway in self.applied.silent:
            self.tell(f"the gateway {gateway} answered neither before nor after the change of the NIC")
        for address, seconds in self.applied.leases.items():
            if seconds is None:
                bridge = self.applied.status.bridge
                self.tell(
                    f"no DHCP server extended the lease of {address} on {bridge}: it ends when it would have"
                )
        status = self.applied.release()
        if status.state == "waiting":
            self.tell(
                f"{status.nic} is a port of {status.bridge} for {status.seconds_left:.0f} s:"
                " `sudo vmlan confirm`, from a new terminal or SSH connection, keeps it; else all is put back"
            )


def taken_back(change: NicChange) -> HostError | None:
    """Why machines have ended that nobody ended: the NIC's change was not confirmed in time."""
    if change.applied is None or not change.confirm_within:
        return None
    from vmlan.host.lan import client

    status = client.status(folder(change.layout))
    if status is not None and status.state not in {"undoing", "undone"}:
        return None
    nic = change.applied.status.nic
    return HostError(
        f"{nic} was put back, and the lab ended with it: nobody confirmed its change within"
        f" {change.confirm_within:.0f} s, or this host no longer reached what it did",
        hint="`sudo vmlan confirm` from a new terminal or SSH connection, once `up` asks for it",
    )


def undo(layout: Layout) -> tuple[str, ...]:
    """Put the NIC back as it was, if it was ever touched; notes on what differs."""
    if not folder(layout).exists():
        return ()
    from vmlan.host.lan import client

    return _differences(client.rollback(folder(layout)))


def recover(layout: Layout) -> tuple[str, ...]:
    """Undo a change whose guards are dead, before anything else is done; notes."""
    if not layout.on_host or not folder(layout).exists():
        return ()
    from vmlan.host.lan import client

    report = client.recover(folder(layout))
    if report is None:
        return ()
    undone = (f"the change of this host's NIC was undone: {report.reason}",) if report.changed else ()
    return (*undone, *_differences(report))


def _differences(report: client.Report) -> tuple[str, ...]:
    return tuple(f"this host's network is not as it was before: {words}" for words in report.residue)
