"""Filters for frames that no kernel filters: a machine for classic BPF programs. Pure.

The language is that of linux/filter.h and of S. McCanne and V. Jacobson, "The BSD Packet Filter" (1993);
the programs are tcpdump's (`tcpdump -ddd`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable

#: code, jump if true, jump if false, k
Line = tuple[int, int, int, int]
Program = tuple[Line, ...]

_WORD = 0xFFFFFFFF
#: The low three bits of a code: its class.
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
#: The size of a load, in bytes, by bits 3 and 4; the way to the operand by the top three bits.
_SIZE = {0x00: 4, 0x08: 2, 0x10: 1}
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0

_ARITHMETIC: dict[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x30: operator.floordiv,
    0x40: operator.or_,
    0x50: operator.and_,
    0x60: lambda a, b: a << b if b < 32 else 0,
    0x70: lambda a, b: a >> b if b < 32 else 0,
    0x90: operator.mod,
    0xA0: operator.xor,
}
_COMPARISON: dict[int, Callable[[int, int], object]] = {
    0x10: operator.eq,
    0x20: operator.gt,
    0x30: operator.ge,
    0x40: operator.and_,
}


def parse(text: str) -> Program:
    """What `tcpdump -ddd` printed: the number of lines, and the lines, all in decimal."""
    rows = [tuple(int(word) for word in line.split()) for line in text.splitlines() if line.strip()]
    return tuple((row[0], row[1], row[2], row[3]) for row in rows[1:])


def accepts(program: Program, data: bytes) -> bool:
    """Whether a frame passes. One that is too short for what is asked of it does not."""
    try:
        return _run(program, data) != 0
    except (IndexError, ZeroDivisionError):
        return False


def _run(program: Program, data: bytes) -> int:
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, yes, no, k = program[at]
        at += 1
        kind = code & 7
        operand = x if code & 0x08 else k
        if kind in (_LD, _LDX):
            value = _load(code, k, x, memory, data)
            a, x = (value, x) if kind == _LD else (a, value)
        elif kind == _JMP:
            operation = code & 0xF0
            if operation == 0x00:
                at += k
            else:
                at += yes if _COMPARISON[operation](a, operand) else no
        elif kind == _ALU:
            a = (-a if code & 0xF0 == 0x80 else _ARITHMETIC[code & 0xF0](a, operand)) & _WORD
        elif kind == _RET:
            return a if code & 0x18 == 0x10 else k
        elif kind == _MISC:
            a, x = (x, x) if code & 0x80 else (a, a)
        else:
            memory[k] = a if kind == _ST else x


def _load(code: int, k: int, x: int, memory: list[int], data: bytes) -> int:
    mode = code & 0xE0
    if mode == _IMM:
        return k
    if mode == _MEM:
        return memory[k]
    if mode == _LEN:
        return len(data)
    if mode == _MSH:
        return 4 * (data[k] & 0x0F)
    at, size = (k + x if mode == _IND else k), _SIZE[code & 0x18]
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], "big")
