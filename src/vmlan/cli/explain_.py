"""`vmlan explain`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import click

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.cli.progress import open_progress
from vmlan.errors import UnknownName
from vmlan.plan import explain


@click.command("explain")
@click.argument("name", required=False)
@common.file_option
@click.option("--script", is_flag=True, help="A bash script that makes the same lab without vmlan.")
@common.json_option
@click.option("--cold", is_flag=True, help="What `up --cold` runs: every machine boots.")
def command(name: str | None, file: Path | None, script: bool, cold: bool, as_json: bool) -> None:
    """The exact commands that `up` runs, in order, each with its reason; NAME: of one machine or network."""
    show(lifecycle.find_file(file), name, script=script, cold=cold, as_json=as_json)


def show(file: Path, name: str | None, *, script: bool, cold: bool, as_json: bool) -> None:
    """Print the plan of a lab file. A script has no templates: it is to run where there is no vmlan."""
    with open_progress(quiet=as_json) as progress:  # the first time, the tiny guest is packed
        lab, facts, plan = lifecycle.plan_file(file, progress, cold=cold or script)
    if name is not None and name not in explain.names(plan):
        hint = "it has: " + ", ".join(sorted(explain.names(plan)))
        raise UnknownName(f"there is no machine or network '{name}' in the plan", hint=hint)
    notes = (*plan.notes, *plan.details)
    if as_json:
        rows = explain.paragraphs(plan, facts.layout, name)
        steps = [{"ids": row.ids, "reason": row.reason or None, "shell": row.shell} for row in rows]
        common.print_json({"lab": lab.name, "notes": notes, "steps": steps})
        return
    if script:
        print(explain.script(plan, facts.layout, lab.name, version("vmlan")), end="")
        return
    for note in notes if name is None else ():
        print(common.styled(f"# note: {note}", fg="yellow"))
    for line in explain.text(plan, facts.layout, name).splitlines():
        print(common.styled(line, fg="green") if line.startswith("#") else line)
