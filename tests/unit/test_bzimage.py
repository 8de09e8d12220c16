import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable

import pytest

from tests.unit import elf_files
from vmlan.errors import CommandFailed
from vmlan.guest import bzimage, compressed

KERNEL = elf_files.make(notes=elf_files.PVH_NOTE, sections={".text": bytes(range(256)) * 400})


def image(payload: bytes, *, version: int = 0x20F, setup_sectors: int = 3, offset: int = 24) -> bytes:
    """A bzImage around a payload, with the size it unpacks to appended, as the kernel's build does."""
    payload += struct.pack("<I", len(KERNEL))
    head = bytearray((setup_sectors + 1) * 512)
    head[0x1F1] = setup_sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, offset, len(payload))
    return bytes(head) + b"\x90" * offset + payload + b"what follows"


def program(*argv: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        if shutil.which(argv[0]) is None:
            pytest.skip(f"{argv[0]} is not installed")
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout

    return pack


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lambda data: lzma.compress(data, lzma.FORMAT_XZ, check=lzma.CHECK_CRC32),
        lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
        program("zstd", "-c", "-"),
        program("lz4", "-l", "-c", "-"),
        lambda data: data,
    ],
    ids=["gzip", "bzip2", "xz", "lzma", "zstd", "lz4", "plain"],
)
def test_the_kernel_comes_out_of_every_compression(pack: Callable[[bytes], bytes]) -> None:
    assert bzimage.vmlinux(image(pack(KERNEL)))[: len(KERNEL)] == KERNEL


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x7fELF" + bytes(2000), "not a bzImage"),
        (b"", "not a bzImage"),
        (image(b"", version=0x207), "protocol 2.07 is too old"),
        (image(gzip.compress(KERNEL))[:-30], "cut short"),
        (image(b"odd bytes"), "unknown compression"),
        (image(gzip.compress(b"no ELF")), "not a 64-bit"),
        (image(gzip.compress(elf_files.make())), "no PVH entry"),
    ],
)
def test_what_is_no_such_kernel_is_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(bzimage.NotBzImage, match=says):
        bzimage.vmlinux(data)


def test_damaged_data_is_reported_by_the_program_that_reads_it() -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    with pytest.raises(CommandFailed, match="zstd"):
        compressed.expand(b"\x28\xb5\x2f\xfd" + b"damaged")


@pytest.mark.parametrize(
    "damaged",
    [gzip.compress(KERNEL)[:40], b"\xfd7zXZ\0" + b"damaged data", b"BZh9damaged"],
    ids=["gzip", "xz", "bzip2"],  # gzip writes the time into it
)
def test_damaged_data_is_refused(damaged: bytes) -> None:
    with pytest.raises(compressed.NotCompressed):
        compressed.expand(damaged)
