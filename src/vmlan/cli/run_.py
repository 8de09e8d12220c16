"""`vmlan run`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmlan import labfile, lifecycle, single
from vmlan.cli import common, console_
from vmlan.cli.progress import open_progress
from vmlan.errors import Busy, LabFileError, NotRunning, RequestError, Timeout
from vmlan.host import paths
from vmlan.model import Lab
from vmlan.observe.ready import BOOT_TIMEOUT

if TYPE_CHECKING:
    from vmlan.notes.shell import CommandLine

F = TypeVar("F", bound=Callable[..., Any])

#: The keys of a machine in a lab file that are options here too: option, key, whether it can be repeated.
_KEYS: tuple[tuple[str, str, bool, str], ...] = (
    ("--memory", "memory", False, "How much memory, such as 1G."),
    ("--cpus", "cpus", False, "How many processors."),
    ("--cpu", "cpu", False, "The processor: host, max, or a model of QEMU's."),
    ("--accel", "accel", False, "auto, kvm or tcg."),
    ("--machine", "machine", False, "The machine type, such as pc or q35."),
    ("--firmware", "firmware", False, "bios or uefi."),
    ("--boot", "boot", True, "What to boot from, in order: disk, cdrom, floppy, usb, network."),
    (
        "--disk",
        "disks",
        True,
        "A new disk of a size such as 8G, or a copy-on-write one over a file.",
    ),
    ("--cdrom", "cdrom", True, "A CD image."),
    ("--floppy", "floppy", True, "A floppy image."),
    ("--usb", "usb", True, "The image of a USB stick."),
    ("--kernel", "kernel", False, "A kernel to boot directly."),
    ("--initrd", "initrd", False, "Its initramfs."),
    ("--append", "append", False, "Its command line."),
)


def _keys(command: F) -> F:
    for option, key, repeated, words in reversed(_KEYS):
        command = click.option(option, f"key_{key}", multiple=repeated, help=words)(command)
    return command


@click.command("run", options_metavar="[OPTIONS]")
@_keys
@click.option("--net", type=click.Choice(["user", "hub", "none"]), default="user", show_default=True,
              help="Its network: QEMU's user-mode stack, the same on an emulated hub, or none.")  # fmt: skip
@click.option("--forward", multiple=True, help="A port of this host that leads to the machine: 8080:80.")
@click.option("--name", help="What to call it (default: from the image's name).")
@click.option("-d", "--detach", is_flag=True, help="Leave it running, and return at once.")
@click.option("--trust", is_flag=True, help="With a command line: keep what would run programs on this host.")
@click.option("--dry-run", is_flag=True, help="Only print the lab file of it.")
@click.option(
    "--timeout", type=common.SECONDS, default=BOOT_TIMEOUT, show_default=True, help="Seconds to be ready in."
)
@common.overcommit_option
@common.quiet_option
@click.argument("what", nargs=-1, type=click.UNPROCESSED, metavar="FILE|NAME | -- QEMU...")
def command(
    what: tuple[str, ...],
    net: str,
    forward: tuple[str, ...],
    name: str | None,
    detach: bool,
    trust: bool,
    dry_run: bool,
    timeout: float,
    overcommit: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """One machine, now: from an image FILE, an image's NAME (such as tiny), or an old QEMU command line.

    The image itself is not written to: the machine has a copy-on-write disk over it. Ctrl-] ends the
    machine, and what was made for it goes. With -d it stays until `vmlan down -f NAME`, which keeps the
    machine's disks for the next one of that name (`--disks` removes them).
    """
    keys = {key: given[f"key_{key}"] for _, key, _, _ in _KEYS if given[f"key_{key}"]}
    line = _line_of(what)
    if line is not None:
        if keys or forward:
            raise click.UsageError("with a command line, options of the machine stand in that line")
        lab, notes = _of_a_line(line, name, trust)
    else:
        lab, notes = _of_options(what[0] if what else None, keys, net, forward, name), ()
    if not quiet:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
    if dry_run:
        from vmlan.labfile.write import dumps

        print(dumps(lab), end="")
        return
    _run(lab, detach=detach, quiet=quiet, timeout=timeout, overcommit=overcommit)


def _run(lab: Lab, *, detach: bool, quiet: bool, timeout: float, overcommit: bool) -> None:
    machine = lab.machines[0]
    name, had_disks = machine.name, single.has_kept_disks(machine.name)
    with lifecycle.interruptible():
        file = _bring_up(lab, had_disks, detach, quiet=quiet, timeout=timeout, overcommit=overcommit)
        if detach:
            print(f"{name} runs; `vmlan console -f {name} {name}` joins it, `vmlan down -f {name}` ends it")
            return
        try:
            screen = "" if machine.image == "tiny" else f" (its screen: vmlan screen -f {name} {name})"
            greeting = f"{name}'s serial console; Ctrl-] ends the machine{screen}"
            console_.attach(paths.layout(file).machine(name), name, greeting, stay=True)
        except NotRunning:
            print(f"{name} has ended", file=sys.stderr)
        finally:
            with open_progress(quiet=True) as progress:
                single.end(file, progress, disks=not had_disks)


def _bring_up(
    lab: Lab, had_disks: bool, detach: bool, *, quiet: bool, timeout: float, overcommit: bool
) -> Path:
    """Start the machine; if that does not come to its end, nothing of it is left, and all else as it was."""
    name = lab.machines[0].name
    with open_progress(quiet=quiet) as progress, single.claimed(lab, name) as file:
        try:
            lifecycle.up(file, progress=progress, timeout=timeout, overcommit=overcommit)
        except Timeout:
            if detach:
                raise
            progress.note(f"{name} is not ready after {timeout:.0f} s")  # its console says why
        except Busy:
            raise  # somebody else is at it
        except BaseException:
            lifecycle.down(file, disks=not had_disks, now=True)
            raise
    return file


def _of_options(
    image: str | None, keys: dict[str, Any], net: str, forward: tuple[str, ...], name: str | None
) -> Lab:
    """The lab of one machine that options describe. It is read as a lab file is: values mean the same."""
    machine: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value for key, value in keys.items()
    }
    if image is not None:
        machine["image"] = image if _is_name(image) else str(Path(image).expanduser().absolute())
    if "cpus" in machine and machine["cpus"].isdigit():
        machine["cpus"] = int(machine["cpus"])
    if "boot" in machine:
        machine["boot"] = [word for text in machine["boot"] for word in text.split(",")]
    if "disks" in machine:
        machine["disks"] = [_disk(text) for text in machine["disks"]]
    if not machine:
        raise click.UsageError("what should run? An image's file, or its name: vmlan run tiny")
    if forward and net == "none":
        raise click.UsageError("--forward needs a network")
    networks: dict[str, Any] = {}
    if net != "none":
        networks["net"] = {"kind": net, "forward": list(forward)}
        machine["nics"] = ["net"]
    called = name or _name(image, keys)
    data = {"name": called, "networks": networks, "machines": {called: machine}}
    try:
        return labfile.loads(json.dumps(data), file="options", folder=Path.cwd())
    except LabFileError as error:
        problem = error.problems[0]
        raise RequestError(problem.what, hint=problem.hint) from None


def _is_name(text: str) -> bool:
    from vmlan.catalogue import CATALOGUE

    return text == "tiny" or text in CATALOGUE


def _disk(text: str) -> dict[str, str]:
    size = re.fullmatch(r"\d+(\.\d+)?\s?([KMGT](i?B)?)?", text, re.IGNORECASE)
    return {"size": text} if size else {"base": text}


def _name(image: str | None, keys: dict[str, Any]) -> str:
    """A machine's name from what it runs."""
    media = [image, *(value[0] if isinstance(value, tuple) else value for value in keys.values())]
    files = [image] if image else [str(text) for text in media[1:] if text and re.search(r"[./]", str(text))]
    stem = Path(files[0]).name.split(".")[0] if files else "vm"
    plain = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-").lower()[:30]
    return plain if plain and plain[0].isalpha() else f"vm-{plain}".rstrip("-")


