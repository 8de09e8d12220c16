"""`vmlan image`: what is here, what is refused, and what programs are told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from vmlan.catalogue import CATALOGUE
from vmlan.cli import common
from vmlan.cli.image_ import command
from vmlan.errors import Busy, RequestError, UnknownName, VmlanError
from vmlan.guest import debian
from vmlan.host import bases, paths


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def image(*words: str) -> Any:
    """What a verb prints, read as JSON where it was asked for. Its errors come through."""
    done = CliRunner().invoke(command, list(words), standalone_mode=False)
    if isinstance(done.exception, VmlanError | click.ClickException):
        raise done.exception
    assert done.exception is None, done.exception
    return json.loads(done.stdout) if "--json" in words else done.stdout


def build() -> Path:
    """A build as the real one is kept, with an empty disk in it."""

    def make(folder: Path, _: debian.Progress) -> None:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / "image.qcow2", "1M"], check=True)
        (folder / "packages").write_text("bash 5\ndash 0\n")

    return debian.build(paths.images_root(), make=make)


def overlay(base: Path, path: Path) -> Path:
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path], check=True
    )  # fmt: skip
    bases.record(path, base)
    return path


def test_ls_knows_every_name_and_what_is_here() -> None:
    before = {row["name"]: row for row in image("ls", "--json")}
    assert set(before) == set(CATALOGUE)
    assert all(row["size"] is None and row["files"] is None for row in before.values())
    made = build()
    after = {row["name"]: row for row in image("ls", "--json")}["debian-12"]
    assert (after["files"], after["size"]) == ({"image": str(made)}, made.stat().st_size)
    (line,) = (line for line in image("ls").splitlines() if line.startswith("debian-12"))
    assert line.split()[1] == common.size(made.stat().st_size) and CATALOGUE["debian-12"].what in line


def test_what_is_there_is_not_built_again() -> None:
    made = build()
    assert f"is there already, in {made}" in image("build", "debian-12")
    told = image("build", "debian-12", "--json")
    assert (told["built"], told["packages"], told["files"]) == (False, 2, {"image": str(made)})
    assert image("build", "-q", "debian-12") == ""
    assert debian.builds(paths.images_root()) == [made]


def test_built_and_fetched_are_not_confused() -> None:
    with pytest.raises(RequestError, match="not fetched, but built") as error:
        image("pull", "debian-12")
    assert error.value.hint == "vmlan image build debian-12"
    with pytest.raises(RequestError, match="not built, but fetched") as error:
        image("build", "ipxe")
    assert error.value.hint == "vmlan image pull ipxe"


@pytest.mark.parametrize("verb", ["pull", "build", "rm"])
def test_a_name_that_is_none_is_answered_with_the_nearest(verb: str) -> None:
    with pytest.raises(UnknownName) as error:
        image(verb, "debian12")
    assert "debian-12" in (error.value.hint or "")


def test_what_disks_are_over_is_not_removed(tmp_path: Path) -> None:
    made = build()
    disk = overlay(made, tmp_path / "disk.qcow2")
    with pytest.raises(Busy, match=r"disk\.qcow2"):
        image("rm", "debian-12")
    assert made.exists()
    disk.unlink()
    assert image("rm", "debian-12", "debian-12", "--json") == {"removed": ["debian-12"]}
    assert not made.exists() and not paths.images_root().exists()


def test_of_several_to_remove_none_goes_when_one_may_not(tmp_path: Path) -> None:
    made = build()
    with pytest.raises(RequestError, match="ipxe is not on this machine"):
        image("rm", "debian-12", "ipxe")
    assert made.exists()


def test_an_older_build_goes_with_the_last_disk_over_it(tmp_path: Path) -> None:
    old = build()
    disk = overlay(old, tmp_path / "disk.qcow2")
    new = build()
    image("rm", "debian-12")
    assert (old.exists(), new.exists()) == (True, False)
    disk.unlink()
    newest = build()
    image("rm", "debian-12")
    assert (old.exists(), newest.exists()) == (False, False)
