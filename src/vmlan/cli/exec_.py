"""`vmlan exec`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.guest.agent import Agent
from vmlan.host import paths


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
    from vmlan import labfile

    path = lifecycle.find_file(file)
    lifecycle.machine(labfile.load(path), machine)
    stdin = sys.stdin.buffer.read() if with_stdin else b""
    with Agent(paths.layout(path).machine(machine).agent, machine, timeout=20.0) as agent:
        done = agent.run(argv, stdin, timeout)
    if as_json:
        common.print_json(
            {
                "machine": machine,
                "argv": argv,
                "exit": done.code,
                "stdout": done.stdout,
                "stderr": done.stderr,
            }
        )
    else:
        sys.stdout.buffer.write(done.out)
        sys.stdout.flush()
        sys.stderr.buffer.write(done.err)
        sys.stderr.flush()
        if done.truncated:
            print("vmlan: the output was longer than the agent keeps (16 MiB), and is cut", file=sys.stderr)
    raise click.exceptions.Exit(done.code)
