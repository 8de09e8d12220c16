"""Which machines go on from a template, and from which: what shapes a machine is in its key, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import labs
from vmlan.plan import templates, topology
from vmlan.plan.build import plan
from vmlan.plan.facts import Facts
from vmlan.plan.steps import Installed, MakeFolder, MakeTemplate, Plan, Space, Start, Warm, meeting
from vmlan.qemu.facts import KvmVerdict

ROOT = Path("/cache/templates")
NETWORKS = (
    "networks: {lan: {kind: bridge, host: 10.2.0.1/24, dhcp: true}, off: {kind: none}, nat: {kind: user}}\n"
)


def host(**changes: object) -> Facts:
    kernel, initrd = Path("/cache/tiny/vmlinux"), Path("/cache/tiny/initrd")
    files = {labs.QEMU.path: "qemu, 1", kernel: "vmlinux, 1", initrd: "initrd, 1"}
    return labs.facts(**{"templates": ROOT, "files": files, **changes})


def planned(machines: str, facts: Facts | None = None) -> Plan:
    return plan(labs.lab(f"{NETWORKS}machines: {machines}"), facts or host())


def key(machine: str, facts: Facts | None = None) -> str:
    """The key of the template of a lab's one machine."""
    (step,) = made(planned(f"{{vm1: {machine}}}", facts))
    return step.key


def made(found: Plan) -> list[MakeTemplate]:
    return [step for step in found.steps if isinstance(step, MakeTemplate)]


def starts(found: Plan) -> Iterator[Start]:
    return (step for step in found.steps if isinstance(step, Start) and step.machine is not None)


def other(path: str) -> Facts:
    """A host where somebody has written to that file."""
    facts = host()
    return replace(facts, files={**facts.files, Path(path): "another, 2"})


PLAIN = key("{}")


@pytest.mark.parametrize(
    ("machine", "facts"),
    [
        ("{memory: 128M}", host()),
        ("{cpus: 2}", host()),
        ("{cpu: qemu64}", host()),
        ("{append: quiet}", host()),
        ("{machine: pc-i440fx-7.2}", host()),
        ("{nics: [lan]}", host()),
        ("{nics: [lan, off]}", host()),
        ("{}", host(qemu=replace(labs.QEMU, full_version="7.2.23"))),
        ("{}", host(kvm=KvmVerdict(True, "it runs"), processor="one")),
        ("{}", other("/usr/bin/qemu-system-x86_64")),
        ("{}", other("/cache/tiny/vmlinux")),
        ("{}", other("/cache/tiny/initrd")),
    ],
    ids=range(12),
)
def test_what_shapes_a_machine_makes_another_template(machine: str, facts: Facts) -> None:
    assert key(machine, facts) != PLAIN


def test_the_number_of_virtio_cards_counts_wherever_they_are() -> None:
    keys = [key(f"{{nics: [{nics}]}}") for nics in ("", "lan", "lan, lan", "lan, lan, lan")]
    assert len(set(keys)) == 4
    assert key("{nics: [off]}") not in keys and key("{nics: [nat, off]}") == key("{nics: [off, nat]}")


def test_cards_that_are_plugged_in_do_not_count_but_their_guest_must_know_their_lines() -> None:
    e1000, e1000e = "{network: lan, model: e1000}", "{network: lan, model: e1000e}"
    assert key(f"{{nics: [{e1000e}]}}") == key(f"{{nics: [{e1000e}, {e1000e}]}}") == PLAIN
    assert key(f"{{nics: [{e1000}]}}") == key(f"{{nics: [{e1000}, {e1000}]}}") != PLAIN
    # With cards that are plugged in, those in their places get their drivers later, wherever they lead.
    assert key(f"{{nics: [{e1000e}, lan]}}") == key(f"{{nics: [lan, {e1000e}]}}") == key("{nics: [off]}")
    assert key(f"{{nics: [{e1000}, lan]}}") == key(f"{{nics: [off, {e1000}]}}") != key("{nics: [off]}")


@pytest.mark.parametrize(
    "machine",
    [
        "{nics: [{network: lan, mac: 52:54:00:12:34:56, address: 10.2.0.9/24, gateway: 10.2.0.1}]}",
        "{image: tiny, nics: [lan], disks: [{size: 1G}, {size: 1G, bus: scsi}]}",
    ],
)
def test_what_is_a_machines_own_does_not(machine: str) -> None:
    assert key(machine) == key("{nics: [lan]}")


