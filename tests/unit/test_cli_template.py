"""`vmlan template`: what is here, what is removed, and what programs are told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.templates import PARTS, made
from vmlan.cli.template_ import command
from vmlan.errors import UnknownName, VmlanError
from vmlan.host import paths, templates


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("VMLAN_TEMPLATES", raising=False)
    return paths.templates_root()


def template(*words: str) -> Any:
    """What a verb prints, read as JSON where it was asked for. Its errors come through."""
    done = CliRunner().invoke(command, list(words), standalone_mode=False)
    if isinstance(done.exception, VmlanError | click.ClickException):
        raise done.exception
    assert done.exception is None, done.exception
    return json.loads(done.stdout) if "--json" in words else done.stdout


def there(root: Path) -> set[str]:
    return {each.key for each in templates.kept(root)}


def test_ls_tells_what_each_is_and_all_take(root: Path) -> None:
    nothing = template("ls", "--json")
    assert nothing == {"templates": [], "size": 0, "bound": templates.LIMIT}
    assert "together 0B, of 4G at most" in template("ls")
    made(root, "one", memory="256M")
    os.truncate(made(root, "two", used=1e9) / "memory", 0)
    (root / "three.new").mkdir()
    said = template("ls", "--json")
    rows = {row["key"]: row for row in said["templates"]}
    assert {key: row["state"] for key, row in rows.items()} == {
        "one": "whole",
        "two": "broken",
        "three": "never finished",
    }
    assert (rows["one"]["memory"], rows["one"]["cpus"], rows["one"]["cards"]) == ("256M", "1", "2")
    assert rows["one"]["qemu"] == "7.2.22 (Debian)" and rows["one"]["parts"]["QEMU"] == PARTS["QEMU"]
    assert rows["two"]["used"] == 1_000_000_000
    assert said["size"] == sum(row["size"] for row in rows.values()) > 64 * 1024
    lines = template("ls").splitlines()
    assert lines[0].split() == [
        "TEMPLATE",
        "SIZE",
        "LAST",
        "USED",
        "MEMORY",
        "CPUS",
        "VIRTIO",
        "CARDS",
        "QEMU",
        "STATE",
    ]
    assert len(lines) == 5


def test_rm_takes_names_or_all(root: Path) -> None:
    for key in ("one", "two", "three"):
        made(root, key)
    for words in (["rm"], ["rm", "one", "--all"]):
        with pytest.raises(click.UsageError):
            template(*words)
    with pytest.raises(UnknownName):
        template("rm", "one", "four")
    assert there(root) == {"one", "two", "three"}
    assert "one is removed\n" in template("rm", "one")
    assert template("rm", "two", "-q") == ""
    assert template("rm", "--all", "--json")["removed"] == ["three"]
    assert template("rm", "--all") == "nothing was removed\n"
    assert there(root) == set()


def test_prune_keeps_what_was_used_last(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        made(root, f"t{n}", 512, used=1e9 + n)
    assert template("prune") == "nothing was removed\n"
    assert template("prune", "--keep", "1200K", "--json")["removed"] == ["t0"]
    monkeypatch.setenv("VMLAN_TEMPLATES", "600K")
    with pytest.raises(VmlanError, match="too little"):
        template("prune")
    assert "t1 is removed" in template("prune", "--keep", "600K")
    assert there(root) == {"t2"}
    with pytest.raises(click.BadParameter, match="unit"):
        template("prune", "--keep", "7")
