"""The keeper: a lab's PID 1. It starts programs, reaps them, and says what runs. Nothing else.

It knows processes, not labs. It is started as PID 1 of namespaces of its own (`unshare --fork`),
so when it ends, for whatever reason, the kernel kills every process in the lab and takes the
namespaces with their interfaces, rules and routes away (pid_namespaces(7)). It runs on the standard
library alone (`python3 -I -S keeper.py SOCKET`), so that a lab does not depend on what is installed.

Protocol: SOCK_SEQPACKET, one JSON object a packet, in both directions.

    {"op": "start", "argv": […], "name": N?} and the three file descriptors 0, 1, 2 of the program
        → {"pid": P} or {"error": "…"}, and, when it has ended, {"pid": P, "exit": CODE}
    {"op": "list"}                        → {"processes": [{"name", "pid", "exit"}, …]}
    {"op": "orphans"}                     → {"orphans": how many programs without a name run on after whoever
                                             started them has hung up}
    {"op": "signal", "name": N, "signal": S} → {"ok": true} or {"error": "…"}
    {"op": "end"}                         → nothing: the keeper ends, and the lab with it

A named program is remembered after its end, with its exit code (negative: the signal), until a new
one takes the name. CODE is as in `Popen.returncode`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import selectors
import signal
import socket
import sys

#: More than the longest argument list we send; a larger packet is cut, and its JSON refused.
PACKET = 1 << 20


#: How often to look whether our socket is still there (seconds).
LOOK_AGAIN = 5


class Process:
    """One program: what was started, for whom, and, once it has ended, how."""

    def __init__(self, pid: int, name: str | None, client: socket.socket) -> None:
        self.pid = pid
        self.name = name
        self.client = client
        self.exit: int | None = None

    def is_orphan(self) -> bool:
        """Whether it runs, and nobody waits for its end any more."""
        return self.name is None and self.exit is None and self.client.fileno() < 0


class Keeper:
    """The table of processes, and the answers to requests about it."""

    def __init__(self, listener: socket.socket, path: str) -> None:
        self.listener = listener
        self.path = path
        self.processes: list[Process] = []
        self.selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Answer requests and reap children, until "end", or until nobody can find us any more."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(wake_read, selectors.EVENT_READ)
        self.selector.register(self.listener, selectors.EVENT_READ)
        inode = os.stat(self.path).st_ino
        while _is_at(self.path, inode):
            for key, _ in self.selector.select(LOOK_AGAIN):
                if key.fileobj is self.listener:
                    client, _ = self.listener.accept()
                    self.selector.register(client, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self.answer(key.fileobj)
                else:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                    self.reap()

    def answer(self, client: socket.socket) -> None:
        """Read one request and reply to it; a client that hangs up is forgotten."""
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(client, PACKET, 3)
            if not data:
                self.forget(client)
                return
            reply = self.handle(json.loads(data), fds, client)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        finally:
            for fd in fds:
                os.close(fd)
        self.send(client, reply)

    def handle(self, request: dict[str, object], fds: list[int], client: socket.socket) -> dict[str, object]:
        """The reply to one request."""
        if request["op"] == "start":
            return self.start(request, fds, client)
        if request["op"] == "list":
            return {"processes": [self.describe(process) for process in self.processes if process.name]}
        if request["op"] == "orphans":
            return {"orphans": sum(process.is_orphan() for process in self.processes)}
        if request["op"] == "signal":
            return self.signal(str(request["name"]), int(str(request["signal"])))
        if request["op"] == "end":
            os._exit(0)
        return {"error": f"no such request: {request['op']}"}

    def start(self, request: dict[str, object], fds: list[int], client: socket.socket) -> dict[str, object]:
        """Start a program in a session of its own, with the descriptors that came along."""
        argv = [str(word) for word in request["argv"]]  # type: ignore[attr-defined]
        name = str(request["name"]) if request.get("name") else None
        if len(fds) != 3:
            return {"error": "a program needs three descriptors"}
        if name and any(process.name == name and process.exit is None for process in self.processes):
            return {"error": f"{name} is running already"}
        try:
            pid = os.posix_spawnp(
                argv[0],
                argv,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ],
            )
        except OSError as error:
            return {"error": f"{argv[0]}: {error.strerror}", "errno": _cause(argv[0], error)}
        self.processes = [process for process in self.processes if name is None or process.name != name]
        self.processes.append(Process(pid, name, client))
        return {"pid": pid}

    def signal(self, name: str, number: int) -> dict[str, object]:
        """Send a signal to a named program; one that has ended is not an error."""
        for process in self.processes:
            if process.name == name:
                if process.exit is None:
                    os.kill(process.pid, number)
                return {"ok": True}
        return {"error": f"no program named {name}"}

    def describe(self, process: Process) -> dict[str, object]:
        """A named program, for "list"."""
        return {"name": process.name, "pid": process.pid, "exit": process.exit}

    def reap(self) -> None:
        """Collect every child that has ended, and orphans that became ours; tell who started it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for process in self.processes:
                if process.pid == pid and process.exit is None:
                    process.exit = os.waitstatus_to_exitcode(status)
                    self.send(process.client, {"pid": pid, "exit": process.exit})
            self.processes = [process for process in self.processes if process.name or process.exit is None]

    def send(self, client: socket.socket, reply: dict[str, object]) -> None:
        """Reply, if the client is still there; never wait for one that does not read."""
        if client.fileno() < 0:
            return
        try:
            client.send(json.dumps(reply).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            self.forget(client)

    def forget(self, client: socket.socket) -> None:
        """Close a client's connection. What it started goes on."""
        if client.fileno() >= 0:
            self.selector.unregister(client)
            client.close()


def _cause(program: str, error: OSError) -> int | None:
    """Why it did not start. Where a folder of PATH is closed to us, execvp(3) says EACCES of any name."""
    if error.errno != errno.EACCES or "/" in program:
        return error.errno
    there = any(os.access(f"{folder}/{program}", os.F_OK) for folder in os.get_exec_path())
    return errno.EACCES if there else errno.ENOENT


def listen(path: str) -> socket.socket:
    """Listen at `path`, for this user only."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    os.umask(0o177)
    listener.bind(path)
    os.umask(0o077)
    listener.listen(64)
    return listener


def _is_at(path: str, inode: int) -> bool:
    """Whether our socket is still where it was: a lab that cannot be found could never be ended."""
    try:
        return os.stat(path).st_ino == inode
    except OSError:
        return False


def starter_is_gone() -> bool:
    """Whether nobody reads our standard output any more: then nobody knows of this lab (pipe(7))."""
    poll = select.poll()
    poll.register(1, 0)
    return bool(poll.poll(0))


def main(path: str) -> None:
    """Listen, say so on standard output, let go of it, and serve."""
    os.chdir("/")
    if starter_is_gone():
        return
    listener = listen(path)
    try:
        os.write(1, b"ready\n")
    except BrokenPipeError:
        os.unlink(path)
        return
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    Keeper(listener, path).serve()


if __name__ == "__main__":
    main(sys.argv[1])
