"""The guard: changes a NIC, proves that nothing was lost, and undoes it unless somebody confirms it in time.

    python3 -I -S guard.py     a request on standard input, what happens on standard output (JSON lines)

It is a process of its own, in a session of its own: it outlives vmlan, the terminal, and the SSH connection
that it may just have cut. It alone changes the NIC, so that no two processes ever do. A second process
watches it, and is watched by it: whichever is killed, the other goes on. If the first is killed, or does not
get on, the second ends it with all that it had started, and undoes the change at once.

Vmlan's end of standard input says that vmlan lives. If that ends before vmlan has let go of the guard
("release"), the change is undone at once. All times are on the monotonic clock. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[3]))

from vmlan.errors import VmlanError
from vmlan.host.lan import book, claims, lease, proof, undoing, watch
from vmlan.host.lan.book import Record
from vmlan.host.run import run

#: How long a command of the change may take, and how long the change, the proof or the way back (seconds).
_COMMAND, _WORK = 10.0, 40.0
#: How long a DHCP server may take to extend a lease (seconds).
_LEASE = 1.4
#: How long `then` may take (seconds): it may let machines shut down.
_THEN = 120.0


class Undo(Exception):
    """The change must be undone, and why. `asked`: vmlan wants it, and does the rest itself."""

    def __init__(self, reason: str, *, asked: bool = False) -> None:
        super().__init__(reason)
        self.asked = asked


class Guard:
    """The worker, and its watcher, at one change of one NIC."""

    def __init__(self, folder: Path, record: Record) -> None:
        self.folder = folder
        self.record = record
        self.deadline = 0.0
        self.released = False
        self.reached = proof.Reached()
        self.leases: dict[str, int | None] = {}  # what the DHCP server granted on the bridge (seconds)
        self.pair: socket.socket | None = None  # the other of the two is at its other end
        self.watcher = 0
        self.listener: socket.socket | None = None

    # The two

    def watch(self) -> None:
        """Start the watcher; in it, this returns only when it must take the worker's place."""
        ours, theirs = socket.socketpair()
        worker = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            self.pair, self.watcher = ours, pid
            self.limit(_WORK)
            return
        ours.close()
        if self.pair is not None:
            self.pair.close()
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if watch.wait_for_end(theirs, _WORK):
            os._exit(0)
        theirs.close()
        self.pair = None
        watch.end_group(worker)
        self.watch_again_and_undo()

    def watch_again_and_undo(self) -> NoReturn:
        """The watcher takes the worker's place."""
        story = book.read(self.folder)
        if story is None or story.state in book.SETTLED:
            os._exit(0)
        self.released = story.released
        self.watch()
        self.undo("the guard was killed")
        self.end()

    def limit(self, seconds: float) -> None:
        """Tell the watcher that we shall have got on by then."""
        if self.pair is not None:
            with contextlib.suppress(OSError):
                self.pair.send(f"{time.monotonic() + seconds}\n".encode())

    def look_after_watcher(self) -> None:
        """Start another watcher if ours was killed."""
        if self.pair is None:
            return
        if select.select([self.pair], [], [], 0)[0]:  # it never says anything: this is its end
            self.pair.close()
            self.pair = None
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.watcher, 0)
            time.sleep(0.02)
            self.watch()

    def end(self) -> NoReturn:
        """All is settled: the watcher may go too."""
        if self.pair is not None:
            with contextlib.suppress(OSError):
                self.pair.send(b"end\n")
        os._exit(0)

    def say(self, event: str, **more: Any) -> None:
        """Tell vmlan, if it is still there."""
        with contextlib.suppress(OSError):
            os.write(1, json.dumps({"event": event, **more}).encode() + b"\n")

    # The change

    def change(self) -> None:
        """Make the change, prove it, and wait. Whatever goes wrong, it is undone."""
        try:
            self.make()
            if self.record.confirm_within > 0:
                self.wait()
            self.keep()
        except Undo as reason:
            self.undo(str(reason), asked=reason.asked)
        except Exception as error:  # a mistake of ours must not leave a NIC half changed
            words = f"{type(error).__name__}: {error}"
            if isinstance(error, OSError) and error.strerror:
                words = f"{error.filename or self.folder}: {error.strerror}"
            with contextlib.suppress(Exception):
                words = proof.lost_carrier(self.record.nic) or words
            self.undo(words)

    def make(self) -> None:
        """The change itself, and its proof."""
        record = self.record
        self.reached = proof.look(record.snapshot, record.nic, record.ssh)
        moved = [one.words for one in undoing.compare(record) if one.about & {record.nic, record.bridge}]
        if moved:
            raise Undo(f"the network is not what it was when this was planned: {moved[0]}")
        book.add(self.folder, "changing")
        for argv, stdin in record.commands:
            self.stay()
            done = run(argv, stdin=stdin, check=False, timeout=_COMMAND)
            if not done.ok:
                words = " ".join((done.stderr or done.stdout).split()) or "it took too long"
                raise Undo(proof.lost_carrier(record.nic) or f"{argv[0]} failed (exit {done.code}): {words}")
        book.add(self.folder, "changed")
        self.stay()
        if reason := proof.wrong(self.reached, record.snapshot, record.nic, record.bridge):
            raise Undo(reason)
        for info in lease.leased(record):
            self.stay()
            self.leases[str(info["local"])] = lease.renew(record, info, _LEASE)

    def stay(self) -> None:
        """Look after the watcher; raise `Undo` if vmlan has gone."""
        self.look_after_watcher()
        if not self.released and select.select([0], [], [], 0)[0]:
            self.hear_starter()

    def hear_starter(self) -> None:
        """What vmlan says, or that it has ended."""
        if b"release" not in os.read(0, 4096):
            raise Undo("vmlan ended before it was done")
        self.released = True
        book.add(self.folder, "waiting", deadline=self.deadline, released=True)

    def wait(self) -> None:
        """Until it is confirmed. Raises `Undo` at the deadline, or when somebody asks for it."""
        self.deadline = time.monotonic() + self.record.confirm_within
        book.add(self.folder, "waiting", deadline=self.deadline)
        self.limit(self.record.confirm_within + 2)
        self.say("waiting", **self.told())
        while (left := self.deadline - time.monotonic()) > 0:
            assert self.listener is not None
            sources = [self.listener, self.pair, *([] if self.released else [0])]
            with _told_to_end():
                ready = select.select([one for one in sources if one is not None], [], [], left)[0]
            self.stay()
            if self.listener in ready and self.answer(self.listener):
                return
        raise Undo(f"nobody confirmed it within {self.record.confirm_within:g} s")

    def told(self) -> dict[str, Any]:
        """What `status` and the listeners are told."""
        return {
            "nic": self.record.nic,
            "bridge": self.record.bridge,
            "seconds_left": max(self.deadline - time.monotonic(), 0.0),
            "silent": self.reached.silent,
            "leases": self.leases,
        }

    def answer(self, listener: socket.socket) -> bool:
        """Answer one request; true if the change is confirmed by it. Raises `Undo` if it is to be undone."""
        client, _ = listener.accept()
        with client:
            client.settimeout(1.0)
            pid, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            try:
                request = json.loads(client.recv(65536))
            except (OSError, ValueError):
                return False
            reply: dict[str, Any] = {"state": "waiting", **self.told()}
            if uid not in {os.geteuid(), 0}:
                reply = {"refused": "it is another user's"}
            elif request.get("op") == "rollback":
                client.close()
                raise Undo(str(request.get("reason", "it was asked for")), asked=True)
            elif request.get("op") == "confirm":
                reply = self.confirm(request, pid) or {"state": "kept"}
            kept = reply.get("state") == "kept"
            if kept:
                book.add(self.folder, "kept")
            with contextlib.suppress(OSError):
                client.send(json.dumps(reply).encode())
            return kept

    def confirm(self, request: dict[str, Any], pid: int) -> dict[str, Any] | None:
        """Why this does not confirm the change; None if it does.

        Whoever confirms must have come in after the change: a connection that was there before proves nothing
        of new ones.
        """
        if pid == self.record.starter:
            return {"refused": "process"}
        connection = proof.of_session(request.get("ssh"))
        if connection is not None and not request.get("this_session"):
            old = request.get("ssh") == self.record.ssh or connection in self.reached.connections
            if old:
                return {"refused": "session"}
        return None

    def keep(self) -> None:
        """The change stays."""
        story = book.read(self.folder)
        if story is None or story.state != "kept":
            book.add(self.folder, "kept")
        self.say("kept", **self.told())
        if self.leases:
            self.leave_renewer()

    def leave_renewer(self) -> None:
        """Leave a process behind that renews the leases: it has nothing of the guard's, nor the claim."""
        if os.fork():
            return
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.closerange(3, 256)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        try:
            lease.stay(self.folder, self.record)
        finally:
            os._exit(0)

    # The way back

    def undo(self, reason: str, *, asked: bool = False) -> None:
        """Make the NIC what it was, compare, and report. `asked`: whoever did knows what else there is to
        do.
        """
        began = time.monotonic()
        self.limit(_WORK)
        story = book.read(self.folder)
        changed = story is None or story.changed_anything
        with contextlib.suppress(OSError):  # a full disk: what matters is the network
            book.add(self.folder, "undoing", reason=reason)
        left = undoing.put_back(self.record) if changed else []
        seconds = time.monotonic() - began
        self.undone(reason, left, seconds, changed=changed)
        if changed and not asked:
            book.tell_system(self.record, reason, left)
        if self.record.then and changed and not asked and self.is_alone():
            self.limit(_THEN + _WORK)
            with contextlib.suppress(VmlanError, OSError, ValueError):
                run(self.record.then, check=False, timeout=_THEN)
                left = [one.words for one in undoing.compare(self.record)]
            self.undone(reason, left, seconds, changed=changed)
        self.say("undone", reason=reason, residue=left, seconds=seconds, changed=changed)

    def undone(self, reason: str, left: list[str], seconds: float, *, changed: bool) -> None:
        """Write what came of it."""
        with contextlib.suppress(OSError):
            book.add(self.folder, "undone", reason=reason, residue=left, seconds=seconds, changed=changed)
            book.report(self.folder, self.record, reason, left, seconds)

    def is_alone(self) -> bool:
        """Whether no vmlan is there any more that would do the rest: it has let go, or ended."""
        if not self.released and select.select([0], [], [], 0)[0]:
            self.released = True  # either way
        return self.released


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """SIGTERM (the host shuts down) undoes the change, while there is nothing to do but wait."""

    def end(*_: object) -> None:
        raise Undo("the guard was told to end (SIGTERM)")

    before = signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        signal.signal(signal.SIGTERM, before)


