"""What all verbs share: their options, and how results and errors are shown."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vmlan.cli.output import is_terminal as is_terminal
from vmlan.cli.output import print_json as print_json
from vmlan.cli.output import print_table as print_table
from vmlan.cli.output import size as size
from vmlan.cli.output import styled as styled
from vmlan.errors import LabFileError, VmlanError

F = TypeVar("F", bound=Callable[..., Any])

#: `-f FILE`
file_option = click.option(
    "-f", "--file", type=click.Path(path_type=Path), help="The lab file, or its folder (default: ./lab.yaml)."
)
#: `--json`
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
#: `-q`
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
#: `--overcommit`
overcommit_option = click.option(
    "--overcommit", is_flag=True, help="Start it even if it asks for more memory than there is."
)


#: For verbs that hand a command line on: from its first word, nothing is an option of ours.
HANDED_ON = {"allow_interspersed_args": False}


class _Seconds(click.FloatRange):
    """A number of seconds. "nan" is a number to Python, and neither below nor above a limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


#: `--timeout SECONDS`, a day at most
SECONDS = _Seconds(0, 86400)


def size_given(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """A size with a unit, as in a lab file: the callback of an option or argument."""
    from vmlan.labfile import values

    try:
        return None if text is None else values.size("1K")(text)
    except values.Wrong as wrong:
        raise click.BadParameter(f"{wrong.what}; {wrong.hint}") from None


def argv_argument(*, required: bool = False) -> Callable[[F], F]:
    """The command line to hand on, with or without `--` before it."""

    def without_dashes(_: click.Context, __: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
        rest = words[1:] if words[:1] == ("--",) else words
        if required and not rest:
            raise click.UsageError("a command is missing: vmlan exec MACHINE -- CMD…")
        return rest

    return click.argument(
        "argv",
        nargs=-1,
        required=required,
        type=click.UNPROCESSED,
        metavar="-- CMD...",
        callback=without_dashes,
    )


def show_error(error: VmlanError) -> None:
    """An error, for people on standard error; and for programs on standard output, if they asked for JSON."""
    if wants_json():
        print_json({"error": _as_json(error)})
    lines = [str(error), *getattr(error, "__notes__", ())]
    text = "\n".join(lines)
    if isinstance(error, LabFileError):  # editors jump to FILE:LINE:COL at the start of a line
        print(text, file=sys.stderr)
    else:
        mark = click.style("vmlan:", fg="red", bold=True) if is_terminal(sys.stderr) else "vmlan:"
        print(f"{mark} {text}", file=sys.stderr)


def wants_json() -> bool:
    """Whether a program reads our standard output."""
    return "--json" in _own_arguments()


def json_error(kind: str, what: str) -> None:
    """An error that is none of ours, for programs on standard output, if they asked for JSON."""
    if wants_json():
        print_json({"error": {"kind": kind, "what": what, "hint": None}})


def _own_arguments() -> list[str]:
    """The command line up to `--`, after which it is somebody else's."""
    words = sys.argv[1:]
    return words[: words.index("--")] if "--" in words else words


def _as_json(error: VmlanError) -> dict[str, object]:
    shown: dict[str, object] = {"kind": type(error).__name__, "what": error.what, "hint": error.hint}
    if isinstance(error, LabFileError):
        shown["problems"] = [
            {"line": problem.line, "column": problem.column, "what": problem.what, "hint": problem.hint}
            for problem in error.problems
        ]
    return shown


def hush() -> None:
    """Whoever read our output has gone: let Python not complain about it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
