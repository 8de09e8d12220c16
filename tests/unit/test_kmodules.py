import lzma
from pathlib import Path

from tests.unit import elf_files
from vmlan.guest import kmodules
from vmlan.guest.kmodules import Module


def ko(info: str) -> bytes:
    return elf_files.make(sections={".modinfo": info.encode()})


def module(name: str, *needs: str, aliases: tuple[str, ...] = ()) -> Module:
    return Module(name, b"", needs, aliases)


KNOWN = {
    found.name: found
    for found in (
        module("virtio"),
        module("virtio_ring", "virtio"),
        module("virtio_pci", "virtio", "virtio_ring", aliases=("pci:v00001AF4d*",)),
        module("failover"),
        module("net_failover", "failover"),
        module(
            "virtio_net", "net_failover", "virtio_ring", "built_in", aliases=("virtio:d1v*", "virtio:d9v*")
        ),
        module("unused"),
        module("egg", "hen"),
        module("hen", "egg"),
    )
}


def test_a_module_says_what_it_needs_in_any_packing() -> None:
    plain = ko("name=ext4\0depends=jbd2,mbcache\0softdep=pre: crc32c post: other\0alias=fs-ext4\0")
    expected = Module("ext4", plain, ("jbd2", "mbcache", "crc32c"), ("fs-ext4",))
    assert kmodules.read("ext4", plain) == expected
    assert kmodules.read("ext4", lzma.compress(plain)) == expected
    assert kmodules.read("ne2k-pci", ko("depends=8390\0")).name == "ne2k_pci"
    assert kmodules.read("libcrc32c", ko("depends=\0")).needs == ()


def test_a_signature_is_taken_off_and_nothing_else() -> None:
    plain = ko("name=a\0")
    signature = b"s" * 681
    signed = (
        plain + signature + bytes(8) + len(signature).to_bytes(4, "big") + b"~Module signature appended~\n"
    )
    assert kmodules.unsigned(signed) == plain
    assert kmodules.unsigned(plain) == plain
    assert kmodules.read("a", lzma.compress(signed)).data == plain


def test_what_is_needed_comes_first_and_once() -> None:
    names = [found.name for found in kmodules.closure(["virtio_pci", "virtio-net"], KNOWN.get)]
    assert names == ["virtio", "virtio_ring", "virtio_pci", "failover", "net_failover", "virtio_net"]


def test_what_is_not_known_is_built_in_and_a_circle_ends() -> None:
    assert kmodules.closure(["vmgenid"], KNOWN.get) == ()
    assert {found.name for found in kmodules.closure(["egg"], KNOWN.get)} == {"egg", "hen"}


def test_the_tables_are_as_modprobe_wants_them() -> None:
    chosen = kmodules.closure(["virtio_pci", "virtio_net"], KNOWN.get)
    assert kmodules.dep_table(chosen).splitlines() == [
        "kernel/virtio.ko:",
        "kernel/virtio_ring.ko: kernel/virtio.ko",
        "kernel/virtio_pci.ko: kernel/virtio_ring.ko kernel/virtio.ko",
        "kernel/failover.ko:",
        "kernel/net_failover.ko: kernel/failover.ko",
        "kernel/virtio_net.ko: "
        "kernel/virtio_ring.ko kernel/virtio.ko kernel/net_failover.ko kernel/failover.ko",
    ]
    assert kmodules.alias_table(chosen) == (
        "alias pci:v00001AF4d* virtio_pci\nalias virtio:d1v* virtio_net\nalias virtio:d9v* virtio_net\n"
    )


def test_files_are_found_by_the_name_that_the_kernel_uses(tmp_path: Path) -> None:
    for name in ("a/ne2k-pci.ko", "b/ext4.ko.xz", "b/e1000.ko.zst", "modules.order"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert sorted(kmodules.index(tmp_path)) == ["e1000", "ext4", "ne2k_pci"]
