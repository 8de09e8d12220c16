"""`vmlan import`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from vmlan.cli import common
from vmlan.errors import HostError, RequestError, VmlanError
from vmlan.labfile.write import dumps
from vmlan.notes.importer import import_lines
from vmlan.notes.programs import is_program
from vmlan.notes.result import Blank, Fate, Imported, Note
from vmlan.notes.shell import CommandLine, command_lines, from_words
from vmlan.qemu.facts import QemuFacts


@click.command("import", context_settings=common.HANDED_ON)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the lab file there.")
@click.option("--force", is_flag=True, help="With -o: also over a file that is there.")
@click.option("--trust", is_flag=True, help="Import lines that run programs on this machine, too.")
@common.json_option
@common.quiet_option
@common.argv_argument()
def command(
    output: Path | None, force: bool, trust: bool, as_json: bool, quiet: bool, argv: tuple[str, ...]
) -> None:
    """Make a lab file of QEMU command lines that you have: `-- qemu-system-x86_64 …`, or FILE, or -.

    FILE is a script or a page of notes; - reads it from standard input. The lab file goes to standard
    output (or to -o), and what became of every option that changed, to standard error.
    """
    if output is not None and output.exists() and not force:
        raise RequestError(f"there is a {output} already", hint="--force writes over it")
    lines = _lines(argv)
    folder = (output.parent if output is not None else Path()).absolute()
    found = import_lines(lines, installed_qemu(), folder=folder, trust=trust)
    text = lab_text(found)
    if as_json:
        common.print_json(_as_json(found, text))
    elif text is not None and output is None:
        print(text, end="")
    if text is not None and output is not None:
        _write(output, text)
    if not as_json:
        _tell(found, output, quiet=quiet)
    if found.lab is None:
        raise click.exceptions.Exit(2)


def _lines(argv: Sequence[str]) -> tuple[CommandLine, ...]:
    """The command lines that are meant. Raises `RequestError` if there are none."""
    if not argv:
        raise click.UsageError("a command is missing: vmlan import -- qemu-system-x86_64 …, or FILE, or -")
    if argv == ("-",):
        text, where = sys.stdin.buffer.read().decode(errors="replace"), "standard input"
    elif len(argv) == 1 and Path(argv[0]).is_file() and not is_program(argv[0]):
        try:
            text, where = Path(argv[0]).read_bytes().decode(errors="replace"), argv[0]
        except OSError as error:
            raise RequestError(f"cannot read '{argv[0]}': {error.strerror}") from None
    elif len(argv) == 1 and " " in argv[0]:  # a whole line in quotes
        text, where = argv[0], "the command line"
    elif len(argv) == 1 and not is_program(argv[0]):
        hint = "vmlan import -- qemu-system-x86_64 … takes a command line, vmlan import - standard input"
        raise RequestError(f"there is no file '{argv[0]}'", hint=hint)
    else:
        return (from_words(argv),)
    found = command_lines(text)
    if not found:
        hint = "a command line begins with qemu-system-x86_64, qemu or kvm"
        raise RequestError(f"there is no QEMU command line in {where}", hint=hint)
    return found


def installed_qemu() -> QemuFacts | None:
    """What the QEMU of this machine has; None if there is none: then nothing is adapted to it."""
    from vmlan.host import paths
    from vmlan.host.facts import QEMU
    from vmlan.host.run import find
    from vmlan.qemu.probe import probe

    binary = find(os.environ.get("VMLAN_QEMU") or QEMU)
    try:
        return probe(binary.resolve(), paths.cache_root()) if binary else None
    except VmlanError:
        return None


def lab_text(found: Imported) -> str | None:
    """The lab file, with what is left to be filled in at its top; None if no line gave a machine."""
    if found.lab is None:
        return None
    places: dict[str, list[str]] = {}
    for blank in found.blanks:
        places.setdefault(blank.name, []).append(blank.place)
    fill = [f"to fill in: <{name}> ({', '.join(dict.fromkeys(where))})" for name, where in places.items()]
    return dumps(found.lab, {"": fill})


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text)
    except OSError as error:
        raise HostError(f"cannot write '{output}': {error.strerror}") from None


#: How a note begins on a terminal: what is gone stands out.
_COLOURS = {Fate.KEY: "green", Fate.ARGS: "cyan", Fate.OURS: "green", Fate.OUT: "yellow"}


def _tell(found: Imported, output: Path | None, *, quiet: bool) -> None:
    """The notes, for people, on standard error; reasons also with -q."""
    several = found.lab is not None and len(found.lab.machines) > 1
    if not quiet:
        for note, words in grouped(found.changes):
            print(_shown(note, words, several=several), file=sys.stderr)
        if found.blanks:
            print(_blanks(found.blanks), file=sys.stderr)
    for refused in found.refused:
        where = f"line {refused.line}: " if len(found.refused) + bool(found.lab) > 1 else ""
        mark = click.style("vmlan:", fg="red", bold=True) if common.is_terminal(sys.stderr) else "vmlan:"
        print(f"{mark} {where}{refused.reason}", file=sys.stderr)
    if output is not None and found.lab is not None and not quiet:
        which = "" if output == Path("lab.yaml") else f" -f {output}"
        print(f"wrote {output}; next: vmlan up{which}", file=sys.stderr)


def grouped(notes: Sequence[Note]) -> list[tuple[Note, str]]:
    """The notes, those that say the same of several words as one."""
    groups: dict[tuple[str, Fate, str], list[Note]] = {}
    for note in notes:
        groups.setdefault((note.machine, note.fate, note.text), []).append(note)
    return [(same[0], ", ".join(dict.fromkeys(note.words for note in same))) for same in groups.values()]


def _shown(note: Note, words: str, *, several: bool) -> str:
    whose = f"{note.machine}: " if several and note.machine else ""
    words = "".join(char if char.isprintable() else " " for char in words)
    if common.is_terminal(sys.stderr):
        words = click.style(words, fg=_COLOURS[note.fate])
    return f"# {whose}{words}: {note.text}"


def _blanks(blanks: Sequence[Blank]) -> str:
    names = ", ".join(dict.fromkeys(f"<{blank.name}>" for blank in blanks))
    return f"# to fill in: {names}"


def _as_json(found: Imported, text: str | None) -> dict[str, object]:
    return {
        "lab": text,
        "notes": [
            {"words": note.words, "became": note.fate.value, "text": note.text, "machine": note.machine}
            for note in found.notes
        ],
        "fill": [{"name": blank.name, "place": blank.place} for blank in found.blanks],
        "files": [{"path": needed.path, "folder": needed.folder} for needed in found.files],
        "refused": [
            {"why": refused.why.name.lower(), "reason": refused.reason, "line": refused.line}
            for refused in found.refused
        ],
    }
