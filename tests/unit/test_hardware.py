"""What a machine is made of where its file leaves that open."""

from __future__ import annotations

import pytest

from tests import labs
from vmlan.plan import topology
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import hardware
from vmlan.qemu.cmdline import Hardware
from vmlan.qemu.facts import KvmVerdict

KVM = KvmVerdict(True, "it runs")


def of(machine: str, facts: Facts | None = None) -> Hardware:
    lab = labs.lab(f"networks: {{lan: {{kind: bridge}}}}\nmachines: {{vm1: {machine}}}")
    (one,) = lab.machines
    return hardware(one, topology.survey(lab).of("vm1"), facts or labs.facts())


@pytest.mark.parametrize("cpu", ["max", "host"])
def test_emulated_tiny_has_nothing_of_a_processor_that_only_costs_time(cpu: str) -> None:
    assert of(f"{{cpu: {cpu}}}").cpu == "max,la57=off,erms=off,fsrm=off,pku=off"


def test_a_processor_that_was_chosen_is_what_was_chosen() -> None:
    assert of("{cpu: qemu64}").cpu == "qemu64"
    assert of("{cpu: max}", labs.facts(kvm=KVM)).cpu == "max"
    assert of("{cpu: host}", labs.facts(kvm=KVM)).cpu == "host"


@pytest.mark.parametrize("nics", ["", "lan", "lan, {network: lan, model: e1000e}"])
def test_emulated_tiny_asks_acpi_for_no_lines_where_no_card_needs_one(nics: str) -> None:
    assert "acpi=noirq" in of(f"{{nics: [{nics}]}}").append.split()


@pytest.mark.parametrize(
    ("machine", "facts"),
    [
        ("{nics: [lan, {network: lan, model: e1000}]}", labs.facts()),
        ("{nics: [{network: lan, model: rtl8139}]}", labs.facts()),
        ("{nics: [lan], machine: q35}", labs.facts()),
        ("{nics: [lan]}", labs.facts(kvm=KVM)),
    ],
    ids=range(4),
)
def test_it_does_where_one_may_or_where_that_costs_nothing(machine: str, facts: Facts) -> None:
    assert "acpi=noirq" not in of(machine, facts).append.split()
