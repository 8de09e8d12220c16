"""`place: host` when something is lost: journals damaged or gone, processes killed at any instant."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.real.conftest import VMLAN, Bench
from tests.real.hosts import Host, differences, give, simulated
from tests.real.test_place_host import SMALL, STATIONS

pytestmark = pytest.mark.real


@pytest.fixture
def host(bench: Bench) -> Iterator[Host]:
    with simulated(bench) as host:
        yield host


def spoil(host: Host, what: str) -> None:
    """What a bad disk, or somebody who tidies up, does to a lab's journals."""
    (book,) = (host.folder / "lib" / "vmlan").iterdir()
    journal, nic = book / "journal", book / "lan" / "nic.journal"
    if what == "a line":
        lines = journal.read_text().splitlines()
        assert any('"BridgeNic"' in line for line in lines)
        cut = (line[:40] if '"BridgeNic"' in line else line for line in lines)
        journal.write_text("".join(f"{line}\n" for line in cut))
    elif what == "the journal":
        journal.unlink()
    else:
        nic.write_text("?" + nic.read_text()[1:])


@pytest.mark.parametrize("what", ["a line", "the journal", "the record of the NIC"])
def test_whatever_the_disk_lost_the_host_keeps_its_addresses(host: Host, what: str) -> None:
    """The bridge has the lab's mark, and is this host's station: it must not go by its mark alone."""
    host.bench.write(STATIONS)
    before = host.network()
    host.up("-q", "--confirm-within", "0")
    spoil(host, what)
    done = host.vmlan("down", "--now")
    host.ok("ping", "-c", "1", "-W", "3", "198.51.100.1")
    if what != "the record of the NIC":
        assert done.code == 0, done.err
        now = host.network()
        del before["switches"], now["switches"]  # without a journal nobody knows how they were
        assert differences(now, before) == []
        assert host.lasting() == []
        return
    assert done.code == 3 and "lan is left, since this host would lose" in done.err, done.err
    forced = host.vmlan("down", "--force", "--disks")
    assert forced.code == 0 and "this could not be undone: lan is this host's station" in forced.err
    assert "nothing of it is left" not in forced.out
    host.ok("ping", "-c", "1", "-W", "3", "198.51.100.1")
    assert host.lasting() == []


def test_killed_at_any_instant_down_makes_the_host_what_it_was(host: Host) -> None:
    """vmlan or the keeper, with NAT or with the NIC as a port; vmlan by Ctrl-C too. The seed is told when it fails."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    give(host)
    for number in range(12):
        stations = number % 2 == 1
        host.bench.write(STATIONS if stations else SMALL)
        before = host.network()
        words = ("up", "-q", *(["--confirm-within", "0"] if stations else []))
        bringing = subprocess.Popen(
            host.enter(str(VMLAN), *words), env=host.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        delay = chance.uniform(0.1, 2.5)
        time.sleep(delay)
        victim, signals = ("host/keeper.py", ["-9"]) if number % 4 > 1 else ("vmlan up", ["-9", "-2"])
        signal = chance.choice(signals)
        for line in host.ok("ps", "-ww", "-eo", "pid,args").splitlines():
            if victim in line and "nsenter" not in line and "unshare" not in line:
                host.run("kill", signal, line.split()[0])
        bringing.wait(timeout=60)
        done = host.vmlan("down", "--now", "--disks", "-q")
        case = f"seed {seed}, {number}: {signal} {victim} after {delay:.3f} s, {words}"
        assert done.code == 0, f"{case}: {done.err}"
        assert differences(host.network(), before) == [], case
        assert host.lasting() == [], case
