"""QEMU's own control channel (QMP), behind the few calls that we need of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from vmlan.errors import HostError, NotRunning


def command(path: Path, machine: str, name: str, /, timeout: float = 5.0, **arguments: Any) -> Any:
    """One QMP command to the machine whose socket is at `path`, and its answer.

    Raises `NotRunning` if nothing listens there, `HostError` with QEMU's words if it refuses.
    """
    # The library brings asyncio along, which costs more than most of our commands: only when used.
    from qemu.qmp import ExecuteError, QMPError
    from qemu.qmp.legacy import QEMUMonitorProtocol

    monitor = QEMUMonitorProtocol(str(path))
    try:
        monitor.connect()
        monitor.settimeout(timeout)
        return monitor.cmd(name, **arguments)
    except ExecuteError as error:
        raise HostError(f"machine {machine}: QEMU refuses {name}: {error}") from error
    except (QMPError, OSError) as error:
        raise NotRunning(f"machine {machine}: QEMU does not answer: {error}") from error
    finally:
        # What had to be said was said; QEMU may have hung up since, as after `quit`.
        with suppress(QMPError, OSError, EOFError):
            monitor.close()
