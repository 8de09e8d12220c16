import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.fake_qemu import REPLIES, gone, speaking, starts
from vmlan.errors import HostError
from vmlan.qemu import testguest
from vmlan.qemu.kvm import try_kvm


@pytest.fixture
def device(tmp_path):
    """Something that can be opened for reading and writing, as /dev/kvm can."""
    node = tmp_path / "kvm"
    node.write_text("")
    return node


def attempt(tmp_path, device, boot, **more):
    binary = speaking(tmp_path / "qemu", boot=boot)
    return binary, try_kvm(binary, tmp_path / "cache", device=device, **more)


def test_a_guest_that_reports_is_a_kvm_that_works(tmp_path, device):
    _, verdict = attempt(tmp_path, device, f"exit {testguest.EXIT_CODE}")
    assert verdict.works
    assert verdict.reason


@pytest.mark.parametrize(
    ("boot", "words"),
    [
        ("echo 'qemu: warning: pni' >&2; echo 'qemu: error: bad MSR' >&2; kill -ABRT $$", "it: bad MSR"),
        ("echo 'qemu: -machine pc: unsupported' >&2; exit 1", "-machine pc: unsupported"),
        ("exit 0", "crashed before it reached 64-bit mode"),
        ("exit 1", "crashed before"),
    ],
)
def test_any_other_end_is_a_kvm_that_does_not(tmp_path, device, boot, words):
    _, verdict = attempt(tmp_path, device, boot)
    assert not verdict.works
    assert words in verdict.reason
    assert f"{device} opens, but" in verdict.reason
    assert "\n" not in verdict.reason


