"""What an image is, and what it would make QEMU open: looked at in images that qemu-img made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlan.errors import RequestError
from vmlan.host import backing, bases, images, qcow2
from vmlan.plan.facts import Backing

MIB = 1024**2


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def qemu_img(*words: str | Path) -> str:
    return subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True, text=True).stdout


def overlay(path: Path, base: str | Path, format_: str = "qcow2") -> Path:
    """An overlay whose header has `base` as it is given; qemu-img does not look for it."""
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", base, "-F", format_, path, "1M")
    return path


def disk(path: Path, format_: str = "qcow2") -> Path:
    path.parent.mkdir(exist_ok=True)
    qemu_img("create", "-q", "-f", format_, path, "1M")
    return path


def unrecorded(path: Path) -> Path:
    """Without its record of the backing file's format, as QEMU before 6.1 made them (and no longer does)."""
    data = path.read_bytes()
    assert data.count(b"\xe2\x79\x2a\xca") == 1
    path.write_bytes(data.replace(b"\xe2\x79\x2a\xca", b"\x01\x02\x03\x04"))
    return path


def refused(path: Path, **more: object) -> str:
    with pytest.raises(RequestError) as caught:
        images.look(path, who="vm1", written=False, **more)  # type: ignore[arg-type]
    assert caught.value.what.startswith("machine vm1: ")
    return str(caught.value)


# --- the header, against qemu-img


@pytest.mark.parametrize("version", ["0.10", "1.1"])
@pytest.mark.parametrize(
    ("cluster", "base"),
    [
        ("512", "base.qcow2"),
        ("512", "json:{}"),
        ("64k", "/somewhere/else"),
        ("64k", "x" * 300),
        ("2M", "base.qcow2"),
    ],
)
def test_a_header_says_to_us_what_it_says_to_qemu_img(
    tmp_path: Path, version: str, cluster: str, base: str
) -> None:
    path = tmp_path / "disk"
    options = f"compat={version},cluster_size={cluster}"
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-o", options, "-b", base, "-F", "raw", path, "3M")
    header = qcow2.read(path)
    assert header is not None
    said = (
        {"backing-filename": base, "backing-filename-format": "raw", "virtual-size": 3 * MIB}
        if base.startswith("json:")  # qemu-img info would open this one
        else json.loads(qemu_img("info", "-f", "qcow2", "--output=json", path))
    )
    assert header.backing == said["backing-filename"]
    assert header.backing_format == said["backing-filename-format"]
    assert header.virtual_size == said["virtual-size"]
    assert header.version == (3 if version == "1.1" else 2)


@given(st.binary(max_size=700))
def test_no_bytes_are_too_strange_for_the_reader(tail: bytes) -> None:
    """A header from anybody: an answer, or `Broken`; nothing else."""
    for head in (
        tail,
        qcow2.MAGIC + tail,
        qcow2.MAGIC + b"\0\0\0\3" + tail,
        qcow2.MAGIC + b"\0\0\0\2" + tail,
    ):
        if len(head) >= 72:
            try:
                found = qcow2.parse(head)
            except qcow2.Broken:
                continue
            assert found.backing is None or len(os.fsencode(found.backing)) <= qcow2.NAME_MAX


def test_a_piece_of_an_image_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "piece.qcow2"
    path.write_bytes(disk(tmp_path / "whole.qcow2").read_bytes()[:60])
    assert "begins as a qcow2 image, but it ends within its header" in refused(path)


# --- what is no image for us


@pytest.mark.parametrize(
    ("format_", "name"),
    [
        ("vmdk", "a VMDK image"),
        ("vhdx", "a VHDX image"),
        ("vpc", "a VHD image"),
        ("vdi", "a VDI image"),
        ("qed", "a QED image"),
        ("parallels", "a Parallels image"),
        ("qcow", "a qcow image of version 1"),
    ],
)
def test_other_formats_are_refused_and_the_hint_converts_them(
    tmp_path: Path, format_: str, name: str
) -> None:
    try:
        path = disk(tmp_path / f"old disk.{format_}", format_)
    except subprocess.CalledProcessError:
        pytest.skip(f"this qemu-img makes no {format_} images")
    said = refused(path)
    assert name in said and "vmlan takes qcow2 and raw" in said
    hint = said.rpartition("→ ")[2]
    subprocess.run(hint, shell=True, cwd=tmp_path, check=True)
    made = next(tmp_path.glob("*.qcow2"))
    assert images.look(made, written=True).virtual_size >= MIB  # VHD rounds up to whole cylinders


