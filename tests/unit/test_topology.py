from __future__ import annotations

import pytest

from tests import labs
from vmlan.errors import RequestError
from vmlan.plan.build import plan
from vmlan.plan.steps import Start
from vmlan.plan.topology import survey


def test_one_value_from_file_to_command_line() -> None:
    """A NIC's address: from lab.yaml to the reservation, the names and the guest's own command line."""
    text = labs.LAN
    links = {(link.machine, link.index): link for link in survey(labs.lab(text)).links}
    assert str(links["vm1", 0].address) == "10.2.0.11/24" and links["vm1", 0].interface == "vm1-lan"
    assert str(links["vm1", 1].address) == "10.1.1.2/24" and links["vm1", 1].interface == "wire"
    steps = {step.id: step for step in plan(labs.lab(text), labs.facts()).steps}
    mac = links["vm1", 0].mac
    assert steps["reservation vm1.0"].text == f"{mac},10.2.0.11,vm1\n"  # type: ignore[union-attr]
    assert "reservation vm1.1" not in steps
    assert "10.1.1.2 vm1 vm1.lan.internal" in steps["hosts-file"].text  # type: ignore[union-attr]
    start = steps["machine vm1"]
    assert isinstance(start, Start)
    append = start.command.argv[start.command.argv.index("-append") + 1]
    assert f"vmlan.nic={links['vm1', 1].mac},10.1.1.2/24" in append and mac not in append


def test_socket_networks_pair_two_and_group_more() -> None:
    nets = "networks: {p2p: {kind: socket}, ring: {kind: socket}}\nmachines:\n"
    lab = labs.lab(nets + "  a: {nics: [p2p, ring]}\n  b: {nics: [p2p, ring]}\n  c: {nics: [ring]}\n")
    ports = {(link.machine, link.network.name): link.ports for link in survey(lab).links}
    assert ports["a", "p2p"] == ports["b", "p2p"][::-1]
    assert len(set(ports["a", "p2p"])) == 2
    assert ports["a", "ring"] == ports["b", "ring"] == ports["c", "ring"]
    assert not set(ports["a", "ring"]) & set(ports["a", "p2p"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("networks: {n: {kind: bridge, host: 10.0.0.1/29, dhcp: true}}\nmachines:\n"
         + "".join(f"  vm{n}: {{nics: [n]}}\n" for n in range(7)), "too few addresses"),
        ("networks: {vm1-b: {kind: bridge}, b: {kind: bridge}}\nmachines: {vm1: {nics: [b]}}\n", "interface name vm1-b"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_work_out_are_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        survey(labs.lab(text))


def test_a_socket_path_that_is_too_long_is_refused() -> None:
    name = "m" * 63
    with pytest.raises(RequestError, match="Linux takes 107"):
        plan(
            labs.lab(f"machines: {{{name}: {{}}}}"),
            labs.facts(run=labs.Path("/run/user/1000/vmlan") / ("x" * 40)),
        )


def test_what_this_qemu_lacks_is_refused_before_anything_starts() -> None:
    with pytest.raises(RequestError, match="no machine type 'versatilepb'"):
        plan(labs.lab("machines: {vm1: {machine: versatilepb}}"), labs.facts())
    with pytest.raises(RequestError, match="no NIC 'vmxnet3'"):
        plan(
            labs.lab("networks: {n: {kind: user}}\nmachines: {vm1: {nics: [{network: n, model: vmxnet3}]}}"),
            labs.facts(),
        )


def test_notes_say_what_is_not_as_asked() -> None:
    lab = labs.lab(
        "networks: {n: {kind: bridge, host: 10.0.0.1/24, nat: true}}\n"
        "machines: {vm1: {cpu: host, nics: [n]}, vm2: {accel: tcg}}\n"
    )
    notes = plan(lab, labs.facts()).notes
    assert any("vm1 runs on emulation: /dev/kvm is not there" in note for note in notes)
    assert any("cpu: host needs KVM" in note for note in notes)
    assert any("host.forwarding is off" in note for note in notes)
    assert not any("vm2" in note for note in notes)
