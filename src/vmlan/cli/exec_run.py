"""What `vmlan exec` does. Nothing here loads click (`cli.main` says why)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vmlan.cli import output
from vmlan.guest.agent import Agent
from vmlan.host import kept_lab, lab_file, paths


def run(
    file: Path | None,
    machine: str,
    argv: Sequence[str],
    stdin: bytes = b"",
    timeout: float | None = None,
    *,
    as_json: bool = False,
) -> int:
    """Run a command in a machine, and print what it said; its exit code."""
    path = lab_file.find_file(file)
    layout = paths.layout(path)
    lab_file.machine(kept_lab.load(path, layout), machine)
    with Agent(layout.machine(machine).agent, machine, timeout=20.0) as agent:
        done = agent.run(argv, stdin, timeout)
    if as_json:
        output.print_json(
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
    return done.code
