import re
from dataclasses import replace
from pathlib import Path

import pytest

from vmlan.errors import HostError, RequestError
from vmlan.qemu import cmdline, features
from vmlan.qemu.facts import MachineType, QemuFacts

FACTS = QemuFacts(
    path=Path("/usr/bin/qemu-system-x86_64"),
    version=(8, 2, 10),
    full_version="8.2.10",
    machines=(
        MachineType("microvm"),
        MachineType("pc-i440fx-7.1"),
        MachineType("pc-i440fx-7.2", "pc", default=True),
        MachineType("pc-q35-7.2", "q35"),
    ),
    accelerators=frozenset({"tcg"}),
    netdevs=frozenset(name.removeprefix("backend ") for name in features.FEATURES if "backend" in name),
    migration=frozenset({"x-ignore-shared"}),
    devices=frozenset(name.removeprefix("device ") for name in features.FEATURES if "device" in name)
    | {"e1000", "virtio-net-pci"},
)


@pytest.mark.parametrize("name", features.FEATURES)
def test_each_feature_is_detected_by_what_the_binary_says(name):
    kind, _, what = name.partition(" ")
    without = replace(
        FACTS,
        version=FACTS.version if kind in ("backend", "device") else (0, 0, 0),  # all else goes by version
        netdevs=FACTS.netdevs - ({what} if kind == "backend" else set()),
        migration=FACTS.migration if kind in ("backend", "device") else frozenset(),
        devices=FACTS.devices - ({what} if kind == "device" else set()),
    )
    features.require(FACTS, [name])
    with pytest.raises(HostError, match=re.escape(f"QEMU 8.2.10) has no {name}")) as error:
        features.require(without, [name])
    assert error.value.hint == features.FEATURES[name].without
    assert features.FEATURES[name].source


@pytest.mark.parametrize(
    ("asked", "full"),
    [
        ("pc", "pc"),
        ("q35", "q35"),
        ("pc-i440fx-7.1", "pc-i440fx-7.1"),
        ("microvm", "microvm"),
        ("pc-i440fx-9.0", "pc-i440fx-7.2"),
        ("pc-q35-xenial", "pc-q35-7.2"),
        ("pc-i440fx-bionic-hpb", "pc-i440fx-7.1"),
        ("pc-1.0", "pc-i440fx-7.1"),
        ("pc-q35-rhel8.6.0", "pc-q35-7.2"),
        ("rhel6.6.0", "pc-i440fx-7.2"),
    ],
)
def test_a_machine_type_is_itself_or_the_nearest_pc(asked, full):
    assert features.machine_type(FACTS, asked) == full


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("q53", "did you mean q35?"),
        ("pc-nonsense", "-machine help"),
        ("pcc", "did you mean pc?"),
        ("virt", "-machine help"),
    ],
)
def test_an_unknown_machine_type_is_refused_with_the_nearest(asked, hint):
    with pytest.raises(RequestError, match=f"no machine type '{asked}'") as error:
        features.machine_type(FACTS, asked)
    assert hint in (error.value.hint or "")


@pytest.mark.parametrize(
    ("model", "device"),
    [("virtio", "virtio-net-pci"), ("virtio-net-pci", "virtio-net-pci"), ("e1000", "e1000")],
)
def test_a_nic_model_is_a_device(model, device):
    assert features.nic_device(FACTS, model) == device


@pytest.mark.parametrize(
    ("model", "hint"), [("e100", "e1000"), ("virtoi", "virtio"), ("rtl8139", "-nic model=help")]
)
def test_an_unknown_nic_is_refused_with_the_nearest(model, hint):
    with pytest.raises(RequestError, match=f"no NIC '{model}'") as error:
        features.nic_device(FACTS, model)
    assert hint in (error.value.hint or "")


def test_our_word_for_a_nic_counts_only_if_its_device_is_there():
    with pytest.raises(RequestError):
        features.nic_device(replace(FACTS, devices=frozenset({"e1000"})), "virtio")


def test_every_device_that_a_command_line_names_is_in_the_table():
    source = Path(cmdline.__file__).read_text()
    named = set(re.findall(r'"-device",\s*f?"([a-z][a-z0-9-]+),?', source))
    named |= {"ide-cd", "floppy", "usb-storage", "ide-hd", "nvme", "virtio-blk-pci", "scsi-hd"}
    assert len(named) > 5
    assert {f"device {name}" for name in named} <= features.FEATURES.keys()
