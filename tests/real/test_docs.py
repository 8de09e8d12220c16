"""Every command block of the README and the docs is run, and what it shows is what happens.

In a ```console block, `$ ` starts a command (a here-document may follow), and what stands below it is
its output: `…` on a line of its own stands for any lines, within a line for any characters. A command
ends with 0 unless `(exit code N)` stands below it. A document's blocks run in order, in one shell.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.real.conftest import VMLAN, Bench

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md", *ROOT.glob("docs/*.md")]
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Command:
    shell: str
    shown: list[str] = field(default_factory=list)
    code: int = 0


def blocks(document: Path, kind: str) -> list[str]:
    return [body for name, body in BLOCK.findall(document.read_text()) if name == kind]


def commands(body: str) -> list[Command]:
    found: list[Command] = []
    end = ""
    for line in body.splitlines():
        if end:
            found[-1].shell += f"\n{line}"
            end = "" if line == end else end
        elif line.startswith("$ "):
            found.append(Command(line[2:]))
            here = re.search(r"<<'(\w+)'", line)
            end = here.group(1) if here else ""
        elif code := re.fullmatch(r"\(exit code (\d+)\)", line):
            found[-1].code = int(code.group(1))
        else:
            found[-1].shown.append(line)
    return found


def pattern(shown: list[str]) -> re.Pattern[str]:
    """What the output must look like."""
    text = "".join(
        "(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in shown
    )
    return re.compile(text)


def run(body: list[Command], bench: Bench) -> list[tuple[Command, int, str]]:
    """Run commands in one shell; standard output and error together, as a terminal shows them."""
    mark = "@@@"
    script = "".join(f"{{ {each.shell}\n}} 2>&1\ncode=$?; echo; echo {mark}$code\n" for each in body)
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=bench.folder,
        env=bench.env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    parts = re.split(rf"\n{mark}(\d+)\n", done.stdout)
    outputs = list(zip(parts[1::2], parts[0::2], strict=False))
    assert len(outputs) == len(body), done.stdout + done.stderr
    return [(each, int(code), text) for each, (code, text) in zip(body, outputs, strict=True)]


WITH_COMMANDS = [document for document in DOCUMENTS if blocks(document, "console")]


@pytest.mark.real
@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: path.name)
def test_what_a_document_shows_is_what_happens(document: Path, bench: Bench) -> None:
    bench.env["PATH"] = f"{VMLAN.parent}:{bench.env['PATH']}"
    body = [command for block in blocks(document, "console") for command in commands(block)]
    try:
        for command, code, said in run(body, bench):
            assert code == command.code, f"$ {command.shell}\nended with {code}\n{said}"
            wanted = pattern(command.shown)
            text = said if said.endswith("\n") or not said else said + "\n"
            assert wanted.fullmatch(text), f"$ {command.shell}\n{text}\nis not\n" + "\n".join(command.shown)
    finally:
        for folder in bench.folder.iterdir():
            if folder.is_dir():
                bench.vmlan("down", "--now", "--disks", "-f", str(folder))


def test_there_is_something_to_run() -> None:
    assert ROOT / "README.md" in WITH_COMMANDS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_other_blocks_are_make_targets_or_settings(document: Path) -> None:
    """What stands in ```sh is not run here: only targets of the Makefile, which exist, and `export`."""
    for body in blocks(document, "sh"):
        for line in body.splitlines():
            words = line.partition("#")[0].split()
            if words and words[0] != "export":
                assert words[0] == "make", f"{line!r} in {document.name} is run by nobody"
                subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_says_what_it_is(document: Path) -> None:
    kinds = {kind for kind, _ in BLOCK.findall(document.read_text())}
    assert kinds <= {"console", "sh", "yaml", "python", "text", "json"}, kinds


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
