"""`place: host` beside other programs' rules: what they would drop is said, and the command as printed mends it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.real.conftest import VMLAN, Bench
from tests.real.hosts import Host, differences, simulated
from tests.real.test_place_host import SMALL, STATIONS

pytestmark = pytest.mark.real

PING = (str(VMLAN), "exec", "vm1", "--", "ping", "-c", "1", "-W", "3", "203.0.113.68")


@pytest.fixture
def host(bench: Bench) -> Iterator[Host]:
    with simulated(bench) as host:
        yield host


#: What Docker makes of a host (with `iptables-nft`), and what mends it, as nft has `-I DOCKER-USER -i lan …`.
DOCKER = """
table ip filter {
  chain DOCKER-USER { counter return; }
  chain DOCKER-FORWARD { iifname "docker0" counter accept; }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump DOCKER-USER
    counter jump DOCKER-FORWARD
  }
}
"""
MENDED = """
insert rule ip filter DOCKER-USER iifname "lan" counter accept
insert rule ip filter DOCKER-USER oifname "lan" counter accept
"""


def test_what_another_program_would_drop_is_said_before_and_so_is_what_mends_it(host: Host) -> None:
    host.bench.write(SMALL)
    host.ok("nft", "-f", "-", stdin=DOCKER)
    before = host.network()
    said = host.vmlan("up")
    assert "Docker's policy (ip filter FORWARD) would drop what is passed on from and to lan" in said.err
    assert "iptables -I DOCKER-USER -i lan -j ACCEPT" in said.err
    assert host.run(*PING).code == 1
    trace = host.vmlan("trace", "vm1", "203.0.113.68", "--json")
    assert trace.code == 1 and trace.json["verdict"] == "filtered", trace.out
    # not what would change Docker's own rules
    assert trace.json["mend"] == [f"iptables -I DOCKER-USER {way} lan -j ACCEPT" for way in ("-i", "-o")]
    host.ok("nft", "-f", "-", stdin=MENDED)
    assert host.run(*PING).code == 0
    assert "Docker" not in host.ok(str(VMLAN), "explain")
    host.down("--now", "--disks")
    host.ok("nft", "flush", "chain", "ip", "filter", "DOCKER-USER")
    host.ok("nft", "add", "rule", "ip", "filter", "DOCKER-USER", "counter", "return")
    assert differences(host.network(), before) == []


#: A host that lets nothing through that it does not know, in nftables' own words; and one that answers what
#: it lets in, whatever way that goes out.
CLOSED = """
table inet guard {
  chain in { type filter hook input priority filter; policy drop;
    iif "lo" accept; ct state established,related accept; }
  chain on { type filter hook forward priority filter; policy drop; ANSWERS }
}
"""


@pytest.mark.parametrize("answers", ["", "ct state vmap { established : accept, related : accept };"])
def test_the_commands_as_they_are_printed_mend_it(host: Host, answers: str) -> None:
    host.bench.write(SMALL)
    host.ok("nft", "-f", "-", stdin=CLOSED.replace("ANSWERS", answers))
    told = host.ok(str(VMLAN), "explain")
    commands = re.findall(r"nft insert rule [^;\n]*accept'", told)
    assert len(commands) == 3, told
    for command in commands:
        host.ok("sh", "-c", command)
    assert "would drop" not in host.ok(str(VMLAN), "explain")
    before = host.network()
    host.up("-q")  # with a lease, which the chain `in` would have kept from it
    assert host.run(*PING).code == 0
    host.down("--now", "--disks")
    assert differences(host.network(), before) == []


def test_what_drops_is_found_by_trace_with_what_lets_it_pass(host: Host) -> None:
    """Each direction by itself: what is printed for the first mends the second too."""
    host.bench.write(SMALL)
    host.up("-q")
    rules = CLOSED.replace("ANSWERS", 'iifname "lan" accept;').replace("policy drop;", "policy accept;", 1)
    host.ok("nft", "-f", "-", stdin=rules)
    assert host.run(*PING).code == 1
    trace = host.vmlan("trace", "vm1", "203.0.113.68", "--json").json
    assert (trace["verdict"], trace["lost"]) == ("filtered", "answer"), trace
    for command in trace["mend"]:
        assert command.startswith("nft insert rule inet guard on ")
        host.ok("sh", "-c", command)
    assert host.run(*PING).code == 0
    assert host.vmlan("trace", "vm1", "203.0.113.68").code == 0
    host.down("--now", "--disks")


#: Guests of one bridge, which the host passes nothing on for.
TWO = """
name: two
host: {place: host}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}
machines:
  vm1: {nics: [lan], memory: 128M}
  vm2: {nics: [lan], memory: 128M}
"""


@pytest.mark.parametrize("number", [0, 1])
def test_frames_between_guests_that_the_host_asks_its_rules_about(host: Host, number: int) -> None:
    """br_netfilter: either of the two commands that are printed mends it."""
    if host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1").code != 0:
        pytest.skip("this kernel has no br_netfilter loaded")
    host.bench.write(TWO)
    host.ok(
        "nft", "-f", "-", stdin=CLOSED.replace("ANSWERS", "").replace("policy drop;", "policy accept;", 1)
    )
    said = host.vmlan("up").err
    (note,) = re.findall(r"would drop what the guests on lan send each other.*", said)
    ping = (str(VMLAN), "exec", "vm1", "--", "ping", "-c", "1", "-W", "3", "10.2.0.12")
    assert host.run(*ping).code == 1
    if number == 0:
        host.ok("sh", "-c", re.findall(r"nft insert rule [^;]*accept'", note)[0])
    else:
        host.ok("sh", "-c", re.findall(r"or: (sysctl -w \S+)", note)[0])
    assert host.run(*ping).code == 0
    assert "would drop" not in host.ok(str(VMLAN), "explain")
    host.down("--now", "--disks")


def test_docker_keeps_stations_from_the_outside_and_what_is_printed_mends_it(host: Host) -> None:
    """The commonest case: Docker's policy, asked of frames on bridges, and a guest that is to be on the LAN."""
    if host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1").code != 0:
        pytest.skip("this kernel has no br_netfilter loaded")
    host.bench.write(STATIONS)
    host.ok("nft", "-f", "-", stdin=DOCKER)
    told = host.ok(str(VMLAN), "explain")
    assert (
        "Docker's policy (ip filter FORWARD) would drop what the guests on lan send each other and the"
        in told
    )
    assert "iptables -I DOCKER-USER -i lan -j ACCEPT" in told
    late = host.vmlan("up", "-q", "--confirm-within", "0", "--timeout", "12")
    assert late.code != 0, "a guest without a lease is not ready"
    host.ok("ping", "-c", "1", "-W", "3", "198.51.100.1")
    host.ok("nft", "-f", "-", stdin=MENDED)
    host.ok(str(VMLAN), "wait", "vm1", "address")
    assert host.run(*PING).code == 0
    host.down("--now", "--disks")