def _listen(folder: Path) -> socket.socket:
    path = folder / book.SOCKET
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(8)
    return listener


def _settle_in() -> None:
    """Nothing that ends a session ends the guard; and memory runs out for others first."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.umask(0o077)
    os.chdir("/")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000")


def main() -> None:
    """Read the request, and do it: {"folder", "record"} changes a NIC; {"folder", "reason"} undoes that."""
    request = json.loads(_read_line())
    _settle_in()
    folder = Path(request["folder"])
    if "record" in request:
        record = Record.from_json(request["record"])
    else:
        story = book.read(folder)
        if story is None:
            return
        record = story.record
    claim = claims.claim(record.nic)
    if claim is None:
        Guard(folder, record).say("busy")
        return
    guard = Guard(folder, record)
    if "record" in request:
        try:
            book.begin(folder, record)
            guard.listener = _listen(folder)
        except OSError as error:  # nothing has been changed, and nothing will be
            guard.say("failed", what=f"{folder}: {error.strerror or error}")
            return
        guard.watch()
        guard.say("armed")
        guard.change()
    else:
        guard.released = True
        guard.watch()
        guard.undo(request["reason"], asked=True)
    guard.end()


def _read_line() -> bytes:
    """The first line of standard input, and nothing of what follows."""
    line = bytearray()
    while not line.endswith(b"\n"):
        data = os.read(0, 65536)
        if not data:
            os._exit(0)  # nobody wants anything
        line += data
    return bytes(line)


if __name__ == "__main__":
    main()
