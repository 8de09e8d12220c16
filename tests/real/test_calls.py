"""What a guest's program of system calls sets up, read by `ip`: in a network namespace, by an ordinary user."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from vmlan.guest import calls, rtnetlink

pytestmark = pytest.mark.real

#: The card has number 7; the program's socket is descriptor 3.
SCRIPT = """
ip link add card index 7 type veth peer name other; {before}
{program} <{request} >{reply} || :
ip -j address show dev card; echo; ip -j route show table all dev card
"""


def done(tmp_path: Path, messages: list[bytes], before: str = ":") -> tuple[str | None, Any, Any]:
    request, batch = calls.Request(), rtnetlink.numbered(messages)
    request.call(calls.SENDTO, 3, batch, len(batch))
    heard = request.call(calls.RECVFROM, 3, bytes(256), 256, 0x40)
    request.reply()
    paths = {name: tmp_path / name for name in ("program", "request", "reply")}
    paths["program"].write_bytes(calls.program())
    paths["program"].chmod(0o755)
    paths["request"].write_bytes(request.built())
    namespace = ["unshare", "--user", "--map-root-user", "--net"]
    script = SCRIPT.format(before=before, **paths)
    ran = subprocess.run([*namespace, "sh", "-ec", script], capture_output=True, text=True, check=True)
    addresses, routes = (line for line in ran.stdout.splitlines() if line)
    results = request.results(paths["reply"].read_bytes())
    error = rtnetlink.first_error(results.written[heard][0]) if results.numbers[heard] > 0 else None
    assert error is not None or results.numbers[heard] == -11
    return error and f"{error[0]}: {error[1]}", json.loads(addresses)[0], json.loads(routes)


def test_a_card_is_up_and_has_its_address_and_its_route(tmp_path: Path) -> None:
    messages = [
        rtnetlink.up(7),
        rtnetlink.address(7, IPv4Interface("192.0.2.17/24")),
        rtnetlink.default_route(7, IPv4Address("192.0.2.1"), 107),
    ]
    error, card, routes = done(tmp_path, messages)
    assert error is None
    assert "UP" in card["flags"]
    (own,) = [each for each in card["addr_info"] if each["family"] == "inet"]
    assert (own["local"], own["prefixlen"], own["broadcast"], own["scope"]) == (
        *("192.0.2.17", 24, "192.0.2.255", "global"),
    )
    (way,) = [each for each in routes if each["dst"] == "default"]
    assert (way["gateway"], way["metric"]) == ("192.0.2.1", 107)


def test_a_network_of_two_has_no_broadcast_address(tmp_path: Path) -> None:
    _, card, _ = done(tmp_path, [rtnetlink.address(7, IPv4Interface("192.0.2.16/31"))])
    assert [each.get("broadcast") for each in card["addr_info"]] == [None]


def test_it_says_what_the_kernel_did_not_take(tmp_path: Path) -> None:
    same = rtnetlink.address(7, IPv4Interface("192.0.2.17/24"))
    error, _, _ = done(tmp_path, [rtnetlink.up(7), same], before="ip address add 192.0.2.17/24 dev card")
    assert error == "1: File exists (EEXIST)"
    error, _, _ = done(tmp_path, [rtnetlink.up(8)])
    assert error is not None and error.endswith("(ENODEV)")
