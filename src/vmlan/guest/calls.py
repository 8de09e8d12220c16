"""System calls that a guest is told to do, one after the other: the quickest way for it to become somebody.

Under emulation a guest takes ten times as long for code that it runs for the first time, since that is
translated first; a shell and the programs that it starts run a lot of such code. So all that they would do is
put together here, as a `Request` for a program of some forty instructions (`program`), which waits in the
guest: it does the calls and sends the request back, with each call's result behind the call. A call that
fails may be done again, with those before it, until it does not.

Linux on x86-64: numbers of calls as in arch/x86/entry/syscalls/syscall_64.tbl, their registers as in
syscall(2), the program's file as in elf(5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

WRITE, IOCTL, ACCESS, NANOSLEEP, SENDTO, RECVFROM, SETHOSTNAME, CLOCK_SETTIME, EXIT_GROUP = (
    *(1, 16, 21, 35, 44, 45, 170, 227, 231),
)

#: Where the program is in its memory, and where in it the request is, and how long that may be (bytes).
_BASE, _BUFFER, _ROOM = 0x400000, 0x401000, 0x8000

#: A request: how long it is, and then its calls; after the last one, the next request is waited for. A call
#: is its number, what it is given, and how many bytes to go back when it fails (0: go on); its result is put
#: where that was.
_HEAD, _CALL, _END = struct.Struct("<Q"), struct.Struct("<q6Qq"), struct.pack("<q", -1)
_REGISTERS = 6

#: A socket for routes is opened first, so that its number is the lowest that is free.
_AF_NETLINK, _SOCK_RAW, _SYS_SOCKET = 16, 3, 41


def _word(number: int) -> str:
    """32 bits, the low end first."""
    return struct.pack("<I", number).hex()


#: The program: a label, bytes (Intel's manual, volume 2), and for a short jump, where to.
_CODE = (
    # The buffer's pages are there before anybody goes on from here.
    ("", f"bf {_word(_BUFFER)}", ""),  # mov edi, buffer
    ("", f"b9 {_word(_ROOM)}", ""),  # mov ecx, room
    ("", "31c0 f3aa", ""),  # xor eax, eax; rep stosb
    ("", f"b8 {_word(_SYS_SOCKET)}", ""),  # mov eax, socket
    ("", f"bf {_word(_AF_NETLINK)}", ""),  # mov edi, AF_NETLINK
    ("", f"be {_word(_SOCK_RAW)}", ""),  # mov esi, SOCK_RAW
    ("", "31d2 0f05", ""),  # xor edx, edx; syscall
    ("again", "31db", ""),  # xor ebx, ebx: so much of the request is there
    ("more", "31c0 31ff", ""),  # xor eax, eax (read); xor edi, edi (from standard input)
    ("", f"8db3 {_word(_BUFFER)}", ""),  # lea esi, [rbx + buffer]
    ("", f"ba {_word(_ROOM)}", ""),  # mov edx, room
    ("", "29da 0f05", ""),  # sub edx, ebx; syscall
    ("", "85c0 7e", "over"),  # test eax, eax; jle over
    ("", "01c3", ""),  # add ebx, eax
    ("", "83fb08 72", "more"),  # cmp ebx, 8; jb more
    ("", f"3b1c25 {_word(_BUFFER)}", ""),  # cmp ebx, [buffer]
    ("", "72", "more"),  # jb more
    ("", f"bd {_word(_BUFFER + _HEAD.size)}", ""),  # mov ebp, the first call
    ("next", "488b4500", ""),  # mov rax, [rbp]
    ("", "4885c0 78", "again"),  # test rax, rax; js again
    ("", "488b7d08 488b7510", ""),  # mov rdi, [rbp + 8]; mov rsi, [rbp + 16]
    ("", "488b5518 4c8b5520", ""),  # mov rdx, [rbp + 24]; mov r10, [rbp + 32]
    ("", "4c8b4528 4c8b4d30", ""),  # mov r8, [rbp + 40]; mov r9, [rbp + 48]
    ("", "0f05 4885c0 79", "done"),  # syscall; test rax, rax; jns done
    ("", "488b4d38 e3", "done"),  # mov rcx, [rbp + 56]; jrcxz done
    ("", "4829cd eb", "next"),  # sub rbp, rcx; jmp next
    ("done", "48894538", ""),  # mov [rbp + 56], rax
    ("", "4883c540 eb", "next"),  # add rbp, 64; jmp next
    ("over", f"b8 {_word(EXIT_GROUP)}", ""),  # mov eax, exit_group
    ("", f"bf {_word(1)} 0f05", ""),  # mov edi, 1; syscall
)


def _assembled() -> bytes:
    code = bytearray()
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for label, octets, target in _CODE:
        if label:
            labels[label] = len(code)
        code += bytes.fromhex(octets)
        if target:
            jumps.append((len(code), target))
            code.append(0)
    for place, target in jumps:
        code[place : place + 1] = struct.pack("b", labels[target] - place - 1)
    return bytes(code)


def program() -> bytes:
    """The program that does the calls, a static ELF file. It reads from descriptor 0 until that ends."""
    code = _assembled()
    head, segment = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
    start = head.size + segment.size
    return (
        head.pack(
            b"\x7fELF\x02\x01\x01",
            *(2, 62, 1),  # ET_EXEC, EM_X86_64, EV_CURRENT
            *(_BASE + start, head.size, 0),  # where it starts, where its one segment is told of, no sections
            *(0, head.size, segment.size, 1, 0, 0, 0),
        )
        + segment.pack(
            *(1, 7, 0, _BASE, _BASE),  # PT_LOAD, to be read, written and run
            *(start + len(code), _BUFFER - _BASE + _ROOM, 0x1000),
        )
        + code
    )


class TooLong(ValueError):
    """A request has no room in the program's memory."""


