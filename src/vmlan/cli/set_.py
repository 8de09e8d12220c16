"""`vmlan set`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from vmlan import lifecycle
from vmlan.cli import common
from vmlan.cli.commands import lines, tell
from vmlan.host import enter, kept_lab, paths, settings
from vmlan.host.lock import exclusive


@click.command("set")
@common.file_option
@common.quiet_option
@click.option("-v", "--verbose", is_flag=True, help="Show every command as it runs.")
@common.json_option
@click.argument("name", required=False)
@click.argument("value", required=False)
def command(
    file: Path | None, quiet: bool, verbose: bool, as_json: bool, name: str | None, value: str | None
) -> None:
    """Change what can change while the lab runs: NAME VALUE. Alone, or with NAME, shows what is set.

    \b
    host.forwarding on|off
    host.forward-policy accept|drop
    host.uplink.address none|ADDRESS/PREFIX
    NETWORK.nat on|off

    lab.yaml stays as it is: `vmlan down` and `vmlan up` bring back what it says.
    """
    path = lifecycle.find_file(file)
    lab, layout = kept_lab.load(path, paths.layout(path)), paths.layout(path)
    enter.keeper(layout).close()
    if name is None or value is None:
        chosen = settings.settings(lab, layout) if name is None else (settings.one(lab, layout, name),)
        if as_json:
            common.print_json({"lab": lab.name, "settings": msgspec.to_builtins(chosen)})
        else:
            rows = [(each.name, each.now, each.file or "-", each.takes, each.what) for each in chosen]
            common.print_table(("SETTING", "NOW", "UP MAKES IT", "TAKES", "WHAT IT IS"), rows)
        return
    with exclusive(layout.run, wait=5.0):
        after, ran = settings.change(lab, layout, name, value)
    if verbose:
        tell(lines(ran))
    if as_json:
        common.print_json({**msgspec.to_builtins(after), "changed": bool(ran)})
    elif not quiet:
        differs = "" if after.now == after.file else f" (`vmlan up` makes it {after.file})"
        print(f"{after.name}: {after.now}{differs}{'' if ran else ', as it was'}")
