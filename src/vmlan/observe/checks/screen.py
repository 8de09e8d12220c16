"""`screen:` a machine shows some words."""

from __future__ import annotations

import time

from vmlan.errors import NotRunning, RequestError, VmlanError
from vmlan.model import ScreenCheck
from vmlan.observe import screen, wait
from vmlan.observe.checks.base import Finding, Scene
from vmlan.plan.layout import Layout

#: How long a machine may take to show what it is to show: booting counts (seconds).
PATIENCE = 120.0


def find(check: ScreenCheck, scene: Scene, patience: float = PATIENCE) -> Finding:
    """Look at a machine's screen and serial console until the text is there, or patience ends."""
    patience = patience if check.within is None else check.within
    deadline = time.monotonic() + patience
    while True:
        try:
            scene.must_run(check.on)
            seen = _seen(check, scene.layout)
            if seen:
                return Finding(check, True, "shown", (), seen)
            if time.monotonic() > deadline:
                return Finding(check, False, "not shown", (), _shown_instead(check, scene.layout, patience))
        except VmlanError as error:
            return Finding(check, False, "not tried", (), error.what)
        time.sleep(wait.SCREEN_PAUSE)


def _seen(check: ScreenCheck, layout: Layout) -> str | None:
    files = layout.machine(check.on)
    line = wait.serial_line(files, check.text)
    if line is not None:
        return f"serial console: {line}"
    try:
        line = screen.line_with(check.text, check.on, files)
    except NotRunning:
        raise
    except RequestError:  # it has no screen, so its serial console must do
        return None
    return f"screen: {line}" if line is not None else None


def _shown_instead(check: ScreenCheck, layout: Layout, waited_for: float) -> str:
    """What the machine shows now, in a line."""
    waited = f"not within {waited_for:g} s"
    try:
        now = screen.take(check.on, layout.machine(check.on))
    except NotRunning:
        raise
    except RequestError as error:
        return f"{waited}; {error.what}, and its serial console did not show it"
    if now.text is None:
        return f"{waited}; {now.why_no_text}"
    last = next((row.strip() for row in reversed(now.text.rows) if row), "")
    return f"{waited}; the last line of the screen is: {last}" if last else f"{waited}; the screen is empty"
