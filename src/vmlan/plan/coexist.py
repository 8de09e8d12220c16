"""What other programs' rules on a real host would do to a lab's packets, and what would let them pass. Pure.

Every base chain of a hook is asked in turn, and an `accept` ends only the chain that it stands in (nft(8),
"verdict statements"): rules of ours cannot let through what a chain of Docker's, ufw's or firewalld's drops.
So nothing is changed in what is others'; what would be dropped is said, with the command that its owner
provides against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vmlan import addressing
from vmlan.model import BridgeNetwork, Lab, TapNetwork

#: Frames between ports of a bridge are asked of the IPv4 rules too (Linux, networking/ip-sysctl, bridge).
BRIDGE_CALLS_IPTABLES = "net.bridge.bridge-nf-call-iptables"

#: nft's own names of the hooks that matter here.
Hook = Literal["forward", "input"]


@dataclass(frozen=True)
class Need:
    """What an interface of a lab needs of the host: to pass packets on, among its ports too, or to answer."""

    interface: str
    forward: bool = False  #: packets go on to other networks, or come from there
    between: bool = False  #: it is a bridge, whose guests talk to each other
    station: bool = False  #: the host's NIC is a port of it, so that they talk to the outside by it too
    serves: bool = False  #: the host answers on it (DHCP, DNS)


@dataclass(frozen=True)
class Finding:
    """Something that would be dropped: who drops what, in words, and the commands that would mend it."""

    kind: Literal["forward", "bridged", "input"]
    interface: str
    owner: Literal["docker", "ufw", "firewalld", "iptables", "iptables-legacy", "nftables"]
    chain: str  #: `FAMILY TABLE CHAIN`
    what: str
    mend: tuple[str, ...]


@dataclass(frozen=True)
class _Chain:
    """A base chain that lets nothing pass that it does not know."""

    family: str
    table: str
    name: str
    owner: Literal["docker", "ufw", "firewalld", "iptables", "iptables-legacy", "nftables"]

    @property
    def words(self) -> str:
        return f"{self.family} {self.table} {self.name}"


def needs(lab: Lab) -> tuple[Need, ...]:
    """What a lab's interfaces need of the host."""
    found = []
    for net in lab.networks:
        if not isinstance(net, BridgeNetwork | TapNetwork):
            continue
        several = len(lab.nics_on(net.name)) > 1
        found.append(
            Need(
                addressing.interface_name(net.name),
                forward=lab.host.forwarding and net.host is not None,
                between=isinstance(net, BridgeNetwork) and (several or net.uplink),
                station=isinstance(net, BridgeNetwork) and net.uplink,
                serves=isinstance(net, BridgeNetwork) and net.dhcp,
            )
        )
    return tuple(found)


def findings(
    ruleset: Sequence[Mapping[str, Any]],
    switches: Mapping[str, str],
    wanted: Sequence[Need],
    legacy: str = "",
) -> tuple[Finding, ...]:
    """What of it the host's rules would drop.

    `ruleset`: the list under "nftables" of `nft -j list ruleset`. `switches`: sysctls by name. `legacy`: what
    `iptables-legacy-save` says (its tables are not nftables'). A chain that has a rule which accepts an
    interface by its name is taken to be mended for it; what is passed on needs one for each direction, or
    one for all answers.
    """
    return tuple(_findings(ruleset, switches, wanted, legacy))


def mends(ruleset: Sequence[Mapping[str, Any]], chain: str, interface: str, hook: Hook) -> tuple[str, ...]:
    """The commands that let packets of an interface pass a chain of somebody else's which dropped one.

    `chain`: `FAMILY TABLE CHAIN`, of which the hook's base chain may be another that leads to it.
    """
    family, table, name = chain.split(" ", 2)
    found = _Chain(family, table, name, _owner(family, table, hook, ruleset))
    return _forward_mend(found, interface) if hook == "forward" else _input_mend(found, interface)


