import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vmlan.errors import HostError
from vmlan.guest import tiny_build
from vmlan.guest.tiny import TinyGuest, cached_tiny, ensure_tiny


class FakeBuild:
    """Makes the three files with nothing in them; counts, and can be told to be slow or to fail."""

    def __init__(self, pause: float = 0, fail: bool = False) -> None:
        self.times = 0
        self.pause = pause
        self.fail = fail

    def __call__(self, folder: Path, progress: Callable[[str], None]) -> str:
        self.times += 1
        progress("at work")
        (folder / "vmlinux").write_text(f"build {self.times}")
        time.sleep(self.pause)
        if self.fail:
            raise HostError("no packages")
        (folder / "vmlinuz").touch()
        (folder / "initrd").touch()
        return "6.1.0-test"


def test_it_is_built_once(tmp_path: Path) -> None:
    cache, build = tmp_path / "new" / "cache", FakeBuild()
    said: list[str] = []
    assert cached_tiny(cache) is None
    guest = ensure_tiny(cache, said.append, build=build)
    assert said == ["at work"]
    assert guest.release == "6.1.0-test"
    assert all(path.is_file() for path in (guest.kernel, guest.bzimage, guest.initrd))
    assert ensure_tiny(cache, build=build) == guest == cached_tiny(cache)
    assert build.times == 1


def test_a_build_that_fails_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no packages"):
        ensure_tiny(tmp_path, build=FakeBuild(fail=True))
    assert cached_tiny(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.lock"]
    assert ensure_tiny(tmp_path, build=FakeBuild()).kernel.is_file()


def test_a_rebuild_replaces_and_a_failed_one_keeps(tmp_path: Path) -> None:
    build = FakeBuild()
    first = ensure_tiny(tmp_path, build=build)
    with pytest.raises(HostError):
        ensure_tiny(tmp_path, rebuild=True, build=FakeBuild(fail=True))
    assert first.kernel.read_text() == "build 1"
    second = ensure_tiny(tmp_path, rebuild=True, build=build)
    assert second == first
    assert second.kernel.read_text() == "build 2"
    assert len(list(tmp_path.glob("build-*"))) == 1


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "build-killed"
    left.mkdir()
    (left / "vmlinux").touch()
    assert cached_tiny(tmp_path) is None
    ensure_tiny(tmp_path, build=FakeBuild())
    assert not left.exists()


def test_two_at_once_build_once(tmp_path: Path) -> None:
    build = FakeBuild(pause=0.2)
    got: list[TinyGuest] = []
    threads = [
        threading.Thread(target=lambda: got.append(ensure_tiny(tmp_path, build=build))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.times == 1
    assert len(got) == 3
    assert len(set(got)) == 1


@pytest.mark.parametrize("script", sorted(tiny_build.SCRIPTS.iterdir()), ids=lambda path: path.name)
def test_the_guests_scripts_are_shell(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_every_file_that_shapes_the_guest_counts_for_its_key() -> None:
    names = {path.name for path in tiny_build.sources()}
    assert {"init", "lease", "nic", "tiny_build.py", "cpio.py"} <= names
    assert all(path.is_file() for path in tiny_build.sources())