def test_a_vmdk_in_pieces_is_told_by_its_descriptor(tmp_path: Path) -> None:
    qemu_img("create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", tmp_path / "flat.vmdk", "1M")
    assert "the descriptor of a VMDK image" in refused(tmp_path / "flat.vmdk")


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz"])
def test_what_is_packed_must_be_unpacked_first(tmp_path: Path, program: str) -> None:
    disk(tmp_path / "disk.img", "raw")
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    subprocess.run([program, tmp_path / "disk.img"], check=True)
    (packed,) = tmp_path.glob("disk.img.*")
    assert f"is packed with {program}" in refused(packed)


def test_a_raw_disk_with_an_archive_on_it_is_a_disk(tmp_path: Path) -> None:
    path = disk(tmp_path / "data.img", "raw")
    with path.open("r+b") as file:
        file.write(b"\x1f\x8b")  # as `tar cz > /dev/vdb` leaves it
    assert images.look(path, written=True).format == "raw"


def test_a_folder_and_what_is_not_there(tmp_path: Path) -> None:
    disk(tmp_path / "debian.qcow2")
    assert "is a folder" in refused(tmp_path)
    assert "did you mean" in refused(tmp_path / "debain.qcow2")
    (tmp_path / "empty").touch()
    assert "is empty" in refused(tmp_path / "empty")


def test_media(tmp_path: Path) -> None:
    iso = tmp_path / "a.iso"
    iso.write_bytes(bytes(32769) + b"CD001" + bytes(2048 * 20 - 32774))
    floppy = tmp_path / "a.img"
    floppy.write_bytes(bytes(1440 * 1024))
    found = [images.look(path, written=False).medium for path in (iso, floppy, disk(tmp_path / "d"))]
    assert found == ["cdrom", "floppy", "disk"]


def test_a_disk_that_a_guest_encrypted_is_a_raw_disk(tmp_path: Path) -> None:
    path = tmp_path / "luks.img"
    path.write_bytes(b"LUKS\xba\xbe\0\1" + bytes(MIB - 8))
    assert images.look(path, written=True).format == "raw"


# --- chains


def test_a_chain_is_followed_to_its_end(tmp_path: Path) -> None:
    base = disk(tmp_path / "base.img", "raw")
    middle = unrecorded(overlay(tmp_path / "middle.qcow2", "base.img", "raw"))
    top = unrecorded(overlay(tmp_path / "top.qcow2", str(middle)))
    found = images.look(top, written=True)
    assert found.chain == (Backing(middle, "qcow2"), Backing(base, "raw"))
    assert found.backing == ("qcow2", "raw")
    assert images.look(base, written=False).chain == ()


def test_a_base_recorded_as_raw_is_raw_whatever_it_holds(tmp_path: Path) -> None:
    overlay(tmp_path / "base.img", "/etc/passwd", "raw")  # a header that a guest wrote on its raw disk
    assert images.look(overlay(tmp_path / "top.qcow2", "base.img", "raw"), written=False).backing == ("raw",)


def test_a_base_below_the_folder_or_in_it_by_its_whole_path(tmp_path: Path) -> None:
    base = disk(tmp_path / "bases" / "base.qcow2")
    for name in ("bases/base.qcow2", str(base), "./bases/../bases/base.qcow2"):
        top = overlay(tmp_path / "top.qcow2", name)
        assert images.look(top, written=False).chain[0].path.samefile(base)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside.img", "sub/../../outside.img", ".ssh/id", "sub/.x"]
)
def test_names_that_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "here"
    for secret in (tmp_path / "outside.img", folder / ".ssh/id", folder / "sub/.x"):
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_bytes(bytes(512))
    said = refused(overlay(folder / "evil.qcow2", name, "raw"))
    assert name in said and "outside of the image's folder" in said and "base:" in said


