"""The command `vmlan`: finds the verb, loads only its module, and turns errors into words and exit codes.

What it takes to start is paid by every command: nothing is imported here that not every command needs,
and `vmlan --help` needs next to nothing.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # `typing` takes a third of the time that Python itself takes to start
if TYPE_CHECKING:
    from typing import NoReturn

#: What the program is, in `vmlan --help`.
ABOUT = "Real machines on real networks, from one file, as an ordinary user."

#: verb → (module, one line for `vmlan --help`); the module is loaded when the verb is used.
VERBS: dict[str, str] = {
    "init": "write a lab.yaml to start from, or list the examples",
    "up": "bring the lab up, and return when every machine is ready",
    "confirm": "keep the change that `up` made to this host's NIC (place: host)",
    "down": "end the lab; its disks are kept",
    "ls": "the labs on this machine",
    "ps": "this lab's machines, addresses and networks",
    "explain": "the exact commands that `up` runs, each with its reason",
    "check": "run the lab file's checks, each with its evidence",
    "trace": "where a packet goes and where it dies, and why",
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
    "clone": "a running machine, forked into a new one",
    "snapshot": "the whole running lab at one instant: save, restore, ls, rm",
    "disk": "disks and their copies: create, clone, info, ls, rm",
    "image": "the images that vmlan knows by name: ls, pull, build, rm",
    "template": "machines booted once, from which others go on: ls, rm, prune",
    "schema": "the JSON Schema of lab.yaml, for editors",
    "doctor": "can labs run here, and what would mend it",
}


def _open_streams() -> None:
    """Whoever started us may have closed a standard stream; what opens next must not take its place."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode))


def usual_help() -> str:
    """What click prints for `vmlan --help` where there are 80 columns or more, without loading it."""
    width = max(map(len, VERBS)) + 2
    verbs = "".join(f"  {verb:{width}}{what}\n" for verb, what in VERBS.items())
    return (
        f"Usage: vmlan [OPTIONS] COMMAND [ARGS]...\n\n  {ABOUT}\n\n"
        "Options:\n  --version   Show the version and exit.\n  -h, --help  Show this message and exit.\n\n"
        f"Commands:\n{verbs}"
    )


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
            sys.stdout.write(usual_help())
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
