"""The n-th effect fails, for every n, in every way; afterwards nothing is left, and a lab can come up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import labs
from tests.faults.world import FakeEffects, Mode, ProcessGone, World
from vmlan.errors import CommandFailed, LabChanged, VmlanError
from vmlan.host.executor import Executor
from vmlan.plan.build import plan
from vmlan.plan.steps import Plan, Saved, Start

FILE = Path("/labs/here/lab.yaml")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: the lab's sockets must fit into 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="vm-") as folder:
        yield Path(folder)


def plan_of(world: World, text: str = labs.LAN) -> Plan:
    return plan(
        labs.lab(text), labs.facts(world.layout.run, world.layout.state, templates=world.root / "templates")
    )


def bring_up(world: World, text: str = labs.LAN, fail_at: int = 0, mode: Mode = "refuse") -> FakeEffects:
    effects = FakeEffects(world, fail_at, mode)
    Executor(effects, world.layout).bring_up(plan_of(world, text), "lan", FILE)
    return effects


def take_down(world: World) -> None:
    Executor(FakeEffects(world), world.layout).take_down()


def how_many_effects(tmp_path: Path) -> int:
    return bring_up(World(tmp_path / "counting")).count


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def disks(world: World) -> list[str]:
    """The disks that are there. A half-made one must never be."""
    found = [line for line in world.left() if line.endswith(".qcow2")]
    assert all((world.root / disk).read_text() == "a disk" for disk in found), "half a disk"
    return found


def test_up_then_down_leaves_only_the_disks(world: World) -> None:
    bring_up(world)
    assert {"keeper", "lan", "vm1-lan", "vm-vm1", "vm-vm2", "vmlan_lan", "wire"} <= set(world.left())
    take_down(world)
    assert world.left() == ["state/lab/vm2/disk0.qcow2"]


@pytest.mark.parametrize("damage", [None, b"", b'{"begin": {"type": "Teleport"}}\n'])
def test_a_lab_whose_journal_is_lost_or_from_elsewhere_is_ended_whole(
    world: World, damage: bytes | None
) -> None:
    for verb in ("down", "up"):
        bring_up(world)
        if damage is None:
            world.layout.journal.unlink()
        else:
            world.layout.journal.write_bytes(damage)
        if verb == "up":
            bring_up(world)
            assert "keeper" in world.left()
        take_down(world)
        assert "keeper" not in world.left()
        assert [line for line in world.left() if not line.endswith(".qcow2")] == []


def test_a_second_up_does_nothing(world: World) -> None:
    bring_up(world)
    before = world.left()
    assert bring_up(world).count == 0
    assert world.left() == before


@pytest.mark.parametrize("mode", ["refuse", "half", "full"])
def test_a_failing_effect_is_rolled_back(tmp_path: Path, mode: Mode) -> None:
    total = how_many_effects(tmp_path)
    assert total > 20
    for n in range(1, total + 1):
        world = World(tmp_path / f"{mode}-{n}")
        with pytest.raises((CommandFailed, OSError)):
            bring_up(world, fail_at=n, mode=mode)
        started = n > total - 2  # from the first machine's start on, its disk may have been written
        assert world.left() == (disks(world) if started else []), f"effect {n} of {total}"
        bring_up(world)
        take_down(world)
        assert len(world.left()) == 1


@pytest.mark.parametrize("mode", ["crash", "late", "torn"])
@pytest.mark.parametrize("keeper_dies", [False, True])
def test_after_a_kill_down_leaves_nothing(tmp_path: Path, mode: Mode, keeper_dies: bool) -> None:
    total = how_many_effects(tmp_path)
    for n in range(1, total + 1):
        world = World(tmp_path / f"{mode}-{keeper_dies}-{n}")
        with pytest.raises(ProcessGone):
            bring_up(world, fail_at=n, mode=mode)
        if keeper_dies:
            world.power_cut()
        take_down(world)
        assert world.left() == disks(world), f"effect {n} of {total}"


@pytest.mark.parametrize("mode", ["crash", "late", "torn"])
@pytest.mark.parametrize("keeper_dies", [False, True])
def test_after_a_kill_up_brings_the_whole_lab(tmp_path: Path, mode: Mode, keeper_dies: bool) -> None:
    total = how_many_effects(tmp_path)
    whole = World(tmp_path / "whole")
    bring_up(whole)
    for n in range(1, total + 1):
        world = World(tmp_path / f"{mode}-{keeper_dies}-{n}")
        with pytest.raises(ProcessGone):
            bring_up(world, fail_at=n, mode=mode)
        if keeper_dies:
            world.power_cut()
        bring_up(world)
        assert world.left() == whole.left(), f"effect {n} of {total}"
        assert len(disks(world)) == 1
        take_down(world)
        assert len(world.left()) == 1


def test_a_kill_during_down_is_finished_by_the_next_one(tmp_path: Path) -> None:
    for mode in ("crash", "late", "torn"):
        n = 0
        while True:
            n += 1
            world = World(tmp_path / f"{mode}-{n}")
            bring_up(world)
            effects = FakeEffects(world, fail_at=n, mode=mode)  # type: ignore[arg-type]
            try:
                Executor(effects, world.layout).take_down()
            except ProcessGone:
                take_down(world)
                assert world.left() == ["state/lab/vm2/disk0.qcow2"], f"{mode} at {n}"
                continue
            assert n > 10
            break


def test_a_machine_that_joins_and_fails_takes_only_itself_away(tmp_path: Path) -> None:
    n = 0
    while True:
        n += 1
        world = World(tmp_path / str(n))
        bring_up(world)
        before = world.left()
        hosts = (world.layout.run / "hosts").read_text()
        try:
            bring_up(world, labs.LAN_AND_ONE_MORE, fail_at=n)
        except CommandFailed:
            left = [line for line in world.left() if line != "state/lab/vm3/disk0.qcow2"]
            assert left == before, f"effect {n}"
            assert (world.layout.run / "hosts").read_text() == hosts
            bring_up(world, labs.LAN_AND_ONE_MORE)
            assert "vm-vm3" in world.left()
            continue
        break
    assert n > 4


def test_a_kept_disk_survives_every_failure(tmp_path: Path) -> None:
    total = how_many_effects(tmp_path)
    for mode in ("refuse", "half", "crash", "late", "torn", "full"):
        for n in range(1, total):
            world = World(tmp_path / f"{mode}-{n}")
            bring_up(world)
            take_down(world)
            disk = world.layout.state / "vm2" / "disk0.qcow2"
            disk.write_text("a year of work")
            try:
                bring_up(world, fail_at=n, mode=mode)  # type: ignore[arg-type]
            except (CommandFailed, ProcessGone, OSError):
                take_down(world)
            assert disk.read_text() == "a year of work", f"{mode} at {n}"


def test_a_machine_that_ended_is_started_again_and_alone(world: World) -> None:
    bring_up(world)
    world.programs.discard("vm-vm1")
    assert bring_up(world).count == 2  # a folder that is there, and the machine
    assert "vm-vm1" in world.programs


def test_what_changed_in_the_file_is_refused_and_nothing_is_touched(world: World) -> None:
    bring_up(world)
    before = world.left()
    with pytest.raises(LabChanged, match="vm2: what its disks and media hold"):
        bring_up(world, labs.LAN.replace("model: e1000", "model: virtio"))
    assert world.left() == before


def test_what_cannot_be_undone_is_told_with_the_error(world: World) -> None:
    class Stubborn(FakeEffects):
        def end_keeper(self) -> None:
            raise CommandFailed(("keeper",), 1, "will not end")

    effects = Stubborn(world, fail_at=8)
    with pytest.raises(VmlanError) as caught:
        Executor(effects, world.layout).bring_up(plan_of(world), "lan", FILE)
    assert any("could not all be undone" in note and "vmlan down" in note for note in caught.value.__notes__)
    take_down(world)
    assert world.left() == []


def with_states(found: Plan) -> Plan:
    """The plan of a lab whose machines go on from saved states."""
    steps = tuple(
        msgspec.structs.replace(step, saved=Saved(step.command, ("migrate_incoming x",)))
        if isinstance(step, Start) and step.machine is not None
        else step
        for step in found.steps
    )
    return Plan(steps, found.notes, found.details)


@pytest.mark.parametrize("end", ["killed", "failed", "gone on"])
def test_machines_with_a_state_count_as_started_when_they_have_gone_on(world: World, end: str) -> None:
    executor = Executor(FakeEffects(world), world.layout)
    executor.bring_up(with_states(plan_of(world)), "lan", FILE)
    assert {"vm-vm1", "vm-vm2"} <= set(world.left())

    def fail() -> None:
        raise ProcessGone

    if end == "failed":
        with pytest.raises(ProcessGone):
            executor.go_on(fail)
    elif end == "gone on":
        executor.go_on(lambda: None)
    assert Executor(FakeEffects(world), world.layout).recover() is (end != "gone on")
    there = {"vm-vm1", "vm-vm2"} & set(world.left())
    assert there == ({"vm-vm1", "vm-vm2"} if end == "gone on" else set())
    assert "keeper" in world.left() and disks(world)
