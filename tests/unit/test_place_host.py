"""`place: host`: what is planned for a real host's network, what it must not collide with, and whose firewall drops."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests import labs
from vmlan.errors import HostError, LabFileError, RequestError
from vmlan.model import BridgeNetwork, HostNic, MacvtapNetwork, Place
from vmlan.plan import coexist, explain, marks
from vmlan.plan import topology as topo
from vmlan.plan.build import plan
from vmlan.plan.coexist import Need
from vmlan.plan.facts import Existing, Facts, HostFacts, Reach, RunAs
from vmlan.plan.layout import Layout
from vmlan.plan.steps import Command, Interfaces, MakeFolder, Plan, Run, Start, Switch, spaced

RULESETS = Path(__file__).with_name("rulesets")

LAB = """
name: real
host: {place: host, uplink: eth0, forwarding: true}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
machines:
  vm1: {nics: [lan], image: tiny, disks: [{size: 1M}]}
"""

MACVTAP = """
host: {place: host}
networks:
  street: {kind: macvtap, parent: eth0}
  web: {kind: user, forward: ["8080:80"]}
machines:
  vm1: {nics: [street, web]}
"""

ANNA = RunAs(1000, 1001, "anna", "crew", Path("/home/anna"))
LAYOUT = Layout(Path("/run/vmlan/here-123456"), Path("/state"), Path("/var/lib/vmlan/here-123456"))
HOST = HostFacts(
    interfaces=(
        Existing("lo"),
        Existing("eth0"),
        Existing("wlan0", wireless=True),
        Existing("eth1", master="br0"),
    ),
    reaches=(Reach(ip_network("192.0.2.0/24"), "eth0"),),
    switches={"net.ipv4.ip_forward": "0"},
    rules=(),
    user=ANNA,
)


def facts(**changes: Any) -> Facts:
    return labs.facts(layout=LAYOUT, host=replace(HOST, **changes))


def planned(text: str = LAB, **changes: Any) -> Plan:
    return plan(labs.lab(text), facts(**changes))


def lines(made: Plan) -> list[str]:
    return [line for step in made.steps if isinstance(step, Interfaces) for line in step.lines]


def rows(name: str) -> list[dict[str, Any]]:
    """What real nft said of such rules (`nft -j list ruleset`)."""
    found: list[dict[str, Any]] = json.loads((RULESETS / f"{name}.json").read_text())
    return found


# The lab file


def test_the_file_says_which_nic() -> None:
    lab = labs.lab(LAB)
    assert lab.host.place is Place.HOST and lab.host.uplink == HostNic("eth0")
    text = LAB.replace("  lan:", "  pub: {kind: bridge, uplink: true}\n  lan:")
    pub = labs.lab(text).network("pub")
    assert isinstance(pub, BridgeNetwork) and pub.nic == "eth0"
    assert topo.host_address(pub) is None and topo.outward(labs.lab(text)) == "pub"
    street = labs.lab(LAB.replace("kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true", "kind: macvtap"))
    assert street.network("lan") == MacvtapNetwork("lan", "eth0")


@pytest.mark.parametrize(
    "text, said",
    [
        ("host: {uplink: eth0}", "needs place: host; add it, or write one of"),
        (
            "host: {place: host, uplink: simulated}",
            "place: host is this machine's network; name one of its NICs",
        ),
        (
            "host: {place: host, uplink: internet}",
            "place: host is this machine's network; name one of its NICs",
        ),
        ("host: {place: host, uplink: 'a b'}", "'a b' cannot be the name of a NIC"),
        ("host: {place: host, uplink: lo}", "'lo' cannot be the name of a NIC"),
        ("host: {place: host, uplink: a-name-of-16-chrs}", "cannot be the name of a NIC"),
        ("networks: {m: {kind: macvtap, parent: eth0}}", "only root can open; add host: {place: host}"),
        ("host: {place: host}\nnetworks: {m: {kind: macvtap}}", "nothing says on which NIC 'm' is"),
        ("host: {place: host}\nnetworks: {b: {kind: bridge, uplink: true}}", "add uplink: with a NIC's name"),
        (
            "host: {place: host, uplink: eth0}\nnetworks: {b: {kind: bridge, uplink: true}, m: {kind: macvtap}}",
            "'m' is on eth0, a port of 'b', and ports cannot have macvtaps; put its machines on 'b'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(LabFileError) as caught:
        labs.lab(f"{text}\nmachines: {{vm1: }}\n")
    assert said in str(caught.value)


# The plan


def test_every_interface_is_ours_by_name_or_mark_at_every_instant() -> None:
    made = [line.split() for line in lines(planned())]
    ours: set[str] = set()
    for words in made:
        if words[:2] in (["link", "add"], ["tuntap", "add"]):
            assert words[3].startswith("vml~") and len(words[3]) <= 15
            ours.add(words[3])
        elif words[:3] == ["link", "property", "add"]:
            assert words[6].startswith("vmlan-here-123456.")
        elif words[4:5] == ["name"]:
            assert words[3] in ours
    assert len(ours) == 2
    undone = [line for step in planned().steps if isinstance(step, Interfaces) for line in step.undo]
    assert all(line.split()[3].startswith(("vmlan-here-123456.", "vml~")) for line in undone)


def test_what_is_made_in_the_lab_runs_as_the_one_who_called_sudo() -> None:
    made = planned()
    tap = next(line for line in lines(made) if line.startswith("tuntap"))
    assert tap.endswith("user 1000 group 1001")
    (qemu,) = (step for step in made.steps if isinstance(step, Start) and step.machine)
    argv = spaced(qemu.command, LAYOUT.net)
    assert argv[2:7] == ("setpriv", "--reuid=1000", "--regid=1001", "--init-groups", "--no-new-privs")
    disk = next(step for step in made.steps if isinstance(step, Run) and step.creates)
    assert spaced(disk.command, LAYOUT.net)[:2] == ("setpriv", "--reuid=1000")
    dnsmasq = next(step for step in made.steps if step.id == "dnsmasq lan")
    assert isinstance(dnsmasq, Start) and {"--user=anna", "--group=crew"} <= set(dnsmasq.command.argv)
    owned = {str(step.path): step.owner for step in made.steps if isinstance(step, MakeFolder)}
    assert owned["/run/vmlan/here-123456/vm-vm1"] == owned["/state/vm1"] == "1000:1001"
    assert owned["/run/vmlan/here-123456/net"] == ""
    assert not any("QEMU runs as root" in note for note in made.notes)
    alone = planned(user=None)
    assert any("QEMU runs as root" in note for note in alone.notes)
    assert "setpriv" not in explain.text(alone, LAYOUT)


def test_nothing_of_the_host_is_set_that_was_not_asked_for() -> None:
    made = planned(LAB.replace(", forwarding: true", ""))
    assert not any(isinstance(step, Switch) for step in made.steps)
    text = explain.text(made, LAYOUT)
    assert "sysctl" not in text and "dev lo " not in text and "sysfs" not in text


def test_a_switch_knows_what_it_was_and_what_the_kernel_sets_along() -> None:
    along = {
        "net.ipv4.ip_forward": "0",
        "net/ipv4/conf/eth0/forwarding": "0",
        "net/ipv4/conf/wg0/forwarding": "1",
    }
    (switch,) = (step for step in planned(switches=along).steps if isinstance(step, Switch))
    assert (switch.value, switch.before, switch.also) == ("1", "0", (("net/ipv4/conf/wg0/forwarding", "1"),))


def test_ports_are_the_hosts_own() -> None:
    made = planned(MACVTAP)
    assert "hostfwd=tcp:127.0.0.1:8080-:80" in str(made.steps) and "socat" not in str(made.steps)


def test_the_script_undoes_what_it_did() -> None:
    script = explain.script(planned(), LAYOUT, "real", "0")
    undo = script.partition("undo() {")[2].partition("\n}\n")[0]
    assert "link del dev vmlan-here-123456.lan" in undo and "sysctl -q -w net.ipv4.ip_forward=0" in undo
    assert "nft delete table ip vmlan_here_123456.lan" in undo
    assert "--map-root-user" not in script and "as root; Ctrl-C" in script


# macvtap


def test_a_macvtap_has_the_guests_mac_and_qemu_its_open_device() -> None:
    made = planned(MACVTAP)
    link = topo.survey(labs.lab(MACVTAP)).links[0]
    assert f"address {link.mac} type macvtap mode bridge" in "\n".join(lines(made)) and link.leased_elsewhere
    (qemu,) = (step for step in made.steps if isinstance(step, Start) and step.machine)
    assert "tap,id=net0,fd=3" in qemu.command.argv and qemu.command.devices == ("vm1-street",)
    argv = spaced(Command(("qemu",), user="1:2", devices=("a", "b")), None)
    assert argv[:2] == ("sh", "-c") and argv[4:6] == ("setpriv", "--reuid=1")
    assert "3<>/dev/tap$(cat /sys/class/net/a/ifindex) 4<>" in argv[2]
    assert any("this host and they do not reach each other" in note for note in made.notes)


@pytest.mark.parametrize(
    "parent, said",
    [("eth7", "has no NIC eth7"), ("wlan0", "is Wi-Fi"), ("eth1", "is a port of br0")],
)
def test_a_nic_that_cannot_have_macvtaps_is_refused(parent: str, said: str) -> None:
    with pytest.raises(HostError, match=said):
        planned(MACVTAP.replace("parent: eth0", f"parent: {parent}"))


def test_a_machine_has_as_many_macvtaps_as_a_shell_can_open() -> None:
    many = MACVTAP.replace("nics: [street, web]", f"nics: [{', '.join(['street'] * 8)}]")
    with pytest.raises(RequestError, match="has 8 NICs of kind macvtap, and can have 7"):
        planned(many)


# Collisions


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            {"interfaces": (Existing("eth0"), Existing("lan"))},
            "network lan: this host has an interface lan already",
        ),
        (
            {"interfaces": (Existing("eth0"), Existing("vm1-lan"))},
            "machine vm1: this host has an interface vm1-lan",
        ),
        (
            {"interfaces": (Existing("lo"), Existing("enp3s0"))},
            "this host has no NIC eth0\n  → it has: enp3s0",
        ),
        (
            {"interfaces": (Existing("lo"), Existing("enp3s0", frozenset({"eth0"})))},
            "uplink: eth0 is another name of enp3s0\n  → write enp3s0",
        ),
        (
            {"reaches": (Reach(ip_network("10.2.0.128/25"), "tun0"),)},
            r"10\.2\.0\.0/24 overlaps 10\.2\.0\.128/25, which this host reaches by tun0",
        ),
        (
            {"tables": frozenset({("ip", "vmlan_here_123456.lan")})},
            "has a table ip vmlan_here_123456.lan already",
        ),
    ],
)
def test_what_is_there_already_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(HostError, match=said):
        planned(**changes)


def test_what_is_there_already_and_ours_is_not() -> None:
    mark = frozenset({marks.altname(LAYOUT, "lan")})
    reach = Reach(ip_network("10.2.0.0/24"), "lan")
    ours = planned(interfaces=(Existing("eth0"), Existing("lan", mark)), reaches=(reach,))
    assert ours.steps == planned().steps


def test_another_labs_marks_are_not_ours() -> None:
    other = replace(LAYOUT, run=Path("/run/vmlan/here"))
    assert not marks.is_marked(other, {marks.altname(LAYOUT, "lan")})
    assert not marks.table(LAYOUT, "lan").startswith(marks.table(other, ""))


def test_two_labs_on_one_host_have_ports_of_their_own() -> None:
    text = "host: {place: host}\nnetworks: {p: {kind: socket}}\nmachines: {a: {nics: [p]}, b: {nics: [p]}}"
    one, two = (topo.survey(labs.lab(text, Path("/labs", name))).links[0].ports for name in ("one", "two"))
    assert one != two and all(20000 <= port < 32768 for port in (*one, *two))


# Others' rules

NEED = Need("lan", forward=True, between=True, serves=True)


@pytest.mark.parametrize(
    "name, owner, kinds, mend",
    [
        ("docker", "docker", ["forward"], "iptables -I DOCKER-USER -i lan -j ACCEPT"),
        ("docker-mended", None, [], None),
        ("ufw", "ufw", ["forward", "input"], "ufw route allow in on lan"),
        ("firewalld", "firewalld", ["forward", "input"], "firewall-cmd --zone=trusted --add-interface=lan"),
        ("plain", "nftables", ["forward"], "nft insert rule inet filter forward 'iifname \"lan\" accept'"),
    ],
)
def test_whose_chain_would_drop_what(
    name: str, owner: str | None, kinds: list[str], mend: str | None
) -> None:
    found = coexist.findings(rows(name), {}, [NEED])
    assert [each.kind for each in found] == kinds
    assert {each.owner for each in found} == ({owner} if owner else set())
    assert (found[0].mend[0] if found else None) == mend


def test_a_pattern_of_names_lets_pass_too() -> None:
    assert coexist.findings([*rows("plain"), ANSWERS], {}, [Need("lab7", forward=True)]) == ()


#: What lets the answers of all connections pass (`ct state established,related accept`), as nft prints it.
ANSWERS: dict[str, Any] = {
    "rule": {
        "family": "inet",
        "table": "filter",
        "chain": "forward",
        "expr": [
            {
                "match": {
                    "op": "in",
                    "left": {"ct": {"key": "state"}},
                    "right": ["established", "related"],
                }
            },
            {"accept": None},
        ],
    }
}


def test_one_direction_is_not_enough_where_answers_are_dropped_too() -> None:
    only_in = [
        row for row in rows("docker-mended") if "oifname" not in str(row) or "DOCKER-USER" not in str(row)
    ]
    assert len(only_in) < len(rows("docker-mended"))
    assert [each.owner for each in coexist.findings(only_in, {}, [Need("lan", forward=True)])] == ["docker"]
    (found,) = coexist.findings(rows("plain"), {}, [Need("lab7", forward=True)])
    assert found.mend[1] == "nft insert rule inet filter forward 'oifname \"lab7\" accept'"


@pytest.mark.parametrize(
    "words, also",
    [
        ({"xt": {"type": "match", "name": "conntrack"}}, {"accept": None}),
        (
            {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", {"accept": None}]]}}},
            None,
        ),
    ],
)
def test_answers_may_be_let_pass_in_other_words(words: dict[str, Any], also: dict[str, Any] | None) -> None:
    rule = {**ANSWERS["rule"], "expr": [words, *([also] if also else [])]}
    assert coexist.findings([*rows("plain"), {"rule": rule}], {}, [Need("lab7", forward=True)]) == ()


@pytest.mark.parametrize(
    "name, chain, mend",
    [
        ("docker", "ip filter DOCKER-FORWARD", "iptables -I DOCKER-USER -i lan -j ACCEPT"),
        ("ufw", "ip filter ufw-reject-forward", "ufw route allow in on lan"),
        (
            "firewalld",
            "inet firewalld filter_FWD_public",
            "firewall-cmd --zone=trusted --add-interface=lan",
        ),
        ("plain", "inet filter other", "nft insert rule inet filter other 'iifname \"lan\" accept'"),
    ],
)
def test_what_lets_pass_a_chain_that_has_dropped_something(name: str, chain: str, mend: str) -> None:
    assert coexist.mends(rows(name), chain, "lan", "forward")[0] == mend


def test_who_needs_nothing_is_told_nothing() -> None:
    assert coexist.findings(rows("docker"), {}, [Need("lan", between=True)]) == ()
    assert coexist.findings([], {}, [NEED]) == ()


def test_frames_on_a_bridge_are_asked_of_iptables_where_br_netfilter_is() -> None:
    (found,) = coexist.findings(
        rows("docker"), {"net.bridge.bridge-nf-call-iptables": "1"}, [Need("lan", between=True)]
    )
    assert found.kind == "bridged" and found.mend[-1] == "or: sysctl -w net.bridge.bridge-nf-call-iptables=0"


def test_the_older_iptables_has_tables_of_its_own() -> None:
    saved = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n"
    (found,) = coexist.findings([], {}, [NEED], saved + "-A FORWARD -i eth1 -j ACCEPT\nCOMMIT\n")
    assert found.owner == "iptables-legacy" and found.mend[0] == "iptables-legacy -I FORWARD -i lan -j ACCEPT"
    way_out = "-A FORWARD -i lan -o eth0 -j ACCEPT\n"
    (found,) = coexist.findings([], {}, [NEED], f"{saved}{way_out}COMMIT\n")
    assert found.mend[1] == "iptables-legacy -I FORWARD -o lan -j ACCEPT"
    answers = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    for back in (answers, "-A FORWARD -i eth0 -o lan -j ACCEPT\n"):
        assert coexist.findings([], {}, [NEED], f"{saved}{way_out}{back}COMMIT\n") == ()


def test_what_would_be_dropped_is_a_note_of_the_plan() -> None:
    note = next(note for note in planned(rules=tuple(rows("docker"))).notes if "Docker" in note)
    assert note == (
        "Docker's policy (ip filter FORWARD) would drop what is passed on from and to lan. What would mend it: "
        "iptables -I DOCKER-USER -i lan -j ACCEPT; iptables -I DOCKER-USER -o lan -j ACCEPT"
    )
    assert any("only root may see" in note for note in planned(rules=None).notes)
