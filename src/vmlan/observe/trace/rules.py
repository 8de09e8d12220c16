"""Which rule of the host side's nftables drops a packet: the kernel is asked to tell of this one packet.

A table of our own marks the probe (`meta nftrace set 1`, nft(8)), and `nft monitor trace` tells each rule
that it meets. The table belongs to the process that made it (`flags owner`): it is gone when that ends,
however it ends. Nothing is done where no rule could drop anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any

from vmlan.errors import VmlanError
from vmlan.host import enter
from vmlan.host.run import SEARCH_PATH
from vmlan.observe.trace.probe import Probe
from vmlan.plan.layout import Layout

_TABLE = "vmlan_trace"

#: Before everything else that looks at a packet (nft(8), standard priorities: raw is -300).
_FIRST = -400

#: How long the monitor may take to listen, and to tell what it has heard (seconds).
_READY, _TELLS = 1.0, 0.15


@dataclass(frozen=True)
class Dropped:
    """A packet's end: the rule, as nft writes it, its chain, and the command that takes it away."""

    chain: str  #: family, table, chain
    rule: str
    answer: bool
    undo: str


def suspicious(ruleset: list[dict[str, Any]]) -> bool:
    """Whether a ruleset (`nft -j list ruleset`) could drop a packet at all."""
    for row in ruleset:
        if row.get("chain", {}).get("policy") == "drop":
            return True
        expressions = row.get("rule", {}).get("expr", ())
        if any(not ({"masquerade", "match", "counter", "meta"} & set(each)) for each in expressions):
            return True
    return False


def families(ruleset: list[dict[str, Any]]) -> set[str]:
    """The families that have rules."""
    return {row["rule"]["family"] for row in ruleset if "rule" in row}


class RuleWatch:
    """Watches what the host side's rules do with a probe, from `__enter__` to `__exit__`."""

    def __init__(self, layout: Layout, probe: Probe) -> None:
        self._layout = layout
        self._probe = probe
        self._stack = contextlib.ExitStack()
        self._heard = bytearray()
        self._monitor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RuleWatch:
        ruleset = _ruleset(self._layout)
        if suspicious(ruleset):
            with contextlib.suppress(VmlanError, OSError):
                self._monitor = self._start("monitor", "trace")
                owner = self._start("-i")
                self._wait_for(owner, _table(self._probe, families(ruleset)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.close()

    def dropped(self) -> tuple[Dropped, ...]:
        """The rules that dropped the probe or its answer."""
        if self._monitor is None:
            return ()
        deadline = time.monotonic() + _TELLS
        while self._hear(deadline):
            pass
        found = (
            _undo(self._layout, each) for each in read(self._heard.decode(errors="replace"), self._probe)
        )
        return tuple(found)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            enter.nsenter(self._layout, ("nft", *words)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PATH": SEARCH_PATH},
            start_new_session=True,
        )
        self._stack.callback(_end, process)
        return process

    def _wait_for(self, owner: subprocess.Popen[bytes], table: str) -> None:
        """Make the table, and wait until it is there."""
        assert owner.stdin is not None
        owner.stdin.write(table.encode())
        owner.stdin.flush()
        deadline = time.monotonic() + _READY
        while time.monotonic() < deadline:
            if enter.run_on_host_side(self._layout, ("nft", "list", "table", "inet", _TABLE)).ok:
                return
            time.sleep(0.02)

    def _hear(self, deadline: float) -> bool:
        assert self._monitor is not None and self._monitor.stdout is not None
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._monitor.stdout], [], [], left)[0]:
            return False
        more = os.read(self._monitor.stdout.fileno(), 65536)
        self._heard += more
        return bool(more)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End nft: the process that we know is nsenter's, which waits for it in the lab's process namespace."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _ruleset(layout: Layout) -> list[dict[str, Any]]:
    done = enter.run_on_host_side(layout, ("nft", "-j", "list", "ruleset"))
    try:
        rows: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    except (ValueError, KeyError, TypeError):
        return []
    return rows


def _table(probe: Probe, used: set[str]) -> str:
    """The table that marks the probe and its answer, in one line for `nft -i`."""
    ip = "ip6" if ip_address(probe.address).version == 6 else "ip"
    if probe.port is None:
        kind = f"meta l4proto {'ipv6-icmp' if ip == 'ip6' else 'icmp'}"
        there = back = kind
    else:
        there, back = f"tcp dport {probe.port}", f"tcp sport {probe.port}"
    marks = (
        f"{ip} daddr {probe.address} {there} meta nftrace set 1;"
        f" {ip} saddr {probe.address} {back} meta nftrace set 1;"
    )
    made = []
    for family in ("inet", *(["bridge"] if "bridge" in used else [])):
        chains = " ".join(
            f"chain {hook} {{ type filter hook {hook} priority {_FIRST}; {marks} }};"
            for hook in ("prerouting", "output")
        )
        made.append(f"table {family} {_TABLE} {{ flags owner; {chains} }}")
    return "".join(f"{line}\n" for line in made)


_LINE = re.compile(r"trace id (\S+) (\S+) (\S+) (\S+) (.*)")
_END = re.compile(r"^(rule (?P<rule>.*)|policy drop|unknown rule handle (?P<handle>\d+)) ?\(?(?P<rest>.*)$")


def read(words: str, probe: Probe) -> Iterator[Dropped]:
    """The packets' ends in what `nft monitor trace` says. One that is rejected is dropped too."""
    answers: dict[str, bool] = {}
    for line in words.splitlines():
        found = _LINE.match(line.strip())
        if found is None:
            continue
        number, family, table, chain, rest = found.groups()
        if rest.startswith("packet:"):
            answers.setdefault(number, f"saddr {probe.address} " in f"{rest} ")
        elif table != _TABLE and ("(verdict drop)" in rest or rest.strip() == "policy drop"):
            rule = rest.strip().removeprefix("rule ").removesuffix("(verdict drop)").strip()
            yield Dropped(f"{family} {table} {chain}", rule, answers.get(number, False), "")


def _undo(layout: Layout, found: Dropped) -> Dropped:
    """The same, with the command that takes the rule away."""
    words = found.chain.split()
    if found.rule.endswith("policy drop"):
        chain = "'{ policy accept; }'"
        return Dropped(found.chain, found.rule, found.answer, f"nft chain {found.chain} {chain}")
    listed = enter.run_on_host_side(layout, ("nft", "-a", "list", "chain", *words)).stdout
    for line in listed.splitlines():
        text, mark, handle = line.strip().rpartition(" # handle ")
        if mark and _plain(text) == _plain(found.rule):
            return Dropped(
                found.chain, found.rule, found.answer, f"nft delete rule {found.chain} handle {handle}"
            )
    return found


def _plain(rule: str) -> str:
    """A rule without what it has counted."""
    return re.sub(r"counter packets \d+ bytes \d+", "counter", rule)
