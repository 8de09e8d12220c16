"""One lab with everything in it, as argument lists for four real QEMUs that are not here.

What those say of themselves is in facts/; `pytest tests/real/test_qemus.py --regenerate` asks them anew.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest

from tests import labs
from vmlan.plan.build import plan
from vmlan.plan.steps import Start
from vmlan.qemu import features
from vmlan.qemu.facts import QemuFacts

HERE = Path(__file__).parent
VERSIONS = ("5.2", "7.2", "10.0", "11.1")

MODELS = (
    *("virtio", "e1000", "e1000e", "e1000-82544gc", "e1000-82545em", "rtl8139", "ne2k_pci", "ne2k_isa"),
    *("pcnet", "vmxnet3", "i82551", "i82557b", "i82559er", "tulip", "usb-net"),
)

#: All but one: QEMU 10 and 11 take no ne2k_isa after a ne2k_pci (their saved states would have one name).
_CARDS = ", ".join(f"{{network: nowhere, model: {model}}}" for model in MODELS if model != "ne2k_isa")

#: Also started by tests/real/test_qemus.py: what is here must be what a real QEMU takes without a word.
EVERYTHING = f"""
name: everything
networks: {{nat: {{kind: user, forward: ['127.0.0.1:18080:80']}}, p2p: {{kind: socket}}, more: {{kind: user}},
  old: {{kind: hub}}, nowhere: {{kind: none}}}}
machines:
  tiny: {{image: tiny, disks: [{{size: 1G}}], nics: [nat, {{network: p2p, model: e1000}}, old, old, nowhere]}}
  pc:
    image: boot.img
    cdrom: live.iso
    usb: [stick.img]
    disks: [{{size: 1G}}, {{base: debian.qcow2, bus: ide}}, {{size: 1G, bus: sata}}, {{size: 1G, bus: scsi}},
      {{size: 1G, bus: sata}}, {{size: 1G, bus: scsi}}]
    boot: [cdrom, floppy, usb, disk, network]
    nics: [more]
  q35:
    image: boot.img
    machine: q35
    cdrom: live.iso
    usb: ['a,b:c.img']
    disks: [{{size: 1G}}, {{base: debian.qcow2, bus: ide}}, {{size: 1G, bus: sata}}, {{size: 1G, bus: scsi}},
      {{size: 1G, bus: nvme}}, {{size: 1G, bus: nvme}}]
    boot: [floppy, cdrom]
    nics: [{{network: p2p, model: e1000e}}]
  uefi: {{image: debian.qcow2, firmware: uefi, machine: q35}}
  uefi-pc: {{cdrom: live.iso, firmware: uefi}}
  isa: {{image: tiny, nics: [{{network: nowhere, model: ne2k_isa}}]}}
  cards: {{cdrom: live.iso, nics: [{_CARDS}]}}
  cards-q35: {{image: tiny, machine: q35, nics: [{_CARDS}]}}
"""

#: Of releases that some of the four do not have. Those that have them may call them old.
OLD = """
name: old
machines:
  xenial: {cdrom: live.iso, machine: pc-q35-xenial}
  old: {cdrom: live.iso, machine: pc-i440fx-2.0}
  new: {cdrom: live.iso, machine: pc-q35-9.0}
"""


#: What the four do not have of what labs may use.
LACKING: dict[str, list[str]] = {
    "5.2": ["way to boot from nvme", "way to save to a file"],
    "7.2": ["way to save to a file"],
    "10.0": [],
    "11.1": [],
}


def lacking(facts: QemuFacts) -> list[str]:
    """The features of the table that this QEMU does not have."""
    return [name for name, feature in features.FEATURES.items() if not feature.has(facts)]


def recorded(version: str) -> QemuFacts:
    """What the real QEMU of that version said of itself."""
    return msgspec.json.decode(
        (HERE / f"facts/{version}.json").read_bytes(),
        type=QemuFacts,
        dec_hook=lambda type_, value: type_(value),
    )


def one_option_a_line(argv: tuple[str, ...]) -> str:
    """An argument list that a person can compare: every word that begins with a dash begins a line."""
    lines: list[list[str]] = []
    for word in argv:
        if not lines or word.startswith("-"):
            lines.append([])
        lines[-1].append(word)
    return "".join(f"{shlex.join(line)}\n" for line in lines)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_argument_lists(version: str, request: pytest.FixtureRequest) -> None:
    said = ""
    for text in (EVERYTHING, OLD):
        for step in plan(labs.lab(text), labs.facts(qemu=recorded(version))).steps:
            if isinstance(step, Start) and step.machine:
                said += f"# {step.machine}\n{one_option_a_line(step.command.argv)}\n"
    golden = HERE / f"files/argv-{version}.txt"
    if request.config.getoption("--regenerate"):
        golden.write_text(said)
    assert said == golden.read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_each_has_what_labs_use(version: str) -> None:
    facts = recorded(version)
    assert lacking(facts) == LACKING[version]
    assert {features.machine_type(facts, name) for name in ("pc", "q35")} == {"pc", "q35"}
    for model in MODELS:
        features.nic_device(facts, model)


def test_they_are_four_different_ones() -> None:
    assert [".".join(map(str, recorded(version).version[:2])) for version in VERSIONS] == list(VERSIONS)
    assert len({recorded(version).devices for version in VERSIONS}) == len(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_documents_say_which_machine_types_each_has(version: str) -> None:
    said = (HERE.parents[1] / "docs/qemu.md").read_text()
    row = next(line for line in said.splitlines() if line.startswith(f"| {version} |"))
    for family, told in (("i440fx", row.split("|")[3]), ("q35", row.split("|")[4])):
        names = [machine.name for machine in recorded(version).machines if f"pc-{family}-" in machine.name]
        names.sort(key=lambda name: [int(number) for number in name.rpartition("-")[2].split(".")])
        assert told.strip() == f"`{names[0]}` to `{names[-1]}`"
