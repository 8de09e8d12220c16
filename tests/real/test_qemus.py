"""The same labs on four real QEMUs, 5.2 to 11.1, and what each of them says of itself."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.golden import test_qemus as golden
from tests.real.conftest import Bench
from tests.real.qemus import VERSIONS, qemu
from vmlan import labfile
from vmlan.errors import HostError
from vmlan.host import facts as host_facts
from vmlan.host.identity import make_pipes
from vmlan.plan.build import plan
from vmlan.plan.layout import Layout
from vmlan.plan.steps import MakeFolder, Plan, Run, Space, Start
from vmlan.qemu import features, testguest
from vmlan.qemu.facts import QemuFacts
from vmlan.qemu.kvm import boot
from vmlan.qemu.probe import probe

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

#: Seconds for what takes less than one on an idle machine.
PATIENCE = 60.0

each = pytest.mark.parametrize("version", VERSIONS)


def as_json(facts: QemuFacts) -> str:
    """Facts as they are recorded: a line for each of them, and the same on every machine."""
    value = msgspec.to_builtins(replace(facts, path=Path("/usr/bin/qemu-system-x86_64")), enc_hook=str)
    value |= {key: sorted(value[key]) for key in ("accelerators", "netdevs", "migration", "devices")}
    return "{\n" + ",\n".join(f'"{key}": {json.dumps(held)}' for key, held in value.items()) + "\n}\n"


@each
def test_what_is_recorded_is_what_it_says(
    version: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    said = probe(qemu(version), tmp_path)
    file = golden.HERE / f"facts/{version}.json"
    if request.config.getoption("--regenerate"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(as_json(said))
    recorded = golden.recorded(version)
    assert recorded.version[:2] == said.version[:2]
    # Debian's own number of it moves on, and so does the third number; what it can do does not.
    assert replace(said, path=recorded.path, version=recorded.version, full_version="") == replace(
        recorded, full_version=""
    )


@each
def test_the_table_of_features_holds(version: str, tmp_path: Path) -> None:
    facts = probe(qemu(version), tmp_path)
    assert golden.lacking(facts) == golden.LACKING[version]
    shown = subprocess.run(
        [qemu(version), "-machine", "help"], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    for name in ("pc", "q35"):
        assert re.search(rf"^{name} .*alias of ", shown, re.MULTILINE)
        assert features.machine_type(facts, name) == name
    for name in (machine.name for machine in facts.machines):
        assert re.search(rf"^{re.escape(name)} ", shown, re.MULTILINE)


@each
def test_its_emulation_gets_to_64_bits(version: str) -> None:
    answer = boot(qemu(version), "tcg", testguest.image(), PATIENCE)
    assert (answer.code, answer.stderr) == (testguest.EXIT_CODE, "")


@each
def test_it_is_made_of_its_own_files(version: str, tmp_path: Path) -> None:
    """Neither this machine's libraries nor its modules of QEMU, whose version is another, are used."""
    argv = (str(qemu(version)), "-machine", "pc,accel=tcg", "-nodefaults", "-display", "none", "-vga", "std")
    with Quiet((*argv, "-qmp", f"unix:{tmp_path}/qmp,server=on,wait=off"), tmp_path) as quiet:
        quiet.ask("qom-list-types")  # makes it load every module
        maps = Path(f"/proc/{quiet.process.pid}/maps").read_text()
    files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if ".so" in line}
    assert len(files) > 20
    assert {name for name in files if not name.startswith(f"{qemu(version).parent}/")} == set()
    assert quiet.said == ""


