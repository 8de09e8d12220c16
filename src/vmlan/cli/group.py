"""The command line as click sees it: the verbs, each imported when it is used."""

from __future__ import annotations

import importlib

import click

from vmlan.cli.verbs import ABOUT, VERBS


class Verbs(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of a lab's life rather than the alphabet's."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or None."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"vmlan.cli.{cmd_name}_")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing every verb."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a misspelt verb."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from vmlan.spelling import nearest

            close = nearest(args[0], VERBS)
            hint = f"Did you mean '{close}'?" if close else "`vmlan --help` lists them."
            ctx.fail(f"there is no command '{args[0]}'. {hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=Verbs, help=ABOUT, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vmlan", message="vmlan %(version)s")
def vmlan() -> None:
    """The program; `ABOUT` is its help."""
