"""Playing the facts: each example comes up once; then its facts, and, if asked for, their causes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from threading import Event

from tests.facts import bridges, on_host
from tests.facts.causes import CAUSES, Cause
from tests.facts.play import NotShown, Play, need, text_of
from tests.facts.table import FACTS, Fact
from tests.real.conftest import EXAMPLES, _bench
from vmlan.errors import VmlanError

#: Those that take longest come first; three are played at a time, as most of it is waiting for what must not come.
ORDER = ("forwarding", "bridge", "install", "media", "taps", "crossover")
AT_ONCE = 3


#: Where a lab's host side is (`place:`): the table's two columns.
PRIVATE, ON_HOST = "private", "host"

#: Nothing more is begun once it is set.
_ENDS = Event()


@dataclass(frozen=True)
class Result:
    """A fact, or a cause taken away (`cause`), or an example's other checks (`fact` is then empty)."""

    fact: str
    words: str
    example: str
    passed: bool
    evidence: tuple[str, ...]  #: (a) the lab file, (b) explain, (c) the running lab; or why it failed
    seconds: float = 0.0
    cause: str = ""
    place: str = PRIVATE


def examples() -> list[str]:
    """Every example, those that take longest first."""
    names = sorted(path.name for path in EXAMPLES.iterdir() if (path / "lab.yaml").exists())
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def play(
    chosen: Sequence[str], *, causes: bool, listener: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Play these facts (all: none named). The results are in the order of the facts."""
    facts = [fact for fact in FACTS if not chosen or fact.id in chosen]
    names = [name for name in examples() if not chosen or any(fact.example == name for fact in facts)]
    there = [name for name in names if name in on_host.EXAMPLES]

    def one(job: tuple[str, str]) -> list[Result]:
        name, place = job
        found = []
        own = [fact for fact in facts if fact.example == name]
        playing = _on_host(name, own, causes) if place == ON_HOST else _example(name, own, not chosen, causes)
        with closing(playing):
            for result in playing:
                listener(result)
                found.append(result)
                if _ENDS.is_set():
                    break
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            jobs = [(name, PRIVATE) for name in names]
            jobs[AT_ONCE:AT_ONCE] = [(name, ON_HOST) for name in there]
            results = [result for each in pool.map(one, jobs) for result in each]
        except KeyboardInterrupt:
            _ENDS.set()  # what is being looked at is looked at; then the labs that are up end
            pool.shutdown(cancel_futures=True)
            raise
    return sorted(
        results,
        key=lambda result: (
            not result.fact,
            bool(result.cause),
            result.fact,
            result.example,
            result.place == ON_HOST,
        ),
    )


@contextmanager
def _up(example: str, text: str, *machines: str) -> Iterator[Play]:
    """The example, up, in folders of its own; afterwards nothing of it may be left."""
    for bench in _bench():
        it = Play(bench, example, text)
        if example == "bridge" and text == text_of(example):
            with bridges.begun(it):
                yield it
        else:
            it.up(*machines)
            yield it


def _example(name: str, facts: list[Fact], rest: bool, causes: bool) -> Generator[Result, None, None]:
    began = time.monotonic()
    whole = f"its other checks; nothing is left of {name}"
    try:
        with _up(name, text_of(name)) as it:
            began = time.monotonic()
            for fact in facts:
                yield _timed(lambda fact=fact: _fact(fact, it))  # type: ignore[misc]
            if causes:
                it.impatient()
                for cause in _causes(facts, file=False):
                    yield _timed(lambda cause=cause: _cause(cause, it, name))  # type: ignore[misc]
            others = it.check(None) if rest else []
        if rest:
            words = f"{len(others)} more passed; it is down, and nothing is left"
            yield Result("", whole, name, True, (words,))
    except Exception as error:
        yield Result("", whole, name, False, (_words(error),), time.monotonic() - began)
    if causes:
        for file, some in groupby(_causes(facts, file=True), key=lambda cause: cause.file):
            yield from _changed(name, file, list(some))


def _on_host(name: str, facts: list[Fact], causes: bool) -> Generator[Result, None, None]:
    """The facts of an example once more, with `place: host` in a simulated host."""
    began = time.monotonic()
    whole = f"nothing is left of {name}, and its host is as it was"
    try:
        with on_host.up(name) as it:
            for fact in facts:
                there = on_host.changed(fact)
                yield replace(_timed(lambda fact=there: _fact(fact, it)), place=ON_HOST)  # type: ignore[misc]
            if causes:
                it.impatient()
                for cause in _causes(facts, file=False):
                    if cause.anywhere:
                        yield replace(_timed(lambda cause=cause: _cause(cause, it, name)), place=ON_HOST)  # type: ignore[misc]
        words = "it is down, nothing is left, and the simulated host's network is as it was"
        yield Result("", whole, name, True, (words,), place=ON_HOST)
    except Exception as error:
        yield Result("", whole, name, False, (_words(error),), time.monotonic() - began, place=ON_HOST)


def _causes(facts: list[Fact], *, file: bool) -> list[Cause]:
    wanted = {fact.id for fact in facts}
    found = [cause for cause in CAUSES if cause.fact in wanted and bool(cause.file) is file]
    return sorted(found, key=lambda cause: cause.file)


def _timed(look: Callable[[], Result]) -> Result:
    began = time.monotonic()
    found = look()
    return replace(found, seconds=time.monotonic() - began)


def _fact(fact: Fact, it: Play) -> Result:
    try:
        evidence = (says(fact, it.text), explains(fact, it.explained), fact.shown(it))
    except Exception as error:
        return Result(fact.id, fact.words, fact.example, False, (_words(error),))
    return Result(fact.id, fact.words, fact.example, True, evidence)


def says(fact: Fact, text: str) -> str:
    """(a): the lab file says it, not in a comment."""
    text = re.sub(r" *#.*", "", text)
    for words in fact.says:
        need(words in text, f"the lab file does not say {words!r}")
    return "; ".join(" ".join(words.split()) for words in fact.says)


def explains(fact: Fact, paragraphs: list[str]) -> str:
    """(b): `explain` has the command. Gives what of it was looked for, as it is there."""
    found = []
    for pattern in fact.explains:
        unwanted = pattern.startswith("!")
        looked = (re.search(pattern.lstrip("!"), each, re.MULTILINE) for each in paragraphs)
        matches = [match for match in looked if match]
        need(bool(matches) is not unwanted, f"explain {'has' if unwanted else 'does not have'} {pattern!r}")
        found += [f"nothing of {pattern[1:]}"] if unwanted else []
        found += [_short(match[0]) for match in matches[:1]]
    return "; ".join(found)


def _short(text: str) -> str:
    """A QEMU's command line without what is between its beginning and its end."""
    words = text.split()
    return text if len(text) <= 160 else f"{' '.join(words[:2])} … {' '.join(words[-2:])}"


def _changed(name: str, file: tuple[tuple[str, str], ...], causes: list[Cause]) -> Iterator[Result]:
    """Causes that are taken from the file: another lab."""
    text = text_of(name)
    try:
        for old, new in file:
            need(old in text, f"the file of {name} has no {old!r}")
            text = text.replace(old, new)
        with _up(name, text, *causes[0].machines) as it:
            it.impatient()
            for cause in causes:
                yield _timed(lambda cause=cause: _cause(cause, it, name))  # type: ignore[misc]
    except Exception as error:
        for cause in causes:
            yield Result(cause.fact, cause.taken, name, False, (_words(error),), cause=cause.taken)


def _cause(cause: Cause, it: Play, name: str) -> Result:
    """Take it away, and look for the evidence: it must be missing, and as it is said here."""
    shown = cause.shown or next(fact.shown for fact in FACTS if fact.id == cause.fact)
    taken: AbstractContextManager[None] = cause.live(it) if cause.live else nullcontext()
    found = Result(cause.fact, cause.taken, name, False, (), cause=cause.taken)
    try:
        with taken:
            try:
                said = shown(it)
            except NotShown as missing:
                good = bool(re.search(cause.says, str(missing)))
                words = str(missing) if good else f"{missing} (but that is not {cause.says!r})"
                return replace(found, passed=good, evidence=(words,))
            return replace(found, evidence=(f"it is shown all the same: {said}",))
    except Exception as error:
        return replace(found, evidence=(_words(error),))


def _words(error: Exception) -> str:
    """An error that is none of the expected ones is told with its name; the other facts go on."""
    expected = isinstance(error, NotShown | VmlanError)
    return str(error) if expected else f"{type(error).__name__}: {error}"
