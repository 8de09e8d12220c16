"""`dns:` has a name an address, and which?"""

from __future__ import annotations

import re
from functools import partial
from ipaddress import IPv4Address

from vmlan.model import HOST_SIDE, BridgeNetwork, DnsCheck, Uplink
from vmlan.observe.checks import aims
from vmlan.observe.checks.base import Attempt, Finding, NothingToTry, Scene, judge
from vmlan.observe.checks.tools import Said, cannot
from vmlan.observe.probes import probe
from vmlan.plan.services import INTERNET_DNS

_ADDRESS = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")


def find(check: DnsCheck, scene: Scene) -> Finding:
    """Look the name up until the answer is as it should be, or patience ends."""

    def made() -> list[partial[Attempt]]:
        scene.must_run(check.source)
        servers: list[str] = _servers(check, scene)
        if check.source == HOST_SIDE and not servers:
            raise NothingToTry("the lab has no DNS: a bridge with dhcp: true has one")
        chosen: list[str | None] = [*servers] or [None]
        return [partial(_look_up, check, scene, server) for server in chosen]

    return judge(check, made)


def _servers(check: DnsCheck, scene: Scene) -> list[str]:
    """Whom to ask; empty: whomever the guest asks by itself."""
    every = [
        (network.name, str(network.host.ip))
        for network in scene.lab.networks
        if isinstance(network, BridgeNetwork) and network.dhcp and network.host
    ]
    if check.via:
        return [address for name, address in every if name == check.via]
    if check.source != HOST_SIDE:
        return []
    own = [address for _, address in every]
    return own or ([INTERNET_DNS] if scene.lab.host.uplink is Uplink.INTERNET else [])


def _look_up(check: DnsCheck, scene: Scene, server: str | None) -> Attempt:
    command = _command(check, scene, server)
    said = scene.hands.run(check.source, command, 30.0)
    found = _found(said)
    wanted = _wanted(check, scene)
    wrong = bool(found) and bool(wanted) and not wanted & set(found)
    if found:
        words = f"{check.name} has {', '.join(found)}"
        words += f"; {' or '.join(sorted(wanted))} was expected" if wrong else ""
    else:
        words = said.line("can't find", "no such name", "no answer", "timed out", "efused", "nreachable")
        words = f"{check.name}: no address" if words == "said nothing" else words
    return Attempt(server or "its own DNS", command, bool(found), words, wrong)


def _command(check: DnsCheck, scene: Scene, server: str | None) -> tuple[str, ...]:
    if check.source == HOST_SIDE:
        assert server is not None
        return probe("dns", server, check.name)
    tools = scene.hands.tools(check.source)
    if "nslookup" in tools:
        return ("nslookup", check.name, *([server] if server else []))
    if "getent" in tools and server is None:
        return ("getent", "ahostsv4", check.name)
    raise cannot(check.source, ("nslookup",) if server else ("nslookup", "getent"))


def _found(said: Said) -> list[str]:
    """The addresses of an answer: what comes before the first `Name:` is the server that was asked."""
    if not said.ok:
        return []
    text = said.words
    if "Server:" in text:
        text = "\n".join(part for part in re.split(r"^Name:", text, flags=re.MULTILINE)[1:])
        lines = [line for line in text.splitlines() if line.startswith("Address")]
        text = "\n".join(re.sub(r"^Address(?: \d+)?:", "", line) for line in lines)
    elif " has " in text:
        text = text.partition(" has ")[2]
    return list(dict.fromkeys(word for word in _ADDRESS.findall(text) if _is_address(word)))


def _is_address(word: str) -> bool:
    try:
        return bool(IPv4Address(word))
    except ValueError:
        return False


def _wanted(check: DnsCheck, scene: Scene) -> set[str]:
    """The addresses that the name must have one of."""
    if check.answer is None or _is_address(check.answer):
        return {check.answer} - {None} if check.answer else set()
    links = scene.links.of(check.answer)
    known = {str(link.address.ip) for link in links if link.address}
    return known or set(aims.observed(check.answer, scene, {link.mac for link in links}))
