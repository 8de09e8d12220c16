"""Templates on the disk: made once, never used unless whole, and not needed by anybody who has to have a lab."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.conftest import VMLAN, Bench, _bench
from vmlan.guest import tiny
from vmlan.host import paths, templates

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

ONE = "machines: {vm1: {memory: 128M}}\n"


@pytest.fixture
def own(bench: Bench) -> Iterator[Path]:
    """The folder of templates in a cache of the bench's own, whose other things are those of the user's."""
    cache = bench.folder.parent / "cache/vmlan"
    cache.mkdir(parents=True)
    tiny.ensure_tiny(paths.cache_root())
    for path in paths.cache_root().iterdir():
        if path.name != "templates" and not path.name.startswith("build-"):
            (cache / path.name).symlink_to(path)
    bench.env["XDG_CACHE_HOME"] = str(cache.parent)
    bench.write(ONE)
    yield cache / "templates"
    shutil.rmtree(bench.folder.parent / "cache", ignore_errors=True)


def line_of(bench: Bench, name: str) -> str:
    (line,) = [line for line in bench.processes() if f" -name {name} " in line]
    return line


def is_warm(bench: Bench, name: str = "vm1") -> bool:
    return " -incoming defer " in line_of(bench, name)


def mapped(bench: Bench, name: str) -> set[int]:
    """The files, by inode, that a machine has as its memory."""
    pid = line_of(bench, name).partition(":")[0]
    rows = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {int(row.split()[4]) for row in rows if "/memory" in row}


def kept(root: Path) -> list[Path]:
    return [each.folder for each in templates.kept(root)]


def cut_short(folder: Path) -> None:
    os.truncate(folder / "memory", 4096)


def written_to(folder: Path) -> None:
    with (folder / "memory").open("r+b") as memory:
        memory.seek(1 << 20)
        memory.write(b"x")


def without_its_state(folder: Path) -> None:
    (folder / "state").unlink()


def half_made(folder: Path) -> None:
    folder.rename(folder.with_name(f"{folder.name}.new"))


@pytest.mark.parametrize("damage", [cut_short, written_to, without_its_state, half_made])
def test_one_that_is_not_whole_is_made_anew(damage: Callable[[Path], None], bench: Bench, own: Path) -> None:
    bench.ok("up", "-q")
    (folder,) = kept(own)
    first = (folder / "memory").stat().st_ino
    assert mapped(bench, "vm1") == {first}
    bench.ok("down")
    with (folder / "memory").open() as held:  # or the next file may get its number
        damage(folder)
        done = bench.vmlan("up", "-v")
        assert done.code == 0 and "has to be made" in done.err
        assert mapped(bench, "vm1") == {(folder / "memory").stat().st_ino} != {os.fstat(held.fileno()).st_ino}
    assert kept(own) == [folder] and templates.is_whole(folder)
    assert bench.ok("exec", "vm1", "--", "hostname") == "vm1\n"
    bench.ok("down")
    assert "has to be made" not in bench.vmlan("up", "-v").err


def test_a_vmlan_that_is_killed_while_it_makes_one(bench: Bench, own: Path) -> None:
    process = bench.start("up", "-q")
    deadline = time.monotonic() + 100
    while not list(own.glob("*.new/memory")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    (new,) = own.glob("*.new")
    assert [each.unfinished for each in templates.kept(own)] == [True]
    assert "never finished" in bench.ok("template", "ls")
    done = bench.vmlan("up")
    assert done.code == 0 and "no template could be made" not in done.err, done.err
    assert is_warm(bench) and not new.exists()
    assert kept(own) == [new.with_suffix("")] and templates.is_whole(new.with_suffix(""))
    # Whoever was about to be a template is gone.
    assert [line for line in bench.processes() if " -name template" in line] == []


def test_one_that_is_interrupted_while_it_makes_one_leaves_nothing(bench: Bench, own: Path) -> None:
    process = bench.start("up", "-q")
    deadline = time.monotonic() + 100
    while not list(own.glob("*.new/memory")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert kept(own) == []
    assert [line for line in bench.processes() if "qemu" in line] == []


def test_two_at_once_make_it_once(bench: Bench, own: Path) -> None:
    for bench2 in _bench():
        bench2.env["XDG_CACHE_HOME"] = bench.env["XDG_CACHE_HOME"]
        bench2.write(ONE)
        running = [each.start("up", "-q") for each in (bench, bench2)]
        assert [each.wait(200) for each in running] == [0, 0]
        (folder,) = kept(own)
        # Had it been made twice, one of them would have the memory of one that is gone.
        assert mapped(bench, "vm1") == mapped(bench2, "vm1") == {(folder / "memory").stat().st_ino}


def test_a_cache_that_cannot_be_written_to(bench: Bench, own: Path) -> None:
    own.mkdir()
    own.chmod(0o500)
    done = bench.vmlan("up")
    assert done.code == 0 and not is_warm(bench)
    assert "no template could be made, so vm1 will boot" in done.err
    assert bench.ok("exec", "vm1", "--", "hostname") == "vm1\n"
    own.chmod(0o700)


def test_a_full_disk(bench: Bench, own: Path) -> None:
    """Less than a guest writes while it boots: QEMU ends by SIGBUS in the middle."""
    own.mkdir()
    mount = f"mount -t tmpfs -o size=40m tmpfs {own} && exec "
    space = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c")
    done = subprocess.run(
        [*space, f"{mount}{VMLAN} up"],
        cwd=bench.folder,
        env=bench.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no template could be made, so vm1 will boot" in done.stderr
    assert not is_warm(bench)
    assert bench.ok("exec", "vm1", "--", "hostname") == "vm1\n"


def test_a_state_that_does_not_load(bench: Bench, own: Path) -> None:
    bench.ok("up", "-q")
    bench.ok("down")
    (folder,) = templates.kept(own)
    new = folder.folder.with_name(f"{folder.key}.new")
    folder.folder.rename(new)
    state = (new / "state").read_bytes()
    (new / "state").write_bytes(state[: len(state) // 2])
    about = json.loads((new / "about.json").read_text())
    templates.finish(new, folder.folder, templates.About(about["parts"], about["guest"], about["macs"]))
    bench.write("machines: {vm1: {memory: 128M}, vm2: {memory: 128M}}\n")
    done = bench.vmlan("up")
    assert done.code == 0, done.err
    (note,) = [line for line in done.err.splitlines() if "did not work, and is removed" in line]
    assert folder.key in note
    assert not is_warm(bench, "vm1") and not is_warm(bench, "vm2")
    assert kept(own) == []
    assert bench.ok("exec", "vm2", "--", "hostname") == "vm2\n"
    bench.ok("down")
    bench.ok("up")
    assert is_warm(bench, "vm1") and is_warm(bench, "vm2")


def test_a_bound_that_is_none_is_told(bench: Bench, own: Path) -> None:
    bench.env["VMLAN_TEMPLATES"] = "much"
    done = bench.vmlan("up")
    assert done.code == 0 and "VMLAN_TEMPLATES" in done.err and not is_warm(bench)
    refused = bench.vmlan("template", "ls")
    assert refused.code == 3 and "write a number and a unit" in refused.err


def test_the_bound_is_kept(bench: Bench, own: Path) -> None:
    bench.env["VMLAN_TEMPLATES"] = "150M"
    bench.ok("up", "-q")
    (first,) = kept(own)
    bench.ok("down")
    bench.write("machines: {vm1: {memory: 144M}}\n")
    bench.ok("up", "-q")
    (second,) = kept(own)
    assert first != second and not first.exists()


def test_kinds_and_why_one_has_to_be_made(bench: Bench, own: Path) -> None:
    guest = tiny.ensure_tiny(own.parent).kernel.parent
    copied = guest.resolve()
    guest.unlink()  # the link
    shutil.copytree(copied, guest)
    said: dict[str, str] = {}

    def up(name: str, machine: str) -> int:
        bench.write(f"networks: {{off: {{kind: none}}}}\nmachines: {{vm1: {machine}}}\n")
        done = bench.vmlan("up", "-v")
        assert done.code == 0, done.err
        assert is_warm(bench)
        bench.ok("down")
        said[name] = "".join(line for line in done.err.splitlines() if "has to be made" in line)
        return len(kept(own))

    assert up("first", "{memory: 128M}") == 1
    assert "there is none yet" in said["first"]
    assert up("same", "{memory: 128M, nics: []}") == 1
    assert said["same"] == ""
    assert up("memory", "{memory: 144M}") == 2
    assert "with another memory (128M there)" in said["memory"]
    assert up("cards", "{memory: 128M, nics: [off]}") == 3
    assert "with another virtio cards (0 there)" in said["cards"]
    assert up("e1000e", "{memory: 128M, nics: [{network: off, model: e1000e}]}") == 3
    assert (
        up("e1000", "{memory: 128M, nics: [{network: off, model: e1000}]}") == 4
    )  # whose line has to be known
    os.utime(guest / "vmlinux")
    assert up("guest", "{memory: 128M}") == 5
    assert "with another guest (" in said["guest"]
