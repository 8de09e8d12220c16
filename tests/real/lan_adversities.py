"""What users, disks and cables do to a NIC that is a port meanwhile, with the commands that a user types: lan_adversities.py NAME.

The machine boots nothing, so that a lab is up in a second.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import lan_world
from lan_commands import User
from lan_scenarios import ip_json
from lan_world import Driver, Session, World, settled, sh

LAB = """
name: pub
host: {place: host, uplink: eth0}
networks: {pub: {kind: bridge, uplink: true}}
machines: {vm1: {memory: 16M, floppy: blank.img, nics: [pub]}}
"""


def user(world: World, session: Session, lab: str = LAB, folder: str = "lab") -> User:
    found = User(world, session.ssh, lab, folder)
    with (found.folder / "blank.img").open("wb") as image:
        image.truncate(1440 * 1024)
    return found


def up(who: User) -> None:
    done = who.run("up", "-q", "--confirm-within", "0")
    assert done.returncode == 0, done


def down(who: User, *notes: str) -> None:
    """End the lab; all that it says on standard error are these."""
    done = who.run("down", "--now")
    said = [line for line in done.stderr.splitlines() if not line.startswith("vm1: ")]
    assert done.returncode == 0 and said == [f"note: {note}" for note in notes], done


#: A NIC as a port, and all else that a lab makes on a host: taps, a bridge of its own, NAT, DHCP, forwarding.
ALL = """
name: all
host: {place: host, uplink: eth0, forwarding: true}
networks:
  pub: {kind: bridge, uplink: true}
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  wire: {kind: tap, host: 10.1.1.1/24}
machines: {vm1: {memory: 16M, floppy: blank.img, nics: [pub, lan, wire]}}
"""


def cycles(world: World) -> str:
    """Twenty times up and down, with all that a lab makes: bridges, veths, nftables, policy routes of others are as they were."""
    session = Session(world)
    who, before = user(world, session, ALL), world.seen()
    session.lap()
    for number in range(20):
        up(who)
        assert {"pub", "lan", "wire"} <= {link["ifname"] for link in ip_json("link")}
        assert len(who.run("ps", "--json").stdout.split('"mac"')) == 4
        down(who)
        assert not world.differs(before), f"cycle {number}: {world.differs(before)}"
    keys, longest = session.lap()
    session.end()
    return f"20 cycles, {keys} keys, the longest pause {longest * 1000:.0f} ms"


def unplugged(world: World) -> str:
    """The NIC is gone (a USB one): nothing of the bridge is left, and one line says what cannot be put back."""
    who = user(world, Session(world))
    up(who)
    sh("ip", "link", "del", "eth0")
    down(who, "this host's network is not as it was before: interface eth0: gone")
    assert not [link for link in ip_json("link") if link["ifname"] in {"pub", "vm1-pub"}]
    rules = sh("ip", "rule") + sh("ip", "-6", "rule")
    assert "iif eth0" in rules and "pub" not in rules, rules
    assert "dev pub" not in sh("ip", "route", "show", "table", "all")
    return "the bridge is gone too"


def taken(world: World) -> str:
    """Somebody makes the NIC a port of another bridge meanwhile: it stays that."""
    who = user(world, Session(world))
    up(who)
    sh("ip", "link", "set", "eth0", "nomaster")
    sh("ip", "link", "set", "eth0", "master", "own0")
    done = who.run("down", "--now")
    assert done.returncode == 0 and 'master is "own0", was null' in done.stderr, done
    assert ip_json("link", "show", "dev", "eth0")[0]["master"] == "own0"
    assert not Path("/sys/class/net/pub").exists()
    return "it stays there"


def two_labs(world: World) -> str:
    """Two labs: one NIC is one lab's; with a NIC each, either may end first, and is not taken for the other's doing."""
    session = Session(world)
    sh("ip", "route", "del", "192.0.2.128/25")  # by both NICs: docs/lan.md says what becomes of such
    one, before = user(world, session), world.seen()
    text = LAB.replace("pub", "pub2").replace("vm1", "vm2")
    other = user(world, session, text, "other")
    up(one)
    refused = other.run("up", "--confirm-within", "0")
    assert refused.returncode == 3 and "eth0 is a port of pub already" in refused.stderr, refused
    (other.folder / "lab.yaml").write_text(text.replace("eth0", "eth1"))
    for first, second in ((one, other), (other, one)):
        up(other)
        down(first)
        down(second)
        assert not world.differs(before), world.differs(before)
        up(one)
    down(one)
    assert not world.differs(before), world.differs(before)
    return "each put its own back"


def both_ways(world: World) -> str:
    """A route by two NICs, whose labs end in the order in which they began: that route is told, all else is put back."""
    session, before = Session(world), world.seen()
    one = user(world, session)
    text = LAB.replace("pub", "pub2").replace("vm1", "vm2").replace("eth0", "eth1")
    other = user(world, session, text, "other")
    up(one)
    up(other)
    for who in (one, other):
        done = who.run("down", "--now")
        notes = [line for line in done.stderr.splitlines() if "not as it was" in line]
        assert done.returncode == 0 and len(notes) == 1 and "192.0.2.128/25" in notes[0], done
    left = world.differs(before).splitlines()
    assert left and all("192.0.2.128/25" in line or "nexthop" in line for line in left), left
    return "all but that route"


def late(world: World) -> str:
    """The time to confirm is over before `up` has done all else: the whole lab ends, not the NIC's change alone."""
    who, before = user(world, Session(world)), world.seen()
    path = world.folder / "bin"
    path.mkdir()
    slow = path / "qemu-system-x86_64"
    slow.write_text(
        '#!/bin/sh\ncase "$*" in *-name*) sleep 3;; esac\nexec /usr/bin/qemu-system-x86_64 "$@"\n'
    )
    slow.chmod(0o755)
    who.env["PATH"] = f"{path}:{who.env['PATH']}"
    terminal = who.at_a_terminal("up", "--confirm-within", "1")
    assert terminal.end() == 3 and "nobody confirmed it within 1 s" in terminal.said, terminal.said
    assert settled(world.folder, 10)
    assert not world.differs(before), world.differs(before)
    assert who.run("ls").stdout == "no lab is running\n"
    return "ended"


