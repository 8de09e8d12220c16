"""Old command lines as labs: each starts on every QEMU that is here, and cheap ones come up as machines.

The QEMUs are the installed one (or `VMLAN_QEMU`) and those that `tools/qemus` fetches.
"""

from __future__ import annotations

import json
import os

import pytest

from tests.old_lines import HOLD
from tests.real.conftest import Bench
from tests.real.qemus import VERSIONS, qemu
from tests.started import make_files, starts
from vmlan.host.run import need
from vmlan.notes.result import Imported, Needed

pytestmark = pytest.mark.real

Q = "qemu-system-x86_64"
HUB = (
    "-netdev user,id=user1 -netdev hubport,id=hp1,hubid=0,netdev=user1 "
    "-netdev hubport,id=hp2,hubid=0 -device e1000,netdev=hp2"
)
TAP = "-netdev tap,id=nd1,ifname=tap1,script=no,downscript=no"

LINES = [
    # what the notes that vmlan grew from have
    f"{Q} -boot a -fda F.img",
    f"{Q} -usb -usbdevice disk:L.iso -m 512",
    f"{Q} -cdrom L.iso -m 512",
    f"{Q} -cdrom L.iso -m 512 -machine type=pc-q35-xenial,accel=tcg",
    f"{Q} -cdrom L.iso -m 512 -machine type=pc-q35-xenial,accel=kvm",
    f"{Q} -cdrom L.iso -m 512 -enable-kvm",
    f"{Q} -cdrom L.iso -m 512 -enable-kvm -cpu host",
    f"{Q} -hda D.img -cdrom L.iso -boot d -m 512 -enable-kvm",
    f"{Q} -hda D1.img -m 512 -enable-kvm",
    f"{Q} -netdev user,id=xyz -device e1000,netdev=xyz",
    f"{Q} {HUB}",
    f"{Q} -net user -net nic,model=e1000",
    f"{Q} -nic none",
    f"{Q} -netdev hubport,id=abc,hubid=0",
    f"{Q} {TAP}",
    f"{Q} {TAP} -device e1000,netdev=nd1",
    # old options, one age after the other
    "qemu -std-vga -localtime -soundhw all -no-acpi -no-kqemu -hda D.img -win2k-hack -usb -k de -rtc-td-hack",
    "qemu -M isapc -m 16 -fda F.img -hda D.img -hdb D1.img -no-fd-bootchk -curses -startdate 1994-11-01",
    "qemu -redir tcp:24680::22 -hda D.img -usbdevice tablet -pidfile p -balloon virtio -watchdog ib700 -clock x",
    "kvm -net nic,vlan=1 -net socket,vlan=1,mcast=230.0.0.1:1234 -net nic,vlan=2 -net dump,vlan=2,file=a,b.pcap",
    "kvm -drive file=D.img,if=virtio,boot=on,cache=none,serial=x -smp 4,cores=2 -no-hpet -name a,process=b -tdf",
    f"{Q} -M q35 -device ahci,id=a -drive if=none,id=d,file=D.img -device ide-hd,drive=d,bus=a.0,serial=x",
    f"{Q} -device virtio-scsi-pci -drive if=none,id=disk0,file=D.img -device scsi-hd,drive=disk0 -vga qxl",
    f"{Q} -drive if=none,id=d,file=D.img,readonly -device nvme,drive=d,serial=x -audiodev pa,id=a -device AC97",
    f"{Q} -device intel-hda -device hda-duplex -serial stdio -serial tcp::4447,server,nowait -gdb tcp::1234",
    f"{Q} -cpu host,kvm=off,hv_time -machine kernel_irqchip=on,vmport=off,hpet=off -m 512,slots=2,maxmem=1G",
    f"{Q} -nic user,model=virtio-net-pci,tftp=t,bootfile=p,hostname=x,net=10.9.0.0/24 -boot n -uuid "
    "12345678-1234-1234-1234-123456789abc -fw_cfg name=opt/x,string=y -smbios type=1,serial=z -rtc base=utc",
    f"{Q} -netdev user,id=net0 -device virtio-net-pci,netdev=net0,id=nic0,disable-legacy=on,romfile= -hda D.img",
    f"{Q} -device usb-kbd -device usb-tablet,id=usb0 -device edu,id=disk0 -d int,cpu_reset -D log -virtfs "
    "local,path=share,mount_tag=s,security_model=none -object rng-random,id=r,filename=/dev/urandom -no-reboot",
    f"{Q} -chardev file,id=c,path=log -device isa-serial,chardev=c -chardev stdio,id=s -mon s",
]  # fmt: skip


