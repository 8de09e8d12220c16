"""A firmware of a hundred bytes that goes to 64-bit mode, works a little, and reports.

It takes the place of the BIOS: what a processor does right after reset, with nothing in between that
could be slow or differ between versions of QEMU. Assembled by hand; the tables are Intel's SDM,
volume 2 (instructions) and volume 3, "Initializing IA-32e Mode"; a test compares with `objdump`.
"""

from __future__ import annotations

#: The port of QEMU's `isa-debug-exit`. A byte written there ends QEMU with (byte << 1) | 1.
EXIT_PORT = 0xF4
_REPORT = 0x2A
#: What QEMU ends with if the guest got all the way.
EXIT_CODE = _REPORT << 1 | 1

#: Turns of a loop of two instructions. Real hardware needs some 10 ms and emulation 60 ms; a KVM that
#: emulates each instruction needs 18 s (measured). Mere arrival in 64-bit mode would not tell them apart.
ROUNDS = 1 << 24

#: The image is mapped right below 1 MiB as well as right below 4 GiB, where the processor starts.
SIZE = 0x10000
_BASE = 0xF0000
_RESET = 0xFFF0  #: 16 bytes before the end (SDM volume 3, "First Instruction Executed")

_GDT_POINTER = 0x80
_GDT = 0x90
_LONG_MODE = 0xA0

#: Page tables go to RAM, which QEMU hands over zeroed.
_PML4, _PDPT, _PAGES = 0x1000, 0x2000, 0x3000

_PRESENT_WRITABLE = 0x3
_LARGE_PAGE = 0x83  #: present, writable, 2 MiB, from address 0: it covers the image


def _word(number: int) -> bytes:
    return number.to_bytes(2, "little")


def _long(number: int) -> bytes:
    return number.to_bytes(4, "little")


#: From reset to 64-bit mode: 16-bit code at F000:0000. 0x66 makes an operand 32 bits wide.
_REAL_MODE: tuple[tuple[bytes, str], ...] = (
    (b"\x31\xc0", "xor ax, ax"),
    (b"\x8e\xd8", "mov ds, ax"),
    (b"\xc7\x06" + _word(_PML4) + _word(_PDPT | _PRESENT_WRITABLE), "mov word [PML4], PDPT | 3"),
    (b"\xc7\x06" + _word(_PDPT) + _word(_PAGES | _PRESENT_WRITABLE), "mov word [PDPT], PAGES | 3"),
    (b"\xc7\x06" + _word(_PAGES) + _word(_LARGE_PAGE), "mov word [PAGES], 0x83"),
    (b"\x2e\x0f\x01\x16" + _word(_GDT_POINTER), "lgdt cs:[GDT_POINTER]"),
    (b"\x0f\x20\xe0", "mov eax, cr4"),
    (b"\x66\x83\xc8\x20", "or eax, 0x20 (PAE)"),
    (b"\x0f\x22\xe0", "mov cr4, eax"),
    (b"\x66\xb8" + _long(_PML4), "mov eax, PML4"),
    (b"\x0f\x22\xd8", "mov cr3, eax"),
    (b"\x66\xb9" + _long(0xC0000080), "mov ecx, 0xc0000080 (EFER)"),
    (b"\x0f\x32", "rdmsr"),
    (b"\x66\x0d" + _long(0x100), "or eax, 0x100 (LME)"),
    (b"\x0f\x30", "wrmsr"),
    (b"\x0f\x20\xc0", "mov eax, cr0"),
    (b"\x66\x0d" + _long(0x80000001), "or eax, 0x80000001 (PG, PE)"),
    (b"\x0f\x22\xc0", "mov cr0, eax"),
    (b"\x66\xea" + _long(_BASE + _LONG_MODE) + _word(8), "jmp 8:LONG_MODE"),
)

#: 64-bit code. The number would not come out right in any other mode: 0x48 is `dec eax` there.
_WORK: tuple[tuple[bytes, str], ...] = (
    (b"\xb9" + _long(ROUNDS), "mov ecx, ROUNDS"),
    (b"\x48\xff\xc9", "again: dec rcx"),
    (b"\x75\xfb", "jnz again"),
    (b"\x48\xb8" + _long(0) + _long(_REPORT), "mov rax, REPORT << 32"),
    (b"\x48\xc1\xe8\x20", "shr rax, 32"),
    (b"\xe6" + bytes([EXIT_PORT]), "out EXIT_PORT, al"),
    (b"\xf4", "hlt"),
    (b"\xeb\xfd", "jmp to the hlt"),
)

#: A null descriptor and a 64-bit code segment, its "accessed" bit set: the processor sets it otherwise,
#: and a write to ROM is where KVM gets stuck.
_DESCRIPTORS = bytes(8) + bytes.fromhex("ffff 0000 00 9b af 00")


def image() -> bytes:
    """The whole firmware, as `-bios` takes it."""
    rom = bytearray(SIZE)
    for offset, piece in (
        (0, b"".join(code for code, _ in _REAL_MODE)),
        (_GDT_POINTER, _word(len(_DESCRIPTORS) - 1) + _long(_BASE + _GDT)),
        (_GDT, _DESCRIPTORS),
        (_LONG_MODE, b"".join(code for code, _ in _WORK)),
        (_RESET, b"\xea" + _word(0) + _word(_BASE >> 4)),  # jmp F000:0000
    ):
        rom[offset : offset + len(piece)] = piece
    return bytes(rom)
