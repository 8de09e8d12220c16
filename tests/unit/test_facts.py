"""The facts' own table: whole, and true of the examples, of what `explain` prints, and of docs/facts.md."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.facts import on_host
from tests.facts.causes import CAUSES
from tests.facts.play import checks_of, ids, text_of
from tests.facts.run import explains, says
from tests.facts.table import FACTS, Fact
from vmlan import labfile
from vmlan.model import BridgeNetwork, HostNic, Place, SeenCheck, Uplink

ROOT = Path(__file__).parents[2]
IDS = [f"F{number:02}" for number in range(1, 32)]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/lab.yaml"))


def test_every_fact_is_there_once() -> None:
    assert [fact.id for fact in FACTS] == IDS


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.id)
def test_a_check_of_its_example_names_it(fact: Fact) -> None:
    assert checks_of(text_of(fact.example), fact.id)


@pytest.mark.parametrize("example", EXAMPLES)
def test_hints_name_facts_of_that_example(example: str) -> None:
    lab = labfile.loads(text_of(example), folder=Path("/labs/here"))
    named = {each for check in lab.checks for each in ids(check.hint)}
    assert named == {fact.id for fact in FACTS if fact.example == example}
    assert lab.checks


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.id)
def test_the_file_says_it_and_explain_has_it(fact: Fact) -> None:
    says(fact, text_of(fact.example))
    printed = (ROOT / f"tests/golden/files/example-{fact.example}.sh").read_text()
    explains(fact, printed.replace("\\\n    ", "").split("\n\n"))


def test_each_fact_has_a_cause_that_can_be_taken_away() -> None:
    assert {cause.fact for cause in CAUSES} == set(IDS)
    for cause in CAUSES:
        text = text_of(next(fact.example for fact in FACTS if fact.id == cause.fact))
        for old, new in cause.file:
            assert old in text, (cause.fact, old)
            text = text.replace(old, new)
        labfile.loads(text, folder=Path("/labs/here"))


def test_the_page_has_them_all() -> None:
    page = (ROOT / "docs/facts.md").read_text()
    rows = re.findall(r"^\| (F\d\d) \| .* \| `(\w+)` \| (private(?:, host)?) \|", page, re.MULTILINE)
    both = "private, host"
    assert rows == [
        (fact.id, fact.example, both if fact.example in on_host.EXAMPLES else "private") for fact in FACTS
    ]


ON_HOST = [fact for fact in FACTS if fact.example in on_host.EXAMPLES]


def test_the_facts_of_a_hosts_network_have_a_second_column() -> None:
    assert [fact.id for fact in ON_HOST] == IDS[IDS.index("F15") :]


@pytest.mark.parametrize("example", on_host.EXAMPLES)
def test_on_a_host_the_example_is_the_same_but_for_its_host_side(example: str) -> None:
    here = Path("/labs/here")
    own = labfile.loads(text_of(example), folder=here)
    there = labfile.loads(on_host.text_on_host(example), folder=here)
    assert there.host.place is Place.HOST
    assert there.host.forwarding == own.host.forwarding
    assert there.host.uplink == (HostNic("eth0") if own.host.uplink is Uplink.SIMULATED else Uplink.NONE)
    assert there.machines == own.machines
    for one, other in zip(own.networks, there.networks, strict=True):
        assert other == (replace(one, nic="eth0") if isinstance(one, BridgeNetwork) and one.uplink else one)
    for mine, theirs in zip(own.checks, there.checks, strict=True):
        assert isinstance(mine, SeenCheck) and isinstance(theirs, SeenCheck)
        assert "outside" not in theirs.seen_on
        assert theirs.seen_on == mine.seen_on or "outside" in mine.seen_on
        assert replace(theirs, seen_on=mine.seen_on) == mine


@pytest.mark.parametrize("fact", ON_HOST, ids=lambda fact: fact.id)
def test_on_a_host_the_file_says_it(fact: Fact) -> None:
    says(on_host.changed(fact), on_host.text_on_host(fact.example))
