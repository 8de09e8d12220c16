"""Which network this process is in: to tell, later, whether what was done there can still be there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

#: The number of a network namespace, never given again until the next boot (Linux 5.14, socket.h).
_SO_NETNS_COOKIE = 71


def network() -> str:
    """This boot and this network namespace, as one word that no other pair has."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{_namespace()}"


def _namespace() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        try:
            cookie = any_.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        except OSError:  # an older kernel: this number is given again once the namespace is gone
            return str(os.stat("/proc/self/ns/net").st_ino)  # noqa: PTH116
        return str(int.from_bytes(cookie, "little"))
