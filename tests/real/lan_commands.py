"""The same by the commands that a user types, with a real guest: lan_commands.py NAME."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import lan_world
from lan_world import ADDRESS, PORT, Session, World, settled, sh

VMLAN = str(Path(sys.executable).with_name("vmlan"))
LAB = """
name: pub
host: {place: host, uplink: eth0}
networks: {pub: {kind: bridge, uplink: true}}
machines: {vm1: {image: tiny, nics: [pub]}}
"""


class User:
    """Who is logged in on the host, and root by sudo."""

    def __init__(self, world: World, ssh: str, lab: str = LAB, folder: str = "lab") -> None:
        self.folder = world.folder / folder
        self.folder.mkdir()
        (self.folder / "lab.yaml").write_text(lab)
        runtime = world.folder / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        self.env = {**os.environ, "XDG_STATE_HOME": str(world.folder / "state"), "TERM": "dumb"}
        self.env["XDG_RUNTIME_DIR"] = str(runtime)
        self.env["SSH_CONNECTION"] = ssh

    def run(self, *words: str, ssh: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {**self.env, **({"SSH_CONNECTION": ssh} if ssh else {})}
        where = folder or self.folder
        return subprocess.run(
            [VMLAN, *words], cwd=where, env=env, capture_output=True, text=True, check=False
        )

    def at_a_terminal(self, *words: str) -> Terminal:
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execve(VMLAN, [VMLAN, *words], self.env)
        return Terminal(pid, fd)


class Terminal:
    """A command that runs at a terminal, and what it said."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid, self.fd, self.said = pid, fd, ""

    def until(self, words: str, within: float = 60) -> None:
        end = time.monotonic() + within
        while words not in self.said:
            assert time.monotonic() < end, self.said
            assert self.read(), self.said

    def read(self) -> bool:
        if select.select([self.fd], [], [], 0.2)[0]:
            with contextlib.suppress(OSError):
                data = os.read(self.fd, 4096)
                self.said += data.decode(errors="replace").replace("\r\n", "\n")
                return bool(data)
            return False
        return True

    def end(self) -> int:
        while self.read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def cut(self) -> None:
        """The connection is gone: the kernel hangs up (SIGHUP)."""
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def confirmed(world: World) -> str:
    """up, confirm, down: the guest is a station of the outside, and everything is as it was afterwards."""
    session = Session(world)
    user, before = User(world, session.ssh), world.seen()
    session.lap()
    silent = user.run("up")
    assert silent.returncode == 2 and "nobody is at a terminal who could confirm" in silent.stderr
    assert not world.differs(before), world.differs(before)
    up = user.at_a_terminal("up")
    up.until("a guard watches over eth0")
    wait_for_state("waiting")
    old = user.run("confirm", folder=Path("/"))
    assert old.returncode == 2 and "was there before eth0 was changed" in old.stderr, old
    new = user.run("confirm", ssh=f"203.0.113.68 50999 {ADDRESS} {PORT}", folder=Path("/"))
    assert new.returncode == 0 and new.stdout.startswith("eth0 stays a port of pub"), new
    assert up.end() == 0, up.said
    _, changed = session.lap()
    mac = user.run("ps", "--json").stdout.partition('"mac": "')[2][:17]
    assert mac in (world.folder / "leases").read_text(), "the guest's lease is the outside's"
    down = user.run("down")
    assert down.returncode == 0 and not down.stderr, down
    _, back = session.lap()
    assert not world.differs(before), world.differs(before)
    return f"longest pauses: up {changed * 1000:.0f} ms, down {back * 1000:.0f} ms"


def unconfirmed(world: World) -> str:
    """Nobody confirms: the guard puts the NIC back, and ends the lab."""
    session = Session(world)
    user, before = User(world, session.ssh), world.seen()
    up = user.at_a_terminal("up", "--confirm-within", "8")
    code = up.end()
    assert settled(world.folder, 60)
    assert not world.differs(before), world.differs(before)
    listed = user.run("ls", "--all")
    assert "pub" not in listed.stdout, (code, up.said, listed)
    session.lap()
    return "put back, and the lab has ended"


def cut_off(world: World) -> str:
    """The user's terminal is gone in the middle of `up`: everything is put back at once."""
    session = Session(world)
    user, before = User(world, session.ssh), world.seen()
    up = user.at_a_terminal("up")
    up.until("a guard watches over eth0")
    wait_for_state("waiting")
    up.cut()
    assert settled(world.folder, 60)
    end = time.monotonic() + 60  # the NIC is as it was; whoever made the lab's taps takes them away meanwhile
    while world.differs(before) and time.monotonic() < end:
        time.sleep(0.1)
    assert not world.differs(before), world.differs(before)
    session.lap()
    return "put back"


def wait_for_state(state: str) -> None:
    end = time.monotonic() + 60
    while True:
        for journal in Path("/var/lib/vmlan").glob("*/lan/nic.journal"):
            with contextlib.suppress(OSError):
                if f'"{state}"' in journal.read_text():
                    return
        assert time.monotonic() < end
        time.sleep(0.02)


COMMANDS = {one.__name__: one for one in (confirmed, unconfirmed, cut_off)}

if __name__ == "__main__":
    lan_world.enter()
    sh("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
    assert shutil.which(VMLAN)
    with lan_world.world() as the_world:
        time.sleep(0.3)
        print(COMMANDS[sys.argv[1]](the_world))
