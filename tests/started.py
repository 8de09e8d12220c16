"""Starting the machine of an old command line as `vmlan up` would, stopped, with placeholders for its files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from vmlan import labfile
from vmlan.cli.import_ import lab_text
from vmlan.host import facts as host_facts
from vmlan.host import paths
from vmlan.notes.importer import import_lines
from vmlan.notes.result import Imported
from vmlan.notes.shell import command_lines
from vmlan.plan.build import plan
from vmlan.plan.steps import Run, Start
from vmlan.qemu.probe import probe


def make_files(found: Imported, folder: Path) -> None:
    """Each file that the lab needs, with a megabyte of nothing that boots; qcow2, if it is called so.

    It has the signs of a Linux kernel (Documentation/arch/x86/boot.rst), for QEMU to load an initrd with it.
    """
    kernel = bytearray(2**20)
    kernel[0x1F1] = kernel[0x211] = 1
    kernel[0x202:0x208] = b"HdrS\x0c\x02"
    kernel[0x22C:0x230] = b"\xff\xff\xff\x37"
    for needed in found.files:
        path = folder / needed.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if needed.folder:
            path.mkdir(exist_ok=True)
        elif not path.exists() and path.suffix in {".qcow", ".qcow2"}:
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
        elif not path.exists():
            path.write_bytes(kernel)


def starts(text: str, binary: Path, folder: Path) -> str:
    """Import a line, and start what the plan says, stopped (-S); what is wrong, or ""."""
    facts = probe(binary.resolve(), paths.cache_root())
    found = import_lines(command_lines(text), facts, folder=folder)
    written = lab_text(found)
    assert written is not None, found.refused
    (folder / "lab.yaml").write_text(written)
    lab = labfile.load(folder / "lab.yaml")
    assert lab == found.lab
    make_files(found, folder)
    layout = paths.layout(folder / "lab.yaml")
    steps = plan(lab, host_facts.gather(lab, layout)).steps
    for step in steps:
        if isinstance(step, Run) and step.creates is not None:
            step.creates.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(step.command.argv, check=True)
    (machine,) = [step for step in steps if isinstance(step, Start) and step.machine]
    assert machine.machine is not None
    layout.machine(machine.machine).run.mkdir(parents=True, exist_ok=True)
    # A user and a network namespace of its own, as in a lab: there QEMU may make its tap.
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", *machine.command.argv, "-S", "-qmp", "stdio"],
        input='{"execute":"qmp_capabilities"}{"execute":"quit"}',
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shutil.rmtree(layout.run)
    shutil.rmtree(layout.state, ignore_errors=True)
    return "" if done.returncode == 0 and '"return"' in done.stdout else f"{text}\n{written}\n{done.stderr}"
