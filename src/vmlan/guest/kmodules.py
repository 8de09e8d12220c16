"""Choose the kernel modules that a guest needs, and write what `modprobe` needs to load them.

Dependencies are read from the modules themselves, so that `depmod` (of kmod, often not there, and
meant for whole installed systems) is not needed. The two tables have depmod's own form, described
in modules.dep(5), so that the guest's `modprobe` works as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vmlan.guest import compressed, elf

#: The end of a signed module, and of the 12 bytes before it the last 4 are the signature's length
#: (Linux include/linux/module_signature.h).
_SIGNED = b"~Module signature appended~\n"
_SIGNATURE_HEAD = 12


@dataclass(frozen=True)
class Module:
    """A kernel module: its canonical name, plain bytes, what must be loaded before it, its aliases."""

    name: str
    data: bytes
    needs: tuple[str, ...]
    aliases: tuple[str, ...]

    @property
    def file(self) -> str:
        """Its path below the folder of modules."""
        return f"kernel/{self.name}.ko"


def canonical(name: str) -> str:
    """A module's name as the kernel says it: file names have hyphens where it has underscores."""
    return name.replace("-", "_")


def read(name: str, data: bytes) -> Module:
    """The module in these bytes, which may be compressed (CONFIG_MODULE_COMPRESS_*) or signed."""
    plain = unsigned(data if data.startswith(b"\x7fELF") else compressed.expand(data))
    info = elf.modinfo(plain)
    depends = [word for value in info.get("depends", ()) for word in value.split(",") if word]
    soft = [word for value in info.get("softdep", ()) for word in _before(value)]
    needs = tuple(dict.fromkeys(canonical(word) for word in (*depends, *soft)))
    return Module(canonical(name), plain, needs, info.get("alias", ()))


def unsigned(data: bytes) -> bytes:
    """A module without its signature, which a guest that nobody asks to check it need not check."""
    if not data.endswith(_SIGNED):
        return data
    end = len(data) - len(_SIGNED)
    length = int.from_bytes(data[end - 4 : end], "big")
    return data[: end - _SIGNATURE_HEAD - length]


def _before(softdep: str) -> list[str]:
    """The modules after "pre:" of a soft dependency, up to "post:"."""
    head = softdep.partition("post:")[0]
    return head.partition("pre:")[2].split()


def index(folder: Path) -> dict[str, Path]:
    """Every module file below a folder by canonical name."""
    return {canonical(path.name.partition(".ko")[0]): path for path in sorted(folder.rglob("*.ko*"))}


def closure(wanted: Iterable[str], find: Callable[[str], Module | None]) -> tuple[Module, ...]:
    """The wanted modules and all that they need, each after what it needs.

    What `find` does not know is left out: it is built into the kernel, or this kernel has no
    such device.
    """
    found: dict[str, Module] = {}
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        module = find(name)
        if module is not None:
            for other in module.needs:
                visit(other)
            found[name] = module

    for name in wanted:
        visit(canonical(name))
    return tuple(found.values())


def dep_table(modules: Iterable[Module]) -> str:
    """`modules.dep`: each module's file, and the files of all that it needs, last to load first."""
    modules = tuple(modules)
    by_name: Mapping[str, Module] = {module.name: module for module in modules}
    lines = []
    for module in modules:
        before = closure(module.needs, by_name.get)
        lines.append(f"{module.file}:{''.join(f' {other.file}' for other in reversed(before))}\n")
    return "".join(lines)


def alias_table(modules: Iterable[Module]) -> str:
    """`modules.alias`: which device is driven by which module."""
    return "".join(f"alias {alias} {module.name}\n" for module in modules for alias in module.aliases)
