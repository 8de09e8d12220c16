"""`make facts`: plays the facts on the project's examples, as an ordinary user, and prints a table.

Names of facts choose some (F22 F23). --causes takes away what each fact needs, too, and sees it fail.
Ends with 0 if all passed, else with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import textwrap
import time
from dataclasses import asdict

from tests.facts.run import ON_HOST, Result, play
from tests.facts.table import FACTS

WIDTH = 118


def main() -> int:
    options = _options()
    if os.getuid() == 0:
        print("facts: labs need no root, and this proves it: run it as an ordinary user (make facts does)")
        return 2
    began = time.monotonic()

    def told(result: Result) -> None:
        """Each as it comes, on standard error; the table follows."""
        what = f"{result.fact or result.example}{f': fails when {result.cause}' if result.cause else ''}"
        what += " with place: host" if result.place == ON_HOST else ""
        print(f"{_verdict(result)} {what} ({result.seconds:.1f} s)", file=sys.stderr, flush=True)

    for name in (signal.SIGTERM, signal.SIGHUP):  # they end the labs as Ctrl-C does
        signal.signal(name, signal.default_int_handler)
    try:
        results = play(options.fact, causes=options.causes, listener=told)
    except KeyboardInterrupt:
        return 130
    failed = [result for result in results if not result.passed]
    if options.json:
        print(json.dumps({"failed": len(failed), "facts": [asdict(result) for result in results]}, indent=2))
    else:
        _table(results)
        facts = [result for result in results if result.fact and not result.cause]
        there = [result for result in facts if result.place == ON_HOST]
        own = _count([result for result in facts if result not in there])
        print(f"\n{own} facts; {_count(there)} with place: host; {len(failed)} of {len(results)} rows failed")
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make facts", description=__doc__)
    known = [fact.id for fact in FACTS]
    parser.add_argument("fact", nargs="*", metavar="FACT", help="F01 to F31; all when none is named")
    parser.add_argument("--causes", action="store_true", help="take away what each needs, and see it fail")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := [name for name in options.fact if name not in known]:
        parser.error(f"there is no fact {', '.join(unknown)}; there are {known[0]} to {known[-1]}")
    return options


def _verdict(result: Result) -> str:
    return "passed" if result.passed else "FAILED"


def _count(results: list[Result]) -> str:
    return f"{sum(1 for result in results if result.passed)} of {len(results)}"


def _table(results: list[Result]) -> None:
    facts = [result for result in results if result.fact and not result.cause]
    there = {result.fact: result for result in facts if result.place == ON_HOST}
    print(
        "Evidence: (a) the lab file, (b) vmlan explain, (c) the running lab. HOST: the same with `place: host`, in a"
    )
    print("simulated host; of its evidence, what differs. -: it has nothing to do with the host's network.\n")
    print("FACT  PRIVATE HOST    WHAT")
    for result in facts:
        if result.place == ON_HOST:
            continue
        other = there.get(result.fact)
        verdicts = f"{_verdict(result):8}{_verdict(other) if other else '-':8}"
        print(f"\n{result.fact}   {verdicts}{result.words}  [{result.example}]")
        _evidence(result)
        if other is not None:
            _evidence(other, result)
    causes = [result for result in results if result.cause]
    if causes:
        print("\n\nFACT  IT FAILS WHEN ITS CAUSE IS TAKEN AWAY; what is said then")
    for result in causes:
        where = f"{result.example}, place: host" if result.place == ON_HOST else result.example
        print(f"\n{result.fact}   {_verdict(result)}  it fails when {result.cause}  [{where}]")
        for words in result.evidence:
            _lines("", words)
    others = [result for result in results if not result.fact]
    if others:
        print("\n\nEXAMPLE")
    for result in others:
        print(f"{result.example:12}{result.place:9}{_verdict(result)}  {'; '.join(result.evidence)}")


def _evidence(result: Result, shown: Result | None = None) -> None:
    """Its evidence, or why there is none; without what was `shown` already."""
    marks = "abc" if result.passed else "!"
    before = dict(zip("abc", shown.evidence, strict=False)) if shown is not None and shown.passed else {}
    for mark, words in zip(marks, result.evidence, strict=True):
        if before.get(mark) != words:
            _lines(f"({mark}) {'host: ' if result.place == ON_HOST else ''}", words)


def _lines(mark: str, words: str) -> None:
    indent = " " * 6
    shown = textwrap.fill(
        f"{mark}{' '.join(words.split())}", WIDTH, initial_indent=indent, subsequent_indent=indent + " " * len(mark),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    print(shown)


sys.exit(main())
