"""The guard's journal on a disk without any room left: lan_room.py FOLDER, which is a small disk of its own."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from tests.unit.test_lan_guard import record
from vmlan.host.lan import book

folder = Path(sys.argv[1])
book.begin(folder, record())
with contextlib.suppress(OSError), (folder / "all-the-rest").open("wb", 0) as rest:
    while True:
        rest.write(bytes(16))
try:
    while True:
        book.add(folder, "changing", pad="x" * 16)  # what the last page of the journal has room for
except OSError as error:
    print(error.strerror)
book.add(folder, "undoing", reason="this test")
book.add(folder, "undone", residue=["a route"] * 40)
book.report(folder, record(), "this test", ["a route"] * 40, 0.1)
story = book.read(folder)
assert story is not None and story.state == "undone", story
print((folder / book.REPORT).read_text().count("a route"), story.states[-1]["residue"].count("a route"))
