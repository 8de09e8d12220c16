"""What makes a command quick says and does the same as the slow way: the help, `ps`, `ls`, `exec`, the lab file that is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import click
import pytest

from tests.unit.test_agent import Guest, says
from vmlan import labfile, together
from vmlan.cli.group import vmlan
from vmlan.cli.verbs import usual_help
from vmlan.errors import LabFileError, RequestError
from vmlan.host import kept_lab, paths
from vmlan.host.journal import Journal
from vmlan.plan.layout import Layout
from vmlan.plan.steps import StartKeeper

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("src/vmlan/examples/*/lab.yaml"))

LAB = """\
networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}, out: {kind: user, forward: ["8080:80"]}}
machines:
  vm1: {nics: [lan, out], disks: [{size: 1G}, d.qcow2], kernel: k, append: a=b, qemu-args: [-S]}
  vm2: {image: x.iso, firmware: uefi, nics: [{network: lan, mac: "52:54:00:00:00:01", address: 10.2.0.9/24}]}
checks:
  - {ping: vm2, from: vm1, expect: unreachable, hint: no}
  - {screen: login, on: vm2}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab's folder, and a runtime folder of its own."""
    for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.yaml").write_text(LAB)
    monkeypatch.chdir(tmp_path / "lab")
    return tmp_path / "lab" / "lab.yaml"


def layout_of(file: Path) -> Layout:
    layout = paths.layout(file)
    layout.run.mkdir(parents=True, exist_ok=True)
    return layout


def kept(file: Path) -> Layout:
    """The layout of a lab whose file is kept."""
    layout, text = layout_of(file), labfile.read_file(file)
    kept_lab.keep(layout, file, text, labfile.parse_file(text, file))
    return layout


def run(*words: str, columns: int | None = 80) -> subprocess.CompletedProcess[str]:
    """`vmlan WORDS…` as its entry point calls it, with the modules that it loaded on standard error."""
    program = "import sys; sys.argv[0] = 'vmlan'; from vmlan.cli.main import main; main()"
    env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    if columns is not None:
        env["COLUMNS"] = str(columns)
    argv = [sys.executable, "-X", "importtime", "-c", program, *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)


def loaded(done: subprocess.CompletedProcess[str]) -> set[str]:
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


# The help


def test_the_usual_help_is_clicks() -> None:
    context = click.Context(vmlan, info_name="vmlan", terminal_width=78, **vmlan.context_settings)
    assert usual_help() == vmlan.get_help(context) + "\n"


def test_help_loads_next_to_nothing() -> None:
    done = run("--help")
    assert done.stdout == usual_help()
    assert not loaded(done) & {"click", "typing", "dataclasses", "re", "pathlib", "vmlan.errors"}
    assert run("-h", columns=None).stdout == usual_help()


def test_a_narrow_terminal_has_its_lines_broken() -> None:
    done = run("--help", columns=60)
    assert "click" in loaded(done)
    assert done.stdout != usual_help()
    assert done.stdout.split() == usual_help().split()
    assert max(map(len, done.stdout.splitlines())) <= 60


def test_exit_codes_are_those_of_before(place: Path) -> None:
    assert run("--version").stdout.startswith("vmlan ")
    assert run("sp").returncode == 2
    place.unlink()
    done = run("ps")
    assert done.returncode == 2
    assert "there is no lab.yaml in this folder" in done.stderr
    with Path("/dev/full").open("w") as full:
        argv = [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'vmlan'; from vmlan.cli.main import main; main()",
        ]
        assert subprocess.run([*argv, "-h"], stdout=full, stderr=-3, check=False).returncode == 3


# ps


def test_ps_is_the_same_with_and_without_the_parser_of_options(place: Path) -> None:
    kept(place)
    quick, slow = run("ps"), run("ps", "-f", "lab.yaml")
    assert quick.stdout == slow.stdout
    assert quick.stdout.splitlines()[1].split()[:3] == ["vm1", "down", "lan"]
    assert not loaded(quick) & {"click", "ruamel.yaml", "msgspec", "vmlan.lifecycle", "concurrent.futures"}
    assert "click" in loaded(slow)
    assert run("ps", "--json").stdout == run("ps", "--json", "-f", "lab.yaml").stdout


# ls and exec


def test_ls_is_the_same_with_and_without_the_parser_of_options(place: Path) -> None:
    layout = kept(place)
    book = Journal(layout.journal, "here", place)
    book.begin([StartKeeper("keeper", "first", (), layout.keeper, layout.keeper_log)])
    quick, slow = run("ls"), run("ls", "--all")
    assert quick.stdout == slow.stdout
    assert quick.stdout.splitlines()[1].split() == ["here", "crashed", "0/0", str(place)]
    assert not loaded(quick) & {"click", "ruamel.yaml", "vmlan.lifecycle"}
    assert run("ls", "--json").stdout == run("ls", "--json", "--all").stdout


