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
  two: {firmware: uefi, disks: [{base: debian-12, bus: ide, size: 5G}], nics: [{network: lan, model: e1000}]}
checks:
  - {ping: two, from: one, hint: "two systems, one image"}
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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

    bench.ok("up", timeout=300)
    assert bench.ok("check").endswith("1 passed, 0 failed\n")
    facts = {}
    for machine in ("one", "two"):
        bench.ok("wait", machine, "port:22")  # its keys are made before its SSH server starts
        named = "until [ $(hostname) != localhost ]; do sleep 0.2; done"  # by the network, a moment after the address
        bench.ok("exec", "--timeout", "60", machine, "--", "sh", "-c", named)
        lines = bench.ok(
            "exec", machine, "--", "sh", "-c",
            "cat /etc/machine-id; hostname; cat /etc/ssh/ssh_host_ed25519_key.pub;"
            " [ -d /sys/firmware/efi ] && echo uefi || echo bios; df -B1 --output=size / | tail -1",
        ).splitlines()  # fmt: skip
        facts[machine] = lines
    assert [facts[machine][1] for machine in facts] == ["one", "two"]
    assert len(facts["one"][0]) == 32 and facts["one"][0] != facts["two"][0]  # machine-id(5)
    assert facts["one"][2].startswith("ssh-ed25519 ") and facts["one"][2] != facts["two"][2]
    assert [facts[machine][3] for machine in facts] == ["bios", "uefi"]
    assert int(facts["two"][4]) > int(facts["one"][4]) > 3 << 30  # the larger overlay's system has grown
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
