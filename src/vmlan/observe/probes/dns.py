"""dns.py SERVER NAME: the addresses of a name, by asking one server (RFC 1035). Ends with 0 if it has any."""

from __future__ import annotations

import os
import socket
import struct
import sys

PATIENCE = 2.0
CODES = {1: "the server does not understand", 2: "the server failed", 3: "no such name", 5: "refused"}


def main(server: str, name: str) -> int:
    """Ask, and say what the answer is."""
    number = os.urandom(2)
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + b"\0"
    # Recursion desired; one question, of type A in class IN.
    query = number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + question + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(PATIENCE)
        try:
            line.connect((server, 53))
            line.send(query)
            reply = line.recv(4096)
            while reply[:2] != number:
                reply = line.recv(4096)
        except TimeoutError:
            print(f"{server}: no answer within {PATIENCE:g} s")
            return 1
        except OSError as error:
            print(f"{server}: {error.strerror or error}")
            return 1
    found = addresses(reply)
    if found:
        print(f"{server}: {name} has {' '.join(found)}")
        return 0
    code = reply[3] & 15
    print(f"{server}: {name}: {CODES.get(code, 'no address' if code == 0 else f'error {code}')}")
    return 1


def addresses(reply: bytes) -> list[str]:
    """The A records of an answer."""
    questions, count = struct.unpack("!HH", reply[4:8])
    at, found = 12, []
    for _ in range(questions):
        at = after_name(reply, at) + 4
    for _ in range(count):
        at = after_name(reply, at)
        kind, _, _, size = struct.unpack("!HHIH", reply[at : at + 10])
        if kind == 1 and size == 4:
            found.append(socket.inet_ntoa(reply[at + 10 : at + 14]))
        at += 10 + size
    return found


def after_name(reply: bytes, at: int) -> int:
    """Where a name in the message ends; a pointer ends it too."""
    while reply[at]:
        if reply[at] & 0xC0:
            return at + 2
        at += 1 + reply[at]
    return at + 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
