"""The tiny guest, built here and booted under emulation, on a LAN in namespaces of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from vmlan.guest import elf, packages
from vmlan.guest.agent import Agent
from vmlan.guest.pipes import Pipes
from vmlan.guest.tiny import TinyGuest, ensure_tiny
from vmlan.host import paths
from vmlan.host.identity import make_pipes
from vmlan.plan.tiny_cmdline import append

pytestmark = pytest.mark.real

_NAMESPACES = ("--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc")
_LAN = Path(__file__).with_name("tiny_lan.sh")
#: Far more than it takes (2 s), since other things may run at the same time.
_BOOT = 60.0


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What it gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


class Guest:
    """A running machine: its process, agent, console and monitor."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, name: str) -> None:
        self.process = process
        self.name = name
        self.console = folder / f"{name}.log"
        self.monitor = folder / f"{name}.qmp"
        self.serial = folder / f"{name}.serial"
        self._agent = folder / f"{name}.ga"
        until(self.monitor.exists)  # QEMU makes its devices in the order of their options

    def agent(self) -> Agent:
        return Agent(self._agent, self.name, timeout=_BOOT)

    def tell(self, words: bytes) -> None:
        """Something for the agent, from somebody who goes away without reading what it answers."""
        pipes = Pipes(self._agent, time.monotonic() + _BOOT)
        pipes.send(words, time.monotonic() + _BOOT)
        pipes.close()

    def sh(self, command: str) -> str:
        with self.agent() as agent:
            done = agent.run(["sh", "-c", command], timeout=30)
        assert done.code == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def addresses(self) -> dict[str, IPv4Interface | None]:
        with self.agent() as agent:
            return {nic.mac: nic.addresses[0] if nic.addresses else None for nic in agent.nics()}

    def qmp(self, command: str, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.monitor))
            lines = monitor.makefile("rb")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                monitor.sendall(json.dumps(request).encode())
                while "event" in (reply := json.loads(lines.readline())):
                    pass
                assert "return" in reply, reply
        return reply["return"]

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Lan:
    """The namespaces, and the machines started in them."""

    def __init__(self, tiny: TinyGuest, folder: Path) -> None:
        self.tiny = tiny
        self.folder = folder
        self._guests: list[subprocess.Popen[bytes]] = []
        self._holder = subprocess.Popen(
            ["unshare", *_NAMESPACES, "--kill-child", "sh", str(_LAN), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text()
        self._inside = ["nsenter", "-t", children.split()[0], "--user", "--preserve-credentials", "--net"]

    def start(self, name: str, *nics: str, fixed: tuple[tuple[str, str, str | None], ...] = ()) -> Guest:
        """A machine with NICs given as MODEL,MAC; the n-th is on the n-th tap."""
        path = self.folder / name
        make_pipes(self.folder, (f"{name}.ga.in", f"{name}.ga.out"))
        argv = [
            *("qemu-system-x86_64", "-machine", "pc,accel=tcg", "-cpu", "max", "-m", "256M"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"),
            *("-kernel", str(self.tiny.kernel), "-initrd", str(self.tiny.initrd)),
            *("-append", append(name, fixed), "-device", "virtio-serial-pci"),
            *("-chardev", f"pipe,path={path}.ga,id=ga"),
            *("-device", "virtserialport,chardev=ga,name=org.qemu.guest_agent.0"),
            *("-chardev", f"socket,path={path}.serial,server=on,wait=off,id=serial,logfile={path}.log"),
            *("-serial", "chardev:serial", "-qmp", f"unix:{path}.qmp,server=on,wait=off"),
        ]
        for number, nic in enumerate(nics, start=1):
            model, mac = nic.split(",")
            argv += ["-netdev", f"tap,id=n{number},ifname=tap{number},script=no,downscript=no"]
            argv += ["-device", f"{model},netdev=n{number},mac={mac}"]
        guest = subprocess.Popen([*self._inside, *argv, *([] if nics else ["-nic", "none"])])
        self._guests.append(guest)
        return Guest(guest, self.folder, name)

    def leased(self, mac: str) -> list[str]:
        """The server's line about that card: when, MAC, address, name, id. Waits for it."""

        def line() -> list[str] | None:
            lines = [line.split() for line in (self.folder / "leases").read_text().splitlines()]
            return next((line for line in lines if line[1] == mac), None)

        found: list[str] = until(line)
        return found

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._inside, *argv], capture_output=True, text=True, check=False)

    def close(self) -> None:
        for guest in self._guests:
            guest.kill()
            guest.wait()
        assert self._holder.stdin
        self._holder.stdin.close()
        self._holder.wait(10)
        assert self._holder.stdout
        self._holder.stdout.close()


@pytest.fixture(scope="module")
def tiny() -> TinyGuest:
    return ensure_tiny(paths.cache_root())


@pytest.fixture
def lan(tiny: TinyGuest) -> Iterator[Lan]:
    folder = Path(tempfile.mkdtemp(prefix="tiny-", dir="/tmp"))
    lan = Lan(tiny, folder)
    try:
        yield lan
    finally:
        lan.close()
        shutil.rmtree(folder)


def test_it_builds_from_the_packages(tmp_path: Path) -> None:
    said: list[str] = []
    guest = ensure_tiny(tmp_path, said.append)
    assert elf.pvh_entry(guest.kernel.read_bytes()) is not None
    assert guest.initrd.stat().st_size < 32 * 1024 * 1024
    assert any("linux-image" in line for line in said)
    assert {path.name for path in guest.kernel.parent.iterdir()} == {
        *("vmlinux", "vmlinuz", "initrd", "about.json")
    }
    said.clear()
    assert ensure_tiny(tmp_path, said.append) == guest and said == []


def test_a_package_that_apt_does_not_know_is_explained() -> None:
    error = packages.missing_from_lists(["vmlan-no-such-package"])
    assert packages.look_up(["vmlan-no-such-package"]) == {}
    assert "apt-get update" in str(error)


@pytest.mark.parametrize(
    "model", ["virtio-net-pci", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"]
)
def test_every_card_asks_by_dhcp_under_its_name(lan: Lan, model: str) -> None:
    guest = lan.start("web", f"{model},52:54:00:00:00:01")
    line = lan.leased("52:54:00:00:00:01")
    assert line[3] == "web"
    assert until(lambda: guest.addresses().get("52:54:00:00:00:01")) == IPv4Interface(f"{line[2]}/24")
    assert guest.sh("hostname") == "web\n"
    assert guest.sh("cat /etc/resolv.conf") == "search lan.test\nnameserver 192.0.2.1\n"
    assert "default via 192.0.2.1 dev eth0" in guest.sh("ip route")
    assert lan.run("ping", "-c", "1", "-W", "2", line[2]).returncode == 0


def test_machines_find_each_other_by_name(lan: Lan) -> None:
    one = lan.start("one", "virtio-net-pci,52:54:00:00:00:01")
    lan.leased("52:54:00:00:00:01")
    two = lan.start("two")
    two.qmp("netdev_add", type="tap", id="n2", ifname="tap2", script="no", downscript="no")
    two.qmp("device_add", driver="virtio-net-pci", id="nic2", netdev="n2", mac="52:54:00:00:00:02")
    lan.leased("52:54:00:00:00:02")
    until(lambda: two.addresses().get("52:54:00:00:00:02"))
    assert "1 packets received" in one.sh("ping -c 1 -W 5 two")
    two.sh("mkdir /tmp/www; echo hello >/tmp/www/index.html; httpd -p 80 -h /tmp/www")
    assert one.sh("wget -q -O- http://two/") == "hello\n"
    assert "two.lan.test" in one.sh("nslookup two.lan.test 192.0.2.1")


def test_a_fixed_address_is_kept_and_the_other_card_asks(lan: Lan) -> None:
    fixed = (("52:54:00:00:00:01", "192.0.2.200/24", "192.0.2.1"),)
    guest = lan.start("web", "e1000,52:54:00:00:00:01", "virtio-net-pci,52:54:00:00:00:02", fixed=fixed)
    leased = lan.leased("52:54:00:00:00:02")[2]
    expected = {
        "52:54:00:00:00:01": IPv4Interface("192.0.2.200/24"),
        "52:54:00:00:00:02": IPv4Interface(f"{leased}/24"),
    }
    until(lambda: guest.addresses() == expected)
    assert "52:54:00:00:00:01" not in (lan.folder / "leases").read_text()
    # Two default routes: each has a metric of its own, or the second one would have been refused.
    until(lambda: guest.sh("ip route").count("default via 192.0.2.1") == 2)
    assert lan.run("ping", "-c", "1", "-W", "2", "192.0.2.200").returncode == 0


def test_a_card_can_come_and_go_and_come_again(lan: Lan) -> None:
    guest = lan.start("web")
    guest.sh("true")

    def has_address(mac: str) -> bool:
        return guest.addresses().get(mac) is not None

    def is_gone(mac: str) -> bool:
        return mac not in guest.addresses()

    for mac in ("52:54:00:00:00:08", "52:54:00:00:00:09"):
        guest.qmp("netdev_add", type="tap", id="late", ifname="tap3", script="no", downscript="no")
        guest.qmp("device_add", driver="virtio-net-pci", id="nic", netdev="late", mac=mac)
        assert lan.leased(mac)[3] == "web"
        until(partial(has_address, mac))
        guest.qmp("device_del", id="nic")
        until(partial(is_gone, mac))
        until(lambda: "udhcpc" not in guest.sh("ps"))
        assert guest.sh("cat /etc/resolv.conf; ls /run/nic") == ""
        until(lambda: "nic" not in str(guest.qmp("qom-list", path="/machine/peripheral")))
        guest.qmp("netdev_del", id="late")


def test_the_console_is_a_shell_where_control_c_works(lan: Lan) -> None:
    guest = lan.start("web")
    until(lambda: "vmlan: web is up\n" in guest.console.read_text(), _BOOT)
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(str(guest.serial))
        console.settimeout(30)

        def says(typed: bytes, expected: bytes) -> None:
            console.sendall(typed)
            said = b""
            while expected not in said:
                said += console.recv(4096)

        says(b"\n", b"web:")
        says(b"echo $((40+2))-$(tty)\n", b"42-/dev/ttyS0\r\n")
        says(b"sleep 1000\n", b"sleep 1000\r\n")
        until(lambda: "sleep 1000" in guest.sh("ps"))
        says(b"\x03", b"web:")
        says(b"echo after-$((1+1))\n", b"after-2\r\n")
        says(b"exit\n", b"Enter 'help'")
        says(b"echo again-$((2+2))\n", b"again-4\r\n")


def power_button(guest: Guest) -> None:
    until(lambda: "settled" in guest.sh("ls /run"))
    guest.qmp("system_powerdown")


def guest_shutdown(guest: Guest) -> None:
    # No reply comes to this one.
    guest.tell(b'\xff{"execute": "guest-shutdown"}\n')


def poweroff_command(guest: Guest) -> None:
    with guest.agent() as agent:
        agent.call("guest-exec", path="poweroff")


@pytest.mark.parametrize("how", [power_button, guest_shutdown, poweroff_command])
def test_it_powers_off_when_asked(lan: Lan, how: Callable[[Guest], None]) -> None:
    guest = lan.start("web")
    guest.sh("true")
    how(guest)
    assert guest.process.wait(30) == 0


def test_it_is_quiet_when_idle_even_after_a_client_left_without_reading(lan: Lan) -> None:
    guest = lan.start("web", "virtio-net-pci,52:54:00:00:00:01")
    lan.leased("52:54:00:00:00:01")
    until(lambda: "settled" in guest.sh("ls /run"))

    def load(seconds: float) -> float:
        before = guest.cpu_seconds()
        time.sleep(seconds)
        return (guest.cpu_seconds() - before) / seconds

    time.sleep(3)
    assert load(5) < 0.05
    # qemu-ga then writes in a circle; the guest must notice.
    guest.tell(b'\xff{"execute": "guest-info"}\n' * 20)
    until(lambda: load(2) < 0.05, 60)
    assert guest.sh("echo well") == "well\n"