def test_a_guest_that_gets_nowhere_is_ended_at_the_deadline(tmp_path, device):
    boot = f"echo $$ > {tmp_path}/pid; sleep 60 & echo $! >> {tmp_path}/pid; wait"
    began = time.monotonic()
    _, verdict = attempt(tmp_path, device, boot, deadline=0.3)
    assert time.monotonic() - began < 5
    assert not verdict.works
    assert "within 0.3 s" in verdict.reason
    pids = [int(line) for line in (tmp_path / "pid").read_text().split()]
    deadline = time.monotonic() + 5
    while not all(map(gone, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(pids) == 2
    assert all(map(gone, pids))


@pytest.mark.parametrize("boot", ["exit 85", "exit 1"])
def test_the_verdict_is_kept_for_this_boot(tmp_path, device, boot):
    binary, verdict = attempt(tmp_path, device, boot)
    before = starts(binary)
    assert try_kvm(binary, tmp_path / "cache", device=device) == verdict
    assert starts(binary) == before
    assert try_kvm(binary, tmp_path / "cache", device=device, fresh=True) == verdict
    assert starts(binary) == before + 1


def test_a_late_guest_is_given_another_chance_later(tmp_path, device):
    binary, _ = attempt(tmp_path, device, "sleep 60", deadline=0.2)
    before, kept = starts(binary), tmp_path / "cache" / "kvm.json"
    again = {"device": device, "deadline": 0.2}
    try_kvm(binary, tmp_path / "cache", **again)
    assert starts(binary) == before
    entries = json.loads(kept.read_bytes())
    (entry,) = entries.values()
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert now < entry["until"] < now + 3600
    entry["until"] = now - 1
    kept.write_text(json.dumps(entries))
    try_kvm(binary, tmp_path / "cache", **again)
    assert starts(binary) == before + 1


def test_another_boot_user_device_or_binary_is_tried_anew(tmp_path, device):
    binary, _ = attempt(tmp_path, device, "exit 85")
    key = next(iter(json.loads((tmp_path / "cache" / "kvm.json").read_bytes())))
    words = key.split()
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip() in words
    assert str(os.getuid()) in words
    before = starts(binary)
    device.chmod(0o640)
    try_kvm(binary, tmp_path / "cache", device=device)
    assert starts(binary) == before + 1
    _, verdict = attempt(tmp_path, device, "exit 0")
    assert not verdict.works


def test_a_rotten_cache_is_no_harm(tmp_path, device):
    binary, verdict = attempt(tmp_path, device, "exit 85")
    (tmp_path / "cache" / "kvm.json").write_bytes(b"\x00\xff{")
    before = starts(binary)
    assert try_kvm(binary, tmp_path / "cache", device=device) == verdict
    assert starts(binary) == before + 1


def test_without_the_device_nothing_is_started(tmp_path):
    binary, verdict = attempt(tmp_path, tmp_path / "none", "exit 85")
    assert not verdict.works
    assert "there is no" in verdict.reason
    assert "modprobe" in verdict.mend
    assert starts(binary) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_without_permission_the_command_that_gives_it_is_named(tmp_path, device):
    device.chmod(0)
    binary, verdict = attempt(tmp_path, device, "exit 85")
    assert not verdict.works
    assert verdict.mend.startswith("sudo usermod -aG kvm ")
    assert verdict.mend in verdict.reason
    assert starts(binary) == 0


def test_a_device_that_does_not_open_says_why(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    _, verdict = attempt(tmp_path, folder, "exit 85")
    assert not verdict.works
    assert "Is a directory" in verdict.reason


def test_a_qemu_without_kvm_is_not_tried(tmp_path, device):
    only_tcg = {"id": "accelerators", "return": [{"name": "tcg-accel"}]}
    replies = tuple(only_tcg if reply.get("id") == "accelerators" else reply for reply in REPLIES)
    binary = speaking(tmp_path / "qemu", replies=replies, boot=f"touch {tmp_path}/booted; exit 85")
    verdict = try_kvm(binary, tmp_path / "cache", device=device)
    assert not verdict.works
    assert "built without KVM" in verdict.reason
    assert not (tmp_path / "booted").exists()


def test_what_is_no_qemu_is_an_error(tmp_path, device):
    with pytest.raises(HostError):
        try_kvm(tmp_path / "nothing", tmp_path / "cache", device=device)


def test_the_image_is_a_file_without_a_name(tmp_path, device):
    boot = f'for last; do :; done; cp "$last" {tmp_path}/got; readlink "$last" > {tmp_path}/name; exit 85'
    attempt(tmp_path, device, boot)
    assert (tmp_path / "got").read_bytes() == testguest.image()
    assert (tmp_path / "name").read_text().strip().endswith("(deleted)")


def test_the_image_starts_where_the_processor_does():
    image = testguest.image()
    assert len(image) == 0x10000
    assert image[0xFFF0:0xFFF5] == bytes.fromhex("ea 0000 00f0")
    assert image[0x80:0x86] == bytes.fromhex("0f00 90000f00")
    assert image[0x90:0xA0] == bytes(8) + bytes.fromhex("ffff 0000 00 9b af 00")
    assert not any(image[0x100:0xFFF0])


@pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump as the oracle")
@pytest.mark.parametrize(("table", "mode"), [("_REAL_MODE", "i8086"), ("_WORK", "i386:x86-64")])
def test_each_instruction_is_what_its_comment_says(tmp_path, table, mode):
    for code, comment in getattr(testguest, table):
        raw = tmp_path / "code"
        raw.write_bytes(code)
        shown = subprocess.run(
            ["objdump", "-D", "-z", "-b", "binary", "-m", mode, "-M", "intel", str(raw)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        rows = [line.split("\t") for line in shown.splitlines() if line.startswith("   ")]
        assert sum(len(row) > 2 for row in rows) == 1, comment
        said = comment.removeprefix("again: ").split()[0].replace("jnz", "jne")
        # objdump writes some with their width: lgdtw, movabs
        assert rows[0][2].startswith(said), (comment, rows)


def test_the_pieces_do_not_overlap():
    assert sum(len(code) for code, _ in testguest._REAL_MODE) <= testguest._GDT_POINTER
    assert testguest._GDT_POINTER + 6 <= testguest._GDT
    assert testguest._GDT + 16 <= testguest._LONG_MODE
