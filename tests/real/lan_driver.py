"""What `vmlan up` does about a NIC, alone: FOLDER WITHIN THEN. Says what happens, a JSON line each; does what it is told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from vmlan.errors import VmlanError
from vmlan.host.lan import client
from vmlan.host.lan.gather import gather, nic_facts
from vmlan.plan import lan, lan_facts

NIC, BRIDGE = os.environ.get("LAN_NIC", "eth0"), "br0"


def say(event: str, **more: object) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


def main(folder: str, within: str, then: str) -> None:
    snapshot = gather(NIC)
    for refusal in lan_facts.refusals(snapshot, NIC, nic_facts(NIC, snapshot), BRIDGE):
        say("refused", what=refusal.what)
        sys.exit(2)
    steps = lan.bridged(snapshot, NIC, BRIDGE, "test")
    batches = [command.stdin for command in lan.commands(steps) if "-batch" in command.argv]
    lines = [line for batch in batches for line in batch.splitlines() if not line.startswith("#")]
    say("planned", ip_lines=len(lines))
    request = client.Request(
        Path(folder),
        NIC,
        BRIDGE,
        "test",
        snapshot,
        steps,
        float(within),
        client.session(),
        tuple(then.split()),
    )
    applied = client.apply(request, lambda words: say("told", words=words))
    say(applied.status.state, left=applied.status.seconds_left, silent=applied.silent, leases=applied.leases)
    for line in sys.stdin:
        if line == "release\n":
            say("released", state=applied.release().state)
        elif line == "rollback\n":
            report = client.rollback(Path(folder))
            say("rolled-back", residue=report.residue, reason=report.reason)
        elif line == "recover\n":
            found = client.recover(Path(folder))
            say("recovered", residue=found.residue if found else None)
        else:
            say("ends")
            return


try:
    main(*sys.argv[1:])
except VmlanError as error:
    say("failed", what=error.what)
    sys.exit(3)
