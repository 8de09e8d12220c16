"""The real QEMU of this machine: what it says, and whether the test guest does what it claims."""

import os
import shutil
import time
from pathlib import Path

import pytest

from vmlan.host.run import find
from vmlan.qemu import features, testguest
from vmlan.qemu.kvm import DEADLINE, boot, try_kvm
from vmlan.qemu.probe import probe

pytestmark = pytest.mark.real

QEMU = find("qemu-system-x86_64")

#: Seconds; emulation needs 0.1 on an idle machine, and this may be a busy one.
PATIENCE = 30.0


@pytest.fixture
def counted(tmp_path):
    """The real QEMU behind a script that counts, and writes down the process that becomes it."""
    wrapper = tmp_path / "qemu"
    wrapper.write_text(f'#!/bin/sh\necho $$ >> {tmp_path}/starts\nexec {QEMU} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def pids(wrapper: Path) -> list[int]:
    starts = wrapper.parent / "starts"
    return [int(line) for line in starts.read_text().split()] if starts.exists() else []


def running(wrapper: Path) -> list[int]:
    return [pid for pid in pids(wrapper) if Path(f"/proc/{pid}").exists()]


def test_the_guest_reaches_64_bit_mode_under_emulation(counted):
    answer = boot(counted, "tcg", testguest.image(), PATIENCE)
    assert (answer.code, answer.stdout) == (testguest.EXIT_CODE, "")
    assert running(counted) == []


@pytest.mark.parametrize("bits", ["cf", "8f"], ids=["32-bit code", "16-bit code"])
def test_the_guest_reports_only_from_64_bit_mode(counted, bits):
    """The same bytes with a code segment of another kind come to another number, or crash."""
    image = testguest.image()
    other = image.replace(bytes.fromhex("ffff0000009baf00"), bytes.fromhex(f"ffff0000009b{bits}00"))
    assert other != image
    assert boot(counted, "tcg", other, 3).code != testguest.EXIT_CODE
    assert running(counted) == []


def test_the_guest_reports_only_after_its_work(counted):
    """Without the loop's end the guest is still at work at the deadline, and is ended there."""
    image = testguest.image()
    endless = image.replace(bytes.fromhex("48ffc9 75fb"), bytes.fromhex("48ffc9 ebfb"))
    assert endless != image
    assert boot(counted, "tcg", endless, 0.5).code is None
    assert running(counted) == []


def test_the_verdict_is_what_a_boot_with_kvm_shows(counted, tmp_path):
    began = time.monotonic()
    verdict = try_kvm(counted, tmp_path / "cache")
    assert time.monotonic() - began < DEADLINE + 5
    assert verdict.reason
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        code = boot(counted, "kvm", testguest.image(), DEADLINE).code
        assert verdict.works == (code == testguest.EXIT_CODE)
    else:
        assert not verdict.works
    assert running(counted) == []


def test_a_second_question_starts_nothing(counted, tmp_path):
    facts, verdict = probe(counted, tmp_path / "cache"), try_kvm(counted, tmp_path / "cache")
    before = len(pids(counted))
    assert before >= 2
    assert probe(counted, tmp_path / "cache") == facts
    assert try_kvm(counted, tmp_path / "cache") == verdict
    assert len(pids(counted)) == before


def test_the_real_qemu_has_what_labs_use(tmp_path):
    facts = probe(QEMU, tmp_path / "cache")
    assert facts.version >= (5, 2, 0)
    assert "tcg" in facts.accelerators
    # A "way" to do something is for those QEMUs that have it.
    features.require(facts, [name for name in features.FEATURES if not name.startswith("way ")])
    assert features.machine_type(facts, "pc") == "pc"
    assert features.machine_type(facts, "pc-i440fx-trusty").startswith("pc-i440fx-")
    assert features.machine_type(facts, "q35") == "q35"
    assert features.nic_device(facts, "virtio") == "virtio-net-pci"
    for model in ("e1000", "e1000e", "rtl8139", "ne2k_pci"):
        assert features.nic_device(facts, model) == model


def test_another_program_is_no_qemu(tmp_path):
    from vmlan.errors import HostError

    with pytest.raises(HostError, match="does not answer as QEMU does"):
        probe(Path(shutil.which("ls") or "/bin/ls"), tmp_path / "cache")
