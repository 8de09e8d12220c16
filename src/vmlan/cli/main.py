"""The command `vmlan`: finds the verb, loads only its module, and turns errors into words and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import NoReturn

import click

from vmlan.errors import VmlanError

#: verb → (module, one line for `vmlan --help`); the module is loaded when the verb is used.
VERBS: dict[str, str] = {
    "init": "write a lab.yaml to start from, or list the examples",
    "up": "bring the lab up, and return when every machine is ready",
    "down": "end the lab; its disks are kept",
    "ls": "the labs on this machine",
    "ps": "this lab's machines, addresses and networks",
    "explain": "the exact commands that `up` runs, each with its reason",
    "check": "run the lab file's checks, each with its evidence",
    "capture": "every frame on the lab's links, as rows or as a file for Wireshark",
    "link": "pull a machine's cable, or slow it down",
    "set": "change what can change while the lab runs",
    "exec": "run a command in a machine; its exit code is ours",
    "wait": "wait until a machine's agent, address, port or text is there",
    "console": "a machine's serial console; Ctrl-] leaves it",
    "screen": "a picture of a machine's screen, or its text",
    "host": "run a command on the lab's host side",
    "run": "one machine, now, without a lab file",
    "import": "an old QEMU command line, a script or a page of notes: a lab file",
    "disk": "disks and their copies: create, clone, info, ls, rm",
    "image": "the images that vmlan knows by name: ls, pull, build, rm",
    "schema": "the JSON Schema of lab.yaml, for editors",
    "doctor": "can labs run here, and what would mend it",
}


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


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vmlan", message="vmlan %(version)s")
def vmlan() -> None:
    """Real machines on real networks, from one file, as an ordinary user."""


def _open_streams() -> None:
    """Whoever started us may have closed a standard stream; what opens next must not take its place."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode))


def main() -> NoReturn:
    """The program's entry point. Exit codes: 0 done, 1 a check or a guest failed, 2 request, 3 host."""
    _open_streams()
    from vmlan.cli import common

    try:
        result = vmlan(standalone_mode=False)  # what a verb exits with, or None
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except click.UsageError as error:
        common.json_error(type(error).__name__, error.format_message())
        error.show()
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except VmlanError as error:
        common.show_error(error)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("vmlan: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        common.hush()
        code = 141
    except OSError as error:
        what = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        with contextlib.suppress(OSError):  # it may be our output that failed
            common.json_error("OSError", what)
            sys.stdout.flush()
        common.hush()
        print(f"vmlan: {what}", file=sys.stderr)
        code = 3
    except Exception as error:
        if "VMLAN_DEBUG" in os.environ:
            raise
        print(f"vmlan: this is a mistake of vmlan's own: {type(error).__name__}: {error}", file=sys.stderr)
        print("  → please report it; with VMLAN_DEBUG=1 it shows where it happened", file=sys.stderr)
        code = 3
    sys.exit(code)


if __name__ == "__main__":
    main()
