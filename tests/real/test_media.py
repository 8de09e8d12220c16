"""F01–F08 with media that nobody here wrote: what real boot loaders and a real installer show.

F09 and F10 (an installed system) are in test_image.py.
"""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import Bench
from vmlan import labfile
from vmlan.guest import media
from vmlan.host import paths
from vmlan.host.run import find, run
from vmlan.model import ScreenCheck
from vmlan.observe import check
from vmlan.plan.layout import Layout, MachineFiles
from vmlan.qemu import qmp
from vmlan.qemu.kvm import try_kvm

pytestmark = pytest.mark.real

#: Seconds that a guest may take to show something; emulation on a busy machine is slow.
PATIENCE = "150"


def machine_files(bench: Bench, name: str) -> MachineFiles:
    (run_folder,) = (path for path in (bench.runtime / "vmlan").iterdir() if path.is_dir())
    return MachineFiles(run_folder / f"vm-{name}", bench.state / "vmlan" / run_folder.name / name)


def ask(bench: Bench, name: str, command: str, **arguments: Any) -> Any:
    return qmp.command(machine_files(bench, name).qmp, name, command, **arguments)


def shown(bench: Bench, name: str, words: str) -> list[str]:
    """The rows of the screen once it shows these words."""
    bench.ok("wait", name, f"screen:{words}", "--timeout", PATIENCE)
    rows = json.loads(bench.ok("screen", name, "--json"))["text"]
    assert isinstance(rows, list)
    return rows


def test_the_files_are_the_packages_own(tmp_path: Path) -> None:
    files = media.ensure("grub-floppy", paths.cache_root())
    run(["apt-get", "download", "grub-rescue-pc"], cwd=tmp_path)
    (archive,) = tmp_path.glob("*.deb")
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], capture_output=True, check=True).stdout
    name = "./usr/lib/grub-rescue/grub-rescue-floppy.img"
    image = subprocess.run(["tar", "-xO", name], input=tar, capture_output=True, check=True).stdout
    assert files["image"].read_bytes() == image


