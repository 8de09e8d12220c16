"""Templates as they are kept, without a machine: for tests of what is kept and removed."""

from __future__ import annotations

import os
from pathlib import Path

from vmlan.host import templates

PARTS = {"QEMU": "7.2.22 (Debian), /usr/bin/qemu", "memory": "128M", "cpus": "1", "virtio cards": "2"}


def made(root: Path, key: str, kib: int = 64, *, used: float | None = None, **parts: str) -> Path:
    """A template of that size, last used then, and what shaped it but for `PARTS`."""
    new = root / f"{key}.new"
    new.mkdir(parents=True)
    (new / "memory").write_bytes(os.urandom(kib * 1024))
    (new / "state").write_bytes(b"state")
    (root / f"{key}.lock").touch()
    about = templates.About({**PARTS, **parts}, "places 2 virtio2 virtio3", [])
    templates.finish(new, root / key, about)
    if used is not None:
        os.utime(root / key / "about.json", (used, used))
    return root / key
