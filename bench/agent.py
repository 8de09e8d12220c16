"""Commands in a guest through its agent's socket (QEMU, docs/interop/qemu-ga): the same for every lab."""

from __future__ import annotations

import base64
import json
import socket
import time
from pathlib import Path
from typing import Any

from place import Failed


def shell(path: Path, line: str, patience: float = 60.0) -> str:
    """Run a line in the guest's shell and return its output. Raises `Failed` if it fails or takes longer."""
    until = time.monotonic() + patience
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(patience)
        try:
            door.connect(str(path))
            with door.makefile("rwb") as wire:
                return _shell(wire, line, until)
        except (OSError, ValueError, KeyError) as wrong:
            raise Failed(f"the agent at {path}: {wrong!r}") from wrong


def answers(path: Path) -> bool:
    try:
        return shell(path, "echo ready", 1.0) == "ready\n"
    except Failed:
        return False


def _shell(wire: Any, line: str, until: float) -> str:
    started = _ask(wire, "guest-exec", {"path": "sh", "arg": ["-c", line], "capture-output": True})
    while not (status := _ask(wire, "guest-exec-status", {"pid": started["pid"]}))["exited"]:
        if time.monotonic() > until:
            raise Failed(f"in a guest: {line}: not done in time")
        time.sleep(0.2)  # rarely, as what it measures runs meanwhile
    out, err = (base64.b64decode(status.get(name, "")).decode() for name in ("out-data", "err-data"))
    if status.get("exitcode") != 0:
        raise Failed(f"in a guest: {line}: {err or out or status}")
    return out


def _ask(wire: Any, verb: str, words: dict[str, Any]) -> dict[str, Any]:
    wire.write(json.dumps({"execute": verb, "arguments": words}).encode() + b"\n")
    wire.flush()
    found = json.loads(wire.readline())
    if "error" in found:
        raise Failed(f"the agent says: {found['error']}")
    answer: dict[str, Any] = found["return"]
    return answer
