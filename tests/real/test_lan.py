"""The main job: two machines on a bridge, with leases, names and NAT, as an ordinary user."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.real.conftest import VMLAN, Bench, host_network

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def lan(shared_bench: Bench) -> Iterator[Bench]:
    shared_bench.example("lan")
    before = host_network()
    shared_bench.ok("up", "--cold")  # what goes on from a template asks for its lease some time later
    assert host_network() == before
    yield shared_bench
    assert host_network() == before


def test_the_examples_checks_pass(lan: Bench) -> None:
    result = lan.vmlan("check", "--json")
    assert result.code == 0, result.out
    assert result.json["failed"] == 0
    assert len(result.json["checks"]) == 5


def test_machines_have_the_leases_that_dnsmasq_gave(lan: Bench) -> None:
    machines = {row["name"]: row for row in lan.vmlan("ps", "--json").json["machines"]}
    leases = next(lan.runtime.glob("vmlan/*/net-lan/leases"))
    leased: dict[str, tuple[str, str]] = {}
    # A machine that goes on from a template has what is reserved for it at once, and asks for it later.
    deadline = time.monotonic() + 150
    while len(leased) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
        rows = [line.split() for line in leases.read_text().splitlines()]
        leased = {row[1]: (row[2], row[3]) for row in rows if ":" in row[1]}
    for name in ("vm1", "vm2"):
        nic = machines[name]["nics"][0]
        assert machines[name]["state"] == "running"
        assert leased[nic["mac"]] == (nic["addresses"][0].partition("/")[0], name)


def test_tcpdump_sees_the_pings_where_they_should_be(lan: Bench) -> None:
    """A packet through NAT: with the guest's address on its tap, with the host side's on the uplink."""
    seen = {}
    watchers = {
        link: lan.start(
            "host",
            "--",
            "tcpdump",
            "-lnni",
            link,
            "-c",
            "2",
            "icmp",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for link in ("vm1-lan", "eth0")
    }
    for watcher in watchers.values():
        assert watcher.stderr is not None
        while "listening on" not in watcher.stderr.readline():
            pass
    lan.ok("exec", "vm1", "--", "ping", "-c", "1", "-W", "2", "203.0.113.68")
    for link, watcher in watchers.items():
        out, _ = watcher.communicate(timeout=20)
        seen[link] = [line.split(" IP ")[1].partition(":")[0] for line in out.splitlines() if " IP " in line]
    assert seen["vm1-lan"] == ["10.2.0.11 > 203.0.113.68", "203.0.113.68 > 10.2.0.11"]
    assert seen["eth0"] == ["198.51.100.2 > 203.0.113.68", "203.0.113.68 > 198.51.100.2"]


def test_names_resolve_in_guests_and_on_the_host_side(lan: Bench) -> None:
    assert "10.2.0.12" in lan.ok("exec", "vm1", "--", "nslookup", "vm2.lan.internal")
    assert lan.ok("exec", "vm2", "--", "ping", "-c", "1", "vm1")
    assert "10.2.0.11" in lan.ok("host", "--", "getent", "hosts", "vm1")


def test_exec_passes_exit_code_input_and_output(lan: Bench) -> None:
    done = lan.vmlan("exec", "-i", "vm1", "--", "sh", "-c", "cat; echo oops >&2; exit 7", stdin="hello ☃\n")
    assert (done.code, done.out, done.err) == (7, "hello ☃\n", "oops\n")
    missing = lan.vmlan("exec", "vm1", "--", "no-such-program")
    assert missing.code == 127 and "no-such-program: not found" in missing.err
    wrong = lan.vmlan("exec", "vm9", "--", "true")
    assert wrong.code == 2 and "did you mean vm" in wrong.err


def test_a_long_exec_does_not_keep_others_from_the_agent(lan: Bench) -> None:
    slow = lan.start("exec", "vm1", "--", "sleep", "4")
    try:
        assert lan.ok("exec", "vm1", "--", "hostname", timeout=3.9) == "vm1\n"
        assert slow.wait(timeout=20) == 0
    finally:
        slow.kill()


def test_the_host_side_forwards_and_is_the_users_alone(lan: Bench) -> None:
    assert lan.ok("host", "--", "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    assert lan.ok("host", "--", "id", "-u") == "0\n"
    assert "lan" in lan.ok("host", "--", "ls", "/sys/class/net").split()
    assert lan.vmlan("host", "--", "sh", "-c", "exit 5").code == 5


def test_up_again_changes_nothing(lan: Bench) -> None:
    before = {line.partition(":")[0] for line in lan.processes()}
    out = lan.ok("up")
    assert "is up already" in out
    assert {line.partition(":")[0] for line in lan.processes()} == before


def test_wait_knows_four_conditions(lan: Bench) -> None:
    assert "answers" in lan.ok("wait", "vm1", "agent")
    assert "10.2.0.11/24" in lan.ok("wait", "vm1", "address")
    assert "vm1 is up" in lan.ok("wait", "vm1", "text:vm1 is up")
    lan.ok("exec", "vm2", "--", "sh", "-c", "httpd -p 8000 -h / </dev/null >/dev/null 2>&1")
    assert "10.2.0.12 accepts connections on port 8000" in lan.ok("wait", "vm2", "port:8000")
    late = lan.vmlan("wait", "vm2", "port:8001", "--timeout", "1")
    assert late.code == 1 and "no port:8001 within 1 s" in late.err
    assert lan.vmlan("wait", "vm2", "prot:80").code == 2


def test_the_console_takes_keys_and_shows_words(lan: Bench) -> None:
    out = lan.ok("console", "vm2", stdin="\necho 6x7=$((6*7))\n")
    assert "6x7=42" in out


def test_a_command_that_takes_too_long_is_ended_in_the_guest(lan: Bench) -> None:
    late = lan.vmlan("exec", "--timeout", "0.5", "vm1", "--", "sleep", "77")
    assert late.code == 1 and "did not end within 0.5 s" in late.err
    assert "sleep 77" not in lan.ok("exec", "vm1", "--", "ps")


def test_options_after_the_machine_are_the_commands_own(lan: Bench) -> None:
    assert lan.ok("exec", "vm1", "echo", "-f", "--json") == "-f --json\n"


def test_output_is_passed_on_byte_by_byte(lan: Bench) -> None:
    raw = subprocess.run(
        [str(VMLAN), "exec", "vm1", "printf", "\\377\\376\\001"],
        cwd=lan.folder,
        env=lan.env,
        capture_output=True,
        check=True,
    )
    assert raw.stdout == b"\xff\xfe\x01"


def test_a_console_is_for_one_at_a_time(lan: Bench) -> None:
    first = lan.start(
        "console", "vm2", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert first.stderr is not None and "Ctrl-]" in first.stderr.readline()
    second = lan.vmlan("console", "vm2")
    assert second.code == 2 and "somebody is at vm2's console" in second.err
    first.communicate("", timeout=20)
    assert lan.vmlan("console", "vm2").code == 0


def test_what_does_not_run_is_not_called_unreachable(lan: Bench) -> None:
    (lan.folder / "other.yaml").write_text(
        (lan.folder / "lab.yaml").read_text().partition("checks:")[0]
        + "  vm3: {nics: [lan]}\nchecks: [{ping: vm3, from: vm1, expect: unreachable}]\n"
    )
    shutil.copy(lan.folder / "lab.yaml", lan.folder / "kept.yaml")
    try:
        shutil.copy(lan.folder / "other.yaml", lan.folder / "lab.yaml")
        result = lan.vmlan("check")
    finally:
        shutil.copy(lan.folder / "kept.yaml", lan.folder / "lab.yaml")
    assert result.code == 1 and "not tried" in result.out and "vm3 is not running" in result.out


def test_a_machine_that_powers_off_is_seen_and_started_again(lan: Bench) -> None:
    lan.vmlan("exec", "--timeout", "3", "vm2", "--", "poweroff", "-f")
    state = ""
    for _ in range(100):
        state = {row["name"]: row["state"] for row in lan.vmlan("ps", "--json").json["machines"]}["vm2"]
        if state == "ended":
            break
    assert state == "ended"
    check = lan.vmlan("check")
    assert check.code == 1 and "3 failed" in check.out and check.out.count("machine vm2 is not running") == 3
    result = lan.vmlan("up", "--json").json
    assert (result["started"], result["running"]) == (["vm2"], ["vm1"])
    assert lan.vmlan("check").code == 0


def test_ls_shows_the_lab(lan: Bench) -> None:
    rows = lan.vmlan("ls", "--json").json
    assert [(row["name"], row["state"], row["machines"], row["running"]) for row in rows] == [
        ("lan", "running", 2, 2)
    ]