def _line_of(words: tuple[str, ...]) -> CommandLine | None:
    """The command line that is meant; None if it is an image's file or name."""
    if len(words) < 2 and (not words or Path(words[0]).exists() or not re.search(r"qemu|kvm", words[0])):
        return None
    from vmlan.notes.programs import is_program
    from vmlan.notes.shell import command_lines, from_words

    if len(words) > 1 or is_program(words[0]):
        return from_words(words)
    lines = command_lines(words[0])  # a whole line in quotes
    if len(lines) > 1:
        raise RequestError("these are several machines", hint="vmlan import makes a lab of them")
    return lines[0] if lines else None


def _of_a_line(line: CommandLine, name: str | None, trust: bool) -> tuple[Lab, tuple[str, ...]]:
    """The machine of a command line, and what changed. Raises `RequestError` for one that cannot be."""
    from vmlan.cli.import_ import grouped, installed_qemu
    from vmlan.notes.importer import import_lines

    here = Path.cwd()  # where the line's paths begin; the lab file is elsewhere
    found = import_lines([line], installed_qemu(), folder=here, trust=trust, absolute=True)
    if found.lab is None:
        raise RequestError(found.refused[0].reason)
    if found.blanks:
        blank = found.blanks[0]
        hint = "vmlan import makes a lab file of it, with places to fill in"
        raise RequestError(f"what <{blank.name}> is, is not known ({blank.place})", hint=hint)
    (machine,) = found.lab.machines
    if name is not None:
        machine = replace(machine, name=name)
    lab = replace(found.lab, name=machine.name, machines=(machine,))
    return lab, tuple(f"{words}: {note.text}" for note, words in grouped(found.changes))
