"""`uplink: internet`, on a machine that is simulated whole, so that no packet leaves this one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.real.conftest import VMLAN, Bench

pytestmark = pytest.mark.real

LAB = """
host: {forwarding: true, uplink: internet}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
machines:
  vm1: {nics: [lan], memory: 128M}
checks:
  - {ping: 203.0.113.80, from: vm1}
"""

#: What is run inside: each line of its output that starts with "=" is looked at.
INSIDE = f"""
set -u
{VMLAN} up -q || exit 1
{VMLAN} check -q && echo "=check passed"
{VMLAN} exec vm1 -- timeout 5 wget -qO- http://example.com/ | sed 's/^/=guest, by name: /'
{VMLAN} host -- curl -sm5 http://example.com/ | sed 's/^/=host side, by name: /'
for address in 10.0.2.2 10.0.2.15 127.0.0.1 10.0.2.3; do
  {VMLAN} exec vm1 -- timeout 3 wget -T 2 -qO- http://$address:9999/ | sed 's/^/=LEAK /'
  {VMLAN} host -- curl -sm2 http://$address:9999/ | sed 's/^/=LEAK /'
done
{VMLAN} down -q && echo "=down"
"""


@pytest.mark.parametrize("program", ["pasta", "slirp4netns"])
def test_guests_reach_the_world_and_not_this_machines_loopback(bench: Bench, program: str) -> None:
    bench.write(LAB)
    tools = Path(shutil.which(program, path="/usr/bin") or pytest.fail(f"{program} is not installed"))
    hide = {"pasta": "true", "slirp4netns": "mount --bind /dev/null /usr/bin/pasta"}[program]
    world = Path(__file__).with_name("world.sh")
    folder = bench.runtime.parent / "world"
    folder.mkdir()
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
         "bash", "-c", f'{hide}; exec bash "$@"', "bash", str(world), str(folder), str(os.getuid()), "bash", "-c", INSIDE],
        cwd=bench.folder, env={**bench.env, "PATH": f"{tools.parent}:{bench.env['PATH']}:/usr/sbin"},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if line.startswith("=")]
    assert said == [
        "=check passed",
        "=guest, by name: hello from outside",
        "=host side, by name: hello from outside",
        "=down",
    ], done.stdout + done.stderr
    assert (folder / "loopback.log").read_text() == ""
    shutil.rmtree(folder)
