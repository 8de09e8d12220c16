"""`vmlan screen`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vmlan.cli import common
from vmlan.errors import RequestError
from vmlan.host import kept_lab, lab_file, paths
from vmlan.observe import screen
from vmlan.observe.screen import Screen
from vmlan.qemu import picture


@click.command("screen")
@common.file_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Write a picture of the screen; - is standard output.",
)
@click.option("--text", "as_text", is_flag=True, help="Print what a text screen says (the default).")
@common.quiet_option
@common.json_option
@click.argument("machine")
def command(
    file: Path | None, output: Path | None, as_text: bool, quiet: bool, as_json: bool, machine: str
) -> None:
    """What MACHINE's screen shows: a picture of it, or its text.

    Text can be read in text modes only: firmware, boot menus, consoles without graphics.
    """
    if output == Path("-") and (as_text or as_json):
        raise click.UsageError("standard output can have the picture or the text")
    path = lab_file.find_file(file)
    lab_file.machine(kept_lab.load(path, paths.layout(path)), machine)
    shown = screen.take(machine, paths.layout(path).machine(machine))
    if output is not None:
        _write(shown, output)
    if as_json:
        common.print_json(_as_json(machine, shown, output))
    elif as_text or output is None:
        if shown.text is None:
            hint = None if output else f"vmlan screen {machine} -o {machine}.png writes a picture"
            raise RequestError(f"machine {machine}: {shown.why_no_text}", hint=hint)
        print("\n".join(shown.text.rows).rstrip("\n"))
    elif not quiet and output != Path("-"):
        print(f"wrote {output}: {machine}'s screen, {shown.picture.width}x{shown.picture.height}")


def _write(shown: Screen, output: Path) -> None:
    data = picture.to_png(shown.picture)
    if output == Path("-"):
        sys.stdout.buffer.write(data)
    else:
        output.write_bytes(data)


def _as_json(machine: str, shown: Screen, output: Path | None) -> dict[str, object]:
    return {
        "machine": machine,
        "width": shown.picture.width,
        "height": shown.picture.height,
        "columns": shown.text.columns if shown.text else None,
        "text": list(shown.text.rows) if shown.text else None,
        "why": None if shown.text else shown.why_no_text,
        "file": str(output) if output else None,
    }
