"""Keeping the built image: which build is meant, which stay, and what a cut-short build leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmlan.errors import HostError, RequestError
from vmlan.guest import debian


def make(text: str = "image") -> debian.Progress:
    def build(folder: Path, progress: debian.Progress) -> None:
        progress("writing")
        (folder / "image.qcow2").write_text(text)
        (folder / "packages").write_text("bash 5\ndash 0\n")

    return build  # type: ignore[return-value]


def test_nothing_is_built_by_asking(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as error:
        debian.built(tmp_path)
    assert "vmlan image build debian-12" in (error.value.hint or "")
    assert not debian.is_current(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_build_is_kept_whole_and_cannot_be_written(tmp_path: Path) -> None:
    said: list[str] = []
    image = debian.build(tmp_path, said.append, make=make())
    assert debian.built(tmp_path) == image and debian.is_current(tmp_path)
    assert said == ["writing"]
    assert image.stat().st_mode & 0o222 == 0
    assert debian.packages_of(image) == 2


def test_a_newer_build_leaves_the_older_where_it_is(tmp_path: Path) -> None:
    old = debian.build(tmp_path, make=make("old"))
    new = debian.build(tmp_path, make=make("new"))
    assert debian.builds(tmp_path) == [old, new]
    assert (old.read_text(), debian.built(tmp_path).read_text()) == ("old", "new")
    debian.remove(old)
    assert debian.builds(tmp_path) == [new] == [debian.built(tmp_path)]
    third = debian.build(tmp_path, make=make("third"))
    assert third not in (old, new)
    debian.remove(new)
    debian.remove(third)
    assert not tmp_path.exists()


def test_what_fails_leaves_nothing_and_the_older_stays(tmp_path: Path) -> None:
    def fail(folder: Path, _: debian.Progress) -> None:
        (folder / "half").write_text("x")
        raise HostError("no")

    old = debian.build(tmp_path, make=make())
    with pytest.raises(HostError):
        debian.build(tmp_path, make=fail)
    assert debian.built(tmp_path) == old
    assert not list(tmp_path.rglob("half"))


def test_what_was_killed_is_tidied_up_by_the_next(tmp_path: Path) -> None:
    half = tmp_path / debian.NAME / "part-killed"
    half.mkdir(parents=True)
    (half / "image.qcow2").write_text("half")
    assert debian.present(tmp_path) is None
    debian.build(tmp_path, make=make())
    assert not half.exists()


def test_a_build_without_its_last_file_is_none(tmp_path: Path) -> None:
    image = debian.build(tmp_path, make=make())
    (image.parent / "about.json").unlink()
    assert debian.present(tmp_path) is None
    with pytest.raises(RequestError):
        debian.built(tmp_path)


def test_what_would_be_built_otherwise_is_not_current(tmp_path: Path) -> None:
    image = debian.build(tmp_path, make=make())
    (image.parent / "about.json").write_text('{"key": "another"}')
    assert debian.built(tmp_path) == image and not debian.is_current(tmp_path)
