"""`vmlan image`."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import click

from vmlan import catalogue, lifecycle
from vmlan.catalogue import CATALOGUE, Entry
from vmlan.cli import common
from vmlan.cli.progress import open_progress
from vmlan.errors import RequestError
from vmlan.host import named, paths


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
@common.json_option
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def pull(quiet: bool, as_json: bool, names: tuple[str, ...]) -> None:
    """Fetch images now, rather than when a lab first needs them."""
    for name in names:
        entry = catalogue.entry(name)
        if not entry.packages:
            raise RequestError(f"{name} is not fetched, but built", hint=f"vmlan image build {name}")
    pulled = []
    for name in names:
        with open_progress(quiet=quiet or as_json) as progress:
            files = named.files(name, progress.preparing)
        pulled.append({"name": name, "size": _size(files.values()), "files": files})
        if not (quiet or as_json):
            print(f"{name}: {common.size(_size(files.values()))}, in {next(iter(files.values())).parent}")
    if as_json:
        common.print_json(pulled)


@command.command("build")
@click.option("--rebuild", is_flag=True, help="Also if it is there: with the packages of today.")
@common.quiet_option
@common.json_option
@click.argument("name")
def build(rebuild: bool, quiet: bool, as_json: bool, name: str) -> None:
    """Build an image from packages, without root. It takes some minutes, once."""
    from vmlan.guest import debian

    entry = catalogue.entry(name)
    if entry.packages:
        raise RequestError(f"{name} is not built, but fetched", hint=f"vmlan image pull {name}")
    images = paths.images_root()
    began = time.monotonic()
    is_new = rebuild or not debian.is_current(images)
    if is_new:
        with lifecycle.interruptible(), open_progress(quiet=quiet or as_json) as progress:
            image = debian.build(images, progress.preparing)
        _forget_unused(images, keep=image)
    else:
        image = debian.built(images)
    seconds, size, packages = time.monotonic() - began, image.stat().st_size, debian.packages_of(image)
    if as_json:
        about = {"name": name, "built": is_new, "seconds": round(seconds, 1), "packages": packages}
        common.print_json({**about, "size": size, "files": {"image": image}})
    elif quiet:
        pass
    elif is_new:
        print(f"{name}: {packages} packages, {common.size(size)}, in {seconds:.0f} s: {image}")
    else:
        print(f"{name} is there already, in {image}; --rebuild makes it anew")


@command.command("rm")
@common.quiet_option
@common.json_option
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def rm(quiet: bool, as_json: bool, names: tuple[str, ...]) -> None:
    """Remove images from this machine; not one that disks are made over."""
    from vmlan.host import bases

    names = tuple(dict.fromkeys(names))
    for name in names:
        files = named.present(catalogue.entry(name).name)
        if files is None:
            raise RequestError(f"the image {name} is not on this machine")
        for path in files.values():
            bases.protect(path, doing="removed")
    for name in names:
        _remove(catalogue.entry(name))
        if not (quiet or as_json):
            print(f"{name} is removed")
    if as_json:
        common.print_json({"removed": names})


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


def _origin(entry: Entry) -> str:
    return "a Debian package" if entry.packages else "built here"


def _size(files: object) -> int:
    return sum(path.stat().st_size for path in files)  # type: ignore[attr-defined]
