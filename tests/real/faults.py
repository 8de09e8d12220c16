"""Faults that are planted in a running lab, and the verdict that `vmlan trace` must give of each."""

from __future__ import annotations

from dataclasses import dataclass

LAB = """
name: faults
host: {uplink: simulated, forwarding: true}
networks:
  wire: {kind: tap, host: 10.1.1.1/24}
  lan: {kind: bridge, host: 10.2.0.1/24, host6: "fd00:2::1/64", dhcp: true, nat: true}
  alone: {kind: user}
  cable: {kind: socket}
machines:
  vm1: {nics: [{network: wire, address: 10.1.1.2/24, gateway: 10.1.1.1}]}
  vm2: {nics: [lan, {network: cable, address: 10.3.0.2/24}]}
  vm3: {nics: [lan, {network: cable, address: 10.3.0.3/24}]}
  vm4: {memory: 128M, nics: [alone]}
  vm5: {memory: 128M}
"""

#: A host of the simulated outside.
INTERNET = "203.0.113.68"

#: The addresses that the lab gives out by itself, in the file's order.
VM2, VM3 = "10.2.0.11", "10.2.0.12"


@dataclass(frozen=True)
class Fault:
    """One fault: how it is planted and mended (words for vmlan), what is traced, and the verdict."""

    name: str
    trace: str
    reason: str
    at: str = ""  #: empty: the same as the last word of the trace
    plant: tuple[str, ...] = ()
    mend: tuple[str, ...] = ()
    lost: str | None = "question"
    says: str = ""  #: what must stand in the verdict's words


def _rule(chain: str, rule: str, family: str = "inet") -> tuple[str, ...]:
    """What makes a table with one rule in a base chain."""
    table = f"host -- nft add table {family} planted"
    base = (
        f"host -- nft add chain {family} planted c {{ type filter hook {chain} priority 0; policy accept; }}"
    )
    return table, base, f"host -- nft add rule {family} planted c {rule}"


def _no_rule(family: str = "inet") -> tuple[str, ...]:
    return (f"host -- nft delete table {family} planted",)