def test_f01_a_floppy_alone(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {floppy: grub-floppy, boot: [floppy], memory: 64M}\n")
    bench.ok("up")
    assert any("GNU GRUB" in row for row in shown(bench, "vm1", "GNU GRUB"))
    drives = [drive for drive in ask(bench, "vm1", "query-block") if "inserted" in drive]
    assert [drive["inserted"]["file"].rpartition("/")[2] for drive in drives] == ["grub-rescue-floppy.img"]


def test_f01_a_floppy_as_the_image_and_before_a_cd(bench: Bench) -> None:
    """The order is given to the controller, of which `pc` has one and q35 none by itself."""
    bench.write(
        "machines:\n"
        "  alone: {image: grub-floppy, memory: 64M}\n"
        "  first: {floppy: grub-floppy, cdrom: ipxe, boot: [floppy, cdrom], memory: 64M, machine: q35}\n"
    )
    bench.ok("up")
    shown(bench, "alone", "GNU GRUB")
    shown(bench, "first", "GNU GRUB")


def test_f02_a_usb_stick(bench: Bench) -> None:
    bench.write(
        "machines:\n  vm1: {usb: [grub-usb], memory: 64M}\n"
        "  two: {usb: [ipxe, grub-usb], cdrom: grub-cd, boot: [usb, cdrom], memory: 64M, machine: q35}\n"
    )
    bench.ok("up")
    shown(bench, "vm1", "GNU GRUB")
    shown(bench, "two", "iPXE")
    monitor = ask(bench, "vm1", "human-monitor-command", **{"command-line": "info usb"})
    assert "QEMU USB MSD" in monitor or "Mass Storage" in monitor or "usb-storage" in monitor, monitor


def test_f03_without_an_order_the_bios_goes_on_to_the_cd(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {cdrom: ipxe, disks: [{size: 64M}]}\n")
    assert "-m 512M" in bench.ok("explain")
    bench.ok("up")
    rows = shown(bench, "vm1", "iPXE initialising")
    tried = [row for row in rows if row.startswith("Booting from")]
    assert tried[:2] == ["Booting from Hard Disk...", "Booting from DVD/CD..."], rows
    assert "Boot failed: not a bootable disk" in rows


def test_f03_a_cd_like_the_stick(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {cdrom: grub-cd, memory: 64M}\n")
    bench.ok("up")
    shown(bench, "vm1", "GNU GRUB")


def test_f07_f08_installing(bench: Bench) -> None:
    """An empty disk and a CD, the CD named first; then, with a system on it, the disk by itself."""
    machine = "disks: [{size: 64M}], cdrom: ipxe, memory: 64M"
    bench.write(f"machines:\n  vm1: {{{machine}, boot: [cdrom, disk]}}\n")
    bench.ok("up")
    rows = shown(bench, "vm1", "iPXE initialising")
    assert next(row for row in rows if row.startswith("Booting from")) == "Booting from DVD/CD...", rows
    disk = machine_files(bench, "vm1").disk(0)
    bench.ok("down", "--now")
    what = json.loads(run(["qemu-img", "info", "--output=json", str(disk)]).stdout)
    assert (what["format"], what["virtual-size"]) == ("qcow2", 64 << 20)
    assert "backing-filename" not in what
    # What an installer would do: a system, with a boot loader of its own, is written to the disk.
    system = media.ensure("grub-usb", paths.cache_root())["image"]
    run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", str(system), str(disk)])
    bench.write(f"machines:\n  vm1: {{{machine}}}\n")
    bench.ok("up")
    shown(bench, "vm1", "GNU GRUB")
    bench.ok("down", "--now")
    bench.write(f"machines:\n  vm1: {{{machine}, boot: [cdrom, disk]}}\n")
    bench.ok("up")
    shown(bench, "vm1", "iPXE")


def test_a_cd_asks_for_its_address_by_itself(bench: Bench) -> None:
    bench.write(
        "networks:\n  lan: {kind: bridge, host: 10.9.0.1/24, dhcp: true}\n"
        "machines:\n  vm1: {image: ipxe, memory: 64M, nics: [{network: lan, model: e1000}]}\n"
        'checks:\n  - {screen: "net0: 10.9.0.11/", on: vm1}\n'
    )
    bench.ok("up")
    rows = shown(bench, "vm1", "net0: 10.9.0.11/255.255.255.0")
    mac = next(row for row in rows if "using" in row).split()[1]
    leases = next((bench.runtime / "vmlan").rglob("net-lan/*leases*")).read_text()
    assert f"{mac} 10.9.0.11" in leases
    done = bench.vmlan("check", "--json")
    (first,) = done.json["checks"]
    assert (first["outcome"], first["passed"], first["on"]) == ("shown", True, "vm1")
    assert done.code == 0 and first["why"].startswith("screen: net0: 10.9.0.11/")


def test_a_screen_that_does_not_show_it(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {image: ipxe, memory: 64M}\n  held: {image: ipxe, qemu-args: [-S]}\n")
    bench.ok("up")
    shown(bench, "vm1", "No bootable device.")
    lab = labfile.load(bench.folder / "lab.yaml")
    run_folder = machine_files(bench, "vm1").run.parent
    layout = Layout(run_folder, bench.state / "vmlan" / run_folder.name)
    found = check.shows(ScreenCheck("login:", "vm1"), lab, layout, patience=1)
    assert (found.passed, found.outcome) == (False, "not shown")
    assert found.why == "not within 1 s; the last line of the screen is: No bootable device."
    found = check.shows(ScreenCheck("login:", "held"), lab, layout, patience=0)
    assert found.why == "not within 0 s; it is in a graphics mode (640x480)"
    ask(bench, "vm1", "quit")
    found = check.shows(ScreenCheck("iPXE", "vm1"), lab, layout, patience=0)
    assert (found.passed, found.outcome) == (False, "not tried") and "not running" in found.why


INSTALLER = """
machines:
  vm1:
    image: debian-installer
    append: console=tty0 console=ttyS0 nomodeset
"""


def test_the_installers_kernel_says_the_same_on_its_screen_and_its_serial_console(bench: Bench) -> None:
    """Linux scrolls its text screen by moving where it starts; the serial console says what is right."""
    bench.write(INSTALLER)
    bench.ok("up")
    rows = shown(bench, "vm1", "Freeing unused kernel image (rodata/data gap) memory")
    assert len(rows) == 25
    serial = machine_files(bench, "vm1").serial_log.read_text(errors="replace")
    said = [row for row in rows if row.startswith("[")]
    assert len(said) > 10
    assert [row for row in said if row not in serial] == []


def test_the_installer_asks_its_first_question(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {image: debian-installer, memory: 1G}\n")
    bench.ok("up")
    assert "Select a language" in bench.ok("wait", "vm1", "text:Select a language", "--timeout", PATIENCE)


def pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and RGB of a PNG with 8 bits a colour (PNG specification, sections 5 and 9)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, width, height, step = 8, b"", 0, 0, 3
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, bits, colours = struct.unpack_from(">IIBB", body)
            assert bits == 8 and colours in (2, 6)
            step = 3 if colours == 2 else 4
        elif kind == b"IDAT":
            data += body
        at += 12 + length
    raw, size = zlib.decompress(data), width * step
    before, out = bytearray(size), bytearray()
    for row in range(height):
        filter_, line = raw[row * (size + 1)], bytearray(raw[row * (size + 1) + 1 : (row + 1) * (size + 1)])
        for n in range(size):
            left = line[n - step] if n >= step else 0
            corner = before[n - step] if n >= step else 0
            line[n] = (line[n] + _predicted(filter_, left, before[n], corner)) & 0xFF
        out += b"".join(bytes(line[n : n + 3]) for n in range(0, size, step))
        before = line
    return width, height, bytes(out)


def _predicted(filter_: int, left: int, above: int, corner: int) -> int:
    if filter_ == 4:
        guess = left + above - corner
        return min((left, above, corner), key=lambda value: abs(guess - value))
    return (0, left, above, (left + above) // 2)[filter_]


def test_our_picture_is_qemus(bench: Bench) -> None:
    """The same still screen, as libpng writes it (QEMU since 7.1) and as we do."""
    bench.write("machines:\n  vm1: {image: ipxe, memory: 64M}\n")
    bench.ok("up")
    shown(bench, "vm1", "iPXE initialising")
    ask(bench, "vm1", "stop")
    theirs = machine_files(bench, "vm1").run / "theirs.png"
    try:
        ask(bench, "vm1", "screendump", filename=str(theirs), format="png")
    except Exception as error:
        pytest.skip(f"this QEMU writes no PNG: {error}")
    assert "720x400" in bench.ok("screen", "vm1", "-o", "ours.png")
    assert pixels((bench.folder / "ours.png").read_bytes()) == pixels(theirs.read_bytes())
    theirs.unlink()
    assert bench.ok("screen", "vm1", "--text") == bench.ok("screen", "vm1")
    left = [path.name for path in machine_files(bench, "vm1").run.iterdir()]
    assert not [name for name in left if name.startswith("screen")]


def test_screens_that_have_no_text(bench: Bench) -> None:
    bench.write("machines:\n  held: {image: ipxe, memory: 64M, qemu-args: [-S]}\n  t: {image: tiny}\n")
    assert bench.vmlan("screen", "held").code == 2
    bench.ok("up")
    graphics = bench.vmlan("screen", "held")
    assert graphics.code == 2
    assert "graphics mode (640x480)" in graphics.err and "-o held.png" in graphics.err
    assert bench.vmlan("screen", "held", "--json").json["text"] is None
    bench.ok("screen", "held", "-o", "held.png")
    assert pixels((bench.folder / "held.png").read_bytes())[:2] == (640, 480)
    blind = bench.vmlan("screen", "t")
    assert blind.code == 2 and "t has no screen" in blind.err and "vmlan console t" in blind.err
    late = bench.vmlan("wait", "held", "screen:iPXE", "--timeout", "1")
    assert late.code == 1 and "no screen:iPXE within 1 s" in late.err
    assert bench.vmlan("screen", "nobody").code == 2


def test_f04_a_named_accelerator_and_a_distributions_own_machine_type(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {image: ipxe, memory: 64M, machine: pc-q35-xenial, accel: tcg}\n")
    up = bench.vmlan("up")
    assert up.code == 0, up.err
    assert "pc-q35-xenial" in up.err
    shown(bench, "vm1", "iPXE")
    assert ask(bench, "vm1", "qom-get", path="/machine", property="type").startswith("pc-q35-")
    assert ask(bench, "vm1", "query-kvm")["enabled"] is False


def test_f05_f06_kvm_and_the_hosts_processor(bench: Bench) -> None:
    """Asked for KVM where it does not work, the machine runs all the same, and we are told why."""
    bench.write("machines:\n  vm1: {image: ipxe, memory: 64M, accel: kvm, cpu: host}\n")
    binary = find("qemu-system-x86_64")
    assert binary is not None
    verdict = try_kvm(binary.resolve(), paths.cache_root())
    up = bench.vmlan("up")
    assert up.code == 0, up.err
    shown(bench, "vm1", "iPXE")
    assert ask(bench, "vm1", "query-kvm")["enabled"] is verdict.works
    processors = ask(bench, "vm1", "query-cpus-fast")
    kind = ask(bench, "vm1", "qom-get", path=processors[0]["qom-path"], property="type")
    if verdict.works:
        assert "emulation" not in up.err and kind == "host-x86_64-cpu"
    else:
        assert f"vm1 runs on emulation: {verdict.reason}" in up.err
        assert "cpu: host needs KVM" in up.err and kind == "max-x86_64-cpu"


def test_the_tester_tests(bench: Bench) -> None:
    bench.write("machines:\n  vm1: {image: memtest86+, memory: 64M}\n")
    bench.ok("up")
    rows = shown(bench, "vm1", "QEMU Standard PC")
    assert any("Memtest86+" in row for row in rows)
