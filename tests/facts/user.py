"""F11–F14: user-mode stacks, the emulated hub, and no network."""

from __future__ import annotations

import re

from tests.facts.play import Play, need


def _network(play: Play, machine: str) -> str:
    """QEMU's own `info network`."""
    said: str = play.ask(machine, "human-monitor-command", **{"command-line": "info network"})
    return said


def f11(play: Play) -> str:
    play.check("F11")
    said = _network(play, "vm1")
    hub = re.search(r"hub 0\s+\\ \S+: (\S+): .*type=nic,model=e1000.*\s+\\ \S+: (\S+): .*type=user", said)
    need(hub, f"info network shows no hub 0 with both: {' '.join(said.split())[:80]!r}")
    assert hub
    return f"info network: hub 0 has {hub[1]} (e1000) and {hub[2]} (user)"


#: The default, the explicit hub, and the legacy spelling.
SPELLINGS = (
    "",
    "-netdev user,id=u -netdev hubport,id=a,hubid=0,netdev=u -netdev hubport,id=b,hubid=0 -device e1000,netdev=b",
    "-net user -net nic,model=e1000",
)


def f12(play: Play, lines: tuple[str, ...] = SPELLINGS) -> str:
    play.check("F12")
    labs = {play.imported(line)[0] for line in lines}
    need(len(labs) == 1, f"the spellings import to {len(labs)} different labs")
    need("kind: hub" in labs.pop(), "they import to no hub")
    need("type=user" in _network(play, "vm1"), "the emitted form has no user-mode stack")
    return f"{len(lines)} spellings import to one lab; this QEMU takes the form that vmlan emits, and leases"


def f13(play: Play) -> str:
    play.check("F13")
    return "two machines on `user` do not reach each other, and do over `socket`"


#: No network, and the old trick for it.
NOTHING = ("-nic none", "-netdev hubport,id=abc,hubid=0")


def f14(play: Play, lines: tuple[str, ...] = NOTHING) -> str:
    play.check("F14")
    cards = play.cards("alone")
    need(cards == ["lo"], f"the guest has {cards}")
    said = _network(play, "alone")
    need(not said.strip(), f"QEMU has {said!r}")
    labs = {play.imported(line)[0] for line in lines}
    need(
        len(labs) == 1 and "nics" not in labs.pop(),
        "the two lines do not both import to a machine without a NIC",
    )
    return "the guest has only lo, QEMU no backend; -nic none and the lone hub port import alike"
