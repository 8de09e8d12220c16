"""Good files: text in, exact model out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from textwrap import dedent

import pytest

from vmlan.errors import LabFileError, RequestError
from vmlan.labfile import MAX_SIZE, load, loads
from vmlan.model import (
    MIB,
    Accel,
    BridgeNetwork,
    FileDisk,
    Forward,
    HostSide,
    Lab,
    Machine,
    NewDisk,
    Nic,
    NoNetwork,
    OverlayDisk,
    PingCheck,
    SocketNetwork,
    TapNetwork,
    Uplink,
    UserNetwork,
)

FOLDER = Path("/labs/crossover")


def lab(text: str, folder: Path = FOLDER) -> Lab:
    return loads(dedent(text), folder=folder)


def machine(keys: str, networks: str = "") -> Machine:
    return lab(f"networks: {{{networks}}}\nmachines:\n  vm1: {{{keys}}}\n").machines[0]


# The contract's example (CLI.md), with the keys of this version.
EVERYTHING = """\
name: crossover                 # optional: the folder's name
host:                           # the lab's host side
  place: private
  forwarding: true
  uplink: internet
networks:
  wire:  {kind: tap, host: 10.1.1.1/24}
  lan:   {kind: bridge, host: 10.2.0.1/24, dhcp: true, nat: true}
  p2p:   {kind: socket}
  nat1:  {kind: user, forward: ["8080:80"]}
  dark:  {kind: none}
machines:
  vm1:
    image: tiny
    memory: 512M                # sizes need a unit
    cpus: 1
    cpu: host
    accel: auto
    machine: pc
    floppy: boot.img
    cdrom: live.iso
    usb: [stick.img]
    disks: [{size: 8G}, {base: debian.qcow2}, data.qcow2]
    boot: [cdrom, disk]
    kernel: vmlinuz
    initrd: initrd.img
    append: console=ttyS0 quiet
    nics:
      - wire
      - {network: lan, model: e1000, mac: 52:54:00:12:34:56, address: 10.2.0.9/24, gateway: 10.2.0.1}
    qemu-args: [-rtc, base=utc]
  vm2: {nics: [lan, nat1, p2p, dark]}
checks:
  - {ping: 10.1.1.1, from: vm1}
  - {ping: vm2, from: vm1, expect: unreachable, hint: "user-mode stacks are separate"}
  - {ping: vm1}
  - {ping: host, from: vm1, expect: reachable}
