import random
import shutil
import stat
import subprocess

import pytest

from vmlan.guest import cpio

ENTRIES = (
    cpio.file("bin/tool", b"\x7fELF", 0o755),
    cpio.symlink("bin/sh", "tool"),
    cpio.file("etc/one", b"1"),
    cpio.file("etc/empty", b""),
    cpio.directory("tmp", 0o1777),
    cpio.character_device("dev/console", 5, 1),
)


def unpack(data: bytes) -> list[tuple[str, int, bytes, tuple[int, int]]]:
    """What the kernel would make of an archive (by its init/initramfs.c), up to the trailer."""
    found: list[tuple[str, int, bytes, tuple[int, int]]] = []
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        numbers = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        name = data[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        at += (110 + name_size + 3) // 4 * 4
        if name == b"TRAILER!!!\0":
            assert len(data) % 512 == 0
            assert not data[at:].strip(b"\0")
            return found
        found.append((name[:-1].decode(), mode, data[at : at + size], (numbers[9], numbers[10])))
        at += (size + 3) // 4 * 4


def test_every_entry_is_there_with_its_parents_before_it() -> None:
    found = unpack(cpio.pack(ENTRIES))
    assert [name for name, *_ in found] == [
        *("bin", "bin/sh", "bin/tool", "dev", "dev/console", "etc", "etc/empty", "etc/one", "tmp")
    ]
    by_name = {name: rest for name, *rest in found}
    assert by_name["bin"] == [stat.S_IFDIR | 0o755, b"", (0, 0)]
    assert by_name["bin/tool"] == [stat.S_IFREG | 0o755, b"\x7fELF", (0, 0)]
    assert by_name["bin/sh"] == [stat.S_IFLNK | 0o777, b"tool", (0, 0)]
    assert by_name["tmp"] == [stat.S_IFDIR | 0o1777, b"", (0, 0)]
    assert by_name["dev/console"] == [stat.S_IFCHR | 0o600, b"", (5, 1)]


def test_a_folder_sorts_before_what_is_in_it_even_beside_a_similar_name() -> None:
    found = [name for name, *_ in unpack(cpio.pack([cpio.file("a-b", b""), cpio.file("a/c", b"")]))]
    assert found.index("a") < found.index("a/c")


def test_the_order_of_entries_does_not_matter() -> None:
    shuffled = list(ENTRIES)
    random.Random(3).shuffle(shuffled)
    assert shuffled != list(ENTRIES)
    assert cpio.pack(shuffled) == cpio.pack(ENTRIES)


def test_a_path_is_there_once() -> None:
    with pytest.raises(ValueError, match="etc/one"):
        cpio.pack([*ENTRIES, cpio.file("etc/one", b"other")])


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_reads_it() -> None:
    listed = subprocess.run(
        ["cpio", "-itv", "--quiet"], input=cpio.pack(ENTRIES), capture_output=True, check=True
    )
    lines = listed.stdout.decode().splitlines()
    assert listed.stderr == b""
    assert len(lines) == 9
    assert any(line.startswith("crw-------") and line.endswith("dev/console") for line in lines)
    assert any(line.startswith("lrwxrwxrwx") and line.endswith("bin/sh -> tool") for line in lines)
