"""A trace in words, and as data. Pure."""

from __future__ import annotations

import shlex

from vmlan.observe.trace.values import Hop, Trace


def heading(trace: Trace) -> str:
    """What was asked."""
    to = trace.target if trace.address in ("", trace.target) else f"{trace.target} ({trace.address})"
    what = f"TCP port {trace.port}" if trace.port is not None else "ping"
    return f"{trace.source} → {to}, {what}"


def lines(trace: Trace) -> list[str]:
    """The whole trace for people, without colour: the hops, then the verdict and what would mend it."""
    rows = [*sent(trace), *hops(trace), verdict(trace)]
    rows += [f"  → {each}" for each in trace.verdict.mend]
    rows += [f"note: {note}" for note in trace.notes]
    return rows


def sent(trace: Trace) -> list[str]:
    """What was run to send it, and what that said."""
    rows = [f"  $ {shlex.join(trace.command)}"] if trace.command else []
    return [*rows, *([f"  {trace.said}"] if trace.said else [])]


def verdict(trace: Trace) -> str:
    """The verdict in a line."""
    return f"{trace.verdict.reason.value}: {trace.verdict.why}"


def hops(trace: Trace) -> list[str]:
    """A row for each link: whether question and answer were seen there, when, and as what."""
    if not trace.hops:
        return []
    began = min((hop.question.time for hop in trace.hops if hop.question), default=0)
    width = max(len(hop.link) for hop in trace.hops)
    return [f"  {hop.link.ljust(width)}  {_row(hop, began)}" for hop in trace.hops]


def _row(hop: Hop, began: int) -> str:
    parts = []
    for mark, seen in (("→", hop.question), ("←", hop.answer)):
        if seen is None:
            parts.append(f"{mark} {'-':>8}   ")
        else:
            parts.append(f"{mark} {(seen.time - began) / 1e6:8.3f} ms")
    shown = hop.question or hop.answer
    what = shown.words if shown is not None else "not seen"
    return f"{'  '.join(parts)}  {what}{' (not on its way)' if hop.beside else ''}"


def as_data(trace: Trace) -> dict[str, object]:
    """A trace for programs. Times are nanoseconds since 1970."""
    found = trace.verdict
    return {
        "source": trace.source,
        "target": trace.target,
        "address": trace.address or None,
        "port": trace.port,
        "verdict": found.reason.value,
        "at": found.at or None,
        "why": found.why,
        "lost": "answer" if found.answer else None if found.reason.value == "delivered" else "question",
        "rule": found.rule or None,
        "mend": found.mend,
        "stations": trace.stations,
        "hops": [_hop(hop) for hop in trace.hops],
        "command": trace.command,
        "said": trace.said or None,
        "notes": trace.notes,
        "seconds": round(trace.seconds, 3),
    }


def _hop(hop: Hop) -> dict[str, object]:
    return {
        "link": hop.link,
        "on_its_way": not hop.beside,
        "question_ns": hop.question.time if hop.question else None,
        "answer_ns": hop.answer.time if hop.answer else None,
        "question": hop.question.words if hop.question else None,
        "answer": hop.answer.words if hop.answer else None,
    }