@pytest.mark.parametrize("version", ["installed", *VERSIONS])
def test_every_line_starts_on_every_qemu(version: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = need(os.environ.get("VMLAN_QEMU") or Q) if version == "installed" else qemu(version)
    monkeypatch.setenv("VMLAN_QEMU", str(binary))
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, bench.env[name])
    wrong = [what for text in [*LINES, *HOLD] if (what := starts(text, binary, bench.folder))]
    assert not wrong, "\n\n".join(wrong)


def test_the_default_network_comes_up(bench: Bench) -> None:
    bench.ok("import", "-o", "lab.yaml", "--", *f"{Q} -net user -net nic,model=e1000".split())
    bench.ok("up")
    shown = bench.ok("exec", "vm", "--", "ip", "addr", "show", "eth0")
    assert "10.0.2.15/24" in shown
    driver = bench.ok("exec", "vm", "--", "readlink", "/sys/class/net/eth0/device/driver")
    assert driver.strip().endswith("e1000")


def test_a_line_without_a_nic_comes_up_without_one(bench: Bench) -> None:
    bench.ok("import", "-o", "lab.yaml", "--", Q, "-netdev", "hubport,id=abc,hubid=0")
    bench.ok("up")
    assert bench.ok("exec", "vm", "--", "ls", "/sys/class/net").split() == ["lo"]


def test_what_is_missing_is_said(bench: Bench) -> None:
    bench.ok("import", "-o", "lab.yaml", "--", *f"{Q} -hda D.img -cdrom L.iso -boot d".split())
    done = bench.vmlan("up")
    assert done.code == 2
    assert "D.img" in done.err


def test_the_lab_file_and_the_notes_are_apart(bench: Bench) -> None:
    done = bench.vmlan("import", "-", stdin=f"$ sudo {Q} -usb -usbdevice disk:L.iso -m 512 # live\n")
    assert done.code == 0
    bench.write(done.out)
    assert "usb: [L.iso]" in done.out
    assert "QEMU dropped it in 2.12" in done.err
    assert "sudo" in done.err
    assert "sudo" not in done.out
    told = bench.vmlan("import", "--json", "--", Q, "-hda", "D.img", "-S").json
    assert {note["became"] for note in told["notes"]} == {"key", "vmlan"}
    assert told["files"] == [{"path": "D.img", "folder": False}]


def test_lines_that_are_no_lab(bench: Bench) -> None:
    done = bench.vmlan("import", "--", "qemu-system-arm", "-M", "virt")
    assert (done.code, done.out) == (2, "")
    assert "this line is for arm" in done.err
    danger = [Q, "-netdev", "tap,id=n,script=up.sh"]
    done = bench.vmlan("import", "--", *danger)
    assert (done.code, done.out) == (2, "")
    assert "script=up.sh would run a program on this machine" in done.err
    assert "kind: tap" in bench.ok("import", "--trust", "--", *danger)


def test_a_file_that_is_there_is_not_written_over(bench: Bench) -> None:
    bench.write("machines: {a: }\n")
    done = bench.vmlan("import", "-o", "lab.yaml", "--", Q)
    assert done.code == 2
    assert "there is a lab.yaml already" in done.err
    assert (bench.folder / "lab.yaml").read_text() == "machines: {a: }\n"
    bench.ok("import", "-o", "lab.yaml", "--force", "--", Q)


def test_a_script_file(bench: Bench) -> None:
    (bench.folder / "old.sh").write_text(f"#!/bin/sh\nQ={Q}\n$Q -hda D.img \\\n  -m 1G &\n")
    done = bench.vmlan("import", "old.sh")
    assert "memory: 1G" in done.out
    assert json.loads(bench.vmlan("import", "--json", "old.sh").out)["lab"] == done.out
    assert "there is no file 'new.sh'" in bench.vmlan("import", "new.sh").err


def test_a_line_runs_where_its_files_are(bench: Bench) -> None:
    make_files(Imported(None, files=(Needed("D.img"), Needed("share", folder=True))), bench.folder)
    share = "-fsdev local,id=f,path=share,security_model=none -device virtio-9p-pci,fsdev=f,mount_tag=x"
    line = f"{Q} -m 64 -nic none -hda D.img -drive file=fat:rw:share,format=raw,if=virtio {share} -S".split()
    done = bench.vmlan("run", "--dry-run", "--", *line)
    assert "-S: vmlan starts a machine at once" in done.err
    bench.ok("run", "-d", "--name", "old", "--", *line)
    try:
        assert "old" in bench.ok("ps", "-f", "old")
    finally:
        bench.ok("down", "--now", "-f", "old")
    assert "these are several machines" in bench.vmlan("run", "--", f"{Q} -hda a; {Q} -hda b").err
