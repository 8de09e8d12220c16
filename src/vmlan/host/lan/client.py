"""Changing a NIC through its guard: what `up`, `confirm` and `down` call.

The guard (`host.lan.guard`) does everything; what is here starts it, listens to it, and says what it said.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmlan.errors import HostError, RequestError
from vmlan.host.lan import book, proof
from vmlan.host.lan.book import Record
from vmlan.host.run import SEARCH_PATH, find
from vmlan.plan import lan
from vmlan.plan.lan_snapshot import Snapshot
from vmlan.plan.steps import Step

#: How long a guard may take to undo a change (seconds); it has a limit of its own, well below.
_PATIENCE = 60.0


class NicRolledBack(HostError):
    """A NIC's change was undone: it went wrong, or nobody confirmed it."""


@dataclass(frozen=True)
class Request:
    """What is to be changed, and what was planned: the snapshot and the steps that were shown."""

    folder: Path  #: the guard's own (see `book`), made if it is not there
    nic: str
    bridge: str
    lab: str
    snapshot: Snapshot
    steps: tuple[Step, ...]
    confirm_within: float  #: seconds; 0: kept without being confirmed, if the proof holds
    ssh: str | None = None  #: `session()`
    then: tuple[
        str, ...
    ] = ()  #: what the guard runs after a rollback, when no vmlan is there any more to do it


@dataclass(frozen=True)
class Status:
    """How far a change has come."""

    state: str  #: armed, changing, changed, waiting, kept, undoing, undone; void: from before a reboot
    nic: str
    bridge: str
    lab: str
    seconds_left: float = 0.0  #: for `waiting`
    guarded: bool = False  #: a guard is there
    reason: str | None = None  #: why it was undone
    residue: tuple[str, ...] = ()  #: what is not as it was


@dataclass(frozen=True)
class Report:
    """What an undoing did."""

    reason: str
    residue: tuple[str, ...]  #: what is not as it was, in words: empty, as it should be
    seconds: float
    changed: bool  #: whether there was anything to undo


@dataclass
class Applied:
    """A NIC that is changed. The guard undoes that when this process ends, until `release`."""

    status: Status
    silent: tuple[str, ...]  #: gateways that answered neither before nor after
    folder: Path
    #: Leased addresses, and for how long the server extended them on the bridge (seconds); None: it did not.
    leases: dict[str, int | None]
    _guard: subprocess.Popen[bytes] | None = None

    def release(self) -> Status:
        """All else is done: from now on only the deadline undoes the change.

        Raises `NicRolledBack` if that has happened already.
        """
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(b"release\n")
                self._guard.stdin.close()
            self._guard.returncode = 0  # it outlives us: Popen need not warn that it still runs
            self._guard = None
        now = status(self.folder)
        if now is None or not (now.guarded or now.state == "kept"):
            raise _rolled_back(now.reason if now else None, now.residue if now else (), self.status.nic)
        return now


def session() -> str | None:
    """The SSH connection that this process belongs to, as $SSH_CONNECTION has it; None on the host itself."""
    return proof.session_of(os.getpid())


