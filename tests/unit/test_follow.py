"""Following a long program: its lines, its files, and its time to clean up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmlan.errors import MissingProgram
from vmlan.host.follow import follow

HERE = Path("/")


def test_lines_are_heard_as_they_are_said_and_the_last_are_kept() -> None:
    heard: list[str] = []
    done = follow(
        ["sh", "-c", "echo one; echo two >&2; echo $WORD; exit 7"], heard.append, env={"WORD": "x"}, cwd=HERE
    )
    assert heard == ["one", "two", "x"]
    assert (done.code, done.ok, done.stderr) == (7, False, "one\ntwo\nx")


def test_nothing_of_our_environment_and_terminal_goes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s")
    done = follow(["sh", "-c", "env; cat; ps -o sid= -p $$"], lambda _: None, env={"A": "1"}, cwd=HERE)
    assert "SECRET" not in done.stderr and "A=1" in done.stderr
    assert int(done.stderr.splitlines()[-1]) != os.getsid(0)


def test_an_open_file_can_be_handed_in_where_its_path_cannot(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as file:
        script = f"echo written > /proc/self/fd/{file.fileno()}"
        assert follow(["sh", "-c", script], lambda _: None, env={}, cwd=HERE, pass_fds=[file.fileno()]).ok
    assert (tmp_path / "out").read_text() == "written\n"


def test_who_is_interrupted_waits_until_all_of_it_has_cleaned_up(tmp_path: Path) -> None:
    left = tmp_path / "left"
    script = f"trap 'rm {left}; exit 1' TERM; touch {left}; echo ready; while :; do sleep 0.1; done"

    def enough(_line: str) -> None:
        assert left.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(["sh", "-c", script], enough, env={}, cwd=HERE)
    assert not left.exists()


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingProgram, match="no-such-program"):
        follow(["no-such-program"], lambda _: None, env={}, cwd=HERE)
