"""The doctor on this machine, and on this machine with one thing taken away in a namespace."""

import json
import os
import subprocess
import sys
import tempfile

import pytest

from vmlan.host.doctor import diagnose

pytestmark = pytest.mark.real

DIAGNOSE = (
    "import json; from vmlan.host.doctor import diagnose;"
    "print(json.dumps({f.name: [f.status, f.detail, f.mend] for f in diagnose()}))"
)


def found_after(spoil: str) -> dict[str, list[str]]:
    """The findings inside of a user and mount namespace of one's own in which `spoil` was run."""
    script = f'{spoil}\nexec "$@"'
    argv = ["unshare", "-r", "-m", "sh", "-ec", script, "sh", sys.executable, "-c", DIAGNOSE]
    with tempfile.TemporaryDirectory() as runtime:  # inside we are root, whose folder in /tmp is not ours
        environment = {**os.environ, "XDG_RUNTIME_DIR": runtime}
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30, env=environment)
    return json.loads(done.stdout)


def links() -> str:
    return subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout


def test_labs_can_run_here_and_nothing_is_left_of_the_trials():
    before = links()
    findings = {finding.name: finding for finding in diagnose()}
    assert [finding for finding in findings.values() if finding.status == "bad"] == []
    for name in ("namespaces", "tap", "bridge", "veth", "nat", "QEMU"):
        assert findings[name].status == "ok"
    assert links() == before


def test_no_more_namespaces():
    findings = found_after("echo 0 > /proc/sys/user/max_user_namespaces")
    assert findings["namespaces"][0] == "bad"
    assert findings["namespaces"][2] == "sudo sysctl -w user.max_user_namespaces=15000"
    assert "tap" not in findings


def test_no_tap_device():
    findings = found_after("mount -t tmpfs tmpfs /dev/net")
    assert findings["tap"][0] == "bad"
    assert findings["bridge"][0] == "ok"


def test_no_kvm():
    findings = found_after("mount -t tmpfs tmpfs /dev")
    assert findings["KVM"][0] == "warn"
    assert "there is no /dev/kvm" in findings["KVM"][1]


def test_no_package_lists():
    findings = found_after("mount -t tmpfs tmpfs /var/lib/apt/lists")
    assert findings["package lists"][2] == "sudo apt-get update"
