"""`vmlan template`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from vmlan.cli import common
from vmlan.host import paths, templates
from vmlan.host.templates import Kept


@click.group("template")
def command() -> None:
    """Templates: machines that have booted once, and from which `vmlan up` lets others like them go on.

    All of them can be removed at any time: the next `up` makes what it needs. Machines that run go on.
    """


@command.command("ls")
@common.json_option
def ls(as_json: bool) -> None:
    """Every template, what it is, what it takes, and when it was last used."""
    found, bound = templates.kept(paths.templates_root()), templates.limit()
    total = sum(each.size for each in found)
    if as_json:
        rows = [_shown(each) for each in found]
        common.print_json({"templates": rows, "size": total, "bound": bound})
        return
    titles = ("TEMPLATE", "SIZE", "LAST USED", "MEMORY", "CPUS", "VIRTIO CARDS", "QEMU", "STATE")
    common.print_table(titles, [_row(each) for each in found])
    print(f"together {common.size(total)}, of {common.size(bound)} at most")


@command.command("rm")
@click.option("--all", "every", is_flag=True, help="Every template.")
@common.quiet_option
@common.json_option
@click.argument("keys", metavar="[TEMPLATE]...", nargs=-1)
def rm(every: bool, quiet: bool, as_json: bool, keys: tuple[str, ...]) -> None:
    """Remove templates. One that is being made just now stays."""
    if every == bool(keys):
        raise click.UsageError("either name templates (`vmlan template ls`), or --all")
    root = paths.templates_root()
    if every:
        busy = {each.key for each in templates.kept(root) if templates.is_being_made(each)}
        keys = tuple(each.key for each in templates.kept(root) if each.key not in busy)
    _tell(templates.discard(root, keys), quiet=quiet, as_json=as_json)


@command.command("prune")
@click.option(
    "--keep",
    metavar="SIZE",
    callback=common.size_given,
    help="How much they may take (1G), rather than what VMLAN_TEMPLATES says, or else 4G.",
)
@common.quiet_option
@common.json_option
def prune(keep: int | None, quiet: bool, as_json: bool) -> None:
    """Remove what is broken, and then what was not used for longest, until the rest is within the bound."""
    gone = templates.keep_within(paths.templates_root(), templates.limit() if keep is None else keep)
    _tell(gone, quiet=quiet, as_json=as_json)


def _tell(gone: Sequence[Kept], *, quiet: bool, as_json: bool) -> None:
    total = sum(each.size for each in gone)
    if as_json:
        common.print_json({"removed": [each.key for each in gone], "size": total})
    elif not quiet:
        for each in gone:
            print(f"{each.key} is removed")
        print(f"{common.size(total)} are free" if gone else "nothing was removed")


def _row(each: Kept) -> tuple[str, ...]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used))
    return (each.key, common.size(each.size), used, *_what(each).values(), _state(each))


def _what(each: Kept) -> dict[str, str]:
    """What it is, as far as that is known of one that is broken."""
    parts = each.parts
    return {
        "memory": parts.get("memory", "-"),
        "cpus": parts.get("cpus", "-"),
        "cards": parts.get("virtio cards", "-"),
        "qemu": parts.get("QEMU", "-").partition(",")[0],
    }


def _state(each: Kept) -> str:
    if each.unfinished:
        return "being made" if templates.is_being_made(each) else "never finished"
    return "whole" if each.whole else "broken"


def _shown(each: Kept) -> dict[str, object]:
    about = {"key": each.key, "folder": each.folder, "size": each.size, "used": round(each.used)}
    return {**about, "state": _state(each), **_what(each), "parts": dict(each.parts)}
