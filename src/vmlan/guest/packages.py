"""Fetch and unpack the distribution's own packages, as an ordinary user; nothing is installed.

apt is asked with the user's rights: `apt-get download` needs no root, and checks what it fetches
against the signed package lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmlan.errors import CommandFailed, HostError
from vmlan.host.run import run

_UPDATE = "sudo apt-get update"
#: Fields are looked for as text: neither the locale nor a wish for all versions may change the answer.
_ENV = {"LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Package:
    """A package as the package lists describe it. Each of `depends` is its alternatives, best first."""

    name: str
    version: str
    section: str
    depends: tuple[tuple[str, ...], ...]

    @property
    def is_library(self) -> bool:
        """Whether it is a shared library's ("libs", or "universe/libs" and the like on Ubuntu)."""
        return self.section.rpartition("/")[2] == "libs"


def parse(listing: str) -> dict[str, Package]:
    """The packages in what `apt-cache show` prints, by name; of several of one name, the first."""
    packages: dict[str, Package] = {}
    for stanza in listing.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): *(.*)$", stanza, re.MULTILINE))
        if "Package" in fields:
            wants = ", ".join(filter(None, (fields.get("Pre-Depends"), fields.get("Depends"))))
            name = fields["Package"]
            package = Package(name, fields.get("Version", ""), fields.get("Section", ""), _relations(wants))
            packages.setdefault(name, package)
    return packages


def _relations(text: str) -> tuple[tuple[str, ...], ...]:
    clauses = (
        tuple(re.split(r"[\s:(\[]", choice.strip())[0] for choice in clause.split("|"))
        for clause in text.split(",")
        if clause.strip()
    )
    return tuple(clauses)


def look_up(names: Iterable[str]) -> dict[str, Package]:
    """What the package lists say of these; a package they do not have is left out."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    shown = run(["apt-cache", "show", "--no-all-versions", *wanted], env=_ENV, check=False)
    return parse(shown.stdout)


def dependencies(packages: Iterable[Package]) -> dict[str, Package]:
    """What these depend on: of each clause, the first alternative that the lists have."""
    clauses = {clause for package in packages for clause in package.depends}
    known = look_up(name for clause in clauses for name in clause)
    chosen = (next((name for name in clause if name in known), None) for clause in clauses)
    return {name: known[name] for name in chosen if name}


def missing_from_lists(names: Sequence[str]) -> HostError:
    """The error for packages that the lists do not have, with the likeliest remedy."""
    wanted = " or ".join(names)
    return HostError(f"apt knows no package {wanted}", hint=f"{_UPDATE} (the package lists may be empty)")


def unpack(packages: Iterable[Package], downloads: Path, into: Path) -> None:
    """Fetch the packages into the folder `downloads`, and unpack them all into `into`.

    Raises `HostError` when a package cannot be had, with what to do about it.
    """
    wanted = [f"{package.name}={package.version}" for package in packages]
    if not wanted:
        return
    before = set(downloads.glob("*.deb"))
    fetched = run(["apt-get", "download", *wanted], cwd=downloads, env=_ENV, check=False)
    if not fetched.ok:
        raise explained(CommandFailed(fetched.argv, fetched.code, fetched.stderr or fetched.stdout))
    for archive in sorted(set(downloads.glob("*.deb")) - before):
        run(["dpkg-deb", "-x", str(archive), str(into)])


def explained(failure: CommandFailed) -> CommandFailed:
    """The failure of `apt-get download` with what it means and what to do about it."""
    words = failure.output
    if re.search(r"\b404\b|Hash Sum mismatch|was not found|Can't find a source", words):
        meaning, hint = "the package lists of this host are older than the archive", _UPDATE
    elif re.search(r"resolv|Could not connect|Unable to connect|Network is unreachable|timed out", words):
        meaning, hint = "the package archive cannot be reached", "check the way to the mirrors that apt uses"
    else:
        meaning, hint = "a package of the guest cannot be fetched", _UPDATE
    return CommandFailed(failure.argv, failure.code, words, meaning=meaning, hint=hint)
