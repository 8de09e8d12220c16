import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit import elf_files
from vmlan.guest import elf


def test_needed_libraries_come_in_their_order() -> None:
    data = elf_files.make(needed=("libudev.so.1", "libc.so.6"), interpreter="/lib64/ld.so")
    assert elf.needed(data) == ("libudev.so.1", "libc.so.6")
    assert elf.interpreter(data) == "/lib64/ld.so"


def test_a_static_program_needs_nothing() -> None:
    data = elf_files.make()
    assert elf.needed(data) == ()
    assert elf.interpreter(data) is None
    assert elf.pvh_entry(data) is None
    assert elf.modinfo(data) == {}


def test_the_pvh_note_is_found_among_others() -> None:
    assert elf.pvh_entry(elf_files.make(notes=elf_files.PVH_NOTE)) == 0x1000370
    assert elf.pvh_entry(elf_files.make(notes=elf_files.note(b"Xen\0", 5, b"1234"))) is None
    assert elf.pvh_entry(elf_files.make(notes=elf_files.note(b"GNU\0", 18, b"1234"))) is None


def test_modinfo_keeps_every_value_of_a_key() -> None:
    data = elf_files.make(
        sections={".text": b"x" * 7, ".modinfo": b"name=a\0alias=pci:1\0\0alias=pci:2\0odd\0"}
    )
    assert elf.modinfo(data) == {"name": ("a",), "alias": ("pci:1", "pci:2")}
    assert elf.section(data, ".text") == b"x" * 7
    assert elf.section(data, ".none") == b""


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(elf.NotElf):
        elf.needed(data)


def test_a_file_cut_short_is_refused_wherever_it_ends() -> None:
    whole = elf_files.make(needed=("libc.so.6",), sections={".modinfo": b"name=a\0"})
    for size in range(6, 64 + 56 * 2):
        with pytest.raises(elf.NotElf):
            elf.needed(whole[:size])
    with pytest.raises(elf.NotElf):
        elf.section(whole[:-30], ".modinfo")


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
def test_a_real_program_as_readelf_sees_it() -> None:
    program = Path(sys.executable).resolve()
    shown = subprocess.run(["readelf", "-dl", program], capture_output=True, text=True, check=True).stdout
    expected = tuple(line.split("[")[1][:-1] for line in shown.splitlines() if "(NEEDED)" in line)
    data = program.read_bytes()
    assert elf.needed(data) == expected
    assert f"interpreter: {elf.interpreter(data)}]" in shown
