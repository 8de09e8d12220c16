"""`vmlan init`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from vmlan.cli import common
from vmlan.errors import RequestError, UnknownName


@click.command("init")
@click.argument("example", required=False)
@common.json_option
def command(example: str | None, as_json: bool) -> None:
    """Write EXAMPLE's lab.yaml into this folder; without a name, list the examples."""
    examples = {
        folder.name: folder.joinpath("lab.yaml").read_text()
        for folder in sorted(resources.files("vmlan.examples").iterdir(), key=lambda folder: folder.name)
        if folder.joinpath("lab.yaml").is_file()
    }
    if example is None and as_json:
        common.print_json({name: _about(text) for name, text in examples.items()})
        return
    if example is None:
        common.print_table(
            ("EXAMPLE", "WHAT IT SHOWS"), [(name, _about(text)) for name, text in examples.items()]
        )
        print("\nvmlan init NAME writes it to ./lab.yaml")
        return
    if example not in examples:
        raise UnknownName(f"there is no example '{example}'", hint=f"there are: {', '.join(examples)}")
    try:
        with Path("lab.yaml").open("x") as file:
            file.write(examples[example])
    except FileExistsError:
        raise RequestError(
            "there is a lab.yaml in this folder already", hint="it stays as it is; use another folder"
        ) from None
    if as_json:
        common.print_json({"wrote": "lab.yaml", "example": example})
    else:
        print(f"wrote lab.yaml: {_about(examples[example])}\nnext: vmlan up")


def _about(text: str) -> str:
    return text.partition("\n")[0].lstrip("# ")
