"""`vmlan doctor`."""

from __future__ import annotations

import click

from vmlan.cli import common


@click.command("doctor")
@common.json_option
def command(as_json: bool) -> None:
    """Can labs run here? What is in the way, and the command that mends it.

    Everything is tried, in namespaces of its own. Ends with 0 if labs can run, else with 3.
    """
    import msgspec

    from vmlan.host.doctor import diagnose

    found = diagnose()
    bad = any(finding.status == "bad" for finding in found)
    if as_json:
        common.print_json({"can_run": not bad, "findings": msgspec.to_builtins(found)})
    else:
        marks = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "red")}
        for finding in found:
            mark, colour = marks[finding.status]
            print(f"{common.styled(mark, fg=colour, bold=True)} {finding.name}: {finding.detail}")
            if finding.mend:
                print(f"    → {finding.mend}")
        print("labs cannot run here yet" if bad else "labs can run here")
    raise click.exceptions.Exit(3 if bad else 0)
