"""`make faults`: every planted fault, the verdict that `vmlan trace` gives of it, and how long that took.

The same table as tests/real/test_trace.py goes through. Ends with 1 if a verdict is not the right one.
"""

from __future__ import annotations

import os
import statistics
import sys
from contextlib import contextmanager
from typing import Any

from tests.real import conftest
from tests.real.conftest import Bench
from tests.real.faults import FAULTS, LAB, LAST, Fault

#: How long a trace may take (seconds): what is measured here is held against it in words, and fails nothing.
LIMIT = 3.0


def main() -> int:
    if os.getuid() == 0:
        print("faults: run it as an ordinary user (make faults does)")
        return 2
    times: list[float] = []
    wrong = 0
    with contextmanager(conftest._bench)() as bench:
        bench.write(LAB)
        bench.ok("up")
        for fault in (*FAULTS, LAST):
            found = _play(bench, fault)
            right = (found["verdict"], found["lost"]) == (fault.reason, fault.lost)
            right = (
                right and found["at"] == (fault.at or fault.trace.split()[-1]) and fault.says in found["why"]
            )
            wrong += not right
            times.append(found["seconds"])
            mark = "  " if right else "✗ "
            print(f"{mark}{found['seconds']:5.2f} s  {found['verdict']:26} {fault.name}", flush=True)
            if not right:
                print(f"    it should be {fault.reason} at {fault.at}; it says: {found['why']}")
    over = sum(1 for each in times if each > LIMIT)
    reasons = len({fault.reason for fault in (*FAULTS, LAST)})
    print(f"\n{len(times) - wrong} of {len(times)} right; {reasons} different verdicts", end="; ")
    print(f"median {statistics.median(times):.2f} s, longest {max(times):.2f} s, {over} over {LIMIT:g} s")
    return 1 if wrong else 0


def _play(bench: Bench, fault: Fault) -> Any:
    for words in fault.plant:
        bench.ok(*words.split())
    try:
        return bench.vmlan("trace", *fault.trace.split(), "--json").json
    finally:
        for words in fault.mend:
            bench.ok(*words.split())


if __name__ == "__main__":
    sys.exit(main())