def test_the_host_processor_counts_with_kvm_alone() -> None:
    kvm = KvmVerdict(True, "it runs")
    assert key("{}", host(kvm=kvm, processor="a")) != key("{}", host(kvm=kvm, processor="b"))
    assert key("{}", host(processor="a")) == key("{}", host(processor="b"))


def test_a_key_says_all_that_it_is_made_of() -> None:
    (one,) = made(planned("{vm1: {memory: 128M, nics: [lan]}}"))
    parts = dict(one.parts)
    assert parts["memory"] == "128M" and parts["virtio cards"] == "1"
    # Where it is kept, and whose it is, are no part of it.
    assert not any(str(ROOT) in value or "vm1" in value for value in parts.values())


def test_machines_of_a_kind_share_one_and_each_kind_has_its_own() -> None:
    found = planned("{a: {nics: [lan]}, b: {nics: [lan]}, c: {}}")
    first, second = made(found)
    assert {first.machines, second.machines} == {("a", "b"), ("c",)}
    a, b, c = starts(found)
    assert a.warm is not None and b.warm is not None and c.warm is not None
    assert a.warm.template == b.warm.template == first.key != c.warm.template
    assert a.warm.folder == ROOT / first.key
    assert a.warm.told != b.warm.told
    order = [step.id for step in found.steps]
    assert order.index(first.id) < order.index(a.id)


def test_a_machine_maps_the_memory_that_the_template_wrote_and_writes_none_of_it() -> None:
    found = planned("{vm1: {nics: [lan]}}")
    (one,), (start,) = made(found), starts(found)
    assert start.warm is not None
    making, going = " ".join(one.command.argv), " ".join(start.warm.command.argv)
    assert f"share=on,mem-path={ROOT}/{one.key}.new/memory" in making
    assert f"share=off,mem-path={ROOT}/{one.key}/memory" in going
    assert "-incoming defer" in going and "-incoming" not in making + " ".join(start.command.argv)
    assert "52:54:00:76:6d:00" in making and "52:54:00:76:6d:00" not in going


def test_its_own_macs_stand_where_those_of_the_template_stood() -> None:
    found = planned("{vm1: {nics: [{network: lan, mac: '52:54:00:01:26:5c'}, {network: lan, model: e1000}]}}")
    (one,), (start,) = made(found), starts(found)
    assert start.warm is not None
    assert one.macs == ("52:54:00:76:6d:00",) and start.warm.told.macs == ("52:54:00:01:26:5c",)
    assert start.warm.load[-1] == f'migrate_incoming "exec:cat {start.warm.told.state}"'


@pytest.mark.parametrize(
    ("nics", "bound"),
    [
        ("lan", True),
        ("lan, lan", True),
        ("nat", False),
        ("lan, off", False),
        ("lan, {network: lan, model: e1000}", False),
    ],
)
def test_a_guest_has_drivers_before_only_for_cards_on_taps(nics: str, bound: bool) -> None:
    """What a driver agrees on with a card depends on what that leads to; and names depend on what came first."""
    found = planned(f"{{vm1: {{nics: [{nics}]}}}}")
    (one,), (start,) = made(found), starts(found)
    assert start.warm is not None
    making = " ".join(one.command.argv)
    assert (one.bound, start.warm.told.bound) == (bound, bound)
    assert ("ifname=place0" in making, "hubport" in making) == (bound, not bound)
    assert f"vmlan.template={'' if bound else 'un'}bound" in making
    assert one.command.taps == tuple(f"place{n}" for n in range(nics.count("lan"))) * bound


def test_other_cards_and_disks_are_plugged_in_and_those_in_places_are_not() -> None:
    found = planned(
        "{vm1: {image: tiny, disks: [{size: 1G}], nics: [lan, {network: nat, model: e1000}, off]}}"
    )
    (start,) = starts(found)
    assert start.warm is not None
    plugged = [line.split(",")[0] for line in start.warm.plug]
    assert plugged == [
        "drive_add 0 if=none",
        "device_add virtio-blk-pci",
        "netdev_add user",
        "device_add e1000",
        "cont",
    ]
    assert [word.split(",")[1] for word in start.warm.command.argv if word.startswith("virtio-net-pci")] == [
        "id=nic0",
        "id=nic2",
    ]
    assert (len(start.warm.told.cards), start.warm.told.elsewhere) == (2, 1)
    assert start.warm.told.disks == ("/dev/vda",)


