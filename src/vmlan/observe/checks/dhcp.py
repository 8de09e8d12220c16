"""`dhcp:` is a request for an address answered on a network?"""

from __future__ import annotations

import re
from functools import partial

from vmlan.addressing import interface_name
from vmlan.model import HOST_SIDE, BridgeNetwork, DhcpCheck
from vmlan.observe.checks import aims
from vmlan.observe.checks.aims import Card
from vmlan.observe.checks.base import Attempt, Finding, Scene, judge
from vmlan.observe.checks.sought import DHCP_OPTION, DhcpAsk
from vmlan.observe.checks.tools import cannot
from vmlan.observe.checks.watch import Watch
from vmlan.observe.probes import probe


def find(check: DhcpCheck, scene: Scene, watch: Watch | None = None) -> Finding:
    """Send a fresh DHCPDISCOVER until the answer is as it should be, or patience ends."""

    def made() -> list[partial[Attempt]]:
        scene.must_run(check.source)
        if check.source == HOST_SIDE:
            return [partial(_from_host, check, scene, watch)]
        card = aims.card(check.source, check.network, scene)
        if "udhcpc" in scene.hands.tools(check.source):
            return [partial(_from_guest, check, scene, card, watch)]
        if watch is not None:
            raise cannot(check.source, ("udhcpc",))
        return [partial(_by_lease, check, scene, card)]

    return judge(check, made)


def _token(watch: Watch | None) -> str:
    """What the request has in it to be known by, as hexadecimal digits; nothing where nobody looks."""
    if watch is None:
        return ""
    watch.sent(DhcpAsk(watch.sign.token))
    return watch.sign.token.hex()


def _from_host(check: DhcpCheck, scene: Scene, watch: Watch | None) -> Attempt:
    token = _token(watch)
    command = probe("dhcp", interface_name(check.network), *([token] if token else []))
    said = scene.hands.run(HOST_SIDE, command, 15.0)
    server = re.search(r"offered by (\S+)", said.words) if said.ok else None
    return _attempt(check, command, said.line(), server[1] if server else None)


def _from_guest(check: DhcpCheck, scene: Scene, card: Card, watch: Watch | None) -> Attempt:
    """The guest's own client, with a script that sets nothing: what the card has stays as it is."""
    token = _token(watch)
    option = ("-x", f"{DHCP_OPTION:#x}:{token}") if token else ()
    command = ("udhcpc", "-f", "-n", "-q", "-t", "2", "-T", "1", *option, "-i", card.name, "-s", "/bin/true")
    said = scene.hands.run(check.source, command, 30.0)
    words = said.line("obtained from", "no lease", "rror")
    server = re.search(r"obtained from ([0-9.]+)", words) if said.ok else None
    has = f"{card.name} has {card.address or 'no address'}"
    return _attempt(check, command, f"{words}; {has}", server[1] if server else None)


def _by_lease(check: DhcpCheck, scene: Scene, card: Card) -> Attempt:
    """A guest that cannot ask once more has asked already, if it has what dnsmasq leased to its MAC."""
    network = scene.lab.network(check.network)
    file = scene.layout.network(check.network) / "leases"
    rows = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    leased = next((row[2] for row in rows if len(row) > 2 and row[1] == card.link.mac), None)
    if leased is None or card.address is None or card.address.partition("/")[0] != leased:
        raise cannot(check.source, ("udhcpc",))
    assert isinstance(network, BridgeNetwork) and network.host
    words = f"dnsmasq has leased {leased} to {card.link.mac}; {card.name} has {card.address}"
    return _attempt(check, ("cat", str(file)), words, str(network.host.ip))


def _attempt(check: DhcpCheck, command: tuple[str, ...], words: str, server: str | None) -> Attempt:
    wrong = server is not None and check.answer is not None and server != check.answer
    more = f"; {check.answer} was expected" if wrong else ""
    return Attempt(check.network, command, server is not None, words + more, wrong)
