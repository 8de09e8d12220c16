"""Disks against QEMU itself: what it opens, and that a base is as it was after any use."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.real.conftest import Bench
from vmlan.errors import RequestError
from vmlan.host import images
from vmlan.host.identity import make_pipes
from vmlan.model import MIB, Machine
from vmlan.qemu import cmdline
from vmlan.qemu.cmdline import Drive, Hardware

pytestmark = pytest.mark.real

QEMU = Path(shutil.which(os.environ.get("VMLAN_QEMU", "qemu-system-x86_64")) or "qemu-system-x86_64")


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def opened(folder: Path) -> Iterator[set[str]]:
    """The names of what is opened in a folder meanwhile, by whomever (inotify(7), IN_OPEN)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0 and libc.inotify_add_watch(fd, os.fsencode(folder), 0x20) >= 0
    found: set[str] = set()
    try:
        yield found
        data = b""
        try:
            while chunk := os.read(fd, 65536):
                data += chunk
        except BlockingIOError:
            pass
        while data:
            size = struct.unpack_from("iIII", data)[3]
            found.add(os.fsdecode(data[16 : 16 + size].rstrip(b"\0")))
            data = data[16 + size :]
        found.discard("")  # the folder itself
    finally:
        os.close(fd)


def asked(argv: tuple[str, ...], qmp: Path, here: Path, *commands: str) -> list[Any]:
    """Start QEMU without letting it run, and ask it."""
    with subprocess.Popen(
        [*argv, "-S"],
        cwd=here,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as qemu:
        try:
            deadline = time.monotonic() + 30
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                while client.connect_ex(str(qmp)):  # not there yet, or not listened at yet
                    assert qemu.poll() is None and time.monotonic() < deadline, qemu.communicate()[1]
                    time.sleep(0.005)
                stream = client.makefile("rw")
                answers = []
                for command in ("qmp_capabilities", *commands, "quit"):
                    stream.write(json.dumps({"execute": command}))
                    stream.flush()
                    while "return" not in (answer := json.loads(stream.readline() or "null") or {"gone": 1}):
                        assert "error" not in answer and "gone" not in answer, (answer, qemu.communicate()[1])
                    answers.append(answer["return"])
            assert qemu.wait(timeout=30) == 0, qemu.communicate()[1]
            return answers[1:-1]
        finally:
            qemu.kill()


def linux() -> bytes:
    """As much of a Linux kernel as QEMU reads before it runs it (Linux, Documentation/arch/x86/boot.rst)."""
    data = bytearray(8192)
    data[0x1F1], data[0x1FE:0x200], data[0x202:0x206], data[0x211] = 1, b"\x55\xaa", b"HdrS", 1
    struct.pack_into("<H", data, 0x206, 0x20F)
    struct.pack_into("<I", data, 0x22C, 0x7FFFFFFF)
    return bytes(data)


def machine(
    run: Path, drives: tuple[Drive, ...], kernel: Path | None = None, initrd: Path | None = None
) -> Hardware:
    make_pipes(run, ("agent.in", "agent.out"))
    return Hardware(
        machine=Machine("vm1", image=None, memory=64 * MIB),
        type="pc",
        accel="tcg",
        cpu="max",
        drives=drives,
        netdevs=(),
        qmp=run / "qmp",
        agent=run / "agent",
        serial=run / "serial",
        serial_log=run / "log",
        kernel=kernel,
        initrd=initrd,
    )


#: Names that mean something to QEMU, to a shell, or to whoever splits words. `decoy` is a file that is there.
ODD = ["x,file=decoy", "x,readonly=on", "x,,file=decoy", ",", ",,", "decoy,", "a:b", "nbd:localhost:1", "fat:rw:.", "-hda", "-S", "--",
       "json:{\"driver\":\"null-co\"}", "$(touch decoy2)", "$HOME", "`id`", "new\nline", "new\r\nline", " ", "  lead", "trail ", "'", '"', "a'b\"c",
       "x,backing.file.filename=decoy", "x,if=none,id=evil", "\\", "a\\,b", "%s%n", "*", "?", "~", "file:decoy", "decoy decoy", "é", "\x01", "\x7f"]  # fmt: skip
name = st.one_of(
    st.sampled_from(ODD),
    st.lists(st.sampled_from([*",:= $'\"\n-{}\\a", "file=", "decoy", "id=x", "json:", "format=qcow2"]), min_size=1, max_size=6).map("".join),
)  # fmt: skip
KINDS = ("base", "disk", "raw", "cdrom", "floppy", "usb", "kernel", "initrd")


@settings(max_examples=15, deadline=None, database=None)
@given(st.lists(name, min_size=len(KINDS), max_size=len(KINDS)), name)
@example([ODD[0]] * len(KINDS), "x,file=")  # …/x,file=/x,file=decoy
@example([ODD[10]] * len(KINDS), "a:b")
@example(["new\nline,file=decoy"] * len(KINDS), "-drive file=decoy")
@example(['json:{"driver":"null-co"}'] * len(KINDS), "json:")
def test_a_file_name_is_the_name_of_a_file_and_nothing_else(names: list[str], folder: str) -> None:
    """Whatever media, base, kernel and initrd are called, QEMU opens exactly these, each in its format."""
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as root:
        here = Path(root, "here")
        files = {kind: here / str(n) / folder / names[n] for n, kind in enumerate(KINDS)}
        for path in files.values():
            path.parent.mkdir(parents=True)
            (path.parent / "decoy").write_bytes(bytes(512))
            path.write_bytes(bytes(MIB))
        (here / "decoy").write_bytes(bytes(512))
        files["kernel"].write_bytes(linux())
        qemu_img("create", "-f", "raw", files["base"], "1M")
        qemu_img("create", "-f", "qcow2", "-b", files["base"], "-F", "raw", files["disk"])
        drives = (
            Drive("disk", files["disk"], "qcow2", 0, backing=("raw",)),
            Drive("disk", files["raw"], "raw", 1, bus="ide"),
            Drive("cdrom", files["cdrom"], "raw"),
            Drive("floppy", files["floppy"], "raw"),
            Drive("usb", files["usb"], "raw"),
        )
        hardware = machine(Path(root), drives, files["kernel"], files["initrd"])
        with (
            opened(here) as strangers,
            opened(files["kernel"].parent) as kernels,
            opened(files["initrd"].parent) as initrds,
        ):
            devices, nodes = asked(
                cmdline.command(QEMU, hardware), hardware.qmp, here, "query-block", "query-named-block-nodes"
            )
        media = {str(files[kind]) for kind in KINDS[:-2]}
        assert sorted(node["file"] for node in nodes if node["drv"] == "file") == sorted(media)
        assert sorted(node["file"] for node in nodes if node["drv"] == "raw") == sorted(
            media - {str(files["disk"])}
        )
        assert [node["file"] for node in nodes if node["drv"] == "qcow2"] == [str(files["disk"])]
        assert len(nodes) == 2 * len(media)
        assert {device["device"] for device in devices} == {drive.id for drive in drives}
        assert {node["file"] for node in nodes if not node["ro"]} == media - {
            str(files["base"]),
            str(files["cdrom"]),
        }
        assert strangers == set()  # nothing by a name relative to where QEMU runs
        assert (kernels, initrds) == ({files["kernel"].name}, {files["initrd"].name})
        assert (here / "decoy").read_bytes() == bytes(512)


def multiboot() -> bytes:
    """A kernel for Multiboot: QEMU splits the initrd's name for it (Multiboot specification 0.6.96, 3.1.1)."""
    load, flags, mark = 0x100000, 0x10000, 0x1BADB002
    header = struct.pack(
        "<IIIIIIII", mark, flags, -(mark + flags) & 0xFFFFFFFF, load, load, load + 4096, load + 4096, load
    )
    return header.ljust(4096, b"\0")


@pytest.mark.parametrize("odd", ["initrd,decoy", "initrd decoy"])
def test_a_multiboot_kernel_is_where_a_name_is_split(tmp_path: Path, odd: str) -> None:
    """QEMU does split it, so vmlan refuses it; it does not refuse a plain name, or a Linux kernel."""
    kernel, initrd = tmp_path / "kernel", tmp_path / odd
    kernel.write_bytes(multiboot())
    for path in (initrd, tmp_path / "initrd", tmp_path / "decoy"):
        path.write_bytes(bytes(512))
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as run:
        hardware = machine(Path(run), (), kernel, initrd)
        with opened(tmp_path) as names:
            asked(cmdline.command(QEMU, hardware), hardware.qmp, tmp_path)
    assert "initrd" in names and odd not in names
    with pytest.raises(RequestError, match="Multiboot"):
        images.check_initrd(kernel, initrd, who="vm1")
    images.check_initrd(kernel, tmp_path / "initrd", who="vm1")
    kernel.write_bytes(linux())
    images.check_initrd(kernel, initrd, who="vm1")


def unrecorded(path: Path) -> None:
    data = path.read_bytes()
    assert data.count(b"\xe2\x79\x2a\xca") == 1
    path.write_bytes(data.replace(b"\xe2\x79\x2a\xca", b"\x01\x02\x03\x04"))


def test_qemu_guesses_no_format_that_an_overlay_does_not_record(tmp_path: Path) -> None:
    """A guest wrote a header onto its raw disk, which QEMU would believe below an overlay of old."""
    secret, base, middle, top = (tmp_path / name for name in ("secret", "base", "middle.qcow2", "top.qcow2"))
    secret.write_bytes(b"secret" + bytes(MIB - 6))
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", base)
    for path, below, format_ in ((middle, base, "raw"), (top, middle, "qcow2")):
        qemu_img("create", "-f", "qcow2", "-b", below, "-F", format_, path, "1M")
        unrecorded(path)

    def files(backing: tuple[str, ...]) -> set[str]:
        with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as run:
            hardware = machine(Path(run), (Drive("disk", top, "qcow2", backing=backing),))
            (nodes,) = asked(
                cmdline.command(QEMU, hardware), hardware.qmp, tmp_path, "query-named-block-nodes"
            )
        return {Path(node["file"]).name for node in nodes}

    assert "secret" in files(())  # what the options are there to prevent
    assert files(("qcow2", "raw")) == {"top.qcow2", "middle.qcow2", "base"}


LAB = """
machines:
  one: {image: tiny, memory: 128M, disks: [{base: base.qcow2}]}
  two: {image: tiny, memory: 128M, disks: [{base: base.qcow2, size: 64M}, {file: mine.qcow2}]}
"""


def test_a_base_is_as_it_was_after_machines_wrote(bench: Bench) -> None:
    base = bench.folder / "base.qcow2"
    bench.ok("disk", "create", "base.qcow2", "32M")
    bench.ok("disk", "clone", "base.qcow2", "mine.qcow2")
    before, changed = digest(base), base.stat().st_mtime_ns
    bench.write(LAB)
    bench.ok("up")
    for name, device in (("one", "vda"), ("two", "vda"), ("two", "vdb")):
        bench.ok(
            "exec",
            name,
            "--",
            "sh",
            "-c",
            f"cat /bin/busybox > /dev/{device}; echo {name} > /dev/{device}; sync",
        )
    used = bench.vmlan("disk", "info", "base.qcow2", "--json").json
    assert sorted(user.partition(" (")[0] for user in used["users"]) == ["machine one", "machine two"]
    assert len(used["overlays"]) == 3
    refused = bench.vmlan("disk", "rm", "base.qcow2")
    assert refused.code == 2 and "in use: machine" in refused.err
    assert "in use: machine two" in bench.vmlan("disk", "rm", "mine.qcow2").err
    assert bench.ok("exec", "two", "--", "sh", "-c", "head -n 1 /dev/vdb").strip() == "two"
    bench.ok("down")
    assert (digest(base), base.stat().st_mtime_ns) == (before, changed)
    for disk in (*bench.state.rglob("*.qcow2"), bench.folder / "mine.qcow2"):
        qemu_img("check", "-q", disk)

    rows = bench.vmlan("disk", "ls", "--json").json
    assert sorted((row["kind"], row["machine"] or Path(row["path"]).name) for row in rows) == [
        ("base", "base.qcow2"),
        ("clone", "mine.qcow2"),
        ("lab", "one"),
        ("lab", "two"),
    ]
    assert bench.ok("disk", "ls", ".").count("qcow2") == 3  # two files, and what one of them is over
    refused = bench.vmlan("disk", "rm", "base.qcow2")
    assert (
        refused.code == 2
        and "the base of 3 overlays" in refused.err
        and "machine one of lab lab-" in refused.err
    )

    other = bench.folder / "other"
    other.mkdir()
    (other / "lab.yaml").write_text("machines: {bad: {image: tiny, memory: 128M, disks: [../base.qcow2]}}\n")
    refused = bench.vmlan("up", "-f", "other/lab.yaml")
    assert refused.code == 2 and "base.qcow2 cannot be written to" in refused.err
    (other / "lab.yaml").write_text(
        "machines: {good: {image: tiny, memory: 128M, disks: [{file: ../base.qcow2, read-only: true}]}}\n"
    )
    bench.ok("up", "-f", "other/lab.yaml")
    assert (
        bench.vmlan("exec", "-f", "other/lab.yaml", "good", "--", "sh", "-c", "echo x > /dev/vda").code != 0
    )
    bench.ok("down", "-f", "other/lab.yaml")
    assert digest(base) == before

    kept = next(bench.state.glob("vmlan/*/one/disk0.qcow2"))
    bench.ok("disk", "clone", str(kept), "copy.qcow2")  # whose base is the disk of a machine
    refused = bench.vmlan("up")
    assert refused.code == 2 and "machine one: " in refused.err and "cannot be written to" in refused.err
    bench.ok("disk", "rm", "copy.qcow2")
    bench.ok("down", "--disks")
    bench.ok("disk", "rm", "base.qcow2", "mine.qcow2")
    assert list(bench.folder.glob("*.qcow2")) == []


def test_an_image_that_would_open_another_is_refused_in_a_lab(bench: Bench) -> None:
    """And is taken where the file names what it is over."""
    store = bench.folder / "store"
    store.mkdir()
    qemu_img("create", "-f", "raw", store / "base", "8M")
    qemu_img("create", "-f", "qcow2", "-b", store / "base", "-F", "raw", bench.folder / "top.qcow2")
    (bench.folder / "labs").mkdir()
    (bench.folder / "top.qcow2").rename(bench.folder / "labs/top.qcow2")
    bench.write("machines: {vm1: {image: tiny, memory: 128M, disks: [labs/top.qcow2]}}\n")
    refused = bench.vmlan("up")
    assert refused.code == 2
    assert "machine vm1" in refused.err and "would make QEMU open" in refused.err and "base:" in refused.err
    assert bench.processes() == []
    bench.write(
        "machines: {vm1: {image: tiny, memory: 128M, disks: [{file: labs/top.qcow2, base: store/base}]}}\n"
    )
    bench.ok("up")
    bench.ok("down")


def test_the_command_line(bench: Bench) -> None:
    made = bench.vmlan("disk", "create", "--json", "base.qcow2", "1G").json
    assert [(Path(one["path"]).name, one["virtual_size"], one["base"]) for one in made] == [
        ("base.qcow2", 1024**3, None)
    ]
    names = [f"vm{number}.qcow2" for number in range(20)]
    made = bench.vmlan("disk", "clone", "--json", "base.qcow2", *names).json
    assert [Path(one["path"]).name for one in made] == names
    assert all(one["milliseconds"] > 0 and one["virtual_size"] == 1024**3 for one in made)
    assert bench.ok("disk", "clone", "base.qcow2", "--", "-o").startswith("-o: 1G, over base.qcow2 (")
    for words, said in {
        ("create", "x", "8"): "'8' has no unit; write 8M or 8G",
        ("create", "base.qcow2", "8G"): "there is already something at",
        ("clone", "base.qcow2"): "Missing argument",
        ("clone", "nothing.qcow2", "x"): "there is no image",
        ("info", "lab.yaml"): "there is no image",
        ("rm", "."): "is no file",
        ("rm", "--", "base.qcow2"): "the base of 21 overlays",
    }.items():
        wrong = bench.vmlan("disk", *words)
        assert wrong.code == 2 and said in wrong.err, (words, wrong)
    error = bench.vmlan("disk", "rm", "--json", "base.qcow2").json["error"]
    assert error["kind"] == "Busy" and error["hint"]
    assert bench.vmlan("disk", "rm", "--json", "base.qcow2", *names, "./-o").json["removed"]
    assert bench.ok("disk", "ls") == "no lab has a disk, and there is no clone\n"
    assert list(bench.folder.iterdir()) == []
