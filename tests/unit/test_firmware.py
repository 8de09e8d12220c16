"""Firmware descriptors, as QEMU's documentation of them has it (docs/interop/firmware.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vmlan.errors import MissingProgram
from vmlan.host.firmware import find_uefi


def describe(folder: Path, name: str, **changes: Any) -> None:
    """A descriptor of plain UEFI for PCs, whose files are there, with some of its keys changed."""
    folder.mkdir(exist_ok=True)
    files = {part: folder / f"{name}.{part}" for part in ("code", "vars")}
    for path in files.values():
        path.write_bytes(b"x")
    descriptor = {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": str(files["code"]), "format": "raw"},
            "nvram-template": {"filename": str(files["vars"]), "format": "qcow2"},
        },
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": ["acpi-s3", "amd-sev"],
    }
    (folder / f"{name}.json").write_text(json.dumps({**descriptor, **changes}))


def test_the_first_plain_one_is_taken(tmp_path: Path) -> None:
    describe(tmp_path, "40-secure", features=["secure-boot", "requires-smm"])
    describe(tmp_path, "45-bios", **{"interface-types": ["bios"]})
    describe(tmp_path, "46-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
    describe(tmp_path, "47-q35-only", targets=[{"architecture": "x86_64", "machines": ["pc-q35-*"]}])
    describe(tmp_path, "48-memory", mapping={"device": "memory", "filename": "x"})
    describe(tmp_path, "60-plain")
    describe(tmp_path, "70-other")
    found = find_uefi((tmp_path,))
    assert (found.code, found.code_format) == (tmp_path / "60-plain.code", "raw")
    assert (found.variables, found.variables_format) == (tmp_path / "60-plain.vars", "qcow2")


def test_what_is_described_and_not_there_is_passed_over(tmp_path: Path) -> None:
    describe(tmp_path, "10-gone")
    (tmp_path / "10-gone.code").unlink()
    describe(tmp_path, "20-there")
    assert find_uefi((tmp_path,)).code.name == "20-there.code"


def test_an_administrators_file_hides_the_packages(tmp_path: Path) -> None:
    etc, usr = tmp_path / "etc", tmp_path / "usr"
    describe(usr, "10-plain")
    describe(usr, "20-plain")
    etc.mkdir()
    (etc / "10-plain.json").write_text("")
    assert find_uefi((etc, usr)).code.name == "20-plain.code"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mapping": 5}', "\xff"])
def test_what_is_no_descriptor_is_no_firmware(tmp_path: Path, text: str) -> None:
    (tmp_path / "10.json").write_text(text, encoding="latin-1")
    with pytest.raises(MissingProgram, match="ovmf"):
        find_uefi((tmp_path, tmp_path / "absent"))