def test_a_guest_waits_for_each_of_its_disks_by_its_name() -> None:
    found = planned(
        "{vm1: {image: tiny, disks: [{size: 1G}, {size: 1G, bus: scsi}, {size: 1G}, {size: 1G, bus: scsi}, {size: 1G}]}}"
    )
    (start,) = starts(found)
    assert start.warm is not None
    assert start.warm.told.disks == ("/dev/vda", "/dev/vdb", "/dev/vdc", "/dev/sda", "/dev/sdb")


def test_a_guest_is_told_what_it_will_be_leased_and_nothing_that_it_will_not() -> None:
    found = planned("{vm1: {nics: [lan, {network: lan, address: 10.2.0.9/24}, nat]}}")
    (start,) = starts(found)
    assert start.warm is not None
    told = start.warm.told
    first, second, third = told.cards
    assert (first.address, first.gateway, first.lessor) == ("10.2.0.11/24", "10.2.0.1", "lan")
    assert (second.address, second.gateway, second.lessor) == ("10.2.0.9/24", None, "")
    assert third.address is None
    assert told.domain == "here.internal"
    assert told.name == "vm1" and told.words.startswith("vmlan.hostname=vm1 vmlan.nic=")
    assert told.words.endswith(",10.2.0.9/24")


def test_the_host_side_looks_whether_those_are_there_that_it_leases_addresses_to() -> None:
    """By itself, and each alone; those with addresses of their own it does not know."""
    found = planned("{vm1: {nics: [lan, {network: lan, address: 10.2.0.9/24}, nat]}, vm2: {nics: [lan]}}")
    cards = [card for start in starts(found) if start.warm is not None for card in start.warm.told.cards]
    looks = meeting(cards)
    assert looks is not None and (looks.argv, looks.space) == (("ip", "-batch", "-"), Space.HOST)
    assert looks.stdin == "".join(
        f"neigh replace {ip} lladdr {card.mac} nud probe dev lan\n"
        for ip, card in zip(("10.2.0.11", "10.2.0.12"), (cards[0], cards[3]), strict=True)
    )
    assert meeting(cards[1:3]) is None


WHY = [
    ("{image: debian.qcow2}", "nobody knows how"),
    ("{kernel: live.iso}", "nobody knows how"),
    ("{qemu-args: [-s]}", "qemu-args"),
    ("{image: debian.qcow2, firmware: uefi}", "nobody knows how"),
    ("{machine: q35, image: tiny, disks: [{size: 1G}]}", "takes no cards"),
    ("{machine: q35, nics: [{network: off, model: e1000}]}", "takes no cards"),
    ("{machine: q35, image: debian-12, nics: [off]}", "takes no cards"),
    ("{image: tiny, cdrom: live.iso}", "media"),
    ("{image: tiny, floppy: boot.img}", "media"),
    ("{image: tiny, usb: [stick.img]}", "media"),
    ("{image: tiny, disks: [{size: 1G, bus: ide}, {size: 1G, bus: nvme}]}", "disks on bus ide, nvme"),
    ("{image: tiny, disks: [{size: 1G, bus: sata}]}", "disks on bus sata"),
    ("{nics: [{network: off, model: ne2k_isa}]}", "a card of model ne2k_isa"),
    ("{nics: [{network: off, model: e1000}, {network: off, model: rtl8139}]}", "a card of model rtl8139"),
    ("{nics: [{network: off, model: usb-net}]}", "a card of model usb-net"),
    ("{nics: [off], boot: [network]}", "boot order"),
    ("{image: debian-12, firmware: uefi}", "firmware"),
    ("{image: debian-12, disks: [{size: 1G, bus: sata}]}", "disks on bus sata"),
    ("{disks: [{base: debian-12, bus: scsi}, {size: 1G, bus: scsi}]}", "another disk on its first one's bus"),
    (f"{{image: tiny, disks: ['{'long-' * 250}.img']}}", "longer than a line"),
]


@pytest.mark.parametrize(("machine", "reason"), WHY)
def test_who_boots_and_why(machine: str, reason: str) -> None:
    facts = host()
    path = Path(f"/labs/here/{'long-' * 250}.img")
    image = replace(next(iter(facts.images.values())), path=path, format="raw")
    found = planned(f"{{vm1: {machine}, vm2: {{}}}}", replace(facts, images={**facts.images, path: image}))
    (note,) = [detail for detail in found.details if "no template" in detail]
    assert note.startswith("vm1: ") and reason in note
    first, second = starts(found)
    assert first.warm is None and second.warm is not None
    assert [one.machines for one in made(found)] == [("vm2",)]


