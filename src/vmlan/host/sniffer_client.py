"""Starting the sniffer in a lab, hearing what it says, and having tcpdump translate filters."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

from vmlan.errors import HostError, RequestError
from vmlan.host import enter, sniffer
from vmlan.host.run import SEARCH_PATH, need, run
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Space

#: How long the sniffer may take to start (seconds): it starts in a tenth of one.
START_TIMEOUT = 20.0
#: As much as an ordinary user's pipe can hold (pipe(7), /proc/sys/fs/pipe-max-size).
_PIPE = 1 << 20


def compile_filter(layout: Layout, words: str, kind: Literal["interface", "file"]) -> str:
    """A filter as tcpdump understands it, as a program for classic BPF (`tcpdump -ddd`).

    `interface`: for the kernel, which keeps a VLAN's tag beside the frame; `file`: for frames as they
    are on the wire. It is compiled on the lab's host side, where the machines' names are known.
    Raises `MissingProgram`, and `RequestError` with tcpdump's own words.
    """
    need("tcpdump")
    what = ("-i", "lo") if kind == "interface" else ("-y", "EN10MB")
    line = enter.nsenter(layout, ("tcpdump", "-ddd", *what, "--", words))
    result = run(line, check=False, timeout=20)
    if not result.ok:
        said = [text.removeprefix("tcpdump: ") for text in result.stderr.splitlines() if text.strip()]
        raise RequestError(
            f"the filter '{words}' is not one: {said[-1] if said else 'tcpdump did not say why'}",
            hint="man pcap-filter; for example: 'icmp', 'arp or port 67', 'host vm1 and tcp port 80'",
        )
    return result.stdout


class SnifferProcess:
    """One sniffer: the interfaces of one of the lab's network namespaces."""

    def __init__(
        self, layout: Layout, space: Space, interfaces: Sequence[str], program: Sequence[Sequence[int]]
    ) -> None:
        need("nsenter")
        argv = (sys.executable, "-I", "-S", "-B", sniffer.__file__)
        self._process = subprocess.Popen(
            enter.nsenter(layout, argv, space),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": SEARCH_PATH},
            # A Ctrl-C at the terminal is for us, who then end it in order.
            start_new_session=True,
        )
        assert self._process.stdin and self._process.stdout
        self._heard = bytearray()
        self._out = self._process.stdout.fileno()
        self.ended = False
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _PIPE)
        os.set_blocking(self._out, False)
        order = {"interfaces": list(interfaces), "filter": [list(line) for line in program]}
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def fileno(self) -> int:
        """What to wait on for more to be heard."""
        return self._out

    def wait_ready(self) -> list[str | None]:
        """Wait until frames are seen: each interface's MAC, None where there is none. Raises `HostError`."""
        while True:
            ready, _, _ = select.select([self._out], [], [], START_TIMEOUT)
            for kind, _, body in self.hear():
                if kind == sniffer.READY:
                    macs: list[str | None] = json.loads(body)["macs"]
                    return macs
            if self.ended or not ready:
                words = self.words()
                raise HostError(f"the lab's frames cannot be read{': ' if words else ''}{words}")

    def hear(self) -> Iterator[tuple[int, int, bytes]]:
        """The records that have come: kind, interface, body. Sets `ended` when nothing will come any more."""
        with contextlib.suppress(BlockingIOError):
            more = os.read(self._out, _PIPE)
            self._heard += more
            self.ended = not more
        at, size = 0, sniffer.HEAD.size
        while at + size <= len(self._heard):
            kind, number, length = sniffer.HEAD.unpack_from(self._heard, at)
            if at + size + length > len(self._heard):
                break
            at += size + length
            yield kind, number, bytes(self._heard[at - length : at])
        del self._heard[:at]

    def stop(self) -> None:
        """Have it hand over what there is, and end."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def close(self) -> None:
        """End it, whatever it still has to say."""
        self.stop()
        assert self._process.stdout and self._process.stderr
        self._process.stdout.close()  # which it notices
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stderr.close()

    def words(self) -> str:
        """What it said when it ended."""
        self.stop()
        assert self._process.stderr
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
            said = self._process.stderr.read().decode(errors="replace").strip()
            return said.splitlines()[-1] if said else ""
        return "it does not start"
