from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests import labs
from vmlan.host.journal import Journal, read
from vmlan.plan.build import plan

STEPS = plan(labs.lab(labs.LAN), labs.facts()).steps


def write(path: Path) -> bytes:
    book = Journal(path, "lan", Path("/labs/lan.yaml"))
    book.begin(STEPS)
    book.done(STEPS[:-1])
    book.undone(STEPS[0])
    book.close()
    return path.read_bytes()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "journal")
    story = read(tmp_path / "journal")
    assert story is not None
    assert (story.lab, story.file) == ("lan", "/labs/lan.yaml")
    assert [entry.step for entry in story.entries] == list(STEPS[1:])
    assert [entry.done for entry in story.entries] == [True] * (len(STEPS) - 2) + [False]


def test_there_is_no_story_without_a_journal(tmp_path: Path) -> None:
    assert read(tmp_path / "journal") is None


@given(st.integers(0, 100_000))
def test_a_journal_cut_anywhere_is_read_and_can_be_continued(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        whole = write(path)
        path.write_bytes(whole[: cut % (len(whole) + 1)])
        before = read(path)
        assert before is not None
        book = Journal(path, "lan", Path("/labs/lan.yaml"))
        book.begin([STEPS[5]])
        book.close()
        after = read(path)
        assert after is not None
        assert after.entries[-1].step == STEPS[5] and not after.entries[-1].done
        others = [entry for entry in before.entries if entry.step.id != STEPS[5].id]
        assert list(after.entries[:-1]) == others