def full(world: World) -> str:
    """A disk without room, at every page that the journals would take; and one that cannot be written to."""
    who, before, books = user(world, Session(world)), world.seen(), Path("/var/lib/vmlan")
    books.mkdir()
    for pages in range(1, 30):
        with books_on(books, f"size={pages * 4096}"):
            done = who.run("up", "--confirm-within", "0")
            if done.returncode == 0:
                with contextlib.suppress(OSError), (books / "all-the-rest").open("wb", 0) as rest:
                    while True:
                        rest.write(bytes(16))
                down(who)
                assert sorted(each.name for each in books.iterdir()) == ["all-the-rest"]
                break
            words = done.stderr.splitlines()[-1]
            assert done.returncode == 3 and "/var/lib/vmlan" in words, done
            assert "No space left on device" in words, done
            assert not world.differs(before), f"{pages} pages: {world.differs(before)}"
            assert who.run("down", "--now").stdout == "this lab is not running\n"
    with books_on(books, "ro"):
        said = who.run("up", "--confirm-within", "0").stderr
        assert "Read-only file system: /var/lib/vmlan" in said, said
    assert not world.differs(before), world.differs(before)
    return f"{pages} pages are enough"


@contextlib.contextmanager
def books_on(folder: Path, options: str) -> Iterator[None]:
    sh("mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs", str(folder))
    yield
    sh("umount", "-l", str(folder))  # who renews the lease has its log there, for a moment


def told(world: World) -> str:
    """Whoever was cut off finds in the system's log what happened, since the lab's own report goes with it."""
    who, folder = user(world, Session(world)), world.folder / "lan"
    hide_devices(world.folder / "devices")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        log.settimeout(10)
        driver = Driver(folder, within=1)
        driver.until("waiting")
        driver.tell("release")
        driver.tell("end")
        lines: list[str] = []
        while len(lines) < 2:
            _, ours, words = log.recv(4096).decode().rstrip("\0").partition(" vmlan: ")
            lines += [words] if ours else []  # others have things to tell too
    assert lines[0] == "eth0 was put back, and the lab test ends: nobody confirmed it within 1 s", lines
    assert lines[1] == "everything is as it was"
    nothing = who.run("confirm", folder=Path("/"))
    assert nothing.returncode == 2 and "journalctl -t vmlan" in nothing.stderr, nothing
    return lines[0]


def hide_devices(folder: Path) -> None:
    """A /dev of our own, with those devices that every program needs, each bound by itself: the machine's folder of
    devices is nowhere to be found in it, so that nothing can be removed from there.
    """
    folder.mkdir()
    sh("mount", "-t", "tmpfs", "tmpfs", str(folder))
    for name in ("null", "zero", "random", "urandom"):
        (folder / name).touch()
        sh("mount", "--bind", f"/dev/{name}", str(folder / name))
    sh("mount", "--move", str(folder), "/dev")


ADVERSITIES = {one.__name__: one for one in (cycles, unplugged, taken, two_labs, both_ways, late, full, told)}

if __name__ == "__main__":
    if os.getuid() == 0 and os.environ.get("LAN_WORLD") != "1":
        sys.exit(
            "this mounts things over the machine's own, in namespaces: for an ordinary user, who can do no harm"
        )
    lan_world.enter()
    sh("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
    os.environ.pop("SUDO_UID", None)
    with lan_world.world() as the_world:
        time.sleep(0.3)
        print(ADVERSITIES[sys.argv[1]](the_world))