FAULTS = (
    Fault("nothing is wrong", f"vm2 {INTERNET}", "delivered", INTERNET, lost=None),
    Fault("nothing is wrong, in a segment", "vm2 vm3", "delivered", "vm3", lost=None),
    Fault("nothing is wrong, IPv6", "vm2 fd00:2::1", "delivered", "fd00:2::1", lost=None),
    Fault("nothing is wrong, over a socket network", "vm2 vm3 --via cable", "delivered", "vm3", lost=None),
    Fault("no NAT for a private source", f"vm1 {INTERNET}", "no-nat-for-private-source", "outside", says="10.1.1.2"),
    Fault(
        "the host side does not forward", f"vm1 {INTERNET}", "not-forwarded", "host",
        ("set host.forwarding off",), ("set host.forwarding on",), says="ip_forward",
    ),
    Fault(
        "the FORWARD policy drops", f"vm2 {INTERNET}", "filtered", "host",
        ("set host.forward-policy drop",), ("set host.forward-policy accept",), says="policy drop",
    ),
    Fault(
        "a rule drops", f"vm2 {INTERNET}", "filtered", "host",
        _rule("forward", f"ip daddr {INTERNET} counter drop"), _no_rule(), says=f"ip daddr {INTERNET}",
    ),
    Fault(
        "a rule rejects", f"vm2 {INTERNET}", "filtered", "host",
        _rule("forward", f"ip daddr {INTERNET} reject"), _no_rule(), says="reject",
    ),
    Fault(
        "a rule drops the answer", f"vm2 {INTERNET}", "filtered", "host",
        _rule("forward", f"ip saddr {INTERNET} drop"), _no_rule(), lost="answer", says="ip saddr",
    ),
    Fault(
        "a rule drops what is for the host side", "vm1 host", "filtered", "host",
        _rule("input", "icmp type echo-request drop"), _no_rule(), says="echo-request",
    ),
    Fault(
        "a rule drops what the host side sends", "host vm1", "filtered", "host",
        _rule("output", "ip daddr 10.1.1.2 drop"), _no_rule(), says="10.1.1.2",
    ),
    Fault(
        "a rule resets connections in the target's name", f"vm1 {VM3} --tcp 80", "filtered", "host",
        _rule("forward", "tcp dport 80 reject with tcp reset"), _no_rule(), says="tcp reset",
    ),
    Fault(
        "a rule of the bridge drops", "vm2 vm3", "filtered", "host",
        _rule("forward", f"ip daddr {VM3} drop", "bridge"), _no_rule("bridge"), says=VM3,
    ),
    Fault(
        "the uplink's address is gone", f"vm2 {INTERNET}", "no-route-on-host", "host",
        ("set host.uplink.address none",), ("set host.uplink.address 198.51.100.2/24",), says="nreachable",
    ),
    Fault(
        "the uplink is switched off", f"vm2 {INTERNET}", "link-down", "host",
        ("host -- ip link set dev eth0 down",),
        ("host -- ip link set dev eth0 up", "host -- ip route replace default via 198.51.100.1"), says="eth0",
    ),
    Fault(
        "the source's cable is pulled", "vm2 vm3", "link-down", "vm2", ("link vm2:0 down",), ("link vm2:0 up",)
    ),
    Fault(
        "the target's cable is pulled", "vm2 vm3", "link-down", "vm3", ("link vm3:0 down",), ("link vm3:0 up",)
    ),
    Fault(
        "the host side's end of the cable is switched off", "vm1 host", "link-down", "host",
        ("host -- ip link set dev wire down",), ("host -- ip link set dev wire up",), says="wire",
    ),
    Fault(
        "a guest has switched its card off", "vm1 host", "link-down", "vm1",
        ("exec vm1 -- ip link set eth0 down",),
        ("exec vm1 -- ip link set eth0 up", "exec vm1 -- ip route add default via 10.1.1.1 metric 102"), says="eth0",
    ),
    Fault(
        "a guest has no default route", f"vm1 {INTERNET}", "no-route-in-guest", "vm1",
        ("exec vm1 -- ip route del default",), ("exec vm1 -- ip route add default via 10.1.1.1 metric 102",),
    ),
    Fault(
        "a guest has no address", "vm1 host", "no-address", "vm1",
        ("exec vm1 -- ip addr flush dev eth0",),
        ("exec vm1 -- ip addr add 10.1.1.2/24 dev eth0", "exec vm1 -- ip route add default via 10.1.1.1 metric 102"),
    ),
    Fault(
        "the target has lost its address", "vm2 vm3", "no-address", "vm3",
        (f"exec vm3 -- ip addr del {VM3}/24 dev eth0",),
        (f"exec vm3 -- ip addr add {VM3}/24 dev eth0", "exec vm3 -- ip route replace default via 10.2.0.1"),
        says=VM3,
    ),
    Fault(
        "the host side has lost its address", f"vm1 {INTERNET}", "no-address", "host",
        ("host -- ip addr del 10.1.1.1/24 dev wire", "exec vm1 -- ip neigh flush dev eth0"),
        ("host -- ip addr add 10.1.1.1/24 dev wire",), says="10.1.1.1",
    ),
    Fault("nobody has the address", "vm2 10.2.0.99", "no-arp-answer", "vm2:0", says="10.2.0.99"),
    Fault("nobody has the address, IPv6", "vm2 fd00:2::99", "no-arp-answer", "vm2:0", says="fd00:2::99"),
    Fault(
        "the gateway is nobody's", f"vm1 {INTERNET}", "no-arp-answer", "wire",
        ("exec vm1 -- ip route replace default via 10.1.1.9 metric 102",),
        ("exec vm1 -- ip route replace default via 10.1.1.1 metric 102",),
        says="10.1.1.9",
    ),
    Fault(
        "another machine took the address", "host vm2", "duplicate-address", "lan",
        (
            f"exec vm2 -- ip addr del {VM2}/24 dev eth0", f"exec vm3 -- ip addr add {VM2}/24 dev eth0",
            "host -- ip neigh flush dev lan",
        ),
        (
            f"exec vm3 -- ip addr del {VM2}/24 dev eth0", f"exec vm2 -- ip addr add {VM2}/24 dev eth0",
            "exec vm2 -- ip route replace default via 10.2.0.1", "host -- ip neigh flush dev lan",
        ),
        says="vm3",
    ),
    Fault(
        "the target knows no way back", f"vm1 {VM3}", "no-route-back", "vm3",
        ("exec vm3 -- ip route del default",), ("exec vm3 -- ip route add default via 10.2.0.1",), lost="answer",
    ),
    Fault(
        "the target does not answer pings", "vm2 vm3", "no-answer", "vm3",
        ("exec vm3 -- sysctl -w net.ipv4.icmp_echo_ignore_all=1",),
        ("exec vm3 -- sysctl -w net.ipv4.icmp_echo_ignore_all=0",), says="icmp_echo_ignore_all",
    ),
    Fault("nobody listens", "vm2 vm3 --tcp 99", "refused", "vm3", says="99"),
    Fault(
        "the way back is another", f"vm1 {INTERNET}", "reverse-path", "host",
        (
            "exec vm1 -- ip addr add 192.0.2.9/32 dev eth0",
            "exec vm1 -- ip route replace 203.0.113.0/24 via 10.1.1.1 src 192.0.2.9",
            "host -- sysctl -w net.ipv4.conf.wire.rp_filter=1",
        ),
        (
            "host -- sysctl -w net.ipv4.conf.wire.rp_filter=0", "exec vm1 -- ip route del 203.0.113.0/24",
            "exec vm1 -- ip addr del 192.0.2.9/32 dev eth0",
        ),
        says="rp_filter",
    ),
    Fault(
        "the answer goes another way", "vm2 vm3", "asymmetric", "vm3:1",
        (
            f"exec vm3 -- ip route add {VM2}/32 dev eth1 src {VM3}",
            "exec vm2 -- sysctl -w net.ipv4.conf.all.rp_filter=1",
        ),
        (f"exec vm3 -- ip route del {VM2}/32", "exec vm2 -- sysctl -w net.ipv4.conf.all.rp_filter=0"),
        lost="answer", says="another way",
    ),
    Fault("nobody outside knows the way", "vm2 192.0.2.200", "no-route-outside", "outside", says="192.0.2.200"),
    Fault("user-mode stacks are separate", "vm2 vm4", "no-path", "vm4", says="alone"),
    Fault("a machine without a NIC", "vm5 host", "no-path", "vm5"),
    Fault("nobody sends anything", "vm2 vm3 --watch 0.5", "not-sent", "vm2"),
    Fault(
        "a guest's own rules keep the answer out", f"vm2 {INTERNET}", "filtered-in-guest", "vm2",
        (
            "exec vm2 -- ip rule add pref 10 lookup local", "exec vm2 -- ip rule del pref 0",
            "exec vm2 -- ip route add blackhole default table 77",
            "exec vm2 -- ip rule add pref 5 iif eth0 table 77",
        ),
        (
            "exec vm2 -- ip rule del pref 5", "exec vm2 -- ip rule add pref 0 lookup local",
            "exec vm2 -- ip rule del pref 10", "exec vm2 -- ip route del blackhole default table 77",
        ),
        lost="answer",
    ),
    Fault(
        "ports that are kept apart", "vm2 vm3", "lost", "vm3:0",
        (
            "host -- bridge link set dev vm2-lan isolated on", "host -- bridge link set dev vm3-lan isolated on",
            "exec vm2 -- ip neigh flush dev eth0",
        ),
        (
            "host -- bridge link set dev vm2-lan isolated off",
            "host -- bridge link set dev vm3-lan isolated off",
        ),
    ),
)  # fmt: skip

#: Comes last, since it cannot be mended without starting a machine.
LAST = Fault("the target has ended", "vm2 vm3", "not-running", "vm3", ("host -- pkill -f -- -name.vm3",), ())
