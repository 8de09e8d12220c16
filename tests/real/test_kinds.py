"""Network kinds that no example shows: a socket network of three, and one that leads nowhere."""

from __future__ import annotations

import pytest

from tests.real.conftest import Bench

pytestmark = pytest.mark.real

LAB = """
networks:
  ring: {kind: socket}
  nowhere: {kind: none}
machines:
  a: {image: tiny, memory: 128M, nics: [{network: ring, address: 192.0.2.1/24}, nowhere]}
  b: {image: tiny, memory: 128M, nics: [{network: ring, address: 192.0.2.2/24}]}
  c: {image: tiny, memory: 128M, nics: [{network: ring, address: 192.0.2.3/24}]}
checks:
  - {ping: b, from: a}
  - {ping: c, from: a}
  - {ping: b, from: c}
"""


def test_three_meet_on_a_socket_network_and_nobody_on_none(bench: Bench) -> None:
    bench.write(LAB)
    bench.ok("up")
    assert bench.ok("check").endswith("3 passed, 0 failed\n")
    cards = bench.ok("exec", "a", "--", "ls", "/sys/class/net").split()
    assert cards == ["eth0", "eth1", "lo"]
    assert bench.ok("exec", "a", "--", "ip", "-4", "addr", "show", "eth1") == ""
    assert bench.ok("host", "--", "ls", "/sys/class/net").split() == ["lo"]
