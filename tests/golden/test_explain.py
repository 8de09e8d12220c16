"""What is planned, word by word, for labs and hosts that are not here.

`pytest tests/golden --regenerate` writes the files anew. Their shell is also read by bash itself.
"""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tests import labs
from vmlan import labfile
from vmlan.plan import explain
from vmlan.plan.build import plan
from vmlan.plan.facts import Existing, Facts, HostFacts, Reach, RunAs
from vmlan.plan.layout import Layout
from vmlan.qemu.facts import KvmVerdict

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = Path(__file__).parent / "files"

MEDIA = """
name: media
machines:
  new: {disks: [{size: 8G}]}
  overlay: {image: debian.qcow2, memory: 1G, cpus: 2}
  data: {image: tiny, disks: [{base: data.img, size: 2G}, 'a,b:c.img']}
  live: {image: live.iso, usb: [stick.img], boot: [cdrom, usb]}
  floppy: {floppy: boot.img, machine: q35, boot: [floppy]}
  direct: {kernel: vmlinuz, initrd: initrd.img, append: 'console=ttyS0 root=/dev/vda, ro', accel: tcg}
  extra: {image: tiny, cpu: host, qemu-args: [-rtc, base=localtime]}
  old: {disks: [{file: data.img, bus: ide}], floppy: [boot.img, boot.img], cdrom: live.iso, machine: pc-q35-xenial}
  buses:
    firmware: uefi
    disks:
    - {size: 1G, bus: sata}
    - {size: 1G, bus: sata}
    - {size: 1G, bus: scsi}
    - {size: 1G, bus: scsi}
    - {size: 1G, bus: nvme}
    - {file: stick.img, read-only: true}
"""

NETWORKS = """
name: networks
host: {forwarding: true, uplink: internet}
networks:
  nat1: {kind: user, forward: ['8080:80', '192.0.2.7:5353:53/udp']}
  p2p: {kind: socket}
  ring: {kind: socket}
  nowhere: {kind: none}
  wire: {kind: tap}
  legacy: {kind: hub, forward: ['2222:22']}
  a-network-with-a-long-name: {kind: bridge, host: 10.3.0.1/24, dhcp: true}
machines:
  vm1: {nics: [nat1, p2p, ring, nowhere, wire]}
  vm2: {nics: [p2p, ring, {network: a-network-with-a-long-name, address: 10.3.0.77/24, gateway: 10.3.0.1}]}
  old: {image: tiny, nics: [{network: legacy, model: e1000}, {network: legacy, model: usb-net}, nowhere]}
  vm3: {nics: [ring, a-network-with-a-long-name, {network: a-network-with-a-long-name, model: e1000}]}
"""

BRIDGES = """
name: bridges
host: {forwarding: true, uplink: simulated}
networks:
  pub: {kind: bridge, uplink: true}
  lan: {kind: bridge, host: 10.2.0.1/24, host6: auto, dhcp: true, nat: true, vlan: 20}
  wire: {kind: tap, host: 10.1.1.1/24, host6: "fd00:1::1/64"}
machines:
  vm1: {nics: [pub, {network: lan, vlan: 10}, {network: lan, vlan: 20}]}
  vm2: {nics: [{network: lan, trunk: [10, 20]}, {network: wire, address6: "fd00:1::2/64", gateway6: "fd00:1::1"}]}
"""

ON_HOST = """
name: on-host
host: {place: host, forwarding: true, uplink: enp3s0}
networks:
  lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  wire: {kind: tap, host: 10.1.1.1/24, host6: "fd00:1::1/64"}
  street: {kind: macvtap}
  web: {kind: user, forward: ['192.0.2.7:8080:80']}
  p2p: {kind: socket}
machines:
  vm1: {nics: [lan, street, {network: street, model: e1000}, p2p], image: tiny, disks: [{size: 1G}]}
  vm2: {nics: [{network: wire, address: 10.1.1.2/24}, web, p2p]}
"""

#: A host that has sudo, a network of its own, and Docker.
REAL_HOST = HostFacts(
    interfaces=(Existing("lo"), Existing("enp3s0"), Existing("docker0")),
    reaches=(Reach(IPv4Network("192.0.2.0/24"), "enp3s0"),),
    switches={"net.ipv4.ip_forward": "0", "net/ipv4/conf/docker0/forwarding": "1"},
    rules=tuple(json.loads((Path(__file__).parents[1] / "unit/rulesets/docker.json").read_text())),
    hosts="127.0.0.1 localhost workshop\n",
    user=RunAs(1000, 1000, "anna", "anna", Path("/home/anna")),
)

WORKING = KvmVerdict(True, "a test guest ran")

CASES: dict[str, tuple[str, Facts]] = {
    "media": (MEDIA, labs.facts()),
    "networks": (NETWORKS, labs.facts()),
    "networks-slirp4netns": (NETWORKS, labs.facts(internet="slirp4netns", etc=frozenset({"hosts"}))),
    "bridges": (BRIDGES, labs.facts()),
    "on-host": (
        ON_HOST,
        labs.facts(
            host=REAL_HOST,
            layout=Layout(
                run=Path("/run/vmlan/here-123456"),
                state=Path("/home/anna/.local/state/vmlan/here-123456"),
                book=Path("/var/lib/vmlan/here-123456"),
            ),
        ),
    ),
    "media-kvm": (MEDIA, labs.facts(kvm=WORKING)),
}
CASES |= {
    f"example-{path.name}": (path.joinpath("lab.yaml").read_text(), labs.facts())
    for path in sorted(EXAMPLES.iterdir())
    if path.joinpath("lab.yaml").exists()
}


@pytest.mark.parametrize("name", CASES)
def test_explain(name: str, request: pytest.FixtureRequest) -> None:
    text, facts = CASES[name]
    made = plan(labfile.loads(text, folder=Path("/labs/here")), facts)
    said = "".join(f"# note: {note}\n" for note in made.notes) + explain.text(made, facts.layout)
    golden = FILES / f"{name}.sh"
    if request.config.getoption("--regenerate"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(said)
    assert said == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_bash_reads_what_is_printed(name: str) -> None:
    text, facts = CASES[name]
    made = plan(labfile.loads(text, folder=Path("/labs/here")), facts)
    for shell in (explain.text(made, facts.layout), explain.script(made, facts.layout, "a lab", "0")):
        subprocess.run(["bash", "-n"], input=shell, text=True, check=True)


def test_explaining_one_name_prints_what_is_about_it() -> None:
    made = plan(labs.lab(labs.LAN), labs.facts())
    about = explain.text(made, labs.facts().layout, "vm2")
    assert "-name vm2" in about and "tuntap add dev vm2-lan" in about and "disk0.qcow2" in about
    assert "vm1" not in about
    assert {"vm1", "vm2", "lan", "wire"} <= explain.names(made)
