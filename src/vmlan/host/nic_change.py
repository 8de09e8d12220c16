"""The change of a real host's NIC into a bridge's port, as `up` and `down` see it; `host.lan` does it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vmlan.errors import HostError
from vmlan.host import real_host
from vmlan.plan import marks
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
    """Put the NIC back as it was, if it was ever touched; notes on what differs.

    Raises `HostError` where a bridge of the lab is this host's station still, and nothing says what its NIC
    was.
    """
    notes: tuple[str, ...] = ()
    if folder(layout).exists():
        from vmlan.host.lan import client

        notes = _differences(client.rollback(folder(layout)))
    for bridge, nic in _stations(layout):
        raise HostError(
            f"{bridge} is this host's station in {nic}'s place, and the record of what {nic} was is lost or"
            f" cannot be read; {bridge} is left, since this host would lose its addresses and routes with it",
            hint=f"a reboot makes {nic} again what this host's configuration says; or move what `ip addr show"
            f" dev {bridge}` and `ip route show dev {bridge}` say by hand, then: ip link del {bridge}",
        )
    return notes


def _stations(layout: Layout) -> Iterator[tuple[str, str]]:
    """The lab's bridges that stand in a NIC's place, each with that NIC, as the kernel has them.

    Such a bridge was given the MAC of its port, which is not the lab's (`plan.lan`). One that was given none
    has a port's by chance, and is told by its addr_assign_type (Linux, ABI/testing/sysfs-class-net).
    """
    there = {each.name: each for each in real_host.interfaces()}
    for nic in there.values():
        bridge = there.get(nic.master or "")
        if bridge is None or marks.is_marked(layout, nic.altnames):
            continue
        of_nic, of_bridge = (Path("/sys/class/net", each.name) for each in (nic, bridge))
        given = _text(of_bridge / "addr_assign_type") == "3" and _text(of_bridge / "address") == _text(
            of_nic / "address"
        )
        if given and marks.is_marked(layout, bridge.altnames):
            yield bridge.name, nic.name


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


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
