"""The machines of a lab: their disks, and how each is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vmlan.catalogue import has_agent
from vmlan.errors import RequestError
from vmlan.model import Accel, FileDisk, Firmware, Lab, Machine, NewDisk, OverlayDisk
from vmlan.plan import templates
from vmlan.plan.facts import Facts
from vmlan.plan.hardware import accelerator, all_disks, features_of, hardware, image_facts, qemu_command
from vmlan.plan.layout import SOCKET_PATH_MAX, process_name
from vmlan.plan.machine_disks import create
from vmlan.plan.steps import Command, MakeFolder, Run, Space, Start, Step, WriteFile
from vmlan.plan.topology import Topology, name_lines
from vmlan.qemu import cmdline, features


def files(lab: Lab, machine: Machine, links: Topology, facts: Facts) -> Iterator[Step]:
    """A machine's folders and disks, and its entries in the networks' books."""
    where, user = facts.layout.machine(machine.name), facts.user
    yield MakeFolder(
        f"machine-folder {machine.name}",
        f"{machine.name}'s sockets and logs, and the pipes to its guest",
        where.run,
        owner=user,
        pipes=where.pipes,
    )
    if _made(machine, facts) or machine.firmware is Firmware.UEFI:
        yield MakeFolder(
            f"state {machine.name}",
            f"{machine.name}'s disks, kept until `down --disks`",
            where.state,
            keep=True,
            owner=user,
        )
    for index, disk in _made(machine, facts):
        yield _make_disk(machine, index, disk, facts)
    if machine.firmware is Firmware.UEFI:
        yield _make_variables(machine, facts)
    names = [line for link in links.of(machine.name) for line in name_lines(lab, link)]
    if names and links.leases:
        text = "\n".join(names) + "\n"
        path = facts.layout.names / machine.name
        yield WriteFile(f"names {machine.name}", f"{machine.name}'s name, for DNS", path, text)
    for link in links.of(machine.name):
        if link.network.name in links.leases and link.nic.address is None and link.address:
            folder = facts.layout.network(link.network.name) / "reservations"
            text = f"{link.mac},{link.address.ip},{machine.name}\n"
            reason = f"{machine.name}'s reserved address on {link.network.name}"
            yield WriteFile(
                f"reservation {machine.name}.{link.index}",
                reason,
                folder / f"{machine.name}.{link.index}",
                text,
            )


def start(lab: Lab, machine: Machine, links: Topology, facts: Facts) -> Step:
    """The machine itself."""
    where = facts.layout.machine(machine.name)
    for path in (where.qmp, where.serial, facts.layout.keeper):
        _fits(machine, path)
    needed = hardware(machine, links.of(machine.name), facts)
    features.require(facts.qemu, features_of(needed))
    argv = cmdline.command(facts.qemu.path, needed)
    if machine.qemu_args:  # they may name files, which are then the lab's own
        argv = ("env", f"--chdir={lab.folder}", *argv)
    nics = (
        ", ".join(f"{link.nic.model} on {link.network.name}" for link in links.of(machine.name)) or "no NIC"
    )
    return Start(
        f"machine {machine.name}",
        f"{machine.name}: {_runs(machine)}, {cmdline.size(machine.memory)}, {nics}",
        process_name(machine.name),
        qemu_command(argv, machine, links.of(machine.name), facts),
        where.log,
        ready=where.qmp,
        machine=machine.name,
        boots=where.agent if needed.accel == "tcg" and has_agent(machine) else None,
        warm=templates.warm(lab, machine, links.of(machine.name), facts),
    )


def notes(lab: Lab, facts: Facts) -> Iterator[str]:
    """What the user asked for and will not get as asked: one line for all machines that it is true of."""
    emulated = [
        machine
        for machine in lab.machines
        if machine.accel is not Accel.TCG and accelerator(machine, facts)[0] == "tcg"
    ]
    if emulated:
        yield f"{_and(emulated, lab)} on emulation: {accelerator(emulated[0], facts)[1]}"
    if hosts := [machine.name for machine in emulated if machine.cpu == "host"]:
        yield f"cpu: host needs KVM; {', '.join(hosts)} will have 'max', the richest that is emulated"
    for asked in dict.fromkeys(machine.machine for machine in lab.machines):
        if (given := features.machine_type(facts.qemu, asked)) != asked:
            names = ", ".join(machine.name for machine in lab.machines if machine.machine == asked)
            yield f"QEMU {facts.qemu.full_version} has no machine type {asked}; {names} will have {given}"


def _and(some: list[Machine], lab: Lab) -> str:
    if len(some) == 1:
        return f"{some[0].name} runs"
    return (
        "all machines run"
        if len(some) == len(lab.machines)
        else f"{', '.join(each.name for each in some)} run"
    )


def _make_variables(machine: Machine, facts: Facts) -> Step:
    """A qcow2, so that a running machine's state can be saved in it (QEMU, `savevm`)."""
    uefi, path = facts.uefi, facts.layout.machine(machine.name).variables
    assert uefi is not None, "facts: uefi is needed and was not gathered"
    convert = ("qemu-img", "convert", "-f", uefi.variables_format, "-O", "qcow2")
    return Run(
        f"uefi {machine.name}",
        f"{machine.name}'s own UEFI variables (its boot order, its keys)",
        Command((*convert, str(uefi.variables), str(path)), space=Space.HERE, user=facts.user),
        creates=path,
    )


def _made(machine: Machine, facts: Facts) -> list[tuple[int, NewDisk | OverlayDisk]]:
    return [(index, disk) for index, disk in all_disks(machine, facts) if not isinstance(disk, FileDisk)]


def _make_disk(machine: Machine, index: int, disk: NewDisk | OverlayDisk, facts: Facts) -> Step:
    path = facts.layout.machine(machine.name).disk(index)
    if isinstance(disk, OverlayDisk):
        base = image_facts(facts, disk.base)
        reason = f"{machine.name}'s disk {index}: its own writes, over {base.path.name}, which stays as it is"
    else:
        reason = f"{machine.name}'s disk {index}: empty, and as large as it is written"
    return Run(f"disk {machine.name}.{index}", reason, create(path, disk, facts), creates=path)


def _runs(machine: Machine) -> str:
    if machine.image == "tiny":
        return "the embedded guest"
    if machine.kernel:
        return f"the kernel {Path(str(machine.kernel)).name}"
    return machine.image.name if machine.image is not None else "what its disks and media hold"


def _fits(machine: Machine, socket: Path) -> None:
    if len(str(socket).encode()) > SOCKET_PATH_MAX:
        raise RequestError(
            f"machine {machine.name}: the path of its socket would be {len(str(socket).encode())} bytes long,"
            f" and Linux takes {SOCKET_PATH_MAX} (unix(7)): {socket}",
            hint="give the machine a shorter name, or set XDG_RUNTIME_DIR to a shorter folder",
        )
