"""Running programs that want to become another user where there is only one.

A lab made without root has a single user: root inside, the caller outside. tcpdump, started as root,
insists on becoming the user "tcpdump", which the kernel must refuse here (user_namespaces(7):
setgroups is denied). So such requests are answered "done" by a seccomp filter, and nothing is done:
the process was never more than the caller to begin with.
"""

from __future__ import annotations

import ctypes
import platform
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2

#: linux/bpf_common.h: load a word at an offset; jump if equal; return.
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
#: linux/seccomp.h: the error number is in the low bits, and 0 is success.
_ALLOW, _PRETEND = 0x7FFF0000, 0x00050000
#: struct seccomp_data: the system call's number, and the architecture (linux/audit.h).
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4

#: machine → (AUDIT_ARCH_…, setuid, setgid, setreuid, setregid, setgroups, setresuid, setresgid)
_CALLS: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (105, 106, 113, 114, 116, 117, 119)),
    "aarch64": (0xC00000B7, (146, 144, 145, 143, 159, 147, 149)),
}


def program(machine: str) -> bytes | None:
    """The filter for this architecture (struct sock_filter[]), or None where we know no numbers."""
    if machine not in _CALLS:
        return None
    architecture, calls = _CALLS[machine]
    count = len(calls)
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 0, count + 1, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    lines += [(_JUMP_EQUAL, count - index, 0, call) for index, call in enumerate(calls)]
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _PRETEND)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def pretend() -> bool:
    """From now on, in this process and what it starts, changing the user succeeds and does nothing."""
    code = program(platform.machine())
    if code is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header) == 0)