@pytest.mark.parametrize(
    ("qemu", "what"),
    [
        (replace(labs.QEMU, migration=frozenset()), "way to save a machine without its memory"),
        (replace(labs.QEMU, devices=labs.QEMU.devices - {"vmgenid"}), "device vmgenid"),
    ],
)
def test_a_qemu_that_cannot_do_it(qemu: labs.QemuFacts, what: str) -> None:
    lab = labs.lab("machines: {vm1: {}}")
    (machine,) = lab.machines
    reason = templates.why_not(machine, topology.survey(lab).of("vm1"), host(qemu=qemu))
    assert reason == f"QEMU 7.2.22 has no {what}"


def test_without_templates_nobody_goes_on_and_nothing_is_said() -> None:
    found = planned("{vm1: {machine: q35}, vm2: {}}", labs.facts())
    assert made(found) == [] and found.details == ()
    assert all(start.warm is None for start in starts(found))
    assert not any(isinstance(step, MakeFolder) and "template" in step.id for step in found.steps)


@pytest.mark.parametrize(("version", "way"), [((8, 1, 9), "exec:cat"), ((8, 2, 0), "file:")])
def test_a_state_is_in_a_file_however_qemu_gets_there(version: tuple[int, int, int], way: str) -> None:
    found = planned("{vm1: {}}", host(qemu=replace(labs.QEMU, version=version)))
    (one,), (start,) = made(found), starts(found)
    assert start.warm is not None
    assert way in one.save[-1] and way in start.warm.load[-1]


DEBIAN = Path("/cache/media/debian-12/image")


def test_an_installed_system_has_a_disk_in_its_template_and_its_cards_later() -> None:
    found = planned("{vm1: {image: debian-12, nics: [lan], disks: [{size: 1G}]}}", with_debian())
    (one,), (start,) = made(found), starts(found)
    assert one.disk is not None and one.disk.argv[-3:] == ("-F", "qcow2", f"{one.folder}.new/disk0.qcow2")
    assert "-netdev" not in one.command.argv and one.macs == () and not one.bound
    warm = start.warm
    assert warm is not None and isinstance(warm.told, Installed)
    own = found_disk(warm)
    assert (warm.told.template, warm.told.disk) == (one.folder / "disk0.qcow2", own)
    # Its own disk is where the template's was; what follows is plugged in, in the order in which it would boot.
    assert [line.split()[0] for line in warm.plug] == ["drive_add", "device_add", "netdev_add", "device_add"]
    assert "disk1.qcow2" in warm.plug[0] and "nic0" in warm.plug[-1]
    cold = [word for word in start.command.argv if "vm1" in word or word.startswith("-dev")]
    assert [word for word in warm.command.argv if word in cold][:4] == cold[:4]
    for argv in (start.command.argv, warm.command.argv, one.command.argv):
        assert "vmgenid,guid=auto" in argv


def test_what_shapes_an_installed_system() -> None:
    def debian(machine: str, facts: Facts | None = None) -> str:
        return key(machine, facts or with_debian())

    plain = debian("{image: debian-12}")
    assert debian("{disks: [{base: debian-12}]}") == plain
    assert debian("{image: debian-12, nics: [lan, {network: off, model: e1000}]}") == plain
    assert debian("{image: debian-12, disks: [{size: 1G}]}") == plain
    changed = with_debian()
    changed = replace(changed, files={**changed.files, DEBIAN: "another, 2"})
    others = [
        debian("{image: debian-12}", changed),
        debian("{image: debian-12, memory: 2G}"),
        debian("{disks: [{base: debian-12, size: 9G}]}"),
        debian("{disks: [{base: debian-12, bus: ide}]}"),
    ]
    assert len({plain, *others}) == 5


def test_one_that_has_its_disk_already_boots() -> None:
    facts = with_debian()
    facts = replace(facts, disks=frozenset({facts.layout.machine("vm1").disk(0)}))
    found = planned("{vm1: {image: debian-12}, vm2: {image: debian-12}}", facts)
    first, second = starts(found)
    assert first.warm is None and second.warm is not None
    assert [one.machines for one in made(found)] == [("vm2",)]
    assert "vm1: no template: its disk is there already" in " ".join(found.details)


def with_debian() -> Facts:
    facts = host()
    return replace(facts, files={**facts.files, DEBIAN: "debian, 1"})


def found_disk(warm: Warm) -> Path:
    """The file of the first disk on a machine's command line."""
    (drive,) = [word for word in warm.command.argv if word.startswith("if=none,id=disk0,")]
    return Path(drive.split("file=")[1].split(",")[0])