@pytest.mark.parametrize(
    "name",
    [
        'json:{"driver":"file","filename":"/etc/passwd"}',
        "nbd:localhost:10809",
        "nbd+unix:///?socket=/tmp/s",
        "http://example.org/x",
        "file:/etc/passwd",
        "fat:rw:/home",
        "ssh:x",
        "a:b",
    ],
)
def test_names_that_are_not_of_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    patched = _with_backing(path.read_bytes(), name)
    path.write_bytes(patched)
    said = refused(path)
    assert "which is not the name of a file" in said and name.split("{")[0] in said
    assert "is not the name of a file" in refused(path, trusted=[tmp_path / name])


def _with_backing(data: bytes, name: str) -> bytes:
    """An image's bytes with a backing file written into its header, as an attacker would."""
    raw = name.encode()
    return (
        data[:8]
        + (512).to_bytes(8, "big")
        + len(raw).to_bytes(4, "big")
        + data[20:512]
        + raw
        + data[512 + len(raw) :]
    )


def test_a_link_out_of_the_folder_is_followed_first(tmp_path: Path) -> None:
    """An archive can bring a link along with the image."""
    here = tmp_path / "here"
    here.mkdir()
    secret = disk(tmp_path / "secret.img", "raw")
    (here / "base.img").symlink_to(secret)
    said = refused(overlay(here / "evil.qcow2", "base.img", "raw"))
    assert f"(which is {secret})" in said


def test_a_folder_of_links_to_images_that_lie_together(tmp_path: Path) -> None:
    store, here = tmp_path / "store", tmp_path / "here"
    here.mkdir()
    disk(store / "base.qcow2")
    overlay(store / "top.qcow2", "base.qcow2")
    for name in ("base.qcow2", "top.qcow2"):
        (here / name).symlink_to(store / name)
    assert images.look(here / "top.qcow2", written=False).chain == (Backing(here / "base.qcow2", "qcow2"),)


def test_a_base_that_the_user_names_may_be_anywhere(tmp_path: Path) -> None:
    base = disk(tmp_path / "store" / "base.qcow2")
    here = tmp_path / "here"
    here.mkdir()
    top = overlay(here / "top.qcow2", base)
    refused(top)
    assert images.look(top, written=True, trusted=[base]).backing == ("qcow2",)
    refused(top, trusted=[disk(here / "another.qcow2")])
    overlay(base, "/etc/passwd", "raw")  # the base that was named is trusted, and not what it names itself
    assert "/etc/passwd" in refused(top, trusted=[base])


def test_an_overlay_that_vmlan_made_may_have_its_base_anywhere(tmp_path: Path) -> None:
    base = disk(tmp_path / "store" / "base.qcow2")
    here = tmp_path / "here"
    here.mkdir()
    top = overlay(here / "top.qcow2", base)
    bases.record(top, base)
    assert images.look(top, written=True).backing == ("qcow2",)
    overlay(top, disk(tmp_path / "store" / "other.qcow2"))  # somebody put another image into its place
    assert "would make QEMU open" in refused(top)


def test_a_header_on_a_raw_disk_is_taken_for_an_attack(tmp_path: Path) -> None:
    """A guest writes the first bytes of its raw disk; the other image in the folder is not its own."""
    disk(tmp_path / "others.qcow2")
    said = refused(overlay(tmp_path / "data.img", "others.qcow2"))
    assert "is called a raw image" in said
    # Even below an overlay that does not record that its base is raw.
    assert "is called a raw image" in refused(unrecorded(overlay(tmp_path / "top.qcow2", "data.img", "raw")))


