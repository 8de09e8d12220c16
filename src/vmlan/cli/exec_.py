"""`vmlan exec`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vmlan.cli import common, exec_run


@click.command("exec", context_settings=common.HANDED_ON)
@common.file_option
@click.option(
    "--timeout", type=common.SECONDS, help="Seconds that the command may take (default: as long as it likes)."
)
@click.option(
    "-i", "--stdin", "with_stdin", is_flag=True, help="Let the command read our standard input, to its end."
)
@common.json_option
@click.argument("machine")
@common.argv_argument(required=True)
def command(
    file: Path | None,
    timeout: float | None,
    with_stdin: bool,
    as_json: bool,
    machine: str,
    argv: tuple[str, ...],
) -> None:
    """Run a command in MACHINE, through its guest agent. Its exit code is ours.

    Its output arrives when it has ended. It reads nothing, unless -i is given.
    """
    stdin = sys.stdin.buffer.read() if with_stdin else b""
    raise click.exceptions.Exit(exec_run.run(file, machine, argv, stdin, timeout, as_json=as_json))
