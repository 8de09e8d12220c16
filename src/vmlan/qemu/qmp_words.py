"""A command as it goes over QEMU's control channel (QEMU, docs/interop/qmp-spec). Pure."""

from __future__ import annotations

import json
from typing import Any


def request(command: str, **arguments: Any) -> str:
    """One command, on one line."""
    return json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
