"""The network namespaces of a lab, and what is seen in them of /etc."""

from __future__ import annotations

from collections.abc import Iterator

from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Run, Space, Step, WriteFile


def namespace(space: Space, layout: Layout, reason: str) -> Iterator[Step]:
    """A network namespace, held by a file; nobody outside of the lab sees it."""
    path = layout.net / space.value
    yield WriteFile(
        f"namespace-file net/{space.value}", f"the {space.value} namespace is held by this file", path, ""
    )
    yield Run(
        f"namespace {space.value}",
        reason,
        Command(("unshare", f"--net={path}", "true"), space=Space.LAB),
    )


def real_host(layout: Layout) -> Iterator[Step]:
    """The real host's own network namespace, held by a file as the others are: all else is then the same."""
    path = layout.net / Space.HOST.value
    yield WriteFile(
        "namespace-file net/host", "this machine's own network is to be found by this file", path, ""
    )
    yield Run(
        "namespace host",
        "the lab's host side is this machine's own network",
        Command(("mount", "--bind", "/proc/self/ns/net", str(path)), space=Space.LAB),
    )


def put_over(ours: str, theirs: str) -> Run:
    """A file of ours in place of one of this machine's, for whoever is in the lab."""
    return Run(
        f"mount {theirs}",
        f"seen as {theirs} inside the lab, and only there",
        Command(("mount", "--bind", ours, theirs), space=Space.LAB),
    )