"""


def test_everything() -> None:
    assert lab(EVERYTHING) == Lab(
        name="crossover",
        folder=FOLDER,
        host=HostSide(forwarding=True, uplink=Uplink.INTERNET),
        networks=(
            TapNetwork("wire", IPv4Interface("10.1.1.1/24")),
            BridgeNetwork("lan", IPv4Interface("10.2.0.1/24"), dhcp=True, nat=True),
            SocketNetwork("p2p"),
            UserNetwork("nat1", (Forward(8080, 80),)),
            NoNetwork("dark"),
        ),
        machines=(
            Machine(
                name="vm1",
                image="tiny",
                memory=512 * MIB,
                cpus=1,
                cpu="host",
                accel=Accel.AUTO,
                machine="pc",
                floppy=(FOLDER / "boot.img",),
                cdrom=(FOLDER / "live.iso",),
                usb=(FOLDER / "stick.img",),
                disks=(
                    NewDisk(8 * 1024 * MIB),
                    OverlayDisk(FOLDER / "debian.qcow2"),
                    FileDisk(FOLDER / "data.qcow2"),
                ),
                boot=("cdrom", "disk"),
                kernel=FOLDER / "vmlinuz",
                initrd=FOLDER / "initrd.img",
                append="console=ttyS0 quiet",
                nics=(
                    Nic("wire"),
                    Nic(
                        "lan",
                        "e1000",
                        "52:54:00:12:34:56",
                        IPv4Interface("10.2.0.9/24"),
                        IPv4Address("10.2.0.1"),
                    ),
                ),
                qemu_args=("-rtc", "base=utc"),
            ),
            Machine("vm2", nics=(Nic("lan"), Nic("nat1"), Nic("p2p"), Nic("dark"))),
        ),
        checks=(
            PingCheck("10.1.1.1", "vm1"),
            PingCheck("vm2", "vm1", reachable=False, hint="user-mode stacks are separate"),
            PingCheck("vm1", "host"),
            PingCheck("host", "vm1"),
        ),
    )


def test_least() -> None:
    assert lab("machines: {vm1: }") == Lab("crossover", FOLDER, (Machine("vm1"),))


def test_sections_with_nothing_in_them() -> None:
    text = "host:\nnetworks:\nchecks:\nmachines: {vm1: {}}\n"
    assert lab(text) == Lab("crossover", FOLDER, (Machine("vm1"),))


def test_own_keys_hold_anchors() -> None:
    text = """\
        x-common: &common {memory: 1G, cpus: 2, nics: [lan]}
        x-: {anything: [goes, {here: ~}]}
        networks: {lan: {kind: bridge}}
        machines:
          vm1: *common
          vm2: {<<: *common, cpus: 4}
          vm3: {cpu: host, <<: [{cpus: 3}, *common]}
    """
    nics = (Nic("lan"),)
    assert lab(text).machines == (
        Machine("vm1", memory=1024 * MIB, cpus=2, nics=nics),
        Machine("vm2", memory=1024 * MIB, cpus=4, nics=nics),
        Machine("vm3", memory=1024 * MIB, cpus=3, cpu="host", nics=nics),
    )


@pytest.mark.filterwarnings("error")
def test_same_anchor_twice() -> None:
    text = "x-a: &m 1G\nx-b: &m 2G\nmachines: {vm1: {memory: *m}}"
    assert lab(text).machines[0].memory == 2048 * MIB


def test_json_is_a_lab_file_too() -> None:
    # JSON writes characters beyond 16 bits as two escapes.
    text = '{"machines": {"vm1": {"cdrom": "\\ud83d\\ude00.iso"}}}'
    assert lab(text).machines[0].cdrom == (FOLDER / "\N{GRINNING FACE}.iso",)


@pytest.mark.parametrize(
    "keys, image, memory",
    [
        ("", "tiny", Machine.memory),
        ("image: tiny", "tiny", Machine.memory),
        ("image: tiny, disks: [{size: 1G}]", "tiny", Machine.memory),
        ("image: debian.qcow2", FOLDER / "debian.qcow2", 512 * MIB),
        ("image: ./debian-12", FOLDER / "debian-12", 512 * MIB),
        ("image: /srv/a b.iso", Path("/srv/a b.iso"), 512 * MIB),
        ("disks: [{size: 1G}]", None, 512 * MIB),
        ("cdrom: a.iso", None, 512 * MIB),
        ("floppy: a.img", None, 512 * MIB),
        ("usb: [a.img]", None, 512 * MIB),
        ("kernel: vmlinuz", None, 512 * MIB),
        ("kernel: vmlinuz, memory: 64M", None, 64 * MIB),
    ],
)
def test_what_a_machine_boots(keys: str, image: object, memory: int) -> None:
    read = machine(keys)
    assert (read.image, read.memory) == (image, memory)


@pytest.mark.parametrize(
    "text, size",
    [
        ("1M", 2**20),
        ("512M", 512 * 2**20),
        ("2G", 2 * 2**30),
        ("2GiB", 2 * 2**30),
        ("2gb", 2 * 2**30),
        ("1.5G", 3 * 2**29),
        ("4096k", 4 * 2**20),
        ("3 M", 3 * 2**20),
        ("1T", 2**40),
        ("1048576B", 2**20),
    ],
)
def test_sizes(text: str, size: int) -> None:
    read = machine(f"memory: {text}, disks: [{{size: {text}}}, {{base: a.img, size: {text}}}]")
    assert read.memory == size
    assert read.disks == (NewDisk(size), OverlayDisk(FOLDER / "a.img", size))


@pytest.mark.parametrize(
    "text, forward",
    [
        ("8080:80", Forward(8080, 80)),
        ("0.0.0.0:8080:80", Forward(8080, 80, bind=IPv4Address("0.0.0.0"))),
        ("127.0.0.2:8080:80/tcp", Forward(8080, 80, bind=IPv4Address("127.0.0.2"))),
        ("5353:53/udp", Forward(5353, 53, "udp")),
        ("udp:5353:53", Forward(5353, 53, "udp")),
        ("TCP:10.0.0.1:1:65535", Forward(1, 65535, bind=IPv4Address("10.0.0.1"))),
    ],
)
def test_forwards(text: str, forward: Forward) -> None:
    read = lab(f"networks: {{u: {{kind: user, forward: [{text}]}}}}\nmachines: {{vm1: }}")
    assert read.networks == (UserNetwork("u", (forward,)),)


def test_forwards_that_do_not_collide() -> None:
    forwards = '["8080:80", "8080:80/udp", "127.0.0.2:8080:80", "8081:80", "0.0.0.0:22:22"]'
    read = lab(f"networks: {{u: {{kind: user, forward: {forwards}}}}}\nmachines: {{vm1: }}")
    assert next(network for network in read.networks if isinstance(network, UserNetwork)).forward[2:] == (
        Forward(8080, 80, bind=IPv4Address("127.0.0.2")),
        Forward(8081, 80),
        Forward(22, 22, bind=IPv4Address("0.0.0.0")),
    )


@pytest.mark.parametrize(
    "text, mac",
    [
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("52-54-00-AB-CD-EF", "52:54:00:ab:cd:ef"),
        ("00:00:00:00:00:01", "00:00:00:00:00:01"),
        # Digits only, all below 60: YAML 1.1 would read a number to the base of 60.
        ("10:11:12:13:14:15", "10:11:12:13:14:15"),
    ],
)
def test_macs(text: str, mac: str) -> None:
    assert machine(f"nics: [{{network: lan, mac: {text}}}]", "lan: {kind: bridge}").nics[0].mac == mac


@pytest.mark.parametrize(
    "host", ["10.1.1.1/8", "10.1.1.0/31", "10.1.1.1/31", "10.1.1.1/32", "198.51.100.1/24"]
)
def test_addresses_of_the_host(host: str) -> None:
    read = lab(f"networks: {{n: {{kind: tap, host: {host}}}}}\nmachines: {{vm1: }}")
    assert read.networks == (TapNetwork("n", IPv4Interface(host)),)


def test_the_smallest_network_with_dhcp() -> None:
    read = lab("networks: {n: {kind: bridge, host: 10.1.1.1/29, dhcp: true}}\nmachines: {vm1: }")
    assert read.networks == (BridgeNetwork("n", IPv4Interface("10.1.1.1/29"), dhcp=True),)


def test_nat_without_uplink_or_forwarding_is_for_a_lab_to_show() -> None:
    text = (
        "host: {uplink: none, forwarding: false}\nnetworks: {n: {kind: bridge, host: 10.1.1.1/24, nat: true}}"
    )
    read = lab(text + "\nmachines: {vm1: }")
    assert read.networks == (BridgeNetwork("n", IPv4Interface("10.1.1.1/24"), nat=True),)


def test_addresses_without_the_host() -> None:
    nics = "nics: [{network: p2p, address: 10.9.0.1/30, gateway: 10.9.0.2}]"
    assert machine(nics, "p2p: {kind: socket}").nics == (
        Nic("p2p", address=IPv4Interface("10.9.0.1/30"), gateway=IPv4Address("10.9.0.2")),
    )


def test_one_address_on_two_networks() -> None:
    nics = "nics: [{network: a, address: 10.9.0.1/24}, {network: b, address: 10.9.0.1/24}]"
    assert len(machine(nics, "a: {kind: socket}, b: {kind: socket}").nics) == 2


def test_boot_in_one_word() -> None:
    assert machine("boot: network, nics: [n]", "n: {kind: none}").boot == ("network",)


def test_an_image_may_be_any_medium() -> None:
    assert machine("image: a.iso, boot: [cdrom, usb]").boot == ("cdrom", "usb")


def test_append_for_tiny() -> None:
    assert machine("append: quiet").append == "quiet"


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert machine("image: ~/a.qcow2, disks: [{base: ~/b.img}, ~/c.img]").disks == (
        OverlayDisk(Path("/home/me/b.img")),
        FileDisk(Path("/home/me/c.img")),
    )


@pytest.mark.parametrize(
    "folder, name",
    [
        ("/labs/crossover", "crossover"),
        ("/labs/My Lab (2)", "My-Lab--2"),
        ("/labs/.hidden_", "hidden"),
        ("/labs/x.y_z-1", "x.y_z-1"),
        ("/labs/" + "x" * 70, "x" * 63),
        ("/labs/ü", "lab"),
        ("/", "lab"),
    ],
)
def test_name_from_the_folder(folder: str, name: str) -> None:
    assert lab("machines: {vm1: }", Path(folder)).name == name


@pytest.mark.parametrize("name", ["2024-01-01", "a", "x.y_z-1", "Lab", "1a", '"5"'])
def test_names(name: str) -> None:
    assert lab(f"name: {name}\nmachines: {{vm1: }}").name == name.strip('"')


def test_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    # As an editor of Windows saves it: with a byte order mark and CR LF.
    (folder / "lab.yaml").write_bytes("machines:\r\n  vm1: {cdrom: ü.iso}\r\n".encode("utf-8-sig"))
    expected = Lab("one", folder, (Machine("vm1", image=None, memory=512 * MIB, cdrom=(folder / "ü.iso",)),))
    assert load(folder / "lab.yaml") == expected
    monkeypatch.chdir(folder)
    assert load("lab.yaml") == expected
    (folder / "deeper").mkdir()
    monkeypatch.chdir(folder / "deeper")
    assert load("../lab.yaml") == expected


def test_load_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("machines: {vm1: }\nnmae: a\n")
    with pytest.raises(LabFileError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:2:1: unknown key 'nmae'; did you mean 'name'?"
    assert caught.value.exit_code == 2


def test_load_of_other_encodings(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_bytes("machines: {vm1: }\nname: ü".encode("latin-1"))
    with pytest.raises(LabFileError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:2:7: this is not UTF-8 text; save the file as UTF-8"


def test_load_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"there is no file .*none\.yaml"):
        load(tmp_path / "none.yaml")
    with pytest.raises(RequestError, match=r"cannot read .*: Is a directory"):
        load(tmp_path)
    with pytest.raises(RequestError, match="cannot read"):
        load("a\0b")


def test_paths_are_not_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("machines: {vm1: {image: ./is-not-there}}")
    assert load(file).machines[0].image == tmp_path / "is-not-there"


def test_too_long() -> None:
    with pytest.raises(LabFileError, match="1:1: the file is longer than 1,000,000 characters"):
        lab("#" * (MAX_SIZE + 1))


def bomb(levels: int) -> str:
    lines = ["x-0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join([*lines, "machines: {vm1: }"])


def test_aliases_that_unfold_without_end() -> None:
    assert lab(bomb(4)).machines == (Machine("vm1"),)
    with pytest.raises(LabFileError, match="1:1: the file unfolds to more than 100,000 values"):
        lab(bomb(30))


def test_merges_that_unfold_without_end() -> None:
    keys = ", ".join(f"k{i}: 1" for i in range(500))
    merges = "\n".join(f"  - {{<<: *a, y{i}: 1}}" for i in range(500))
    with pytest.raises(LabFileError, match="1:1: the file unfolds to more than 100,000 values"):
        lab(f"x-a: &a {{{keys}}}\nx-b:\n{merges}\nmachines: {{vm1: }}")
