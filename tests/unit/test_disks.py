"""Making and removing disks, against qemu-img, which vmlan did not write."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vmlan.errors import Busy, CommandFailed, RequestError
from vmlan.host import bases, disks, images

MIB = 1024**2

#: File names that mean something to QEMU, to qemu-img or to a shell, and whatever else there is.
ODD = ("json:{\"driver\":\"null-co\"}", "nbd:localhost:1", "nbd+unix:", "fat:rw:dir", "a:b", "-o", "--help", "-", "a,b",
       "x,backing.file.filename=y", "$HOME", "`id`", "new\nline", " ", "'", '"', "file:x", "~", "%s", "a\\b", "ä", ":", ",")  # fmt: skip
names = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=40).filter(
        lambda text: text not in {".", ".."}
    ),
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "vmlan"


def ask(path: Path) -> dict[str, Any]:
    said = subprocess.run(
        ["qemu-img", "info", "--output=json", "-f", "qcow2", path], check=True, capture_output=True, text=True
    )
    return json.loads(said.stdout)


def io(path: Path, command: str) -> str:
    argv = ["qemu-io", "-f", "qcow2", "-c", command, path]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_new_disk(tmp_path: Path) -> None:
    made = disks.create(tmp_path / "new.qcow2", 3 * MIB)
    said = ask(tmp_path / "new.qcow2")
    assert (said["format"], said["virtual-size"], made.virtual_size) == ("qcow2", 3 * MIB, 3 * MIB)


@pytest.mark.parametrize("kind", ["file", "empty", "link", "dangling", "folder"])
def test_nothing_is_written_over(tmp_path: Path, kind: str) -> None:
    disks.create(tmp_path / "base.qcow2", MIB)
    path = tmp_path / "there"
    if kind in ("file", "empty"):
        path.write_text("mine" if kind == "file" else "")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("base.qcow2" if kind == "link" else "nothing")
    before, base = tree(tmp_path), digest(tmp_path / "base.qcow2")
    for make in (lambda: disks.create(path, MIB), lambda: disks.clone(tmp_path / "base.qcow2", [path])):
        with pytest.raises(RequestError, match="there is already something"):
            make()
    assert (tree(tmp_path), digest(tmp_path / "base.qcow2")) == (before, base)
    if kind == "file":
        assert path.read_text() == "mine"


def test_clones_are_over_the_base_and_do_not_change_it(tmp_path: Path) -> None:
    base = tmp_path / "base.qcow2"
    disks.create(base, 2 * MIB)
    io(base, "write -P 0x41 0 64k")
    before = digest(base)
    targets = [tmp_path / f"{number}.qcow2" for number in range(5)]
    made = disks.clone(base, targets)
    assert [each.path for each in made] == targets
    for target in targets:
        said = ask(target)
        assert said["backing-filename"] == str(base) and said["backing-filename-format"] == "qcow2"
        assert said["virtual-size"] == 2 * MIB
        io(target, "read -P 0x41 0 64k")
        io(target, "write -P 0x42 0 64k")
    assert digest(base) == before


def test_a_clone_can_be_larger_and_not_smaller(tmp_path: Path) -> None:
    base = tmp_path / "base.qcow2"
    disks.create(base, 2 * MIB)
    disks.clone(base, [tmp_path / "large"], 5 * MIB)
    disks.clone(base, [tmp_path / "full"], 5 * MIB, full=True)
    assert [ask(tmp_path / name)["virtual-size"] for name in ("large", "full")] == [5 * MIB] * 2
    with pytest.raises(RequestError, match="cannot have less"):
        disks.clone(base, [tmp_path / "small"], MIB)
    assert not (tmp_path / "small").exists()


def test_all_clones_or_none(tmp_path: Path, state: Path) -> None:
    base = tmp_path / "base.qcow2"
    disks.create(base, MIB)
    (tmp_path / "2").write_text("mine")
    with pytest.raises(RequestError):
        disks.clone(base, [tmp_path / "1", tmp_path / "2", tmp_path / "3"])
    assert tree(tmp_path) == ["2", "base.qcow2", "state", "state/vmlan"]
    with pytest.raises(RequestError, match="cannot be made: No such file"):
        disks.clone(base, [tmp_path / "no/such/folder"])


def test_a_link_that_leads_elsewhere_later_does_not_change_a_clone(tmp_path: Path) -> None:
    for name in ("12.qcow2", "13.qcow2"):
        disks.create(tmp_path / name, MIB)
    (tmp_path / "current").symlink_to("12.qcow2")
    disks.clone(tmp_path / "current", [tmp_path / "mine"])
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("13.qcow2")
    assert ask(tmp_path / "mine")["backing-filename"] == str(tmp_path / "12.qcow2")


@pytest.mark.parametrize("kind", ["qcow2", "raw", "overlay", "unrecorded"])
def test_a_full_copy_needs_nobody(tmp_path: Path, kind: str) -> None:
    first, base = tmp_path / "a, first", tmp_path / "a base: with, odd=name"
    if kind == "raw":
        base.write_bytes(b"\x41" * 512 + bytes(2 * MIB - 512))
    else:
        disks.create(first, 2 * MIB)
        io(first, "write -P 0x41 0 512")
        (first.rename(base) if kind == "qcow2" else disks.clone(first, [base]))
    if kind == "unrecorded":
        base.write_bytes(base.read_bytes().replace(b"\xe2\x79\x2a\xca", b"\1\2\3\4"))
    disks.clone(base, [tmp_path / "copy"], full=True)
    assert images.look(tmp_path / "copy", written=True).chain == ()
    for path in (first, base):
        path.unlink(missing_ok=True)
    io(tmp_path / "copy", "read -P 0x41 0 512")
    assert ask(tmp_path / "copy")["virtual-size"] == 2 * MIB


def test_a_full_copy_of_a_raw_base_that_looks_like_an_overlay(tmp_path: Path) -> None:
    """What a guest wrote onto its raw disk is copied as bytes, and nothing is opened for it."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"hidden" + bytes(MIB - 6))
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", raw], check=True)
    raw.write_bytes(raw.read_bytes().ljust(MIB, b"\0"))
    top = tmp_path / "top"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", top], check=True)
    disks.clone(top, [tmp_path / "copy"], full=True)
    assert b"hidden" not in (tmp_path / "copy").read_bytes()
    io(tmp_path / "copy", f"read -P {ord('Q')} 0 1")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, names)