def _findings(
    ruleset: Sequence[Mapping[str, Any]], switches: Mapping[str, str], wanted: Sequence[Need], legacy: str
) -> Iterator[Finding]:
    calls = switches.get(BRIDGE_CALLS_IPTABLES) == "1"
    forward, into = (
        [*_closed(ruleset, hook), *_closed_legacy(legacy, hook)] for hook in ("forward", "input")
    )
    for need in wanted:
        name = need.interface
        for chain in forward:
            if _lets_pass(name, chain, ruleset, legacy, both=need.forward):
                continue
            by = f"{_OWNERS[chain.owner]} ({chain.words})"
            if need.forward:
                what = f"{by} would drop what is passed on from and to {name}"
                yield Finding("forward", name, chain.owner, chain.words, what, _forward_mend(chain, name))
            elif need.between and calls and chain.family in {"ip", "inet"}:
                whom = "each other and the outside, DHCP too" if need.station else "each other"
                what = (
                    f"{by} would drop what the guests on {name} send {whom}: it is asked of frames on"
                    f" bridges too ({BRIDGE_CALLS_IPTABLES} is 1)"
                )
                mend = (*_forward_mend(chain, name), f"or: sysctl -w {BRIDGE_CALLS_IPTABLES}=0")
                yield Finding("bridged", name, chain.owner, chain.words, what, mend)
        for chain in into if need.serves else ():
            if not _lets_pass(name, chain, ruleset, legacy):
                by = f"{_OWNERS[chain.owner]} ({chain.words})"
                what = f"{by} would drop what guests on {name} ask this host (DHCP, DNS)"
                yield Finding("input", name, chain.owner, chain.words, what, _input_mend(chain, name))


_OWNERS = {
    "docker": "Docker's policy",
    "ufw": "ufw",
    "firewalld": "firewalld",
    "iptables": "a policy of this host's iptables",
    "iptables-legacy": "a policy of this host's iptables-legacy",
    "nftables": "a policy of this host's nftables",
}


def _closed(ruleset: Sequence[Mapping[str, Any]], hook: Hook) -> Iterator[_Chain]:
    """The base chains of a hook that drop or reject what nothing in them accepted."""
    for chain in (row["chain"] for row in ruleset if "chain" in row):
        if chain.get("hook") != hook or chain.get("type") != "filter":
            continue
        if chain["family"] not in {"ip", "inet"} or chain["table"].startswith("vmlan_"):
            continue
        if chain.get("policy") == "drop" or _ends_closed(chain, ruleset):
            family, table, name = chain["family"], chain["table"], chain["name"]
            yield _Chain(family, table, name, _owner(family, table, hook, ruleset))


def _ends_closed(chain: Mapping[str, Any], ruleset: Sequence[Mapping[str, Any]]) -> bool:
    """Whether its last rule drops or rejects everything that comes so far, as firewalld's does."""
    last = next(
        (row["rule"] for row in reversed(ruleset) if "rule" in row and _is_in(row["rule"], chain)), None
    )
    if last is None:
        return False
    words = [next(iter(each)) for each in last["expr"] if isinstance(each, Mapping)]
    return bool(words) and words[-1] in {"drop", "reject"} and "match" not in words


def _is_in(rule: Mapping[str, Any], chain: Mapping[str, Any]) -> bool:
    return all(
        rule[one] == chain[two] for one, two in (("family", "family"), ("table", "table"), ("chain", "name"))
    )


def _owner(
    family: str, table: str, hook: Hook, ruleset: Sequence[Mapping[str, Any]]
) -> Literal["docker", "ufw", "firewalld", "iptables", "nftables"]:
    """Whose a chain is, by the chains that its owner puts beside it."""
    beside = {row["chain"]["name"] for row in ruleset if "chain" in row and row["chain"]["table"] == table}
    if table == "firewalld":
        return "firewalld"
    if any(name.startswith("ufw-") for name in beside):
        return "ufw"
    if hook == "forward" and any(name.startswith("DOCKER") for name in beside):
        return "docker"
    named_so = family == "ip" and table == "filter" and beside & {"INPUT", "FORWARD"}
    return "iptables" if named_so else "nftables"


def _lets_pass(
    interface: str, chain: _Chain, ruleset: Sequence[Mapping[str, Any]], legacy: str, *, both: bool = False
) -> bool:
    """Whether some rule of the chain's table accepts what comes in by an interface; `both`: and goes out."""
    if chain.owner == "iptables-legacy":
        rules = [line for line in legacy.splitlines() if re.search("^-A .* -j ACCEPT", line)]
        into, out, back = (
            any(re.search(pattern, line) for line in rules)
            for pattern in (
                rf" -i {re.escape(interface)} ",
                rf" -o {re.escape(interface)} ",
                r"^(?!.* -[io] ).*ESTABLISHED",
            )
        )
    else:
        own = [
            row["rule"]
            for row in ruleset
            if "rule" in row and (row["rule"]["family"], row["rule"]["table"]) == (chain.family, chain.table)
        ]
        into = any(_accepts(rule, interface, "iifname") for rule in own)
        out = any(_accepts(rule, interface, "oifname") for rule in own)
        back = any(_accepts_answers(rule) for rule in own)
    return into and (out or back or not both)


