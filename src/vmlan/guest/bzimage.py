"""Take the plain ELF kernel out of a packaged, self-unpacking one (bzImage).

Booted as ELF through PVH, the guest is spared unpacking itself, which under emulation takes
longer than all the rest of the boot. Offsets: Linux Documentation/arch/x86/boot.rst.
"""

from __future__ import annotations

import struct

from vmlan.guest import compressed, elf

_SETUP_SECTORS, _MAGIC, _VERSION, _PAYLOAD = 0x1F1, 0x202, 0x206, 0x248
#: The payload's place has been in the header since boot protocol 2.08 (Linux 2.6.26).
_OLDEST = 0x0208
#: Forms whose programs stumble over the appended size; Python's modules stop by themselves.
_STRICT = (b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18")


class NotBzImage(ValueError):
    """These bytes are not a bzImage from which a PVH kernel can be had; the text says why."""


def vmlinux(image: bytes) -> bytes:
    """The ELF kernel within a bzImage, bootable through PVH.

    Raises `NotBzImage`, and what `compressed.expand` raises when a program is missing or fails.
    """
    packed = payload(image)
    try:
        kernel = packed if packed.startswith(b"\x7fELF") else compressed.expand(packed)
        entry = elf.pvh_entry(kernel)
    except (compressed.NotCompressed, elf.NotElf) as error:
        raise NotBzImage(f"the kernel's payload cannot be read: {error}") from error
    if entry is None:
        raise NotBzImage("the kernel has no PVH entry (it was built without CONFIG_PVH)")
    return kernel


def payload(image: bytes) -> bytes:
    """The compressed kernel as it lies in the bzImage. Raises `NotBzImage`."""
    if len(image) < _PAYLOAD + 8 or image[_MAGIC : _MAGIC + 4] != b"HdrS":
        raise NotBzImage("the kernel is not a bzImage")
    (version,) = struct.unpack_from("<H", image, _VERSION)
    if version < _OLDEST:
        raise NotBzImage(f"the kernel's boot protocol {version >> 8}.{version & 255:02} is too old")
    offset, size = struct.unpack_from("<II", image, _PAYLOAD)
    start = ((image[_SETUP_SECTORS] or 4) + 1) * 512 + offset
    packed = image[start : start + size]
    if len(packed) != size:
        raise NotBzImage("the kernel's file is cut short")
    return packed[:-4] if packed.startswith(_STRICT) else packed
