"""Any lab, written as a file, is read as that lab; and the file is one that a person would write."""

from __future__ import annotations

from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.unit.test_labfile_roundtrip import labs
from vmlan.labfile import loads
from vmlan.labfile.write import dumps, size
from vmlan.model import (
    Accel,
    BridgeNetwork,
    FileDisk,
    Firmware,
    HubNetwork,
    Lab,
    Machine,
    Named,
    NewDisk,
    Nic,
    OverlayDisk,
    TapNetwork,
)

FOLDER = Path("/labs/x")


@settings(max_examples=60, deadline=None)
@given(labs())
def test_what_is_written_is_read_as_the_same(lab: Lab) -> None:
    assert loads(dumps(lab), folder=lab.folder) == lab


names = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."})


@settings(max_examples=60, deadline=None)
@given(
    names,
    names,
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4),
)
def test_a_file_may_have_any_name(disk: str, cd: str, args: list[str]) -> None:
    machine = Machine(
        "vm",
        image=None,
        memory=512 * 2**20,
        disks=(
            FileDisk(FOLDER / disk),
            FileDisk(FOLDER / cd, "ide", read_only=True),
            OverlayDisk(FOLDER / disk),
        ),
        cdrom=(FOLDER / cd,),
        floppy=(FOLDER / disk, Path("/") / cd),
        usb=(FOLDER / ".." / cd,),
        qemu_args=tuple(args),
    )
    lab = Lab("x", FOLDER, machines=(machine,))
    assert loads(dumps(lab), folder=FOLDER) == lab


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_comment_is_one_line_and_nothing_else(text: str) -> None:
    lab = Lab("x", FOLDER, machines=(Machine("vm"),))
    written = dumps(lab, {"": [text], "vm": [text]})
    assert loads(written, folder=FOLDER) == lab
    assert sum(line.lstrip().startswith("#") for line in written.split("\n")) == 2


@pytest.mark.parametrize(
    "name", ["tiny", "grub-cd", "null", "true", "on", "1.5", "0x10", "~", "~me", "a: b", "- a", "#a", "52:54"]
)
def test_a_file_of_a_name_that_means_something_else(name: str) -> None:
    machine = Machine(
        "vm",
        image=FOLDER / name,
        memory=512 * 2**20,
        cdrom=(FOLDER / name,),
        disks=(FileDisk(FOLDER / name),),
    )
    lab = Lab("x", FOLDER, machines=(machine,))
    assert loads(dumps(lab), folder=FOLDER) == lab


def test_names_that_yaml_takes_for_something_else_are_quoted() -> None:
    lab = Lab(
        "x",
        FOLDER,
        machines=(Machine("null"), Machine("on", nics=(Nic("no"),))),
        networks=(HubNetwork("no"),),
    )
    assert loads(dumps(lab), folder=FOLDER) == lab


def test_it_is_what_a_person_would_write() -> None:
    lab = Lab(
        "x",
        FOLDER,
        machines=(
            Machine(
                "install",
                image=None,
                memory=2 * 2**30,
                cpus=2,
                accel=Accel.KVM,
                firmware=Firmware.UEFI,
                cdrom=(FOLDER / "L.iso",),
                disks=(
                    NewDisk(8 * 2**30),
                    FileDisk(FOLDER / "old one.img", "ide"),
                    OverlayDisk(Named("debian-12")),
                ),
                boot=("cdrom", "disk"),
                nics=(Nic("wire"), Nic("lan", "e1000", "52:54:00:12:34:56")),
                qemu_args=("-rtc", "base=localtime", "-smbios", "type=1,serial=a"),
            ),
            Machine("vm", nics=(Nic("lan"),)),
        ),
        networks=(TapNetwork("wire", IPv4Interface("10.1.1.1/24")), BridgeNetwork("lan")),
    )
    assert (
        dumps(lab, {"": ["two machines"], "vm": ["the other"]})
        == """\
# two machines
networks:
  wire: {kind: tap, host: 10.1.1.1/24}
  lan: {kind: bridge}
machines:
  install:
    memory: 2G
    cpus: 2
    accel: kvm
    firmware: uefi
    cdrom: L.iso
    disks: [{size: 8G}, {file: "old one.img", bus: ide}, {base: debian-12}]
    boot: [cdrom, disk]
    nics: [wire, {network: lan, model: e1000, mac: 52:54:00:12:34:56}]
    qemu-args: [-rtc, base=localtime, -smbios, "type=1,serial=a"]
  # the other
  vm: {image: tiny, nics: [lan]}
"""
    )


def test_a_machine_that_boots_nothing_of_ours_says_so() -> None:
    lab = Lab("x", FOLDER, machines=(Machine("vm", image=None, memory=512 * 2**20),))
    assert dumps(lab) == "machines:\n  vm: {disks: []}\n"
    assert loads(dumps(lab), folder=FOLDER) == lab


def test_long_arguments_are_broken_between_options() -> None:
    args = tuple(word for number in range(9) for word in ("-device", f"e1000,netdev=n{number}"))
    lab = Lab("x", FOLDER, machines=(Machine("vm", qemu_args=args),))
    text = dumps(lab)
    assert max(map(len, text.splitlines())) <= 100
    assert loads(text, folder=FOLDER) == lab


def test_any_yaml_reader_reads_it() -> None:
    lab = Lab("x", FOLDER, machines=(Machine("vm", image=None, cdrom=(FOLDER / 'a,b:c "d" [e] #f',)),))
    read = YAML(typ="safe").load(dumps(lab))
    assert read["machines"]["vm"]["cdrom"] == 'a,b:c "d" [e] #f'


@pytest.mark.parametrize(
    ("bytes_", "text"), [(8 * 2**30, "8G"), (1536 * 2**20, "1536M"), (2**40, "1T"), (1025, "1025B")]
)
def test_sizes(bytes_: int, text: str) -> None:
    assert size(bytes_) == text
