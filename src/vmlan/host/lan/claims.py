"""One guard for a NIC at a time, of whichever lab. Standard library only."""

from __future__ import annotations

import os
import socket
import struct
import time


def claim(nic: str) -> socket.socket | None:
    """Claim a NIC, until the socket is closed; None: another guard has it.

    It is a name that only one process of a network namespace can have (unix(7), abstract). Anybody can take
    such a name, so whoever is not root, or does not listen, has no claim by it.
    """
    held, name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), f"\0vmlan/nic/{nic}"
    try:
        held.bind(name)
        held.listen(64)
    except OSError:
        if _is_a_guards(name):
            held.close()
            return None
    return held


def _is_a_guards(name: str) -> bool:
    """Whether it is root who listens by that name; one that has just taken it may not listen yet."""
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
            asker.settimeout(1.0)
            try:
                asker.connect(name)
            except ConnectionRefusedError:
                time.sleep(0.05)
                continue
            except OSError:  # so many have asked that it takes no more
                return True
            _, uid, _ = struct.unpack("3i", asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return uid in {os.geteuid(), 0}
    return False