def test_chains_that_do_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay(tmp_path / "a.qcow2", "b.qcow2")
    overlay(tmp_path / "b.qcow2", "a.qcow2")
    assert "over itself" in refused(tmp_path / "a.qcow2")
    disk(tmp_path / "0.qcow2")
    monkeypatch.setattr(backing, "LONGEST", 4)
    for number in range(1, 6):
        overlay(tmp_path / f"{number}.qcow2", f"{number - 1}.qcow2")
    assert len(images.look(tmp_path / "4.qcow2", written=False).chain) == 4
    assert "more than 4" in refused(tmp_path / "5.qcow2")


def test_a_base_that_is_gone(tmp_path: Path) -> None:
    said = refused(overlay(tmp_path / "top.qcow2", "gone.qcow2"))
    assert "gone.qcow2, and there is no such file" in said and "qemu-img rebase -u" in said


@pytest.mark.parametrize("format_", ["vmdk", "blkdebug", "nbd"])
def test_bases_of_other_formats(tmp_path: Path, format_: str) -> None:
    disk(tmp_path / "base.qcow2")
    path = overlay(tmp_path / "top.qcow2", "base.qcow2", "qcow2")
    data = path.read_bytes()
    at = data.index(b"\xe2\x79\x2a\xca")
    path.write_bytes(
        data[: at + 4] + len(format_).to_bytes(4, "big") + format_.encode().ljust(8, b"\0") + data[at + 16 :]
    )
    header = qcow2.read(path)
    assert header is not None and header.backing_format == format_
    assert f"as '{format_}'" in refused(path)


def test_a_base_whose_format_is_not_recorded_and_is_not_ours(tmp_path: Path) -> None:
    disk(tmp_path / "base.vmdk", "vmdk")
    assert "is a VMDK image" in refused(unrecorded(overlay(tmp_path / "top.qcow2", "base.vmdk", "vmdk")))


def test_data_in_another_file(tmp_path: Path) -> None:
    path = tmp_path / "top.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", path, "1M"],
        cwd=tmp_path,
        check=True,
    )
    assert "keeps its data in another file, and would make QEMU open 'data.raw'" in refused(path)
    assert "'data.raw'" in refused(overlay(tmp_path / "over.qcow2", "top.qcow2"))


def test_an_encrypted_image(tmp_path: Path) -> None:
    """Byte 32 of the header says with what: 1 is AES, 2 LUKS (QEMU, docs/interop/qcow2.txt)."""
    path = disk(tmp_path / "secret.qcow2")
    data = path.read_bytes()
    for method in (1, 2):
        path.write_bytes(data[:32] + method.to_bytes(4, "big") + data[36:])
        assert "is encrypted" in refused(path)


@pytest.mark.parametrize("options", [[], ["-c"], ["-o", "cluster_size=4k"], ["-o", "compat=0.10"]])
def test_half_a_copy_of_an_image_is_refused(tmp_path: Path, options: list[str]) -> None:
    """What is missing would read as zeros: QEMU says nothing of it."""
    raw, whole = tmp_path / "data.img", tmp_path / "whole.qcow2"
    raw.write_bytes(b"".join(os.urandom(1 << 15) + bytes(1 << 15) for _ in range(48)))
    subprocess.run(["qemu-img", "convert", *options, "-f", "raw", "-O", "qcow2", raw, whole], check=True)
    assert images.look(whole, written=False).virtual_size == 3 << 20
    data = whole.read_bytes()
    for part in (0.95, 0.5, 0.2):
        cut = tmp_path / f"cut{part}.qcow2"
        cut.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(RequestError, match="is cut short"):
            images.look(cut, written=False)


def test_a_name_that_says_qcow2_and_bytes_that_do_not(tmp_path: Path) -> None:
    page = tmp_path / "debian.qcow2"
    page.write_text("<html>404 Not Found</html>\n" * 100)
    with pytest.raises(RequestError, match="is called a qcow2 image, and is none"):
        images.look(page, written=False)


def test_a_link_to_nothing_says_so(tmp_path: Path) -> None:
    link = tmp_path / "disk.img"
    link.symlink_to("gone.img")
    with pytest.raises(RequestError, match="is a link to a file that is not there: gone.img"):
        images.look(link, written=False)
