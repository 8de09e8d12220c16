"""The benchmark's own arithmetic and reading; what it measures is never asserted."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import labs
from vmlan.plan import build, explain

BENCH = Path(__file__).parents[2] / "bench"
NAMES = tuple(file.stem for file in BENCH.glob("*.py"))
SCRIPTS = ("by-hand.sh", "by-libvirt.sh", "by-munet.sh", "bridge-by-hand.sh", "setup-others")


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, ModuleType]]:
    """Its modules, by name. They are a folder of scripts, not a package."""
    sys.path.insert(0, str(BENCH))
    try:
        yield {name: __import__(name) for name in NAMES}
    finally:
        sys.path.remove(str(BENCH))
        for name in NAMES:
            sys.modules.pop(name, None)


def planned(text: str, id_: str) -> str:
    """What `vmlan explain` prints for a step of this lab."""
    facts = labs.facts()
    rows = explain.paragraphs(build.plan(labs.lab(text), facts), facts.layout)
    return next(row.shell for row in rows if id_ in row.ids)


# Arithmetic


def test_median_and_ratio(bench: dict[str, ModuleType]) -> None:
    series, table = bench["series"].Series, bench["series"].Table
    slow, fast = series("slow", [4.0, 9.0, 2.0]), series("fast", [1.0, None, 3.0], ["no such luck"])
    assert slow.median == 4.0
    assert fast.ratio(slow) == 0.5
    assert table("k", "a thing", "s", [slow, fast]).rows() == [
        ["slow", "3", "4.00", "2.00..9.00", ""],
        ["fast", "2 + 1 failed", "2.00", "1.00..3.00", "0.50"],
    ]


def test_paired_ratios_are_those_within_a_round(bench: dict[str, ModuleType]) -> None:
    series = bench["series"].Series
    base, other = series("base", [1.0, 10.0, None, 100.0]), series("other", [2.0, 20.0, 1.0, 200.0])
    assert other.paired(base) == 2.0
    assert other.ratio(base) != 2.0


def test_what_never_worked_is_not_in_the_table(bench: dict[str, ModuleType]) -> None:
    series, table = bench["series"].Series, bench["series"].Table
    never, once = series("never", [None], ["no"]), series("once", [1.0])
    assert table("k", "t", "s", [never, once]).rows() == [["once", "1", "1.00", "1.00..1.00", ""]]


def test_each_goes_first_in_turn(bench: dict[str, ModuleType]) -> None:
    turns = bench["series"].turns
    assert [turns(round_, "abc")[0] for round_ in range(4)] == ["a", "b", "c", "a"]
    assert all(sorted(turns(round_, "abc")) == ["a", "b", "c"] for round_ in range(4))


# Interleaving


def test_every_round_measures_each_once(bench: dict[str, ModuleType]) -> None:
    asked: list[str] = []
    found = bench["run"].interleave("ab", 3, lambda name: asked.append(name) or {"s": 0.5, "MB": 2.0}, [])
    assert "".join(asked) == "abbaab"
    assert [one.values for one in found["s"]] == [[0.5] * 3, [0.5] * 3]
    assert [one.values for one in found["MB"]] == [[2.0] * 3, [2.0] * 3]


def test_a_failure_is_counted_and_the_rest_goes_on(bench: dict[str, ModuleType]) -> None:
    failed = bench["run"].Failed

    def measure(name: str, times: list[int] = []) -> dict[str, float]:  # noqa: B006
        times.append(1)
        if len(times) == 2:
            raise failed("no such luck")
        return {"s": 1.0}

    left_out: list[str] = []
    (one,) = bench["run"].interleave(["a"], 3, measure, left_out)["s"]
    assert (one.values, one.failures, left_out) == ([1.0, None, 1.0], ["no such luck"], [])


def test_what_never_works_is_given_up_and_said(bench: dict[str, ModuleType]) -> None:
    failed, asked = bench["run"].Failed, []

    def measure(name: str) -> dict[str, float]:
        asked.append(name)
        if name == "bad":
            raise failed("no such luck")
        return {"s": 1.0}

    left_out: list[str] = []
    bench["run"].interleave(["good", "bad"], 5, measure, left_out)
    assert (asked.count("good"), asked.count("bad")) == (5, 2)
    assert left_out == ["bad: no such luck"]
    with pytest.raises(failed, match="nothing of it worked"):
        bench["run"].interleave(["bad"], 1, measure, [])


# What is asked for


@pytest.mark.parametrize(
    ("words", "starts", "warm"),
    [
        ([], {1: 5, 4: 5, 16: 2}, {1: 5, 8: 5, 10: 5, 32: 5, 100: 5}),
        (["--quick"], {1: 2}, {1: 3, 8: 3}),
        (["--runs", "7"], {1: 7, 4: 7, 16: 7}, {1: 7, 8: 7, 10: 7, 32: 7, 100: 7}),
        (["-n", "16", "2"], {16: 2, 2: 5}, {1: 5, 8: 5, 10: 5, 32: 5, 100: 5}),
    ],
)
def test_how_much_is_measured(
    bench: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    starts: dict[int, int],
    warm: dict[int, int],
) -> None:
    run = bench["run"]
    monkeypatch.setattr(sys, "argv", ["run.py", "--vmlan", "/bin/true", *words])
    size = run.size(run.arguments())
    assert (size.starts, size.warm) == (starts, warm)


def test_a_part_that_there_is_not_is_refused(
    bench: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--vmlan", "/bin/true", "boots"])
    with pytest.raises(SystemExit):
        bench["run"].arguments()
    assert "there is no part boots" in capsys.readouterr().err
    assert set(bench["run"].PARTS) == set(bench["run"].PART)


# What is read


def test_the_guest_is_read_from_the_plan(bench: dict[str, ModuleType]) -> None:
    guest = bench["starts"].read_guest(planned(bench["starts"].lab(1), "machine vm1"))
    assert guest.vmlinux == Path("/cache/tiny/vmlinux")
    assert guest.bzimage == Path("/cache/tiny/vmlinuz")
    assert guest.initrd == Path("/cache/tiny/initrd")
    assert guest.accel == "tcg"
    assert "console=ttyS0" in guest.append.split()
    assert "hostname" not in guest.append


@pytest.mark.parametrize("count", [1, 2, 100])
def test_the_labs_can_be_planned(bench: dict[str, ModuleType], count: int) -> None:
    assert f"vm{count}" in planned(bench["starts"].lab(count), f"machine vm{count}")
    lines = bench["ports"].planned_lines(planned(bench["ports"].lab(count), "network lan"))
    assert sum("tuntap add" in line for line in lines) == count
    assert not any("END" in line for line in lines)


def test_by_hand_makes_as_many_ports(bench: dict[str, ModuleType]) -> None:
    assert len(bench["ports"].lines(100)) == 202


def test_the_bridge_by_hand_has_the_same_qemu(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    shell = planned(bench["starts"].lab(2), "machine vm2")
    command, mac = bench["traffic"].alone(shell, tmp_path)
    assert command.startswith("/usr/bin/qemu-system-x86_64 ")
    assert f"path={tmp_path}/agent," in command
    assert "ifname=vm2-lan" in command
    assert mac in command
    assert not {"<", "&", "nsenter"} & set(command.split())
    assert "/vm-vm2" not in command
    # All that is said to QEMU, in this order: only where its files are is another.
    theirs = [word for word in shlex.split(shell.replace("\\\n", " ")) if "/vm-vm2" not in word]
    ours = [word for word in shlex.split(command) if str(tmp_path) not in word]
    assert ours == theirs[theirs.index("/usr/bin/qemu-system-x86_64") : theirs.index("<")]


def test_memory_is_read_as_the_kernel_writes_it(bench: dict[str, ModuleType]) -> None:
    own = Path("/proc/self/smaps_rollup").read_text()
    assert bench["memory"].pss(own) > 1000
    assert bench["memory"].pss("Rss:  5 kB\nPss:                1234 kB\nPss_Dirty:  9 kB\n") == 1234


def test_times_of_busybox(bench: dict[str, ModuleType]) -> None:
    traffic = bench["traffic"]
    one = f"{traffic._BLOCKS}+0 records in\n{traffic._BLOCKS}+0 records out\nreal\t0m 5.31s\nuser\t0m 0.01s\n"
    assert traffic.sent(one * traffic.SENDS) == [5.31] * traffic.SENDS
    assert traffic.seconds("real 1m 2.50s") == [62.5]
    lines = "".join(
        f"64 bytes from 10.2.0.12: seq={n} ttl=64 time={t} ms\n" for n, t in enumerate((20.8, 1.4, 2.0, 1.6))
    )
    assert traffic.ping_time(lines) == 1.6
    cut_short = one.replace(f"{traffic._BLOCKS}+0 records out", "17+1 records out")
    refused = "nc: can't connect\nreal\t0m 0.01s\n"
    for wrong in ("no such luck", "", one, cut_short * traffic.SENDS, refused * traffic.SENDS):
        with pytest.raises(bench["place"].Failed):
            traffic.sent(wrong)
    for wrong in ("no such luck", ""):
        with pytest.raises(bench["place"].Failed):
            traffic.ping_time(wrong)


def test_the_agent_is_asked_as_qemu_says(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    """docs/interop/qemu-ga-ref: guest-exec, then guest-exec-status until it has exited."""
    asked: list[dict[str, Any]] = []
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(tmp_path / "agent"))
    door.listen()

    def guest() -> None:
        answers = [{"pid": 7}, {"exited": False}, {"exited": True, "exitcode": 0, "out-data": "aGk="}]
        with door.accept()[0].makefile("rwb") as wire:
            for answer in answers:
                asked.append(json.loads(wire.readline()))
                wire.write(json.dumps({"return": answer}).encode() + b"\n")
                wire.flush()

    thread = threading.Thread(target=guest, daemon=True)
    thread.start()
    assert bench["agent"].shell(tmp_path / "agent", "echo hi", 10) == "hi"
    thread.join(10)
    door.close()
    assert [each["execute"] for each in asked] == ["guest-exec", "guest-exec-status", "guest-exec-status"]
    assert asked[0]["arguments"]["arg"] == ["-c", "echo hi"]
    assert not bench["agent"].answers(tmp_path / "nobody")


# Programs


def test_a_program_that_fails_is_told_with_its_words(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    place = bench["place"]
    assert place.run(["echo", "hello"], tmp_path, {}) == "hello\n"
    with pytest.raises(place.Failed, match=r"(?s)ended with 3.*no such luck"):
        place.run(["sh", "-c", "echo no such luck >&2; exit 3"], tmp_path, {})


def fake_vmlan(tmp_path: Path, says: str) -> Path:
    program = tmp_path / "vmlan"
    program.write_text(f"#!/bin/sh\n[ $1 = up ] || exit 2\necho '{says}'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("says", "has"), [("  --cold  Boot.", True), ("  --colder  No.", False), ("", False)]
)
def test_what_this_vmlan_offers(bench: dict[str, ModuleType], tmp_path: Path, says: str, has: bool) -> None:
    place = bench["place"].Place(tmp_path, fake_vmlan(tmp_path, says), dict(os.environ))
    assert place.offers("up", "--cold") is has
    assert place.offers("snapshot", "restore") is False
    ways = bench["starts"].ways(place)
    assert (bench["starts"].WARM in ways.names) is has
    assert any("vmlan up, warm: this vmlan has no templates" in line for line in ways.left_out) is not has


def test_a_fresh_place_knows_the_guest_and_nothing_else(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    cache = tmp_path / "cache/vmlan"
    for folder in ("tiny-1", "tiny-2", "templates/abc"):
        (cache / folder).mkdir(parents=True)
        (cache / folder / "file").touch()
    (cache / "qemu.json").touch()
    (tmp_path / "bench").mkdir()
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    place = bench["place"].Place(tmp_path / "bench", Path("/bin/true"), env)
    with bench["place"].fresh(place, cache / "tiny-2") as fresh:
        own = Path(fresh.env["XDG_CACHE_HOME"]) / "vmlan"
        assert sorted(path.name for path in own.rglob("*")) == ["file", "qemu.json", "tiny-2"]
        assert fresh.env["XDG_RUNTIME_DIR"].startswith(str(own.parents[1]))
    assert not own.exists()
    assert (cache / "templates/abc/file").exists()


def test_others_that_are_not_here_are_said(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    nowhere = {"PATH": str(tmp_path)}
    for find in (bench["others"].libvirt, bench["others"].munet):
        found = find(nowhere, tmp_path)
        assert "setup-others" in found.missing
        assert found.env == {}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_are_sound_bash(script: str) -> None:
    subprocess.run(["bash", "-n", str(BENCH / script)], check=True)


@pytest.mark.parametrize("script", SCRIPTS[:-1])
def test_the_scripts_say_how_they_are_used(script: str) -> None:
    done = subprocess.run([str(BENCH / script)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr


# What is told


def results(bench: dict[str, ModuleType], **medians: dict[str, float]) -> Any:
    """A run that found these, each once."""
    series, table = bench["series"].Series, bench["series"].Table
    tables = [
        table(
            key.replace("_", " "), f"of {key}", "s", [series(name, [value]) for name, value in found.items()]
        )
        for key, found in medians.items()
    ]
    return bench["results"].Results(
        {"day": "2026-01-01"}, tables, ["munet: none | here\nat all"], {"starts": 60.0}
    )


def test_what_must_hold(bench: dict[str, ModuleType]) -> None:
    starts, warm = bench["starts"], bench["warm"]
    found = results(
        bench,
        starts_1={starts.BZIMAGE: 10.0, starts.VMLINUX: 4.0, starts.COLD: 4.4},
        starts_4={starts.BZIMAGE: 10.0, starts.VMLINUX: 5.0, starts.COLD: 5.1, starts.WARM: 1.1},
        warm={warm.name(100): 24.0},
        warm_each={warm.name(10): 0.2, warm.name(100): 0.24},
        throughput={bench["traffic"].BY_HAND: 100.0, bench["traffic"].COLD: 96.0},
    )
    said = {claim.text: claim for claim in bench["claims"].claims(found.tables)}
    assert {text: (round(claim.found, 3), claim.holds) for text, claim in said.items() if claim.found} == {
        "cold start ÷ the script with the packaged kernel, N = 1": (0.44, True),
        "cold start ÷ the script with the packaged kernel, N = 4": (0.51, False),
        "cold start ÷ the script with the unpacked kernel, N = 1": (1.1, False),
        "cold start ÷ the script with the unpacked kernel, N = 4": (1.02, True),
        "warm start ÷ the script with the packaged kernel, N = 4": (0.11, True),
        "warm start, what one of 100 machines costs ÷ one of 10": (1.2, True),
        "100 machines up, addressed and answering": (24.0, True),
        "throughput from guest to guest ÷ a bridge by hand (vmlan up, cold)": (0.96, False),
    }
    assert said["`vmlan ps` ÷ `python -c pass`"].row()[1:] == ["≤ 8", "–", "not measured"]
    assert [claim.holds for claim in bench["claims"].claims([])] == [None] * len(bench["claims"].claims([]))


def test_figures_come_back_from_the_file(bench: dict[str, ModuleType]) -> None:
    found = results(bench, starts_1={"by hand": 2.0, "vmlan up, cold": 1.0})
    again = bench["results"].from_json(json.loads(json.dumps(found.as_json())))
    assert again == found
    assert "munet: none | here" in again.as_text()


def test_the_document_has_all_of_it(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    found = results(bench, starts_1={"by hand & <foot>": 2.0, "vmlan up, cold": 1.0})
    (tmp_path / "figures.json").write_text(json.dumps(found.as_json()))
    publish = [sys.executable, str(BENCH / "publish.py"), "--into", str(tmp_path)]
    subprocess.run([*publish, str(tmp_path / "figures.json")], check=True)
    document = (tmp_path / "performance.md").read_text()
    assert "| vmlan up, cold | 1 | 1.00 | 1.00..1.00 | 0.50 |" in document
    assert "- munet: none | here … at all" in document
    assert "not measured" in document
    drawn = xml.etree.ElementTree.parse(tmp_path / "performance.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert "by hand & <foot>" in [text.text for text in drawn.iter(f"{space}text")]
    widths = [float(bar.attrib["width"]) for bar in drawn.iter(f"{space}rect")][1:]
    assert widths == [500.0, 250.0]


def test_what_are_no_figures_is_refused(tmp_path: Path) -> None:
    publish = [sys.executable, str(BENCH / "publish.py"), "--into", str(tmp_path)]
    done = subprocess.run(publish, input="", capture_output=True, text=True)
    assert done.returncode == 2
    assert "run `make bench` first" in done.stderr
    assert not list(tmp_path.iterdir())
