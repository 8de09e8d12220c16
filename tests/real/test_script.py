"""`vmlan explain --script` makes the same lab without vmlan: both are looked at with the same eyes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

VIEWS = {
    "link": ("ip", "-j", "-d", "link"),
    "addr": ("ip", "-j", "addr"),
    "route": ("ip", "-j", "route", "show", "table", "all"),
    "rules": ("nft", "-j", "list", "ruleset"),
    "forwarding": ("cat", "/proc/sys/net/ipv4/ip_forward"),
    "hosts": ("cat", "/etc/hosts"),
}

#: What the kernel makes up anew each time: indices, counters, times, and the MACs of taps.
VOLATILE = {
    "ifindex", "link_index", "link_netnsid", "valid_life_time", "preferred_life_time", "handle", "metainfo",
    "flags", "operstate", "state", "forward_delay_timer", "hold_timer", "message_age_timer", "hello_timer", "gc_timer", "tcn_timer", "topology_change_timer", "age", "qlen", "fdb_n_learned",
    "designated_bridge", "id", "root_id", "bridge_id",
    "vnet_hdr",  # as QEMU sets it, a moment after it has started
}  # fmt: skip


def steady(value: Any, taps: set[str]) -> Any:
    """A view without what differs between any two runs of the same commands."""
    if isinstance(value, list):
        rows = [steady(row, taps) for row in value if not _follows_from_a_mac(row)]
        return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
    if isinstance(value, dict):
        is_tap = value.get("ifname") in taps
        gone = VOLATILE | ({"address", "addr_info"} if is_tap else set())
        return {key: steady(each, taps) for key, each in value.items() if key not in gone}
    return value


def _follows_from_a_mac(row: Any) -> bool:
    """Addresses and routes that follow from a tap's own random MAC."""
    if not isinstance(row, dict):
        return False
    local = "fe80" in str(row.get("dst", "")) or "fe80" in str(row.get("local", ""))
    return local or str(row.get("dst", "")).startswith("ff00")


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Every single value of a view, with the way to it: so that a difference can be read."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{path}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from leaves(each, f"{path}[{index}]")
    else:
        yield f"{path} = {value}"


def look(run: Callable[[tuple[str, ...]], str], taps: set[str]) -> dict[str, Any]:
    views: dict[str, Any] = {}
    for name, argv in VIEWS.items():
        text = run(argv)
        try:
            views[name] = steady(json.loads(text), taps)
        except ValueError:
            views[name] = text
    return views


def programs(bench: Bench) -> list[list[str]]:
    """The argument lists of what runs: the machines' and the services'."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            argv = (process / "cmdline").read_bytes().decode().split("\0")[:-1]
        except OSError:
            continue
        if (
            argv
            and Path(argv[0]).name in ("qemu-system-x86_64", "dnsmasq", "socat")
            and str(bench.runtime) in " ".join(argv)
        ):
            found.append(argv)
    return sorted(found)


def first_process(bench: Bench) -> int:
    """The lab's first process when the script runs: the bash inside."""
    for line in bench.processes():
        pid = int(line.partition(":")[0])
        if f"\nNSpid:\t{pid}\t1\n" in (Path("/proc") / str(pid) / "status").read_text():
            return pid
    raise AssertionError("no first process")


@pytest.mark.parametrize("example", ["lan", "crossover", "separate"])
def test_the_script_makes_the_same_lab(bench: Bench, example: str) -> None:
    bench.example(example)
    bench.ok("up", "--cold")  # as the script, which is to run where there are no templates
    taps = {
        argv.partition("ifname=")[2].partition(",")[0]
        for line in programs(bench)
        for argv in line
        if "ifname=" in argv
    }
    ours, our_programs = look(lambda argv: bench.ok("host", "--", *argv), taps), programs(bench)
    bench.ok("down")

    script = bench.folder / "lab.sh"
    script.write_text(bench.ok("explain", "--script"))
    assert "vmlan up" not in script.read_text()
    running = subprocess.Popen(
        ["bash", str(script)],
        cwd="/",
        env={**bench.env, "PATH": "/usr/bin:/bin"},  # as an ordinary user of Debian has it
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "the lab is up; Ctrl-C ends it\n"
        theirs, their_programs = look(lambda argv: _inside(bench, argv), taps), programs(bench)
        for view, seen in ours.items():
            assert set(leaves(theirs[view])) ^ set(leaves(seen)) == set(), view
        assert their_programs == our_programs
    finally:
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(timeout=20) == 130
    deadline = time.monotonic() + 5
    while programs(bench) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert programs(bench) == []
    assert list(bench.runtime.glob("vmlan/*")) == []


def _inside(bench: Bench, argv: tuple[str, ...]) -> str:
    pid = first_process(bench)
    net = next(bench.runtime.glob("vmlan/*/net/host"))
    line = ["nsenter", "--target", str(pid), "--user", "--preserve-credentials", "--mount", "--pid"]
    environment = {**bench.env, "PATH": bench.env["PATH"] + ":/usr/sbin"}
    return subprocess.run(
        [*line, f"--net=/proc/{pid}/root{net}", *argv],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_script_refuses_to_disturb_a_running_lab(bench: Bench) -> None:
    bench.example("crossover")
    script = bench.ok("explain", "--script")
    bench.ok("up", "--cold")  # as the script, which is to run where there are no templates
    refused = subprocess.run(
        ["bash"], input=script, env=bench.env, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2 and "vmlan down" in refused.stderr
    assert bench.ok("exec", "vm1", "--", "hostname") == "vm1\n"