@example('json:{"driver":"null-co"}', "-o")
@example("nbd:localhost:1", "x,backing.file.filename=y")
def test_no_name_is_more_than_a_name(tmp_path: Path, first: str, second: str) -> None:
    """Whatever files are called: the disks that were asked for are made, and nothing else."""
    try:
        os.fsencode(first + second)
    except UnicodeEncodeError:
        return
    folder = tmp_path / "here"
    folder.mkdir(exist_ok=True)
    base, clone = folder / f"b{first}" / first, folder / second
    base.parent.mkdir(exist_ok=True)
    try:
        if clone == base.parent or len(os.fsencode(first)) > 200:
            return
        disks.create(base, MIB)
        disks.clone(base, [clone])
        assert sorted(folder.rglob("*")) == sorted([base.parent, base, clone])
        assert ask(clone)["backing-filename"] == str(base) == ask(clone)["full-backing-filename"]
        assert [each.path for each in bases.overlays_of(base)] == [clone]
        assert disks.info(clone).chain == (disks.Link(base, "qcow2"),)
        with pytest.raises(Busy):
            disks.remove([base])
        disks.remove([base, clone])
        assert list(folder.rglob("*")) == [base.parent]
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)


def test_a_disk_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed):
        disks.create(tmp_path / "huge", 2**63 - 1)
    assert tree(tmp_path) == []


