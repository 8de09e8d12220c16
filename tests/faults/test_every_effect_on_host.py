"""The same with `place: host`: nothing goes by itself when the keeper dies, and nobody else's is touched."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import labs
from tests.faults.world import FakeEffects, Mode, ProcessGone, World
from vmlan.errors import CommandFailed
from vmlan.host.executor import Executor
from vmlan.plan.build import plan
from vmlan.plan.facts import Existing, HostFacts
from vmlan.plan.steps import Plan

FILE = Path("/labs/here/lab.yaml")
LAN = labs.LAN.replace("uplink: simulated", "place: host, uplink: eth0")
OTHERS = {"eth0", "virbr0"}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vm-") as folder:
        yield Path(folder)


def host(root: Path) -> World:
    world = World(root, host=True)
    world.interfaces |= OTHERS
    world.tables |= {"filter"}
    return world


def plan_of(world: World) -> Plan:
    facts = HostFacts(interfaces=tuple(Existing(name) for name in sorted(OTHERS)), rules=())
    layout = world.layout
    return plan(labs.lab(LAN), labs.facts(host=facts, layout=layout))


def bring_up(world: World, fail_at: int = 0, mode: Mode = "refuse") -> FakeEffects:
    effects = FakeEffects(world, fail_at, mode)
    Executor(effects, world.layout).bring_up(plan_of(world), "lan", FILE)
    return effects


def take_down(world: World) -> list[str]:
    executor = Executor(FakeEffects(world), world.layout)
    executor.take_down()
    return executor.notes


def clean(world: World) -> None:
    """As before any lab, but for its disks."""
    assert [line for line in world.left() if not line.endswith(".qcow2")] == ["eth0", "filter", "virbr0"]
    assert world.switches == {"net.ipv4.ip_forward": "0"}
    assert not world.layout.book or not world.layout.book.exists()


def test_up_then_down_leaves_the_host_as_it_was(tmp_path: Path) -> None:
    world = host(tmp_path)
    bring_up(world)
    assert {"keeper", "lan", "vm1-lan", "vm-vm1", "vmlan_lab.lan", "wire", *OTHERS} <= set(world.left())
    assert world.altnames["lan"] == {"vmlan-lab.lan"}
    assert world.switches == {"net.ipv4.ip_forward": "1"}
    assert take_down(world) == []
    clean(world)


@pytest.mark.parametrize("mode", ["refuse", "half", "full", "crash", "late", "torn"])
@pytest.mark.parametrize("after", ["", "keeper", "reboot"])
def test_whatever_fails_the_journal_undoes_it(tmp_path: Path, mode: Mode, after: str) -> None:
    total = bring_up(host(tmp_path / "counting")).count
    assert total > 20
    for n in range(1, total + 1):
        world = host(tmp_path / f"{mode}-{after}-{n}")
        with pytest.raises((CommandFailed, OSError, ProcessGone)):
            bring_up(world, fail_at=n, mode=mode)
        if after == "keeper":
            world.power_cut()
        elif after == "reboot":
            world.reboot()
            world.interfaces |= OTHERS
            world.tables |= {"filter"}
        take_down(world)
        clean(world)


@pytest.mark.parametrize("mode", ["crash", "late", "torn"])
def test_a_kill_during_down_is_finished_by_the_next_one(tmp_path: Path, mode: Mode) -> None:
    for dies in (False, True):
        n = 0
        while True:
            n += 1
            world = host(tmp_path / f"{mode}-{dies}-{n}")
            bring_up(world)
            try:
                Executor(FakeEffects(world, n, mode), world.layout).take_down()
            except ProcessGone:
                if dies:
                    world.power_cut()
                take_down(world)
                clean(world)
                continue
            assert n > 10
            break


def test_an_interface_of_the_same_name_that_is_not_ours_is_left_and_told(tmp_path: Path) -> None:
    world = host(tmp_path)
    bring_up(world)
    del world.altnames["lan"]  # somebody has removed ours, and made one of his own
    notes = take_down(world)
    assert notes == ["lan is not this lab's any more (it lacks its mark), and was left as it is"]
    assert "lan" in world.interfaces and "wire" not in world.interfaces


def test_a_switch_that_somebody_else_has_set_is_left(tmp_path: Path) -> None:
    world = host(tmp_path)
    bring_up(world)
    world.switches["net.ipv4.ip_forward"] = "2"
    assert any("is 2 by now" in note for note in take_down(world))
    assert world.switches == {"net.ipv4.ip_forward": "2"}


def test_after_a_reboot_the_switch_is_not_ours_to_put_back(tmp_path: Path) -> None:
    world = host(tmp_path)
    bring_up(world)
    world.reboot()
    world.switches["net.ipv4.ip_forward"] = "1"  # as /etc/sysctl.d has it by now
    take_down(world)
    assert world.switches == {"net.ipv4.ip_forward": "1"}


def test_what_is_made_while_the_lab_runs_goes_by_its_mark(tmp_path: Path) -> None:
    world = host(tmp_path)
    bring_up(world)
    world.interfaces.add("in~vm1-lan")
    world.altnames["in~vm1-lan"] = {"vmlan-lab.in~vm1-lan"}
    world.tables.add("vmlan_lab.wire")
    take_down(world)
    clean(world)


def test_force_forgets_what_cannot_be_undone(tmp_path: Path) -> None:
    class Stubborn(FakeEffects):
        def unbridge_nic(self) -> tuple[str, ...]:
            raise CommandFailed(("ip",), 1, "will not")

        def tables(self) -> list[tuple[str, str]]:
            raise CommandFailed(("nft",), 1, "will not")

    world = host(tmp_path)
    bring_up(world)
    executor = Executor(Stubborn(world), world.layout)
    with pytest.raises(CommandFailed):
        executor.take_down()
    executor.take_down(force=True)
    assert any("could not be undone" in note for note in executor.notes)
    assert not world.layout.book or not world.layout.book.exists()


def test_a_nic_is_put_back_before_its_bridge_goes_by_its_mark_whatever_the_journal_knows(
    tmp_path: Path,
) -> None:
    class Watching(FakeEffects):
        def unbridge_nic(self) -> tuple[str, ...]:
            assert "pub" in world.interfaces, "the host's address went with it"
            world.interfaces.discard("pub")
            seen.append("put back")
            return ()

    for damage in ("a line", "all"):
        seen: list[str] = []
        world = host(tmp_path / damage.replace(" ", "-"))
        bring_up(world)
        world.interfaces.add("pub")
        world.altnames["pub"] = {"vmlan-lab.pub"}
        if damage == "all":
            world.layout.journal.unlink()
        Executor(Watching(world), world.layout).take_down()
        assert seen == ["put back"]