def test_exec_is_the_same_with_and_without_the_parser_of_options(place: Path) -> None:
    said = {"exited": True, "exitcode": 4, "out-data": "b3V0Cg==", "err-data": "ZXJyCg=="}
    folder = kept(place).machine("vm1").run
    folder.mkdir()

    def answer(request: dict[str, Any]) -> bytes:
        if request["execute"] == "guest-exec":
            asked.append([request["arguments"]["path"], *request["arguments"]["arg"]])
            return says({"pid": 1})
        return says(said)

    asked: list[list[str]] = []
    Guest(folder / "agent", answer)
    for words in (["--", "ls", "-l"], ["--", "--", "x"], ["--", "-i"]):
        quick, slow = run("exec", "vm1", *words), run("exec", "-f", "lab.yaml", "vm1", *words)
        assert (quick.returncode, quick.stdout) == (slow.returncode, slow.stdout) == (4, "out\n")
        assert "\nerr\n" in quick.stderr and "\nerr\n" in slow.stderr
        assert asked.pop() == asked.pop() == words[1:]
        assert not loaded(quick) & {"click", "ruamel.yaml", "msgspec", "vmlan.lifecycle"}
        assert "click" in loaded(slow)
    for words in (["vm1"], ["vm1", "--"], ["vm9", "--", "x"], ["-q", "--", "x"], ["vm2", "--", "x"]):
        assert run("exec", *words).returncode == 2
    assert asked == []


@pytest.mark.parametrize("verb", ["host", "link", "wait", "console"])
def test_a_lab_that_is_kept_is_not_read_again(verb: str, place: Path) -> None:
    kept(place)
    words = {"host": ["--", "true"], "wait": ["vm1", "agent"]}.get(verb, ["vm1"])
    done = run(verb, *words)
    assert done.returncode == 2 and "not running" in done.stderr
    assert not loaded(done) & {"ruamel.yaml", "vmlan.labfile", "vmlan.lifecycle"}


def test_questions_are_asked_at_once_and_a_failure_is_told() -> None:
    meet = threading.Barrier(3, timeout=10)
    together.do([meet.wait] * 3)
    seen: list[int] = []
    together.do([lambda number=number: seen.append(number) for number in range(200)])  # type: ignore[misc]
    assert sorted(seen) == [*range(200)]
    with pytest.raises(OSError, match="no"):
        together.do([lambda: None, lambda: (_ for _ in ()).throw(OSError("no"))])


# The lab file that is kept


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_what_is_kept_is_what_the_file_says(example: Path, place: Path) -> None:
    place.write_bytes(example.read_bytes())
    layout = kept(place)
    assert layout.lab.exists()
    assert kept_lab.load(place, layout) == labfile.load(place)


def test_what_is_kept_is_used_and_counts_for_the_same_text_only(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, said = kept(place), labfile.load(place)
    with monkeypatch.context() as patch:
        patch.setattr(labfile, "load", lambda _: pytest.fail("it was read again"))
        assert kept_lab.load(place, layout) == said
        patch.setattr(labfile, "load", lambda _: "read")
        for variable, value in (("HOME", "/elsewhere"), ("NO_MATTER", "")):
            with monkeypatch.context() as other:
                other.setenv(variable, value)
                assert (kept_lab.load(place, layout) == "read") == (variable == "HOME")
        before = kept_lab._READER
        patch.setattr(kept_lab, "_READER", ("labfile",))  # another program
        assert kept_lab.load(place, layout) == "read"
        patch.setattr(kept_lab, "_READER", before)
        for broken in ("", "[]", "[1, 2]", '[[], {"type": "Popen", "given": ["x"]}]'):
            layout.lab.write_text(broken)
            assert kept_lab.load(place, layout) == "read"
    kept(place)
    place.write_text(LAB.replace("vm2", "vm3"))
    changed = kept_lab.load(place, layout)
    assert [machine.name for machine in changed.machines] == ["vm1", "vm3"]


def test_a_file_that_is_wrong_or_gone_since_is_told(place: Path) -> None:
    layout = kept(place)
    place.write_text("machines: [")
    with pytest.raises(LabFileError):
        kept_lab.load(place, layout)
    place.unlink()
    with pytest.raises(RequestError, match="there is no file"):
        kept_lab.load(place, layout)


def test_where_it_cannot_be_kept_nothing_is_wrong(place: Path) -> None:
    layout, text = layout_of(place), labfile.read_file(place)
    layout.lab.mkdir()
    kept_lab.keep(layout, place, text, labfile.parse_file(text, place))
    assert kept_lab.load(place, layout) == labfile.load(place)
