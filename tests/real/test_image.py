"""A real installed system: built from packages without root, booted from copies of it (F09, F10)."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

LAB = """
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
machines:
  one: {image: debian-12, nics: [lan]}
  like-one: {image: debian-12, nics: [lan], disks: [{size: 8M}]}
  two: {firmware: uefi, disks: [{base: debian-12, bus: ide, size: 5G}], nics: [{network: lan, model: e1000}]}
checks:
  - {ping: two, from: one, hint: "two systems, one image"}
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


#: What is one machine's own: random numbers, its id, what its network says that it is, its keys, its name.
OWN = """
until [ $(hostname) != localhost ] && [ -s /etc/ssh/ssh_host_ed25519_key.pub ]; do sleep 0.2; done
head -c 16 /dev/urandom | od -x | head -n 1; cat /etc/machine-id
networkctl status "$(ls /sys/class/net | grep -v lo)" | grep DUID; cat /etc/ssh/ssh_host_ed25519_key.pub; hostname
"""


def from_a_template(bench: Bench, said: str) -> None:
    """Two of them have gone on from a template, and two are forked: nothing that is one machine's own is another's."""
    assert "did not work" not in said and "boots, since" not in said, said
    bench.ok("exec", "like-one", "--", "sh", "-c", "echo shared past > /root/note")
    for machine, copy in (("like-one", "copy"), ("two", "of-two")):
        bench.ok("clone", machine, copy, timeout=120)
    machines = ("one", "like-one", "two", "copy", "of-two")
    own = {
        name: bench.ok("exec", "--timeout", "90", name, "--", "sh", "-c", OWN).splitlines()
        for name in machines
    }
    assert all(len(set(lines)) == len(machines) for lines in zip(*own.values(), strict=True)), own
    assert tuple(lines[-1] for lines in own.values()) == machines
    boots = {
        name: bench.ok("exec", name, "--", "cat", "/proc/sys/kernel/random/boot_id") for name in machines
    }
    assert boots["one"] == boots["like-one"] == boots["copy"] != boots["two"] == boots["of-two"]
    assert "8M" in bench.ok("exec", "like-one", "--", "lsblk", "-dno", "SIZE", "/dev/vdb")
    assert bench.ok("exec", "copy", "--", "cat", "/root/note") == "shared past\n"
    assert "-- No entries --" not in bench.ok("exec", "copy", "--", "journalctl", "-n", "1", "--no-pager")
    bench.ok("exec", "of-two", "--", "ping", "-c", "1", "-W", "5", "one")
    bench.ok("snapshot", "save", "s")
    bench.ok("exec", "one", "--", "sh", "-c", "echo later > /root/later; sync")
    bench.ok("snapshot", "restore", "s")
    assert bench.vmlan("exec", "one", "--", "test", "-e", "/root/later").code == 1
    bench.ok("snapshot", "rm", "s")


@pytest.mark.timeout(900)
def test_an_installed_system_is_built_and_many_boot_from_it(bench: Bench) -> None:
    bench.write(LAB)
    refused = bench.vmlan("up")
    assert (refused.code, "vmlan image build debian-12" in refused.err) == (2, True)

    bench.ok("image", "build", "debian-12", timeout=700)
    (row,) = (row for row in json.loads(bench.ok("image", "ls", "--json")) if row["name"] == "debian-12")
    image = Path(row["files"]["image"])
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", image], check=True)
    before = digest(image)
    assert "there already" in bench.ok("image", "build", "debian-12")

    said = bench.ok("up", timeout=400)
    assert bench.ok("check").endswith("1 passed, 0 failed\n")
    facts = {}
    for machine in ("one", "two", "like-one"):
        bench.ok("wait", machine, "port:22")  # its keys are made before its SSH server starts
        named = "until [ $(hostname) != localhost ]; do sleep 0.2; done"  # by the network, a moment after the address
        bench.ok("exec", "--timeout", "60", machine, "--", "sh", "-c", named)
        lines = bench.ok(
            "exec", machine, "--", "sh", "-c",
            "cat /etc/machine-id; hostname; cat /etc/ssh/ssh_host_ed25519_key.pub;"
            " [ -d /sys/firmware/efi ] && echo uefi || echo bios; df -B1 --output=size / | tail -1",
        ).splitlines()  # fmt: skip
        facts[machine] = lines
    assert [facts[machine][1] for machine in facts] == ["one", "two", "like-one"]
    assert len(facts["one"][0]) == 32  # machine-id(5)
    assert facts["one"][2].startswith("ssh-ed25519 ")
    for line in (0, 2):
        assert len({facts[machine][line] for machine in facts}) == 3
    assert [facts[machine][3] for machine in facts] == ["bios", "uefi", "bios"]
    assert int(facts["two"][4]) > int(facts["one"][4]) > 3 << 30  # the larger overlay's system has grown
    from_a_template(bench, said)
    greeting = bench.ok("host", "--", "bash", "-c", "exec 3<>/dev/tcp/10.2.0.11/22; head -n 1 <&3")
    assert greeting.startswith("SSH-2.0-OpenSSH")

    bench.ok("exec", "one", "--", "sh", "-c", "echo mine > /root/mine; sync")
    assert bench.vmlan("exec", "two", "--", "cat", "/root/mine").code != 0
    removed = bench.vmlan("image", "rm", "debian-12")
    assert (removed.code, "one" in removed.err) == (2, True), removed.err
    bench.ok("down", timeout=120)
    assert digest(image) == before

    bench.ok("up", "one", timeout=300)
    assert bench.ok("exec", "one", "--", "cat", "/root/mine") == "mine\n"
    bench.ok("down", "--now", "--disks")
    assert digest(image) == before
    bench.ok("image", "rm", "debian-12")
    assert not image.exists()
