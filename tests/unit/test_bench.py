"""The benchmark's own arithmetic and reading; what it measures is never asserted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests import labs
from vmlan.plan import build, explain

BENCH = Path(__file__).parents[2] / "bench"
NAMES = ("boots", "commands", "place", "ports", "run", "series")


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


def test_median_and_ratio(bench: dict[str, ModuleType]) -> None:
    slow, fast = bench["series"].Series("slow", [4.0, 9.0, 2.0]), bench["series"].Series("fast", [1.0, 3.0])
    assert slow.median == 4.0
    assert fast.ratio(slow) == 0.5
    assert bench["series"].rows([slow, fast], [slow]) == [
        ["slow", "4.000", "2.000..9.000", ""],
        ["fast", "2.000", "1.000..3.000", "0.50"],
    ]


def test_each_goes_first_in_turn(bench: dict[str, ModuleType]) -> None:
    turns = bench["series"].turns
    assert [turns(round_, "abc")[0] for round_ in range(4)] == ["a", "b", "c", "a"]
    assert all(sorted(turns(round_, "abc")) == ["a", "b", "c"] for round_ in range(4))


def test_every_round_measures_each_once(bench: dict[str, ModuleType]) -> None:
    asked: list[str] = []
    found = bench["run"].interleave("ab", 3, lambda name: asked.append(name) or 0.5)
    assert "".join(asked) == "abbaab"
    assert [one.seconds for one in found] == [[0.5] * 3, [0.5] * 3]


def test_a_failure_is_counted_and_the_rest_goes_on(bench: dict[str, ModuleType]) -> None:
    failed = bench["run"].Failed

    def measure(name: str, times: list[int] = []) -> float:  # noqa: B006
        times.append(1)
        if len(times) == 2:
            raise failed("no such luck")
        return 1.0

    (one,) = bench["run"].interleave(["a"], 3, measure)
    assert (one.seconds, one.failures) == ([1.0, 1.0], ["no such luck"])
    with pytest.raises(failed, match="a never worked: no such luck"):
        bench["run"].interleave(["a"], 1, lambda _: (_ for _ in ()).throw(failed("no such luck")))


def test_the_guest_is_read_from_the_plan(bench: dict[str, ModuleType]) -> None:
    guest = bench["boots"].read_guest(planned(bench["boots"].lab(1), "machine vm1"))
    assert guest.vmlinux == Path("/cache/tiny/vmlinux")
    assert guest.bzimage == Path("/cache/tiny/vmlinuz")
    assert guest.initrd == Path("/cache/tiny/initrd")
    assert guest.accel == "tcg"
    assert "console=ttyS0" in guest.append.split()


@pytest.mark.parametrize("count", [1, 2, 100])
def test_the_labs_can_be_planned(bench: dict[str, ModuleType], count: int) -> None:
    assert f"vm{count}" in planned(bench["boots"].lab(count), f"machine vm{count}")
    lines = bench["ports"].planned_lines(planned(bench["ports"].lab(count), "network lan"))
    assert sum("tuntap add" in line for line in lines) == count
    assert not any("END" in line for line in lines)


def test_by_hand_makes_as_many_ports(bench: dict[str, ModuleType]) -> None:
    assert len(bench["ports"].lines(100)) == 202


def test_what_must_hold(bench: dict[str, ModuleType]) -> None:
    series, boots, run = bench["series"].Series, bench["boots"], bench["run"]

    def results(vmlan: float) -> dict[str, list[object]]:
        return {
            "start to first ping, 2 machines": [series(boots.BZIMAGE, [5.0]), series(boots.VMLAN, [vmlan])]
        }

    assert run.verdict(results(3.0)) == 0
    assert run.verdict(results(3.1)) == 1
    assert run.verdict({}) == 2


def test_a_program_that_fails_is_told_with_its_words(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    place = bench["place"]
    assert place.run(["echo", "hello"], tmp_path, {}) == "hello\n"
    with pytest.raises(place.Failed, match=r"(?s)ended with 3.*no such luck"):
        place.run(["sh", "-c", "echo no such luck >&2; exit 3"], tmp_path, {})


def test_the_script_is_sound_bash() -> None:
    subprocess.run(["bash", "-n", str(BENCH / "by-hand.sh")], check=True)
    done = subprocess.run([str(BENCH / "by-hand.sh")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr
