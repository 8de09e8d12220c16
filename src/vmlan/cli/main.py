"""The command `vmlan`: finds the verb, loads only its module, and turns errors into words and exit codes.

What it takes to start is paid by every command: nothing is imported here that not every command needs,
and `vmlan --help` needs next to nothing.
"""

from __future__ import annotations

import gc
import os
import sys

from vmlan.cli import verbs

TYPE_CHECKING = False  # `typing` takes a third of the time that Python itself takes to start
if TYPE_CHECKING:
    from typing import NoReturn


def _open_streams() -> None:
    """Whoever started us may have closed a standard stream; what opens next must not take its place."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode))


def _help_is_usual() -> bool:
    """Whether there is no reason for another form of it: another name of the program, a narrow terminal."""
    if os.path.basename(sys.argv[0]) != "vmlan":  # noqa: PTH119
        return False
    try:
        given = os.environ.get("COLUMNS")
        return (int(given) if given else os.get_terminal_size(sys.stdout.fileno()).columns) >= 80
    except ValueError:
        return False
    except OSError:
        return True  # no terminal: as wide as one likes


def _usual(words: list[str]) -> int | None:
    """Do what is asked most, if this is it, word for word: its exit code. None: nothing was done.

    It needs no parser of options (click), which takes longer to load than all the rest together.
    """
    match words:
        case ["--help" | "-h"] if _help_is_usual():
            sys.stdout.write(verbs.usual_help())
        case ["ps"] | ["ps", "--json"]:
            from vmlan.cli import ps_shown

            ps_shown.show(None, as_json=len(words) > 1)
        case ["ls"] | ["ls", "--json"]:
            from vmlan.cli import ls_shown

            ls_shown.show(every=False, as_json=len(words) > 1)
        case ["exec", machine, "--", _, *_] if not machine.startswith("-"):
            from vmlan.cli import exec_run

            return exec_run.run(None, machine, words[3:])
        case _:
            return None
    return 0


def main() -> NoReturn:
    """The program's entry point. Exit codes: 0 done, 1 a check or a guest failed, 2 request, 3 host."""
    _open_streams()
    gc.set_threshold(50_000)  # loading modules makes many objects and no garbage to look for
    try:
        code = _usual(sys.argv[1:])
        if code is None:
            from vmlan.cli.group import vmlan

            result = vmlan(standalone_mode=False)  # what a verb exits with, or None
            code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        code = _tell(error)
    _end(code)


def _end(code: int) -> NoReturn:
    """End at once: to take down module by module what ends anyway takes as long as Python takes to start."""
    if "VMLAN_DEBUG" in os.environ:
        sys.exit(code)  # a profiler wants to have its say
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # nobody may read them any more
        os._exit(code)


def _tell(error: BaseException) -> int:
    """Say what went wrong; the exit code for it."""
    import click

    from vmlan.cli import common
    from vmlan.errors import VmlanError

    if isinstance(error, click.UsageError):
        common.json_error(type(error).__name__, error.format_message())
        error.show()
        return 2
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, VmlanError):
        common.show_error(error)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        print("vmlan: interrupted", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):
        common.hush()
        return 141
    if isinstance(error, OSError):
        what = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        try:
            common.json_error("OSError", what)
            sys.stdout.flush()
        except OSError:
            pass  # it may be our output that failed
        common.hush()
        print(f"vmlan: {what}", file=sys.stderr)
        return 3
    if "VMLAN_DEBUG" in os.environ:
        raise error
    print(f"vmlan: this is a mistake of vmlan's own: {type(error).__name__}: {error}", file=sys.stderr)
    print("  → please report it; with VMLAN_DEBUG=1 it shows where it happened", file=sys.stderr)
    return 3


if __name__ == "__main__":
    main()
