"""tcp.py ADDRESS PORT [forwarded|OWN PORT]: one TCP connection; ends with 0 if it is accepted.

Who forwards a port accepts before it knows whether the guest does, and then hangs up at once: such a
port is open if its connection lasts, or says something.
"""

from __future__ import annotations

import socket
import sys

PATIENCE = 2.0


def main(address: str, port: str, how: str = "") -> int:
    """Try it, and say what came of it."""
    try:
        own = ("", int(how)) if how.isdigit() else None
        with socket.create_connection((address, int(port)), PATIENCE, own) as line:
            if how == "forwarded" and hangs_up(line):
                print(f"{address} port {port}: hangs up at once, so nobody is behind it")
                return 1
    except TimeoutError:
        print(f"{address} port {port}: no answer within {PATIENCE:g} s")
        return 1
    except OSError as error:
        print(f"{address} port {port}: {error.strerror or error}")
        return 1
    print(f"{address} accepts connections on port {port}")
    return 0


def hangs_up(line: socket.socket) -> bool:
    """Whether the other side ends the connection before it says anything."""
    line.settimeout(0.5)
    try:
        return not line.recv(1)
    except TimeoutError:
        return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
