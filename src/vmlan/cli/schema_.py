"""`vmlan schema`."""

from __future__ import annotations

import click

from vmlan.cli import common


@click.command("schema")
def command() -> None:
    """The JSON Schema of lab.yaml: editors complete and check with it."""
    from vmlan.labfile.schema import json_schema

    common.print_json(json_schema())
