"""What an installed system is told by its agent, run here by the shell that would run it there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from vmlan.guest import installed

PROGRAMS = ("systemctl", "perl", "date", "sync", "rm", "ip", "hostname")


def cards(folder: Path) -> None:
    """Two cards as sysfs has them: a virtio one, and another."""
    for nic, device, mac in (
        ("ens6", "pci0/00:06.0/virtio3", "52:54:00:00:00:01"),
        ("ens7", "pci0/00:07.0", "52:54:00:00:00:02"),
    ):
        (folder / "devices" / device).mkdir(parents=True)
        (folder / "sys/class/net" / nic).mkdir(parents=True)
        (folder / "sys/class/net" / nic / "device").symlink_to(folder / "devices" / device)
        (folder / "sys/class/net" / nic / "address").write_text(f"{mac}\n")
    driver = folder / "sys/bus/pci/drivers/virtio-pci"
    driver.mkdir(parents=True)


def run(script: bytes, folder: Path, fails: str = "") -> tuple[int, list[str]]:
    """Run a script in which every program only says that it was called, and what is /etc is `folder`."""
    bin_, log = folder / "bin", folder / "log"
    bin_.mkdir()
    for name in PROGRAMS:
        code = 1 if name == fails else 0
        (bin_ / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>{log}\nexit {code}\n')
        (bin_ / name).chmod(0o755)
    text = script.decode().replace("/etc/", f"{folder}/").replace("/dev/urandom", f"{folder}/urandom")
    for what in ("bus", "class"):
        text = text.replace(f"/sys/{what}/", f"{folder}/sys/{what}/")
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
    assert (tmp_path / "machine-id").read_text() == ""
    assert "ssh_host_*" in said[1] and "random-seed" in said[1]


def test_a_copy_has_other_cards_before_its_network_starts_anew(tmp_path: Path) -> None:
    cards(tmp_path)
    macs = [("52:54:00:00:00:01", "52:54:00:00:00:11"), ("52:54:00:00:00:02", "52:54:00:00:00:12")]
    code, said = run(installed.fork("5eed", 1234.5, macs), tmp_path)
    assert code == 0, said
    driver = tmp_path / "sys/bus/pci/drivers/virtio-pci"
    assert (driver / "unbind").read_text() == (driver / "bind").read_text() == "00:06.0\n"
    assert [line for line in said if line.startswith("ip ")] == [
        "ip address flush dev ens7",
        "ip link set ens7 down",
        "ip link set ens7 address 52:54:00:00:00:12",
    ]
    calls = " ".join(said)
    assert calls.index("stop ssh") < calls.index("stop systemd-networkd") < calls.index("ip link set")
    assert (
        calls.index("ip link set")
        < calls.index("restart systemd-journald")
        < calls.index("start --no-block vmlan-host")
    )


def test_a_copy_without_cards_is_another_too(tmp_path: Path) -> None:
    (tmp_path / "sys/class/net").mkdir(parents=True)
    code, said = run(installed.fork("5eed", 0.0, []), tmp_path)
    assert code == 0 and not any(line.startswith("ip ") for line in said)
