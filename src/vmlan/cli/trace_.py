"""`vmlan trace`."""

from __future__ import annotations

from pathlib import Path

import click

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.host import enter, kept_lab, paths
from vmlan.observe import check
from vmlan.observe.trace import WATCH, Trace, trace, words
from vmlan.reasons import Reason


@click.command(name="trace")
@common.file_option
@common.json_option
@common.quiet_option
@click.option("--tcp", "port", type=click.IntRange(1, 65535), help="Open a connection to this port.")
@click.option("--via", metavar="NETWORK", help="Which address of a machine DST is meant.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help=f"Send nothing: wait for SRC to send it. So is done (for {WATCH:g} s) where SRC takes no commands.",
)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
def command(
    file: Path | None,
    as_json: bool,
    quiet: bool,
    port: int | None,
    via: str | None,
    watch: float | None,
    source: str,
    target: str,
) -> None:
    """Send one packet from SRC to DST, follow it over every link, and say where it died, and why.

    SRC is a machine, `host` or `outside`; DST one of these, or an address. Ends with 0 if it was
    delivered and answered, else with 1.
    """
    path = lifecycle.find_file(file)
    lab, layout = kept_lab.load(path, paths.layout(path)), paths.layout(path)
    enter.keeper(layout).close()
    found = trace(check.scene_of(lab, layout), source, target, via=via, port=port, watch=watch)
    if as_json:
        common.print_json({"lab": lab.name, **words.as_data(found)})
    else:
        _show(found, quiet=quiet)
    raise click.exceptions.Exit(0 if found.verdict.reason is Reason.DELIVERED else 1)


def _show(found: Trace, *, quiet: bool) -> None:
    good = found.verdict.reason is Reason.DELIVERED
    if not quiet:
        print(words.heading(found))
        for line in (*words.sent(found), *words.hops(found)):
            print(common.styled(line, dim=True))
    mark = common.styled("✓", fg="green") if good else common.styled("✗", fg="red", bold=True)
    reason = common.styled(found.verdict.reason.value, bold=True)
    at = "" if good or not found.verdict.at else f" at {found.verdict.at}"
    print(f"{mark} {reason}{at}: {found.verdict.why}")
    for each in found.verdict.mend:
        print(f"  → {each}")
    for note in found.notes:
        print(common.styled(f"note: {note}", dim=True))
