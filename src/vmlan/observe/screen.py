"""Looking at a machine's screen: as a picture, and as text where it is in a text mode.

QEMU itself writes what we ask for (QMP `screendump`, `pmemsave`), so the files are put into the
machine's own folder, which QEMU sees as we do. The guest notices nothing.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from vmlan.errors import HostError, NotRunning, RequestError
from vmlan.plan.layout import MachineFiles
from vmlan.qemu import picture, qmp, textmode
from vmlan.qemu.picture import Picture
from vmlan.qemu.textmode import Text

#: How often a screen that changes while we look is looked at again, and after how long (seconds).
_TRIES, _PAUSE = 4, 0.15


@dataclass(frozen=True)
class Screen:
    """What a machine shows; `text` is None where it cannot be read as such."""

    picture: Picture
    text: Text | None

    @property
    def why_no_text(self) -> str:
        """Why `text` is None, in words."""
        size = f"{self.picture.width}x{self.picture.height}"
        if any(True for _ in textmode.grids(self.picture.width, self.picture.height)):
            return f"what it shows ({size}) is no text, or changes faster than it can be read"
        return f"it is in a graphics mode ({size})"


def take(machine: str, files: MachineFiles) -> Screen:
    """The screen as it is now.

    Raises `NotRunning`, `RequestError` for a machine without a screen.
    """
    for _ in range(_TRIES):
        shown, memory = _look(machine, files)
        if memory is None:
            return Screen(shown, None)
        text = textmode.read(shown, memory)
        if text is not None:
            return Screen(shown, text)
        time.sleep(_PAUSE)
    return Screen(shown, None)


def line_with(words: str, machine: str, files: MachineFiles) -> str | None:
    """The line of a text screen that has these words now, or None. Raises as `take` does."""
    shown, memory = _look(machine, files)
    if memory is None or not textmode.mentions(memory, words):
        return None
    text = textmode.read(shown, memory)
    rows = text.rows if text else ()
    return next((row.strip() for row in rows if words in row), None)


def _look(machine: str, files: MachineFiles) -> tuple[Picture, bytes | None]:
    """The picture, and the text memory if a text mode has pictures of that size.

    In other modes that memory is left alone: reading it would move data inside the card (the latches).
    """
    if not files.qmp.exists():
        raise NotRunning(f"machine {machine} is not running", hint="vmlan up")
    with tempfile.TemporaryDirectory(prefix="screen-", dir=files.run) as folder:
        shown = _picture(machine, files, Path(folder, "picture"))
        if not any(True for _ in textmode.grids(shown.width, shown.height)):
            return shown, None
        memory = Path(folder, "memory")
        where = {"val": textmode.ADDRESS, "size": textmode.LENGTH}
        qmp.command(files.qmp, machine, "pmemsave", filename=str(memory), **where)
        return shown, memory.read_bytes()


def _picture(machine: str, files: MachineFiles, path: Path) -> Picture:
    try:
        qmp.command(files.qmp, machine, "screendump", filename=str(path))
    except NotRunning:
        raise
    except HostError as error:
        if "no console" in error.what:
            hint = f"vmlan console {machine} shows its serial console"
            raise RequestError(f"machine {machine} has no screen", hint=hint) from None
        raise
    shown = picture.from_ppm(path.read_bytes())
    if shown is None:
        raise HostError(f"machine {machine}: what QEMU's screendump wrote is no picture")
    return shown
