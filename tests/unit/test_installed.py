"""What an installed system is told by its agent, run here by the shell that would run it there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from vmlan.guest import installed

PROGRAMS = ("systemctl", "perl", "date", "sync", "rm")


def run(script: bytes, folder: Path, fails: str = "") -> tuple[int, list[str]]:
    """Run a script in which every program only says that it was called, and what is /etc is `folder`."""
    bin_, log = folder / "bin", folder / "log"
    bin_.mkdir()
    for name in PROGRAMS:
        code = 1 if name == fails else 0
        (bin_ / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>{log}\nexit {code}\n')
        (bin_ / name).chmod(0o755)
    text = script.decode().replace("/etc/", f"{folder}/").replace("/dev/urandom", f"{folder}/urandom")
    path = f"{bin_}:{os.environ['PATH']}"
    done = subprocess.run(["sh"], input=text, text=True, env={"PATH": path}, check=False)
    return done.returncode, log.read_text().splitlines()


def test_it_is_another_before_its_network_starts_anew(tmp_path: Path) -> None:
    code, said = run(installed.become("5eed", 1234.5), tmp_path)
    assert code == 0
    assert (tmp_path / "urandom").read_text() == "5eed"
    assert len((tmp_path / "machine-id").read_text()) == 33  # machine-id(5): 32 digits and a newline
    assert said[1] == "date -s @1234.500"
    assert said[2].startswith("systemctl restart ") and "systemd-networkd" in said[2]
    assert said[3].endswith("vmlan-host-keys.service ssh.service")


def test_what_fails_in_it_is_told(tmp_path: Path) -> None:
    assert run(installed.become("5eed", 0.0), tmp_path, fails="systemctl")[0] != 0


def test_a_template_keeps_nothing_that_is_one_machines_own(tmp_path: Path) -> None:
    code, said = run(installed.SEAL, tmp_path)
    assert code == 0 and said[0] == "systemctl stop ssh.service" and said[-1] == "sync "
    assert "ssh_host_*" in said[1] and "random-seed" in said[1]
