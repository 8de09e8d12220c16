"""Templates on a disk: which are whole, which go, and why another has to be made."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.templates import PARTS, made
from vmlan.errors import Busy, HostError, Timeout, UnknownName
from vmlan.host import template_making, templates


def cut_short(folder: Path) -> None:
    os.truncate(folder / "memory", 4096)


def written_to(folder: Path) -> None:
    """In place, with the time set back: what tells is when that was done (ctime)."""
    found = (folder / "memory").stat()
    with (folder / "memory").open("r+b") as file:
        file.write(b"x")
    os.utime(folder / "memory", ns=(found.st_atime_ns, found.st_mtime_ns))


def replaced(folder: Path) -> None:
    text = (folder / "state").read_bytes()
    (folder / "state").unlink()
    (folder / "state").write_bytes(text)


def state_lost(folder: Path) -> None:
    (folder / "state").unlink()


def about_lost(folder: Path) -> None:
    (folder / "about.json").unlink()


def about_cut_short(folder: Path) -> None:
    text = (folder / "about.json").read_text()
    (folder / "about.json").write_text(text[: len(text) // 2])


def about_of_another_form(folder: Path) -> None:
    (folder / "about.json").write_text('{"parts": 5}')


def about_is_no_object(folder: Path) -> None:
    (folder / "about.json").write_text("[]")


DAMAGE = [
    cut_short,
    written_to,
    replaced,
    state_lost,
    about_lost,
    about_cut_short,
    about_of_another_form,
    about_is_no_object,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_that_is_not_as_it_was_made_is_none(damage: Callable[[Path], None], tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    assert templates.is_whole(folder)
    (before,) = templates.kept(tmp_path)
    assert before.whole and before.parts == PARTS and before.size >= 64 * 1024
    damage(folder)
    assert not templates.is_whole(folder)
    (after,) = templates.kept(tmp_path)
    assert not after.whole


def test_a_copy_is_none(tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    shutil.copytree(folder, tmp_path / "b")
    assert not templates.is_whole(tmp_path / "b") and templates.is_whole(folder)


def test_to_look_whether_it_is_whole_is_to_use_it(tmp_path: Path) -> None:
    made(tmp_path, "old", used=1e9)
    made(tmp_path, "new", used=1.1e9)
    assert [each.key for each in templates.kept(tmp_path)] == ["new", "old"]
    assert templates.is_whole(tmp_path / "old")
    assert [each.key for each in templates.kept(tmp_path)] == ["old", "new"]


def test_those_not_used_for_longest_go_first(tmp_path: Path) -> None:
    for n, key in enumerate("abcd"):
        made(tmp_path, key, used=1e9 + n)
    sizes = {each.key: each.size for each in templates.kept(tmp_path)}
    gone = templates.keep_within(tmp_path, sizes["c"] + sizes["d"])
    assert {each.key for each in gone} == {"a", "b"}
    assert {path.name for path in tmp_path.iterdir()} == {"c", "c.lock", "d", "d.lock"}
    assert templates.keep_within(tmp_path, sizes["c"] + sizes["d"]) == []


def test_one_that_is_too_large_alone_goes_and_smaller_ones_stay(tmp_path: Path) -> None:
    made(tmp_path, "large", 512, used=1.2e9)
    made(tmp_path, "small", 16, used=1e9)
    assert [each.key for each in templates.keep_within(tmp_path, 256 * 1024)] == ["large"]


def test_what_is_spared_stays_and_counts(tmp_path: Path) -> None:
    made(tmp_path, "mine", used=1e9)
    made(tmp_path, "other", used=1.1e9)
    assert [each.key for each in templates.keep_within(tmp_path, 0, spare="mine")] == ["other"]
    assert templates.is_whole(tmp_path / "mine")


def test_broken_ones_go_whatever_fits(tmp_path: Path) -> None:
    cut_short(made(tmp_path, "broken"))
    made(tmp_path, "whole")
    assert [each.key for each in templates.keep_within(tmp_path, 1 << 40)] == ["broken"]


def test_what_was_never_finished_goes_unless_it_is_being_made(tmp_path: Path) -> None:
    for key in ("dead", "alive"):
        (tmp_path / f"{key}.new").mkdir()
        (tmp_path / f"{key}.new" / "memory").write_bytes(b"x")
        (tmp_path / f"{key}.lock").touch()
    with (tmp_path / "alive.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gone = templates.keep_within(tmp_path, 1 << 40)
        assert [each.folder.name for each in gone] == ["dead.new"]
        assert {path.name for path in tmp_path.iterdir()} == {"alive.new", "alive.lock"}
        with pytest.raises(Busy):
            templates.discard(tmp_path, ["alive"])
    assert [each.key for each in templates.discard(tmp_path, ["alive"])] == ["alive"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_somebody_holds_is_not_taken_from_him(tmp_path: Path) -> None:
    """He has begun to make one, and there is nothing of it yet."""
    with (tmp_path / "soon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        templates.keep_within(tmp_path, 0)
        assert (tmp_path / "soon.lock").exists()
    templates.keep_within(tmp_path, 0)
    assert not (tmp_path / "soon.lock").exists()


def test_where_one_is_not_known_none_is_removed(tmp_path: Path) -> None:
    made(tmp_path, "abcdef01")
    with pytest.raises(UnknownName) as caught:
        templates.discard(tmp_path, ["abcdef01", "abcdef02"])
    assert caught.value.hint == "did you mean abcdef01?"
    assert templates.is_whole(tmp_path / "abcdef01")
    with pytest.raises(UnknownName):
        templates.discard(tmp_path / "nowhere", ["a"])


def test_what_has_it_open_keeps_what_it_has(tmp_path: Path) -> None:
    folder = made(tmp_path, "a")
    with (folder / "memory").open("rb") as used:
        templates.remove(folder)
        assert not folder.exists() and len(used.read()) == 64 * 1024


def test_the_bound_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VMLAN_TEMPLATES", raising=False)
    assert templates.limit() == templates.LIMIT
    monkeypatch.setenv("VMLAN_TEMPLATES", "512M")
    assert templates.limit() == 512 << 20
    monkeypatch.setenv("VMLAN_TEMPLATES", "512")
    with pytest.raises(HostError, match=r"VMLAN_TEMPLATES: '?512'? has no unit") as caught:
        templates.limit()
    assert "512M" in caught.value.hint


def test_why_one_has_to_be_made_is_told_of_the_nearest(tmp_path: Path) -> None:
    assert templates.differences(tmp_path / "none", PARTS) == "there is none yet"
    made(tmp_path, "far", memory="1G", cpus="4")
    made(tmp_path, "near", memory="256M", **{"command line": "-m 256M"})
    said = templates.differences(tmp_path, {**PARTS, "command line": "-m 128M"})
    assert said == "the nearest is near, with another memory (256M there)"
    cut_short(made(tmp_path, "same"))
    assert "same, but its files are not as they were made" in templates.differences(tmp_path, PARTS)


def test_a_guest_that_hangs_while_it_boots_is_booted_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    patiences: list[float] = []

    def boot(*given: object) -> None:
        patiences.append(float(str(given[-1])))
        if len(patiences) < 2:
            raise Timeout("it hangs")

    monkeypatch.setattr(template_making, "_boot_and_save", boot)
    template_making._try(*(None,) * 4, (1.0, 2.0))  # type: ignore[arg-type]
    assert patiences == [1.0, 2.0]


def test_one_that_hangs_always_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def boot(*_: object) -> None:
        raise Timeout("it hangs")

    monkeypatch.setattr(template_making, "_boot_and_save", boot)
    with pytest.raises(Timeout, match="it hangs"):
        template_making._try(*(None,) * 4, (1.0, 2.0))  # type: ignore[arg-type]


def test_a_state_without_its_macs_is_no_template(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"of something else")
    with pytest.raises(HostError, match="not as expected: 52:54:00:76:6d:00 does not stand in it"):
        template_making.find_macs(tmp_path, ["52:54:00:76:6d:00"], bound=False)


def test_what_of_its_memory_differs_is_in_its_state_too(tmp_path: Path) -> None:
    """The pages in which MACs stand are added, and a machine's own stand in all places."""
    mac, own = bytes.fromhex("525400766d00"), bytes.fromhex("52540001265c")
    section, last = b"\1\0\0\0\2\3ram", b"\3\0\0\0\2" + bytes(7) + b"\x10\x7e\0\0\0\2"
    (tmp_path / "state").write_bytes(b"QEVM" + section + b"its blocks" + last + b"a card: " + mac)
    page = bytearray(os.urandom(4096))
    page[100:106] = page[300:306] = mac
    (tmp_path / "memory").write_bytes(bytes(8192) + page + bytes(4096))
    where = template_making.find_macs(tmp_path, ["52:54:00:76:6d:00"], bound=True)
    added = (8192 | 8).to_bytes(8, "big") + b"\6pc.ram" + page
    whole = b"QEVM" + section + b"its blocks" + last[:5] + added + last[5:] + b"a card: " + mac
    assert (tmp_path / "state").read_bytes() == whole
    templates.finish(tmp_path, tmp_path.with_name("key"), templates.About({}, "places 2 virtio2", where))
    state, places = templates.state(tmp_path.with_name("key"), ["52:54:00:01:26:5c"])
    assert state == whole.replace(mac, own) and state.count(own) == 3
    assert (places.index, places.names) == (2, ("virtio2",))


def test_a_mac_over_two_pages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    (tmp_path / "memory").write_bytes(bytes(4093) + bytes.fromhex("525400766d00") + bytes(4093))
    with pytest.raises(HostError, match="over two pages"):
        template_making.find_macs(tmp_path, ["52:54:00:76:6d:00"], bound=True)
