"""Why a check came out as it did: the trace of a ping or a connection, for those that fail or ask for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vmlan.errors import VmlanError
from vmlan.model import PingCheck, TcpCheck
from vmlan.observe.checks.base import Finding, Scene
from vmlan.reasons import Reason

if TYPE_CHECKING:
    from vmlan.observe.trace.values import Trace

#: Reasons for which a check has nothing to try: then the trace alone says whether it is so.
_BEFORE = {Reason.NOT_RUNNING, Reason.NO_ADDRESS}


def explained(found: Finding, scene: Scene) -> Finding:
    """A finding with its trace, if it has one; one that asks for a reason fails where it is another."""
    check = found.check
    if not isinstance(check, PingCheck | TcpCheck) or not _needed(found, check):
        return found
    try:
        trace = _trace(check, scene)
    except VmlanError as error:
        if check.reason is None or not found.passed:
            return replace(found, no_trace=error.what)
        why = f"the reason could not be found: {error.what}"
        return replace(found, passed=False, outcome="not tried", why=why)
    found = replace(found, trace=trace)
    return found if check.reason is None else _by_reason(found, check.reason, trace)


def _needed(found: Finding, check: PingCheck | TcpCheck) -> bool:
    if found.outcome == "not tried":
        return check.reason in _BEFORE
    if check.reason is not None and found.outcome == "unreachable":
        return True
    return not found.passed and (check.reachable or bool(found.unmet))


def _by_reason(found: Finding, wanted: Reason, trace: Trace) -> Finding:
    reason = trace.verdict.reason
    if found.outcome == "not tried":
        same = reason is wanted
        return replace(found, passed=same, outcome="unreachable") if same else found
    if found.outcome != "unreachable" or reason is wanted:
        return found
    other = f"the reason is {reason.value}, not {wanted.value}"
    return replace(found, passed=False, unmet=(*found.unmet, other))


def _trace(check: PingCheck | TcpCheck, scene: Scene) -> Trace:
    # Only who needs a trace pays for loading it.
    from vmlan.observe.trace import trace

    port = check.port if isinstance(check, TcpCheck) else None
    return trace(scene, check.source, check.target, via=check.via, port=port)
