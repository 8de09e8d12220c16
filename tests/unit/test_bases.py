"""Which overlays of a base are known, and that nothing of it is believed without a look."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from vmlan.errors import Busy
from vmlan.host import bases, disks, images


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "vmlan"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.qcow2"
    disks.create(path, 1024**2)
    return path


def overlays(base: Path) -> list[str]:
    return [each.path.name for each in bases.overlays_of(base)]


def test_a_base_is_found_by_any_of_its_names(tmp_path: Path, base: Path) -> None:
    disks.clone(base, [tmp_path / "one.qcow2", tmp_path / "a, b:c\n.qcow2"])
    (tmp_path / "link").symlink_to(base)
    os.link(base, tmp_path / "second name")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in (base, tmp_path / "link", tmp_path / "second name", tmp_path / "folder/../base.qcow2"):
        if name.exists():
            assert overlays(name) == ["a, b:c\n.qcow2", "one.qcow2"]
    assert overlays(tmp_path / "one.qcow2") == []


def test_an_overlay_that_is_gone_is_forgotten(tmp_path: Path, base: Path, state: Path) -> None:
    one, two = tmp_path / "one.qcow2", tmp_path / "two.qcow2"
    disks.clone(base, [one, two])
    one.unlink()
    assert overlays(base) == ["two.qcow2"]
    assert len(list(state.rglob("*.json"))) == 1
    two.rename(tmp_path / "moved.qcow2")
    assert overlays(base) == []
    assert list(state.iterdir()) == []  # nor is an empty folder left


def test_what_is_now_something_else_is_no_overlay(tmp_path: Path, base: Path) -> None:
    one = tmp_path / "one.qcow2"
    disks.clone(base, [one])
    one.write_text("now a note")
    assert overlays(base) == []


def test_an_overlay_that_was_made_independent_no_longer_counts(tmp_path: Path, base: Path) -> None:
    one = tmp_path / "one.qcow2"
    disks.clone(base, [one])
    subprocess.run(["qemu-img", "rebase", "-q", "-f", "qcow2", "-b", "", one], check=True)
    assert overlays(base) == []


def test_a_folder_that_is_not_mounted_is_not_forgotten(tmp_path: Path, base: Path) -> None:
    one = tmp_path / "stick" / "one.qcow2"
    one.parent.mkdir()
    disks.clone(base, [one])
    (entry,) = bases.registry().glob("*.json")
    entry.write_text(
        entry.read_text().replace(str(one.parent.stat().st_dev), "12345")
    )  # as on a device of its own
    one.unlink()
    one.parent.rmdir()
    assert overlays(base) == ["one.qcow2"]
    assert disks.remove([one]) == [one]  # the user knows better
    assert overlays(base) == []


def test_entries_that_make_no_sense_harm_nobody(tmp_path: Path, base: Path) -> None:
    disks.clone(base, [tmp_path / "one.qcow2"])
    for number, text in enumerate(
        ["", "{", "[]", '{"overlay": 1}', '{"overlay": "/x", "base": null, "device": 1}']
    ):
        (bases.registry() / f"{number}.json").write_text(text)
    (bases.registry() / "latin.json").write_bytes(b"\xff")
    assert overlays(base) == ["one.qcow2"]


def test_the_disk_of_a_lab_counts_and_is_named_by_its_machine(
    tmp_path: Path, base: Path, state: Path
) -> None:
    disk = state / "shop-123456" / "web" / "disk0.qcow2"
    disk.parent.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk], check=True)
    (found,) = bases.overlays_of(base)
    assert (found.path, found.lab, found.machine) == (disk, "shop-123456", "web")
    with pytest.raises(Busy) as refused:
        images.look(base, who="vm2", written=True)
    assert "machine vm2: " in refused.value.what
    assert f"{disk} (machine web of lab shop-123456)" in refused.value.what
    assert "vmlan down --disks" in str(refused.value.hint)
    assert images.look(base, who="vm2", written=False).virtual_size == 1024**2


def test_a_base_of_clones_is_not_written_to(tmp_path: Path, base: Path) -> None:
    disks.clone(base, [tmp_path / f"{number}.qcow2" for number in range(12)])
    with pytest.raises(Busy, match="the base of 12 overlays") as refused:
        bases.protect(base, doing="written to")
    assert "and 2 more" in refused.value.what
    bases.protect(tmp_path / "1.qcow2", doing="written to")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    base = tmp_path / os.fsdecode(b"b\xe4se.qcow2")
    disks.create(base, 1024**2)
    disks.clone(base, [tmp_path / os.fsdecode(b"\xff.qcow2")])
    assert [each.base for each in bases.overlays_of(base)] == [base]
