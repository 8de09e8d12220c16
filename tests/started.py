"""Starting the machine of an old command line as `vmlan up` would, stopped, with placeholders for its files."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from vmlan import labfile
from vmlan.cli.import_ import lab_text
from vmlan.host import facts as host_facts
from vmlan.host import paths
from vmlan.host.identity import make_pipes
from vmlan.notes.importer import import_lines
from vmlan.notes.result import Imported
from vmlan.notes.shell import command_lines
from vmlan.plan.build import plan
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Run, Start
from vmlan.qemu.probe import probe


def make_files(found: Imported, folder: Path) -> None:
    """Each file that the lab needs, with a megabyte of nothing that boots; qcow2, if it is called so.

    It has the signs of a Linux kernel (Documentation/arch/x86/boot.rst), for QEMU to load an initrd with it.
    What QEMU reads as an ACPI table is one. No file is made outside the folder.
    """
    kernel = bytearray(2**20)
    kernel[0x1F1] = kernel[0x211] = 1
    kernel[0x202:0x208] = b"HdrS\x0c\x02"
    kernel[0x22C:0x230] = b"\xff\xff\xff\x37"
    tables = set(_acpi_tables(found))
    for needed in found.files:
        path = folder / needed.path
        if path.exists() or not path.resolve().is_relative_to(folder.resolve()):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if needed.folder:
            path.mkdir()
        elif path.suffix in {".qcow", ".qcow2"}:
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
        else:
            path.write_bytes(_acpi_table() if needed.path in tables else kernel)


def _acpi_tables(found: Imported) -> Iterator[str]:
    """The files that QEMU takes for whole ACPI tables: those of `-acpitable file=` (qemu(1))."""
    for machine in found.lab.machines if found.lab is not None else ():
        for option, value in pairwise(machine.qemu_args):
            if option == "-acpitable":
                yield from (
                    item.removeprefix("file=") for item in value.split(",") if item.startswith("file=")
                )


def _acpi_table() -> bytes:
    """An SSDT that defines nothing: its header alone, whose bytes add up to 0 (ACPI 6.5, 5.2.6)."""
    header = struct.pack("<4sIBB6s8sI4sI", b"SSDT", 36, 2, 0, b"VMLAN ", b"NOTHING ", 1, b"VMLN", 1)
    return header[:9] + bytes([-sum(header) % 256]) + header[10:]


def starts(text: str, binary: Path, folder: Path) -> str:
    """Import a line, and start what the plan says; what is wrong, or ""."""
    facts = probe(binary.resolve(), paths.cache_root())
    found = import_lines(command_lines(text), facts, folder=folder)
    said = start(found, folder)
    return f"{text}\n{lab_text(found)}\n{said}" if said else ""


def start(found: Imported, folder: Path) -> str:
    """Start each machine of an imported lab as the plan says, stopped (-S); QEMU's words, or "" if all start.

    The lab file and the placeholders are made in the folder. Raises `VmlanError` where there is no plan.
    """
    written = lab_text(found)
    assert written is not None, found.refused
    (folder / "lab.yaml").write_text(written)
    lab = labfile.load(folder / "lab.yaml")
    assert lab == found.lab
    make_files(found, folder)
    layout = paths.layout(folder / "lab.yaml")
    try:
        steps = plan(lab, host_facts.gather(lab, layout)).steps
        for step in steps:
            if isinstance(step, Run) and step.creates is not None:
                step.creates.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(step.command.argv, check=True)
        machines = [step for step in steps if isinstance(step, Start) and step.machine]
        assert len(machines) == len(lab.machines)
        return next((said for step in machines if (said := _start(step, layout, folder))), "")
    finally:
        shutil.rmtree(layout.run, ignore_errors=True)
        shutil.rmtree(layout.state, ignore_errors=True)


def _start(step: Start, layout: Layout, folder: Path) -> str:
    """Start one machine, and end it; QEMU's words if it did not start."""
    assert step.machine is not None
    files = layout.machine(step.machine)
    files.run.mkdir(parents=True, exist_ok=True)
    make_pipes(files.run, files.pipes)
    # A user and a network namespace of its own, as in a lab: there QEMU may make its tap.
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", *step.command.argv, "-S", "-qmp", "stdio"],
        input='{"execute":"qmp_capabilities"}{"execute":"quit"}',
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 0 and '"return"' in done.stdout:
        return ""
    return done.stderr or f"ended with {done.returncode}, and said nothing"
