"""`lab.yaml` → `model.Lab`, or every problem of the file at once, each at its line and column.

Only the file itself is read: whether an image or a kernel exists is asked later, by those who
use it. The file's JSON Schema is in `vmlan.labfile.schema`.
"""

from __future__ import annotations

from pathlib import Path

from vmlan.errors import LabFileError, Problem, RequestError
from vmlan.labfile.checks import check
from vmlan.labfile.document import parse
from vmlan.labfile.located import Problems, position
from vmlan.labfile.reader import read
from vmlan.model import Lab

__all__ = ["load", "loads", "parse_file", "read_file"]

#: Characters; many times what a lab of hundreds of machines needs, and still read within seconds.
MAX_SIZE = 1_000_000


def load(path: Path | str) -> Lab:
    """The lab that a file describes; its paths are relative to the file's folder.

    Raises `LabFileError` for what the file says, `RequestError` when it cannot be read.
    """
    path = Path(path)
    return parse_file(read_file(path), path)


def read_file(path: Path) -> bytes:
    """What is in a file. Raises `RequestError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            # A character is at most four bytes; no more is read of a file that is too large anyway.
            return file.read(4 * MAX_SIZE + 1)
    except FileNotFoundError:
        raise RequestError(f"there is no file '{path}'", hint="vmlan init writes one to start from") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RequestError(f"cannot read '{path}': {reason}") from None


def parse_file(data: bytes, path: Path) -> Lab:
    """The lab that a file with this in it describes. Raises `LabFileError`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = position(data[: error.start].decode("utf-8"))
        hint = "save the file as UTF-8"
        raise LabFileError(
            _shown(path), [Problem(at.line, at.column, "this is not UTF-8 text", hint)]
        ) from None
    folder = path.parent.absolute()
    # `..` has no name for the lab to take; a symbolic link has, and keeps it.
    return loads(text, file=_shown(path), folder=folder.resolve() if ".." in folder.parts else folder)


def _shown(path: Path) -> str:
    """The file as the user would name it from here: editors and eyes find that one at once."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def loads(text: str, *, file: str = "lab.yaml", folder: Path) -> Lab:
    """The lab that `text` describes; `file` is what errors call it, `folder` what its paths start from.

    Raises `LabFileError` with all problems, in the order of the file.
    """
    if len(text) > MAX_SIZE:
        what = f"the file is longer than {MAX_SIZE:,} characters"
        raise LabFileError(file, [Problem(1, 1, what, "a lab file describes machines; keep data elsewhere")])
    problems = Problems()
    root = parse(text, problems)
    draft = None if root is None else read(root, folder.absolute(), problems)
    if draft is not None:
        check(draft, problems)
    if problems.found or draft is None:
        raise LabFileError(file, sorted(problems.found))
    return draft.lab
