"""Making a NIC what it was, from whatever is there now. Standard library only, for the guard."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from vmlan.errors import VmlanError
from vmlan.host.lan import proof
from vmlan.host.lan.book import Record
from vmlan.host.lan.gather import gather
from vmlan.host.run import run
from vmlan.plan import lan_back
from vmlan.plan.lan_snapshot import Difference, Snapshot, find_differences, labs_interfaces, without

#: How often the way back is gone, as long as something is left of the change; and the first pause (seconds).
_TRIES, _PAUSE = 7, 0.05
#: How long a difference anywhere in the host's network may come of the change (seconds).
_RECENT = 600.0


def put_back(record: Record) -> list[str]:
    """Undo the change, and look: what is not as it was, in words. Done again, it finds nothing to do."""
    left: list[Difference] = []
    for attempt in range(_TRIES):
        try:
            now = gather(record.nic)
        except (VmlanError, OSError, ValueError) as error:
            _log(f"the network cannot be read ({error}); undoing everything blindly")
            now = lan_back.all_moved(record.snapshot, record.nic, record.bridge)
        _go_back(record, now, each_alone=attempt > 0)
        if lan_back.waits_for_advertisement(record.snapshot, now, record.nic):
            proof.solicit_routers(record.nic)
        try:
            left = compare(record)
        except (VmlanError, OSError, ValueError) as error:
            left = [Difference(f"the network cannot be read: {error}", frozenset({record.nic}))]
        if not any(one.about & {record.nic, record.bridge} for one in left):
            break
        _log("not yet as it was: " + "; ".join(one.words for one in left[:3]))
        time.sleep(_PAUSE * 2**attempt)
    return [one.words for one in left]


def compare(record: Record) -> list[Difference]:
    """What is not as it was: all of it, as long as it can be the change's doing; later, what is the NIC's.

    What other steps of labs have made is their own to undo, and is left out.
    """
    now = gather(record.nic)
    labs = labs_interfaces(record.snapshot, record.bridge) | labs_interfaces(now, record.bridge)
    before, after = (without(one, labs - {record.nic}) for one in (record.snapshot, now))
    found = find_differences(before, after)
    about = {record.nic, record.bridge}
    if now.link(record.nic) is None:  # all that was on it went with it, which one line says
        gone = f"interface {record.nic}: gone"
        found = [one for one in found if record.nic not in one.about or one.words == gone]
    recent = now.at - record.snapshot.at < _RECENT
    return [one for one in found if recent or one.about & about]


def _go_back(record: Record, now: Snapshot, *, each_alone: bool) -> None:
    """Run what is missing. `each_alone`: at a line that `ip` cannot read, such as one that names an interface
    which is gone, it ends in spite of `-force`; so when all at once did not do, each has an `ip` of its own.
    """
    elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - record.snapshot.at
    lines = lan_back.from_bridge(record.snapshot, now, record.nic, record.bridge, elapsed)
    if lan_back.is_our_bridge(record.snapshot, now, record.bridge, record.nic):
        with contextlib.suppress(
            OSError
        ):  # what still arrives by the bridge is answered by the NIC for a moment
            Path(f"/proc/sys/net/ipv4/conf/{record.bridge}/rp_filter").write_text("0")
    for program, batch in lines.items():
        argv = (*program.split(), "-force", "-batch", "-")
        for part in [[line] for line in batch] if each_alone else [batch] if batch else []:
            try:
                done = run(argv, stdin="".join(f"{line}\n" for line in part), check=False, timeout=10)
            except (VmlanError, OSError) as error:
                _log(str(error))
                continue
            if not done.ok:
                _log(f"{' '.join(argv)} ended with {done.code}:\n{done.stderr}")


def _log(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