class Quiet:
    """A QEMU whose machine does not run (-S): what it says of its arguments, and nothing more."""

    def __init__(self, argv: tuple[str, ...], folder: Path) -> None:
        self.qmp = next(word for word in argv if word.startswith("unix:")).split(":")[1].split(",")[0]
        self.log = folder / "said"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*argv, "-S"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.process.poll() is None:
                self.ask("quit")
            assert self.process.wait(PATIENCE) == 0, self.said
        finally:
            self.process.kill()
            self.process.wait()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def connect(self) -> socket.socket:
        """The socket is there a moment before somebody listens on it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.said
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(PATIENCE)
            try:
                link.connect(self.qmp)
                return link
            except OSError:
                link.close()
                assert time.monotonic() < deadline, self.said
                time.sleep(0.01)

    def ask(self, command: str) -> None:
        """One command, and its answer waited for."""
        try:
            with self.connect() as link, link.makefile("rw") as stream:
                stream.readline()
                for word in ("qmp_capabilities", command):
                    print(json.dumps({"execute": word, "id": word}), file=stream, flush=True)
                    while json.loads(stream.readline()).get("id") != word:
                        pass
        except (OSError, ValueError):
            assert self.process.wait(PATIENCE) == 0, self.said


def starts(made: Plan) -> dict[str, tuple[str, ...]]:
    """Each machine's argument list, with the files that it needs made."""
    for step in made.steps:
        if isinstance(step, MakeFolder):
            step.path.mkdir(parents=True, exist_ok=True)
            make_pipes(step.path, step.pipes)
        if isinstance(step, Run) and step.command.space is Space.HERE:
            subprocess.run(step.command.argv, check=True, capture_output=True)
    return {
        step.machine: step.command.argv for step in made.steps if isinstance(step, Start) and step.machine
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """One whose name is short enough for sockets (unix(7): 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as name:
        yield Path(name)


#: A network of kind `none` is a hub that leads nowhere; and an old machine type is what was asked for.
EXPECTED = {
    "everything": re.compile(r"warning: hub \d+ is not connected to host network$"),
    "old": re.compile(r"warning: Machine type '\S+' is deprecated"),
}


@each
@pytest.mark.parametrize("name", ["everything", "old"])
def test_no_argument_is_complained_about(
    name: str, version: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every medium on every bus, every NIC, both firmwares, both chipsets: accepted without a word."""
    for file, size in {
        "boot.img": "1440K",
        "stick.img": "64M",
        "a,b:c.img": "64M",
        "live.iso": "10M",
    }.items():
        subprocess.run(["truncate", "-s", size, folder / file], check=True)
    with (folder / "live.iso").open("r+b") as iso:  # what ISO 9660 begins with (ECMA-119, 8.1)
        iso.seek(16 * 2048)
        iso.write(b"\x01CD001\x01")
    base = folder / "debian.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "1G"], check=True)
    monkeypatch.setenv("VMLAN_QEMU", str(qemu(version)))
    text = {"everything": golden.EVERYTHING, "old": golden.OLD}[name]
    lab = labfile.loads(text, folder=folder)
    made = plan(lab, host_facts.gather(lab, Layout(folder / "run", folder / "state")))
    machines = starts(made)
    assert set(machines) == {machine.name for machine in lab.machines}
    complaints = {}
    for machine, argv in machines.items():
        assert argv[0] == str(qemu(version))
        with Quiet(argv, folder) as quiet:
            quiet.ask("query-status")
        if words := [line for line in quiet.said.splitlines() if not EXPECTED[name].search(line)]:
            complaints[machine] = words
    assert complaints == {}


def boot_sector(letter: str) -> bytes:
    """Says a letter on port 0xe9 and ends QEMU through port 0xf4 (mov al; out; mov al; out; hlt)."""
    code = b"\xb0" + letter.encode() + b"\xe6\xe9\xb0\x01\xe6\xf4\xf4"
    return code.ljust(510, b"\0") + b"\x55\xaa"


BOOTS = """
machines:
  a:
    machine: {machine}
    floppy: floppy.img
    disks: [{{file: disk.img, bus: {bus}}}]
    boot: {order}
    qemu-args: [-debugcon, stdio, -global, isa-debugcon.iobase=0xe9, -device, 'isa-debug-exit,iobase=0xf4']
"""


@each
@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_it_boots_from_what_is_first(
    machine: str, version: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a disk on every bus before a floppy, and from a floppy before a disk."""
    monkeypatch.setenv("VMLAN_QEMU", str(qemu(version)))
    folder.joinpath("floppy.img").write_bytes(boot_sector("F").ljust(1440 * 1024, b"\0"))
    folder.joinpath("disk.img").write_bytes(boot_sector("D").ljust(16 << 20, b"\0"))
    booted, wanted = {}, {}
    cases = [(bus, "[disk, floppy]") for bus in ("virtio", "ide", "sata", "scsi", "nvme")]
    for bus, order in (*cases, ("virtio", "[floppy, disk]")):
        text = BOOTS.format(machine=machine, bus=bus, order=order)
        if bus == "nvme" and "way to boot from nvme" in golden.LACKING[version]:
            shown = subprocess.run([qemu(version), "-device", "nvme,help"], capture_output=True, check=True)
            assert b"drive=" in shown.stdout and b"bootindex=" not in shown.stdout
            with pytest.raises(HostError, match="no way to boot from nvme"):
                first_words(text, folder)
            continue
        wanted[bus, order] = order[1].upper()
        booted[bus, order] = first_words(text, folder)
    assert booted == wanted


def first_words(text: str, folder: Path) -> str:
    """What the one machine of a lab says on its debugging console until it ends."""
    lab = labfile.loads(text, folder=folder)
    made = plan(lab, host_facts.gather(lab, Layout(folder / "run", folder / "state")))
    (argv,) = starts(made).values()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.stdout + done.stderr


@each
def test_the_lan_passes_its_checks(version: str, bench: Bench) -> None:
    run_example("lan", version, bench)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
@pytest.mark.parametrize("example", ["crossover", "separate"])
def test_other_examples_on_the_oldest_and_the_newest(example: str, version: str, bench: Bench) -> None:
    run_example(example, version, bench)


def run_example(example: str, version: str, bench: Bench) -> None:
    bench.env["VMLAN_QEMU"] = str(qemu(version))
    bench.example(example)
    bench.ok("up")
    running = [line for line in bench.processes() if " -name " in line]
    assert running and all(f"/{version}/usr/bin/qemu-system-x86_64 " in line for line in running)
    assert all(" -incoming defer " in line for line in running), "it has booted, rather than gone on"
    assert ", 0 failed\n" in bench.ok("check")
    assert {log.parent.name: log.read_text() for log in bench.runtime.rglob("vm-*/qemu.log")} == {
        f"vm-{machine['name']}": "" for machine in bench.vmlan("ps", "--json").json["machines"]
    }
    bench.ok("down")


def test_the_lab_file_can_name_one_and_the_variable_goes_first(bench: Bench) -> None:
    bench.write(f"qemu: {qemu('5.2')}\nmachines: {{vm1: {{image: tiny}}}}\n")
    bench.env.pop("VMLAN_QEMU", None)
    assert str(qemu("5.2")) in bench.ok("explain")
    bench.env["VMLAN_QEMU"] = str(qemu("11.1"))
    said = bench.ok("explain")
    assert str(qemu("11.1")) in said and str(qemu("5.2")) not in said


def test_one_that_aborts_over_foreign_modules_is_asked_without_them(tmp_path: Path) -> None:
    """As somebody's own build does where it looks into the distribution's folder."""
    foreign = qemu("11.1").parent / "usr/lib/x86_64-linux-gnu/qemu"
    wrapper = tmp_path / "qemu-system-x86_64"
    wrapper.write_text(f'#!/bin/sh\nQEMU_MODULE_DIR={foreign} exec {qemu("10.0")} "$@"\n')
    wrapper.chmod(0o755)
    dead = subprocess.run([wrapper, "-device", "help"], capture_output=True, check=False, timeout=PATIENCE)
    assert dead.returncode == -6, "it does not abort: then this test shows nothing"
    facts, whole = probe(wrapper, tmp_path), probe(qemu("10.0"), tmp_path)
    assert replace(facts, path=whole.path, devices=whole.devices) == whole
    assert facts.devices <= whole.devices
    features.require(facts, features.FEATURES)
    for model in golden.MODELS:
        features.nic_device(facts, model)