def apply(request: Request, listener: Callable[[str], None] = lambda _: None) -> Applied:
    """Change the NIC under a guard, and return when the change is made and proved.

    `listener` is told, in words, what happens. Raises `NicRolledBack` when the change went wrong, after
    everything is as it was, and `HostError` when there is no guard to be had: then nothing was changed.
    """
    folder = request.folder
    story = book.read(folder)
    if story is not None and not story.is_void() and story.state != "undone":
        raise HostError(
            f"{story.record.nic} is changed already, for the lab {story.record.lab}",
            hint="vmlan down undoes that",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    commands = tuple((command.argv, command.stdin) for command in lan.commands(request.steps))
    record = Record(
        lab=request.lab,
        nic=request.nic,
        bridge=request.bridge,
        snapshot=request.snapshot,
        commands=commands,
        confirm_within=request.confirm_within,
        ssh=request.ssh,
        then=request.then,
        boot=book.boot_id(),
        namespace=book.network_namespace(),
        starter=os.getpid(),
    )
    guard = _start(folder, {"folder": str(folder), "record": record.to_json()})
    try:
        return _follow(guard, request, listener)
    except KeyboardInterrupt:
        _hang_up(guard)
        listener(f"interrupted: {request.nic} is put back")
        for _ in _events(guard):
            pass
        raise


def _follow(guard: subprocess.Popen[bytes], request: Request, listener: Callable[[str], None]) -> Applied:
    for event in _events(guard):
        match event["event"]:
            case "armed":
                listener(f"a guard watches over {request.nic}; it undoes what goes wrong")
            case "busy":
                _hang_up(guard)
                raise HostError(
                    f"another vmlan is changing {request.nic} right now", hint="try again when it is done"
                )
            case "waiting" | "kept" as state:
                left = float(event["seconds_left"])
                found = Status(
                    state, request.nic, request.bridge, request.lab, left, guarded=state == "waiting"
                )
                if state == "kept":
                    _hang_up(guard)
                own = guard if state == "waiting" else None
                return Applied(found, tuple(event["silent"]), request.folder, event["leases"], own)
            case "failed":
                _hang_up(guard)
                book.forget(request.folder)
                raise HostError(f"the guard of {request.nic} could not be set up: {event['what']}")
            case "undone":
                _hang_up(guard)
                raise _rolled_back(event["reason"], tuple(event["residue"]), request.nic)
    recover(request.folder)  # both of its processes were killed
    now = status(request.folder)
    raise _rolled_back(now.reason if now else "its guard was killed", now.residue if now else (), request.nic)


def _rolled_back(reason: str | None, residue: Sequence[str], nic: str) -> NicRolledBack:
    left = "".join(f"\n    {one}" for one in residue)
    after = f"; not as it was:{left}" if residue else "; everything is as it was"
    return NicRolledBack(f"{nic} was put back: {reason or 'it could not be changed'}{after}")


def status(folder: Path) -> Status | None:
    """How far the change that this folder tells of has come; None if there was none."""
    story = book.read(folder)
    if story is None:
        return None
    record, last = story.record, story.states[-1] if story.states else {}
    live = _ask(folder, {"op": "status"}) if story.state == "waiting" else None
    return Status(
        "void" if story.is_void() else story.state,
        record.nic,
        record.bridge,
        record.lab,
        float(live["seconds_left"]) if live else 0.0,
        guarded=live is not None,
        reason=last.get("reason"),
        residue=tuple(last.get("residue", ())),
    )


def recorded(folder: Path) -> Record | None:
    """The change that is in effect, or under way: what a lab that runs must be planned from."""
    story = book.read(folder)
    if story is None or story.is_void() or story.state == "undone":
        return None
    return story.record


def confirm(folder: Path, ssh: str | None, *, this_session: bool = False) -> Status:
    """Keep the change. `ssh` is `session()` of whoever confirms.

    Raises `RequestError` when there is nothing to confirm, when it is too late, or when whoever confirms is
    on the connection that was there before, unless `this_session`: that connection lives on, but proves
    nothing of new ones.
    """
    before = status(folder)
    if before is None or before.state == "void":
        raise RequestError("no NIC of this lab waits to be confirmed")
    if before.state == "kept":
        return before
    reply = _ask(folder, {"op": "confirm", "ssh": ssh, "this_session": this_session})
    if reply is None:
        recover(folder)
        now = status(folder)
        raise RequestError(
            f"too late: {before.nic} has been put back"
            + (f", since {now.reason}" if now is not None and now.reason else ""),
            hint="vmlan up makes the change again",
        )
    if reply.get("refused") == "session":
        raise RequestError(
            f"this SSH connection was there before {before.nic} was changed, so it does not prove that a"
            " new one gets"
            " through",
            hint="log in again, and run `vmlan confirm` there; if you cannot: vmlan confirm --this-session",
        )
    if "refused" in reply:
        raise RequestError(
            "whoever makes a change cannot confirm it", hint="run `vmlan confirm` as a command of its own"
        )
    now = status(folder)
    assert now is not None
    return now


def rollback(folder: Path, reason: str = "vmlan down") -> Report:
    """Undo the change, whoever made it and however far it came. Done twice, it does nothing.

    The journal of a change that is undone is forgotten; the report stays.
    """
    story = book.read(folder)
    if story is None or story.is_void():
        book.forget(folder)
        return Report(reason, (), 0.0, changed=False)
    if story.record.namespace != book.network_namespace():
        raise HostError(
            f"{story.record.nic} was changed in another network namespace than this one", hint="run it there"
        )
    if story.state == "waiting":
        _ask(folder, {"op": "rollback", "reason": reason})
        _await_settled(folder)
    last = book.read(folder)
    if last is not None and last.state != "undone":
        _undo(folder, reason)
        last = book.read(folder)
    if last is None or last.state != "undone":
        raise HostError(
            f"{story.record.nic} could not be put back: nothing answered within {_PATIENCE:.0f} s",
            hint=f"its log is {folder / book.LOG}",
        )
    said = last.states[-1]
    book.forget(folder)
    return Report(said["reason"], tuple(said["residue"]), float(said["seconds"]), bool(said["changed"]))


def recover(folder: Path) -> Report | None:
    """Undo a change whose guard is gone although it was not settled; forget one from before a reboot.

    None if there was nothing to do. A guard that is at work is left to it.
    """
    story = book.read(folder)
    if story is None or (story.state in book.SETTLED and not story.is_void()):
        return None
    if story.is_void():
        book.forget(folder)
        return None
    if story.state == "waiting" and _ask(folder, {"op": "status"}) is not None:
        return None
    _undo(folder, "its guard was killed")
    last = book.read(folder)
    if last is None or last.state != "undone":
        return None
    said = last.states[-1]
    return Report(said["reason"], tuple(said["residue"]), float(said["seconds"]), bool(said["changed"]))


# Talking to the guard


def _undo(folder: Path, reason: str) -> None:
    """Have a guard of its own undo it, which ends what it began, whatever becomes of us.

    Another one may be at it: then it is asked, or waited for.
    """
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        guard = _start(folder, {"folder": str(folder), "reason": reason})
        events = [event["event"] for event in _events(guard)]
        _hang_up(guard)
        if "busy" not in events:
            return
        time.sleep(0.05)
        story = book.read(folder)
        if story is None or story.state == "undone":
            return
        if story.state == "waiting":
            _ask(folder, {"op": "rollback", "reason": reason})


def _await_settled(folder: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        story = book.read(folder)
        if story is None or story.state == "undone" or _ask(folder, {"op": "status"}) is None:
            return
        time.sleep(0.02)


def _start(folder: Path, request: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start a guard: in a session of its own and, where systemd is the init, outside of the user's.

    With `KillUserProcesses=yes` (logind.conf(5)) systemd kills what a session leaves behind, however it
    hides; a scope of its own is none of the session's (systemd-run(1)). Where that fails, the guard is
    started without.
    """
    plain = (sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")))
    scoped = ("systemd-run", "--scope", "--quiet", "--collect", *plain)
    for argv in (scoped, plain) if _has_systemd() else (plain,):
        with (folder / book.LOG).open("ab") as log:
            guard = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PATH": SEARCH_PATH},
            )
        assert guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.write(json.dumps(request).encode() + b"\n")
            guard.stdin.flush()
            if argv is plain or guard.stdout is None or _first_line(guard):
                return guard
        guard.wait()
    return guard


def _has_systemd() -> bool:
    return os.getuid() == 0 and Path("/run/systemd/system").is_dir() and find("systemd-run") is not None


def _first_line(guard: subprocess.Popen[bytes]) -> bool:
    """Whether it says anything at all: a `systemd-run` that fails does not."""
    assert guard.stdout is not None
    return bool(guard.stdout.peek(1))  # type: ignore[attr-defined]


def _events(guard: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert guard.stdout is not None
    for line in guard.stdout:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _hang_up(guard: subprocess.Popen[bytes]) -> None:
    """It knows all that it must; it ends by itself."""
    if guard.stdin is not None:
        with contextlib.suppress(OSError):
            guard.stdin.close()
    if guard.poll() is None:
        guard.returncode = 0


def _ask(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """What a guard that waits answers; None if there is none, or it ended over it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(_PATIENCE)
        try:
            client.connect(str(folder / book.SOCKET))
            client.send(json.dumps(request).encode())
            data = client.recv(65536)
        except OSError:
            return None
    return dict(json.loads(data)) if data else None
