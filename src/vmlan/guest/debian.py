"""The image `debian-12`: built once by `debian_build`, and kept for as long as disks are made over it.

    IMAGES/debian-12/BUILD/     image.qcow2, packages (what is installed in it), about.json (written last)
    IMAGES/debian-12/current    a link to the build that new disks are made over

A disk is made over one build, which never changes: a newer one is another folder. IMAGES is no cache, since
the disks of labs would be lost with it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from vmlan.errors import RequestError
from vmlan.guest import debian_build
from vmlan.host.lock import waiting

NAME = "debian-12"

Progress: TypeAlias = Callable[[str], None]

#: What a build takes here, for those who decide whether to wait.
_COSTS = "1 to 5 minutes and about 170 MB"


def _silent(_message: str) -> None:
    pass


def built(images: Path) -> Path:
    """The image; `images` is the folder of such. Raises `RequestError` where it has not been built yet."""
    found = present(images)
    if found is None:
        raise RequestError(
            f"the image {NAME} has not been built on this machine yet",
            hint=f"vmlan image build {NAME} (it takes {_COSTS})",
        )
    return found


def present(images: Path) -> Path | None:
    """The image that new disks are made over, by its own path; None if there is none."""
    folder = (images / NAME / "current").resolve()
    return folder / "image.qcow2" if (folder / "about.json").is_file() else None


def is_current(images: Path) -> bool:
    """Whether what is there was made from what vmlan would make it from now (packages' versions apart)."""
    found = present(images)
    return found is not None and _about(found.parent).get("key") == debian_build.key()


def packages_of(image: Path) -> int:
    """How many packages are installed in a build."""
    return len((image.parent / "packages").read_text().splitlines())


def build(
    images: Path,
    progress: Progress = _silent,
    *,
    make: Callable[[Path, Progress], None] = debian_build.build,
) -> Path:
    """Build the image anew, and let `built` mean the new one. `make` puts its files into a folder.

    The older builds stay where they are: `builds` names them. Two at once wait for each other. Raises
    `HostError` where it cannot be built.
    """
    root = images / NAME
    with waiting(root / "lock"):
        for cut_short in root.glob("part-*"):  # the lock says that nobody is at work on it
            debian_build.remove_leftovers(cut_short)
        made = Path(tempfile.mkdtemp(prefix="part-", dir=root))
        try:
            make(made, progress)
            (made / "image.qcow2").chmod(0o444)
            (made / "about.json").write_text(json.dumps({"key": debian_build.key()}) + "\n")
            made.chmod(0o755)
            kept = made.rename(root / f"build-{_next(root):03}")
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        link = root / "current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(kept.name)
        link.replace(root / "current")
    return kept.resolve() / "image.qcow2"


def builds(images: Path) -> list[Path]:
    """The image of every build that is there, oldest first."""
    return sorted(path.resolve() for path in (images / NAME).glob("build-*/image.qcow2"))


def remove(image: Path) -> None:
    """Remove one build. Whether disks are over it is for the caller to ask."""
    root = image.parent.parent
    with waiting(root / "lock"):
        if (root / "current").resolve() == image.parent:
            (root / "current").unlink()
        (image.parent / "about.json").unlink(missing_ok=True)  # from now on it is only half there
        shutil.rmtree(image.parent)
        if not any(path.is_dir() for path in root.iterdir()):
            shutil.rmtree(root)
            with contextlib.suppress(OSError):
                root.parent.rmdir()


def _next(root: Path) -> int:
    numbers = [int(path.name[6:]) for path in root.glob("build-*") if path.name[6:].isdigit()]
    return max(numbers, default=0) + 1


def _about(folder: Path) -> dict[str, str]:
    try:
        about = json.loads((folder / "about.json").read_text())
        return about if isinstance(about, dict) else {}
    except (OSError, ValueError):
        return {}
