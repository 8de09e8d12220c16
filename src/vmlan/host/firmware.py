"""Which UEFI firmware is installed, as QEMU's firmware descriptors say.

A package of firmware describes itself in a JSON file (QEMU, docs/interop/firmware.json), so nobody has
to know where a distribution puts it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vmlan.errors import MissingProgram
from vmlan.plan.facts import UefiFacts

#: Where descriptors are; a file of the same name in an earlier folder replaces one in a later.
FOLDERS = (
    Path("/etc/qemu/firmware"),
    Path("/usr/local/share/qemu/firmware"),
    Path("/usr/share/qemu/firmware"),
)

#: Firmware that does more than start what it finds, or needs a machine that ours are not.
_SPECIAL = {"requires-smm", "secure-boot", "enrolled-keys"}


def find_uefi(folders: tuple[Path, ...] = FOLDERS) -> UefiFacts:
    """The first plain UEFI for PCs, in the order in which the descriptors ask to be looked at.

    Raises `MissingProgram` if there is none.
    """
    for descriptor in _descriptors(folders):
        found = _plain_uefi(descriptor)
        if found is not None and found.code.exists() and found.variables.exists():
            return found
    raise MissingProgram("UEFI firmware (OVMF)", "ovmf")


def _descriptors(folders: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    files: dict[str, Path] = {}
    for folder in reversed(folders):
        files |= {path.name: path for path in folder.glob("*.json")}
    for _, path in sorted(files.items()):
        try:
            descriptor = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # somebody else's file: an empty one is how an administrator hides firmware
        if isinstance(descriptor, dict):
            yield descriptor


def _plain_uefi(descriptor: dict[str, Any]) -> UefiFacts | None:
    try:
        flash = descriptor["mapping"]
        machines = {
            name
            for target in descriptor["targets"]
            if target["architecture"] == "x86_64"
            for name in target["machines"]
        }
        if (
            "uefi" not in descriptor["interface-types"]
            or flash["device"] != "flash"
            or flash.get("mode", "split") != "split"
            or _SPECIAL & set(descriptor["features"])
            or not {"pc-i440fx-*", "pc-q35-*"} <= machines
        ):
            return None
        code, variables = flash["executable"], flash["nvram-template"]
        return UefiFacts(
            Path(code["filename"]), code["format"], Path(variables["filename"]), variables["format"]
        )
    except (KeyError, TypeError):
        return None