def test_what_is_known_of_a_disk(tmp_path: Path) -> None:
    base, one, two = (tmp_path / f"{name}.qcow2" for name in ("base", "one", "two"))
    disks.create(base, MIB)
    disks.clone(base, [one])
    disks.clone(one, [two])
    found = disks.info(two)
    assert found.chain == (disks.Link(one, "qcow2"), disks.Link(base, "qcow2"))
    assert (found.virtual_size, found.overlays, found.users, found.lab) == (MIB, (), (), None)
    assert disks.info(base).overlays == (one,)
    assert disks.info(base).allocated == base.stat().st_blocks * 512
    assert [(row.path, row.kind, row.base) for row in disks.known()] == [
        (one, "clone", base),
        (two, "clone", one),
        (base, "base", None),
    ]
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "piece.qcow2").write_bytes(base.read_bytes()[:7] + b"\x09" + bytes(504))
    rows = {row.path.name: row for row in disks.folder(tmp_path)}
    assert sorted(rows) == ["base.qcow2", "one.qcow2", "piece.qcow2", "two.qcow2"]
    assert "begins as a qcow2 image" in str(rows["piece.qcow2"].problem)
    assert (rows["base.qcow2"].kind, rows["two.qcow2"].base) == ("base", one)


def test_only_images_are_removed(tmp_path: Path) -> None:
    disks.create(tmp_path / "real.qcow2", MIB)
    (tmp_path / "link").symlink_to("real.qcow2")
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "photo.img").write_text("called so by accident")
    (tmp_path / "folder").mkdir()
    before = tree(tmp_path)
    for name, words in {
        "link": "is a link to real.qcow2",
        "thesis.txt": "does not look like a disk image",
        "photo.img": "does not look like a disk image",
        "folder": "is no file",
        "nothing": "there is no image",
    }.items():
        with pytest.raises(RequestError, match=words):
            disks.remove([tmp_path / "real.qcow2", tmp_path / name])
        assert [name for name in tree(tmp_path) if "state" not in name] == before
    (tmp_path / "boot").write_bytes(bytes(510) + b"\x55\xaa" + bytes(512))
    (tmp_path / "raw.img").write_bytes(bytes(1024))
    disks.remove([tmp_path / name for name in ("real.qcow2", "boot", "raw.img")])


@pytest.mark.parametrize("format_", ["qcow2", "raw"])
def test_what_somebody_has_open_stays(tmp_path: Path, format_: str) -> None:
    path = tmp_path / "used.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", format_, path, "1M"], check=True)
    with subprocess.Popen(
        ["qemu-io", "-f", format_, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin and other.stdout
        other.stdin.write("length\n")
        other.stdin.flush()
        other.stdout.readline()  # it has opened the image
        with pytest.raises(Busy, match=f"in use: .* \\(pid {other.pid}\\)"):
            disks.remove([path])
        if format_ == "qcow2":  # qemu-io lets others write to a raw image, as a machine does not
            with pytest.raises(Busy, match="is open elsewhere"):
                disks.clone(path, [tmp_path / "clone"])
        assert [user.rpartition("(")[2] for user in disks.info(path).users] == [f"pid {other.pid})"]
        other.stdin.close()
        other.wait()
    disks.remove([path])


def test_the_last_disk_of_a_lab_leaves_no_folder(state: Path) -> None:
    disk = state / "shop-123456" / "web" / "disk0.qcow2"
    disk.parent.mkdir(parents=True)
    disks.create(disk, MIB)
    assert [(row.kind, row.lab, row.machine) for row in disks.known()] == [("lab", "shop-123456", "web")]
    assert (disks.info(disk).lab, disks.info(disk).machine) == ("shop-123456", "web")
    disks.remove([disk])
    assert tree(state) == []


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert disks.resolve("a:b") == tmp_path / "a:b"
    assert disks.resolve("~/x.qcow2") == Path("/home/somebody/x.qcow2")
    assert disks.resolve("~nobody-at-all/x") == tmp_path / "~nobody-at-all/x"
    with pytest.raises(RequestError, match="is empty"):
        disks.resolve("")


def test_names_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"some-cd": {"image": tmp_path / "cd.iso"}, "some-kernel": {"kernel": tmp_path / "vmlinuz"}}
    monkeypatch.setattr(disks, "CATALOGUE", files)
    monkeypatch.setattr("vmlan.host.named.files", lambda name, progress: files[name])
    assert disks.resolve("some-cd") == tmp_path / "cd.iso"
    assert disks.resolve("./some-cd") == tmp_path / "some-cd"
    with pytest.raises(RequestError, match="is a kernel, and no disk"):
        disks.resolve("some-kernel")