@dataclass(frozen=True)
class _Data:
    """Bytes that a call is given, by where they are behind the calls."""

    start: int
    size: int


#: Stands for how long the whole request is.
_WHOLE = _Data(-1, 0)


@dataclass
class Request:
    """Calls, in order. What they point to is put behind them."""

    _calls: list[tuple[int, tuple[int | _Data, ...], int]] = field(default_factory=list)
    _data: bytearray = field(default_factory=bytearray)

    def call(self, number: int, *arguments: int | bytes, again: int = 0) -> int:
        """Add one, and return which it is. Bytes are passed by their address, and may be written to.

        `again`: while it fails, it is done again from so many calls before it.
        """
        given = tuple(self._put(each) if isinstance(each, bytes) else each for each in arguments)
        return self._add(number, *given, again=again)

    def reply(self, descriptor: int = 1) -> None:
        """Have all of it sent back as it is by then."""
        self._add(WRITE, descriptor, _BUFFER, _WHOLE)

    def built(self) -> bytes:
        """What the program is sent. Raises `TooLong`."""
        behind = self._behind()
        whole = behind + len(self._data)
        if whole > _ROOM:
            raise TooLong(f"{whole} bytes")

        def value(argument: int | _Data) -> int:
            if isinstance(argument, int):
                return argument
            return whole if argument is _WHOLE else _BUFFER + behind + argument.start

        done = b""
        for number, arguments, again in self._calls:
            registers = (*map(value, arguments), *[0] * (_REGISTERS - len(arguments)))
            done += _CALL.pack(number, *registers, again * _CALL.size)
        return _HEAD.pack(whole) + done + _END + bytes(self._data)

    def results(self, reply: bytes) -> Results:
        """Read what came back: as many bytes as were sent."""
        data = reply[self._behind() :]
        return Results(
            tuple(row[-1] for row in _CALL.iter_unpack(reply[_HEAD.size : self._behind() - len(_END)])),
            tuple(
                tuple(
                    data[each.start : each.start + each.size] for each in arguments if isinstance(each, _Data)
                )
                for _, arguments, _ in self._calls
            ),
        )

    def _add(self, number: int, *arguments: int | _Data, again: int = 0) -> int:
        self._calls.append((number, arguments, again))
        return len(self._calls) - 1

    def _put(self, given: bytes) -> _Data:
        where = _Data(len(self._data), len(given))
        self._data += given
        return where

    def _behind(self) -> int:
        """Where the data begin."""
        return _HEAD.size + _CALL.size * len(self._calls) + len(_END)


@dataclass(frozen=True)
class Results:
    """What the calls returned (negative: an errno), and what is then in the bytes that each was given."""

    numbers: tuple[int, ...]
    written: tuple[tuple[bytes, ...], ...]
