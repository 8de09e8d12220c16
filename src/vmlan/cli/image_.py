"""`vmlan image`."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import click

from vmlan.catalogue import CATALOGUE, Entry
from vmlan.cli import common
from vmlan.cli.progress import open_progress
from vmlan.errors import RequestError, UnknownName
from vmlan.host import named, paths
from vmlan.spelling import did_you_mean


@click.group("image")
def command() -> None:
    """The images that vmlan knows by name: a lab file may write one wherever it could write a path."""


@command.command("ls")
@common.json_option
def ls(as_json: bool) -> None:
    """Every image, what it is, and whether it is on this machine."""
    rows = [(entry, named.present(entry.name)) for entry in CATALOGUE.values()]
    if as_json:
        common.print_json(
            [
                {
                    "name": entry.name,
                    "what": entry.what,
                    "from": _origin(entry),
                    "size": _size(files.values()) if files else None,
                    "files": files,
                }
                for entry, files in rows
            ]
        )
        return
    table = [
        (entry.name, common.size(_size(files.values())) if files else "-", _origin(entry), entry.what)
        for entry, files in rows
    ]
    common.print_table(("IMAGE", "HERE", "FROM", "WHAT IT IS"), table)


@command.command("pull")
@common.quiet_option
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def pull(quiet: bool, names: tuple[str, ...]) -> None:
    """Fetch images now, rather than when a lab first needs them."""
    for name in names:
        entry = _entry(name)
        if not entry.packages:
            raise RequestError(f"{name} is not fetched, but built", hint=f"vmlan image build {name}")
    for name in names:
        with open_progress(quiet=quiet) as progress:
            files = named.files(name, progress.preparing)
        if not quiet:
            print(f"{name}: {common.size(_size(files.values()))}, in {next(iter(files.values())).parent}")


@command.command("build")
@click.option("--rebuild", is_flag=True, help="Also if it is there: with the packages of today.")
@common.quiet_option
@click.argument("name")
def build(rebuild: bool, quiet: bool, name: str) -> None:
    """Build an image from packages, without root. It takes some minutes, once."""
    from vmlan.guest import debian

    entry = _entry(name)
    if entry.packages:
        raise RequestError(f"{name} is not built, but fetched", hint=f"vmlan image pull {name}")
    images = paths.images_root()
    if not rebuild and debian.is_current(images):
        if not quiet:
            print(f"{name} is there already, in {debian.built(images)}; --rebuild makes it anew")
        return
    began = time.monotonic()
    with open_progress(quiet=quiet) as progress:
        image = debian.build(images, progress.preparing)
    _forget_unused(images, keep=image)
    if not quiet:
        size, seconds = common.size(image.stat().st_size), time.monotonic() - began
        print(f"{name}: {debian.packages_of(image)} packages, {size}, in {seconds:.0f} s: {image}")


@command.command("rm")
@common.quiet_option
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def rm(quiet: bool, names: tuple[str, ...]) -> None:
    """Remove images from this machine; not one that disks are made over."""
    from vmlan.host import bases

    for name in names:
        files = named.present(_entry(name).name)
        if files is None:
            raise RequestError(f"the image {name} is not on this machine")
        for path in files.values():
            bases.protect(path, doing="removed")
    for name in names:
        _remove(_entry(name))
        if not quiet:
            print(f"{name} is removed")


def _remove(entry: Entry) -> None:
    if entry.packages:
        from vmlan.guest import media

        shutil.rmtree(media.folder(entry.name, paths.cache_root()))
        return
    from vmlan.guest import debian

    for image in debian.builds(paths.images_root()):
        if image == debian.present(paths.images_root()):
            debian.remove(image)
    _forget_unused(paths.images_root(), keep=None)


def _forget_unused(images: Path, keep: Path | None) -> None:
    """Older builds go when no disk is over them any more."""
    from vmlan.guest import debian
    from vmlan.host import bases

    for image in debian.builds(images):
        if image != keep and not bases.overlays_of(image):
            debian.remove(image)


def _entry(name: str) -> Entry:
    if name not in CATALOGUE:
        hint = did_you_mean(name, CATALOGUE, "vmlan image ls lists them")
        raise UnknownName(f"there is no image '{name}'", hint=hint)
    return CATALOGUE[name]


def _origin(entry: Entry) -> str:
    return "a Debian package" if entry.packages else "built here"


def _size(files: object) -> int:
    return sum(path.stat().st_size for path in files)  # type: ignore[attr-defined]
