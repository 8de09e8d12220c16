"""The images that have names: the table itself, and how their files get into the cache and stay whole."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import labs
from vmlan.catalogue import CATALOGUE
from vmlan.errors import HostError, RequestError, UnknownName
from vmlan.guest import media
from vmlan.guest.packages import Package
from vmlan.plan.build import plan

FETCHED = [entry for entry in CATALOGUE.values() if entry.packages]


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_entry_is_complete(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.name == name and entry.what
    assert re.fullmatch(r"[a-z][a-z0-9+-]*", name), "a name is a word, and no path"
    assert bool(entry.packages) == bool(entry.files)
    assert not entry.append or "kernel" in entry.files
    assert {"image"} == set(entry.files) or "kernel" in entry.files or not entry.files
    assert name not in {"tiny", "host"}


class FakePackage:
    """A package with a file for each of an entry's, or without; counts, and can be slow or fail."""

    def __init__(self, name: str, pause: float = 0, fail: bool = False, without: str = "") -> None:
        self.entry = CATALOGUE[name]
        self.pause, self.fail, self.without = pause, fail, without
        self.times = 0

    def __call__(self, names: Sequence[str], into: Path) -> Package:
        assert tuple(names) == self.entry.packages
        self.times += 1
        for role, pattern in self.entry.files.items():
            path = into / pattern.replace("*", "13")
            if role != self.without:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{role} {self.times}")
        time.sleep(self.pause)
        if self.fail:
            raise HostError("no packages")
        return Package(names[0], "1.0-1", "misc", ())


@pytest.mark.parametrize("name", [entry.name for entry in FETCHED])
def test_it_is_fetched_once(tmp_path: Path, name: str) -> None:
    fetch, said = FakePackage(name), list[str]()
    cache = tmp_path / "new" / "cache"
    assert media.present(name, cache) is None
    files = media.ensure(name, cache, said.append, fetch=fetch)
    assert said == [f"fetches {name}"]
    assert set(files) == set(CATALOGUE[name].files)
    assert {role: path.read_text() for role, path in files.items()} == {role: f"{role} 1" for role in files}
    assert media.ensure(name, cache, said.append, fetch=fetch) == files == media.present(name, cache)
    assert fetch.times == 1
    assert media.origin(name, cache) == f"{CATALOGUE[name].packages[0]} 1.0-1"


def test_nobody_may_write_to_it(tmp_path: Path) -> None:
    path = media.ensure("ipxe", tmp_path, fetch=FakePackage("ipxe"))["image"]
    assert path.stat().st_mode & 0o222 == 0


def test_a_link_in_the_package_becomes_a_file(tmp_path: Path) -> None:
    def fetch(names: Sequence[str], into: Path) -> Package:
        image = into / CATALOGUE["grub-usb"].files["image"]
        image.parent.mkdir(parents=True)
        image.with_name("grub-rescue-cdrom.iso").write_text("a CD")
        image.symlink_to("grub-rescue-cdrom.iso")
        return Package(names[0], "1", "misc", ())

    path = media.ensure("grub-usb", tmp_path, fetch=fetch)["image"]
    assert path.name == "grub-rescue-usb.img" and not path.is_symlink() and path.read_text() == "a CD"


def test_a_link_out_of_the_package_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the host's own")

    def fetch(names: Sequence[str], into: Path) -> Package:
        image = into / CATALOGUE["ipxe"].files["image"]
        image.parent.mkdir(parents=True)
        image.symlink_to(tmp_path / "secret")
        return Package(names[0], "1", "misc", ())

    with pytest.raises(HostError, match="has no file usr/lib/ipxe/ipxe.iso"):
        media.ensure("ipxe", tmp_path / "cache", fetch=fetch)
    assert (tmp_path / "secret").read_text() == "the host's own"


@pytest.mark.parametrize("damage", ["shorter", "gone", "about gone", "about cut", "about odd"])
def test_half_a_one_is_noticed(tmp_path: Path, damage: str) -> None:
    fetch = FakePackage("debian-installer")
    files = media.ensure("debian-installer", tmp_path, fetch=fetch)
    about = files["kernel"].with_name("about.json")
    if damage == "shorter":
        files["initrd"].chmod(0o600)
        os.truncate(files["initrd"], 3)
    elif damage == "gone":
        files["initrd"].unlink()
    elif damage == "about gone":
        about.unlink()
    else:
        about.write_text(about.read_text()[:20] if damage == "about cut" else "[]")
    assert media.present("debian-installer", tmp_path) is None
    again = media.ensure("debian-installer", tmp_path, fetch=fetch)
    assert again == files and again["initrd"].read_text() == "initrd 2"


@pytest.mark.parametrize("without", ["", "initrd"])
def test_a_failure_leaves_nothing(tmp_path: Path, without: str) -> None:
    bad = FakePackage("debian-installer", fail=not without, without=without)
    with pytest.raises(HostError, match="has no file .*initrd.gz" if without else "no packages"):
        media.ensure("debian-installer", tmp_path, fetch=bad)
    assert [path.name for path in (tmp_path / "media").iterdir()] == ["debian-installer.lock"]
    assert media.ensure("debian-installer", tmp_path, fetch=FakePackage("debian-installer"))


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "media" / "ipxe.part"
    left.mkdir(parents=True)
    (left / "ipxe.iso").write_text("half")
    assert media.present("ipxe", tmp_path) is None
    assert media.ensure("ipxe", tmp_path, fetch=FakePackage("ipxe"))["image"].read_text() == "image 1"
    assert not left.exists()


def test_two_at_once_fetch_once(tmp_path: Path) -> None:
    fetch = FakePackage("ipxe", pause=0.2)
    threads = [
        threading.Thread(target=media.ensure, args=("ipxe", tmp_path), kwargs={"fetch": fetch})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetch.times == 1


def test_another_entry_is_another_folder(tmp_path: Path) -> None:
    folders = {media.folder(name, tmp_path) for name in CATALOGUE}
    assert len(folders) == len(CATALOGUE)


def test_unknown_and_unbuilt_names(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no image 'grub'") as unknown:
        media.ensure("grub", tmp_path)
    assert unknown.value.hint is not None and "grub-floppy" in unknown.value.hint
    with pytest.raises(RequestError) as unbuilt:
        media.ensure("debian-12", tmp_path)
    assert unbuilt.value.hint == "vmlan image build debian-12"
    assert list(tmp_path.iterdir()) == []


def test_a_machine_has_two_floppies_at_most() -> None:
    """With names as with files; the third is refused before QEMU is asked."""
    text = "machines:\n  a: {floppy: [grub-floppy, grub-floppy, grub-floppy], boot: [floppy]}\n"
    with pytest.raises(RequestError, match="machine a has more than two floppies"):
        plan(labs.lab(text), labs.facts())
    argv = "\n".join(
        str(step) for step in plan(labs.lab(text.replace("grub-floppy, ", "", 1)), labs.facts()).steps
    )
    assert "isa-fdc.bootindexA=0" in argv and "isa-fdc.bootindexB=1" in argv
