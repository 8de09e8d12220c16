"""`checks:` → the model's checks, each kind with its own keys; and what they name must exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from vmlan.labfile import check_links, shapes, values
from vmlan.labfile.draft import Draft, Placed, PlacedCheck
from vmlan.labfile.located import Located, Mark, Problems
from vmlan.labfile.section import Section, described
from vmlan.labfile.words import listed, quote, suggestion, unknown
from vmlan.model import (
    HOST_SIDE,
    ArpCheck,
    BridgeNetwork,
    Check,
    DhcpCheck,
    DnsCheck,
    PingCheck,
    ReachCheck,
    ScreenCheck,
    TapNetwork,
    TcpCheck,
)
from vmlan.reasons import SHORT, Reason

_SEEN = ("seen-on", "not-seen-on")

#: The keys that say which kind of check it is, and the other keys that go with each.
KINDS: dict[str, tuple[str, ...]] = {
    "ping": ("from", "expect", "via", "within", *_SEEN, "reason"),
    "tcp": ("from", "expect", "via", "within", *_SEEN, "reason"),
    "arp": ("from", "expect", "via", "within", "is", *_SEEN),
    "dhcp": ("from", "expect", "within", "is", *_SEEN),
    "dns": ("from", "expect", "via", "within", "is"),
    "screen": ("on", "within"),
}

_ELSEWHERE = {"port": "the port goes with the machine; write tcp: vm2:80"}

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}\.?)*")


def read_check(node: Located, problems: Problems) -> PlacedCheck | None:
    """One check, or None (with a problem noted) when it cannot be told what it is."""
    if node.entries is None:
        problems.add(node.at, f"a check cannot be {described(node)}", "write {ping: vm2, from: vm1}")
        return None
    section = Section(node, shapes.Check, problems)
    section.only(known=_ELSEWHERE)
    kind = _kind(section)
    if kind is None:
        if not any(key in node.entries for key in _ELSEWHERE):
            problems.add(
                node.at, "the check does not say whom to ping", "add ping: with a machine or an address"
            )
        return None
    other = [key for key in section.marks if key in (*KINDS, *_ALL_KEYS) and key not in (kind, *KINDS[kind])]
    for key in other:
        what = f"{quote(key)} does not go with {kind}:"
        problems.add(section.marks[key], what, "write two checks, or leave it out")
    links = [
        (key, name, at)
        for key in _SEEN
        if key in KINDS[kind]
        for name, at in section.each(key, str, alone=True)
    ]
    check = _screen(section) if kind == "screen" else _reach(kind, section, links)
    return None if check is None else PlacedCheck(check, node.at, section.marks, tuple(links))


_ALL_KEYS = frozenset(key for keys in KINDS.values() for key in keys)


def _kind(section: Section) -> str | None:
    written = [key for key in section.marks if key in KINDS]
    if "screen" in written or (not written and section.has("on")):
        return "screen"
    return written[0] if written else None


def _screen(section: Section) -> Check | None:
    text, on = section.parsed("screen", _words), section.get("on")
    within = section.parsed("within", values.duration)
    for key, what, hint in (
        ("screen", "the check does not say what to look for", "add screen: with words of one line"),
        ("on", "the check does not say whose screen", "add on: with a machine's name"),
    ):
        if not section.has(key):
            section.problems.add(section.at, what, hint)
    if text is None or on is None:
        return None
    return ScreenCheck(text, on, section.get("hint") or "", within)


def _words(text: str) -> str:
    if not text.strip():
        raise values.Wrong("there is nothing to look for", "write words that the screen shows")
    return values.line(text)


def _reach(kind: str, section: Section, links: Sequence[tuple[str, str, Mark]]) -> Check | None:
    """A check of who reaches whom; None where its two ends cannot be told."""
    parsers: dict[str, Callable[[Any], Any]] = {"tcp": _socket, "arp": _station, "dns": _name}
    # A port of its own has been refused already, with what the machine's key would have to be.
    alone = kind == "tcp" and section.has("port")
    target = None if alone else section.parsed(kind, parsers.get(kind, str))
    source = section.get("from")
    common: dict[str, Any] = {
        "reachable": section.get("expect") != "unreachable",
        "hint": section.get("hint") or "",
        "within": section.parsed("within", values.duration),
    }
    if "via" in KINDS[kind]:
        common["via"] = section.get("via")
    if "is" in KINDS[kind]:
        common["answer"] = section.parsed("is", _answer(kind, target))
        if section.has("is") and not common["reachable"]:
            what = "'is' does not go with expect: unreachable"
            section.problems.add(section.marks["is"], what, "what must not answer has no answer")
    if "seen-on" in KINDS[kind]:
        on = {key: tuple(dict.fromkeys(name for each, name, _ in links if each == key)) for key in _SEEN}
        common |= {"seen_on": on["seen-on"], "not_seen_on": on["not-seen-on"]}
    if "reason" in KINDS[kind]:
        common["reason"] = section.parsed("reason", _reason)
        if common["reason"] is not None and common["reachable"]:
            what = "'reason' goes with expect: unreachable"
            section.problems.add(section.marks["reason"], what, "add that, or leave it out")
    if target is None or (source is None and section.has("from")):
        return None
    source = source or HOST_SIDE
    if kind == "tcp":
        host, port = target
        return TcpCheck(host, port, source, **common)
    makers: dict[str, Callable[..., ReachCheck]] = {
        "ping": PingCheck, "arp": ArpCheck, "dhcp": DhcpCheck, "dns": DnsCheck,
    }  # fmt: skip
    return makers[kind](target, source, **common)


def _socket(text: str) -> tuple[str, int]:
    """`vm2:80`, `10.1.1.1:80`."""
    target, _, port = text.rpartition(":")
    if not target or not port:
        raise values.Wrong(f"{quote(text)} has no port", f"write {text.strip(':') or 'vm2'}:80")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
        raise values.Wrong(f"{quote(port)} is not a port", "1 to 65535")
    return target.removeprefix("[").removesuffix("]"), int(port)


def _station(text: str) -> str:
    """A machine, an address or a MAC (in lower case)."""
    return values.mac(text) if is_mac(text) else text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise values.Wrong(f"{quote(text)} is not a name", "write one such as vm2.shop.internal")
    return text


_REASONS = {each.value: each for each in Reason} | SHORT


def _reason(text: str) -> Reason:
    if text not in _REASONS:
        raise values.Wrong(f"unknown reason {quote(text)}", suggestion(text, shapes.REASONS))
    if _REASONS[text] is Reason.DELIVERED:
        what = "'delivered' is no reason for being unreachable"
        raise values.Wrong(what, "leave it out, and write expect: reachable")
    return _REASONS[text]


def _answer(kind: str, target: Any) -> Callable[[str], str]:
    """What `is:` takes; a machine's name is looked at later."""

    def parse(text: str) -> str:
        if kind == "arp" and not (isinstance(target, str) and is_mac(target)):
            return values.mac(text) if ":" in text or is_mac(text) else text
        if kind != "dns" or re.search(r"[.:/]", text):
            return str(values.address(text))
        return text

    return parse