def _accepts(rule: Mapping[str, Any], interface: str, way: str) -> bool:
    found = [each for each in rule["expr"] if isinstance(each, Mapping)]
    accepts = any("accept" in each or _goes_to_trusted(each) for each in found)
    return accepts and any(
        each.get("match", {}).get("left") == {"meta": {"key": way}}
        and _names(each["match"].get("right"), interface)
        for each in found
    )


def _accepts_answers(rule: Mapping[str, Any]) -> bool:
    """Whether it accepts the packets of every connection that something accepted the first packet of."""
    found = [each for each in rule["expr"] if isinstance(each, Mapping)]
    matches = [each["match"] for each in found if "match" in each]
    for vmap in (each["vmap"] for each in found if "vmap" in each):
        if not matches and _of_state(vmap.get("key")) and "established" in str(vmap.get("data")):
            return True
    if not any("accept" in each for each in found):
        return False
    # What nft cannot translate of iptables' modules it only names; this one is for the state.
    if not matches:
        return any(each.get("xt", {}).get("name") in {"conntrack", "state"} for each in found)
    return len(matches) == 1 and _of_state(matches[0]["left"]) and "established" in str(matches[0]["right"])


def _of_state(left: object) -> bool:
    """Whether it is the state of a packet's connection; nft writes that of iptables' module so too."""
    return left == {"ct": {"key": "state"}}


def _goes_to_trusted(expression: Mapping[str, Any]) -> bool:
    """Firewalld sends an interface to its zone's chain, whose name ends with the zone's."""
    target = expression.get("goto") or expression.get("jump") or {}
    return isinstance(target, Mapping) and str(target.get("target", "")).endswith("_trusted")


def _names(right: object, interface: str) -> bool:
    """Whether what a rule compares with is that interface, alone or in a set, or a pattern of it."""
    if isinstance(right, str):
        return right == interface or (right.endswith("*") and interface.startswith(right[:-1]))
    if isinstance(right, Mapping):
        return any(_names(each, interface) for each in right.get("set", ()))
    return False


def _closed_legacy(text: str, hook: Hook) -> Iterator[_Chain]:
    """The same of `iptables-legacy-save`: its table `filter` begins with the policies."""
    name, table = hook.upper(), re.search(r"^\*filter$(.*?)^COMMIT$", text, re.MULTILINE | re.DOTALL)
    if table is not None and re.search(rf"^:{name} DROP\b", table[1], re.MULTILINE):
        yield _Chain("ip", "filter", name, "iptables-legacy")


def _forward_mend(chain: _Chain, name: str) -> tuple[str, ...]:
    """What the owner of a chain provides for letting packets of an interface through.

    Docker: docs, "Docker and iptables" (DOCKER-USER). ufw(8), route allow. firewall-cmd(1), zone trusted.
    """
    if chain.owner == "docker":
        return tuple(f"iptables -I DOCKER-USER {way} {name} -j ACCEPT" for way in ("-i", "-o"))
    if chain.owner == "ufw":
        return tuple(f"ufw route allow {way} on {name}" for way in ("in", "out"))
    return _mend(chain, name, both=True)


def _input_mend(chain: _Chain, name: str) -> tuple[str, ...]:
    return (f"ufw allow in on {name}",) if chain.owner == "ufw" else _mend(chain, name, both=False)


def _mend(chain: _Chain, name: str, *, both: bool) -> tuple[str, ...]:
    if chain.owner == "firewalld":
        return (f"firewall-cmd --zone=trusted --add-interface={name}",)
    ways = (("-i", "iifname"), ("-o", "oifname")) if both else (("-i", "iifname"),)
    if chain.owner in {"iptables", "iptables-legacy"}:
        return tuple(f"{chain.owner} -I {chain.name} {way} {name} -j ACCEPT" for way, _ in ways)
    return tuple(f"nft insert rule {chain.words} '{key} \"{name}\" accept'" for _, key in ways)
