"""Every error of the program, on one page.

Each says what happened, and, where there is one, what to do about it (the hint).
The exit code is part of the contract with callers: 1 a check or a guest command
failed, 2 the request is wrong, 3 the host cannot do it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class VmlanError(Exception):
    """The root of the tree: a failure that is explained to the user, never a traceback."""

    exit_code = 3

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  → {self.hint}" if self.hint else self.what


class RequestError(VmlanError):
    """What was asked for makes no sense, or not now: nothing was started."""

    exit_code = 2


class HostError(VmlanError):
    """This host cannot do what was asked, or did not."""

    exit_code = 3


class GuestError(VmlanError):
    """A guest did not do what it should: it does not answer, or a command in it failed."""

    exit_code = 1


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a lab file, and where (1-based line and column)."""

    line: int
    column: int
    what: str
    hint: str = ""

    def at(self, file: str) -> str:
        """The problem as `FILE:LINE:COL: what; hint`, the form editors jump to."""
        tail = f"; {self.hint}" if self.hint else ""
        return f"{file}:{self.line}:{self.column}: {self.what}{tail}"


class LabFileError(RequestError):
    """A lab file that says something it cannot: all of its problems at once, in file order."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(problem.at(file) for problem in self.problems))


class LabChanged(RequestError):
    """The lab that runs is not the one that the file describes now."""


class NotRunning(RequestError):
    """The lab, or a machine of it, is not running."""


class UnknownName(RequestError):
    """A machine, network or example of that name does not exist."""


class Busy(RequestError):
    """Somebody else holds it: another vmlan at work on the lab, or an image in use."""


class DoesNotFit(HostError):
    """What is to be started asks for more memory than can be had."""


class MissingProgram(HostError):
    """A program that the lab needs is not installed."""

    def __init__(self, program: str, package: str | None) -> None:
        self.program = program
        self.package = package
        super().__init__(
            f"the program '{program}' is not installed",
            hint=f"sudo apt-get install {package}" if package else None,
        )


class CommandFailed(HostError):
    """A program that we ran failed; shows its own words, and a line that can be pasted.

    `program` is what it is called, where `argv` starts with something that only leads to it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        code: int,
        output: str,
        *,
        stdin: str = "",
        program: str | None = None,
        meaning: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.code = code
        self.output = output.strip()
        ended = f"ended with {code}" if code >= 0 else f"was killed by signal {-code}"
        lines = [meaning] if meaning else []
        lines.append(f"{Path(program or self.argv[0]).name} {ended}{':' if self.output else ''}")
        lines += [f"    {line}" for line in self.output.splitlines()[-20:]]
        given = "".join(f"\n    < {line}" for line in stdin.splitlines()[:20])
        self.command = f"  the command was: {shlex.join(self.argv)}{given}"
        super().__init__("\n".join(lines), hint=hint)

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.command}"


class KeeperGone(HostError):
    """The lab ended while we were talking to it."""


class Timeout(VmlanError):
    """Something did not happen within its time."""

    exit_code = 1