def is_mac(text: str) -> bool:
    """Whether it is meant as a hardware address, right or wrong."""
    return bool(re.fullmatch(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{1,2}){5}", text))


def is_address(text: str) -> bool:
    """Whether it is meant as an address rather than a machine's name, right or wrong."""
    return bool(re.search(r"[.:/]", text))


def look(draft: Draft, problems: Problems) -> None:
    """Note what a check names and the lab does not have."""
    for placed in draft.checks:
        if isinstance(placed.value, ScreenCheck):
            if placed.value.on not in draft.machine_names:
                problem = unknown(placed.value.on, "machine", draft.machine_names, "machines")
                problems.add(placed.where("on"), *problem)
            continue
        _names(placed, placed.value, draft, problems)
        check_links.look(placed, draft, problems)
        if isinstance(placed.value, DhcpCheck):
            _dhcp(placed, placed.value, draft, problems)
        else:
            _via(placed, placed.value, placed.value.via, draft, problems)


def _names(placed: Placed[Check], check: ReachCheck, draft: Draft, problems: Problems) -> None:
    """Who asks, who is asked and who must answer exists."""
    known = [*draft.machine_names, HOST_SIDE]
    if check.source not in known:
        problems.add(placed.where("from"), *unknown(check.source, "machine", known, "machines"))
    answer = getattr(check, "answer", None)
    if answer is not None and not is_address(answer) and answer not in draft.machine_names:
        problem = unknown(answer, "machine", draft.machine_names, "machines")
        problems.add(placed.where("is"), *problem)
    if isinstance(check, DhcpCheck | DnsCheck) or check.target in known or is_mac(check.target):
        return
    kind = next(key for key in KINDS if key in placed.keys)
    if not is_address(check.target):
        problems.add(placed.where(kind), *unknown(check.target, "machine", known, "machines"))
        return
    try:
        if ":" not in check.target:
            values.address(check.target)
        elif isinstance(check, ArpCheck):
            raise values.Wrong(f"{quote(check.target)} is not for ARP", "IPv6 has none; use ping:")
        else:
            values.address6(check.target)
    except values.Wrong as wrong:
        problems.add(placed.where(kind), wrong.what, wrong.hint)


def _dhcp(placed: Placed[Check], check: DhcpCheck, draft: Draft, problems: Problems) -> None:
    """There is such a network, and whoever asks has a card there."""
    at = placed.where("dhcp")
    if check.network not in draft.network_names:
        problems.add(at, *unknown(check.network, "network", draft.network_names, "networks"))
        return
    network = next((each.value for each in draft.networks if each.value.name == check.network), None)
    if check.source == HOST_SIDE:
        if isinstance(network, BridgeNetwork) and network.dhcp:
            what = f"the host side gives the addresses on {quote(check.network)} itself"
            problems.add(at, what, "add from: with a machine")
        elif not isinstance(network, BridgeNetwork | TapNetwork | None):
            what = f"the host side is not on {quote(check.network)}"
            problems.add(at, what, "add from: with a machine that is")
        return
    _must_be_on(check.network, check.source, placed, "dhcp", draft, problems)


def _via(placed: Placed[Check], check: ReachCheck, via: str | None, draft: Draft, problems: Problems) -> None:
    """`via` is a network that the target is on; with dns, one that has a DNS."""
    at = placed.where("via")
    if via is None:
        return
    if via not in draft.network_names:
        problems.add(at, *unknown(via, "network", draft.network_names, "networks"))
    elif isinstance(check, DnsCheck):
        network = next((each.value for each in draft.networks if each.value.name == via), None)
        if not getattr(network, "dhcp", False):
            problems.add(at, f"{quote(via)} has no DNS", "a bridge with dhcp: true has one")
    elif isinstance(check, ArpCheck) and (is_address(check.target) or check.target == HOST_SIDE):
        if check.source != HOST_SIDE:
            _must_be_on(via, check.source, placed, "via", draft, problems)
    elif isinstance(check, DhcpCheck) or check.target == HOST_SIDE or is_address(check.target):
        problems.add(at, "via chooses between the addresses of a machine", "leave it out")
    else:
        _must_be_on(via, check.target, placed, "via", draft, problems)


def _must_be_on(
    network: str, machine: str, placed: Placed[Check], key: str, draft: Draft, problems: Problems
) -> None:
    found = next((each for each in draft.machines if each.value.name == machine), None)
    if found is None:
        return
    on = [nic.value.network for nic in found.nics]
    if network not in on:
        hint = f"it is on {listed(dict.fromkeys(on), 'and')}" if on else "it has no NIC"
        problems.add(placed.where(key), f"{quote(machine)} is not on {quote(network)}", hint)
