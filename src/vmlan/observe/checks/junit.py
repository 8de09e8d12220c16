"""Findings as JUnit XML, the form that CI systems read: a test case for each check.

There is no standard of it; this keeps to what the readers of Jenkins, GitLab and GitHub's actions share:
`testsuites`, `testsuite` with its counts, `testcase` with `failure`, `error` and `system-out`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from xml.etree import ElementTree as ET

from vmlan.observe.checks import words
from vmlan.observe.checks.base import Finding

#: Characters that XML 1.0 cannot have (its production 2, Char).
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(lab: str, findings: Sequence[Finding], began: datetime) -> str:
    """The whole document. What could not be tried is an error, what went wrong a failure."""
    errors = sum(1 for each in findings if each.outcome == "not tried" and not each.passed)
    failures = sum(1 for each in findings if not each.passed) - errors
    counts = {
        "name": _text(lab),
        "tests": str(len(findings)),
        "failures": str(failures),
        "errors": str(errors),
        "time": _seconds(sum(each.seconds for each in findings)),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(
        root,
        "testsuite",
        {**counts, "skipped": "0", "timestamp": began.replace(microsecond=0, tzinfo=None).isoformat()},
    )
    for number, finding in enumerate(findings, 1):
        _case(suite, lab, number, finding)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _case(suite: ET.Element, lab: str, number: int, finding: Finding) -> None:
    expected = "" if getattr(finding.check, "reachable", True) else " (unreachable)"
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": _text(lab),
            "name": _text(f"{number}: {words.title(finding.check)}{expected}"),
            "time": _seconds(finding.seconds),
        },
    )
    lines = words.evidence(finding)
    if finding.check.hint:
        lines.append(finding.check.hint if finding.passed else f"expected because: {finding.check.hint}")
    if finding.passed:
        if lines:
            ET.SubElement(case, "system-out").text = _text("\n".join(lines))
        return
    tag = "error" if finding.outcome == "not tried" else "failure"
    bad = ET.SubElement(case, tag, {"message": _text(words.heading(finding)), "type": finding.outcome})
    bad.text = _text("\n".join([words.heading(finding), *lines]))


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _text(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
