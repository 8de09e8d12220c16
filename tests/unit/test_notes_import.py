"""Command lines as labs: what each option becomes, and that none is dropped in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labs import QEMU
from tests.old_lines import HOLD, LIBVIRT_OF_2022
from vmlan.labfile import loads
from vmlan.labfile.write import dumps
from vmlan.model import (
    MIB,
    Accel,
    BridgeNetwork,
    FileDisk,
    Firmware,
    Forward,
    HubNetwork,
    Lab,
    Machine,
    Nic,
    NoNetwork,
    OverlayDisk,
    SocketNetwork,
    TapNetwork,
    UserNetwork,
)
from vmlan.notes.importer import import_lines
from vmlan.notes.options import TABLE, Kind
from vmlan.notes.result import Fate, Imported, Why
from vmlan.notes.shell import command_lines

HERE = Path("/labs/here")
Q = "qemu-system-x86_64 "


def imported(text: str, *, trust: bool = False, qemu: object = None) -> Imported:
    return import_lines(command_lines(text), qemu, folder=HERE, trust=trust)  # type: ignore[arg-type]


def lab_of(text: str, **options: bool) -> Lab:
    found = imported(text, **options)
    assert found.lab is not None, found.refused
    assert loads(dumps(found.lab), folder=HERE) == found.lab
    return found.lab


def machine_of(text: str, **options: bool) -> Machine:
    lab = lab_of(text, **options)
    assert len(lab.machines) == 1
    return lab.machines[0]


def notes_of(text: str, **options: bool) -> str:
    return "\n".join(map(str, imported(text, **options).changes))


def refused(text: str) -> tuple[Why, str]:
    found = imported(text)
    assert found.lab is None
    assert len(found.refused) == 1
    return found.refused[0].why, found.refused[0].reason


def test_a_floppy() -> None:
    machine = machine_of(Q + "-boot a -fda F.img")
    assert (machine.name, machine.floppy, machine.boot) == ("F", (HERE / "F.img",), ("floppy",))
    assert machine.memory == 512 * MIB
    assert "QEMU would give 128M" in notes_of(Q + "-boot a -fda F.img")


def test_an_image_as_a_usb_disk() -> None:
    text = Q + "-usb -usbdevice disk:L.iso -m 512"
    machine = machine_of(text)
    assert machine.usb == (HERE / "L.iso",)
    assert (
        "-usbdevice disk:L.iso: QEMU dropped it in 2.12; the image is now a USB disk (usb-storage)"
        in notes_of(text)
    )


def test_usb_is_said_only_where_it_is_needed() -> None:
    assert machine_of(Q + "-usb -usbdevice disk:L.iso -usbdevice tablet").qemu_args == (
        "-device",
        "usb-tablet",
    )
    named = "-usb -usbdevice disk:L.iso -device usb-kbd,bus=usb-bus.0"
    assert machine_of(Q + named).qemu_args == ("-usb", "-device", "usb-kbd,bus=usb-bus.0")
    assert machine_of(Q + "-nic none -hda D.img -device usb-kbd").qemu_args == ("-usb", "-device", "usb-kbd")


def test_a_cd_needs_no_boot_order() -> None:
    machine = machine_of(Q + "-cdrom L.iso -m 512")
    assert (machine.cdrom, machine.boot, machine.image) == ((HERE / "L.iso",), (), None)


def test_kvm_has_three_spellings() -> None:
    labs = [
        lab_of(Q + "-cdrom L.iso -m 512 " + kvm)
        for kvm in ("-enable-kvm", "--enable-kvm", "-machine accel=kvm", "-accel kvm", "-M pc,accel=kvm")
    ]
    assert labs[0].machines[0].accel is Accel.KVM
    assert all(lab == labs[0] for lab in labs)
    assert lab_of("kvm -cdrom L.iso -m 512") == labs[0]


def test_ubuntus_machine_types() -> None:
    text = Q + "-cdrom L.iso -machine type=pc-q35-xenial,accel=tcg"
    machine = machine_of(text)
    assert (machine.machine, machine.accel) == ("pc-q35-2.5", Accel.TCG)
    assert "a machine type of Ubuntu's own" in notes_of(text)
    found = imported(text, qemu=QEMU)  # it has 7.2's alone
    assert found.lab is not None
    assert found.lab.machines[0].machine == "pc-q35-7.2"
    assert found.lab.machines[0].nics[0].model == "e1000"  # as a Q35 of 2.5 had it


def test_the_hosts_processor() -> None:
    assert machine_of(Q + "-cdrom L.iso -enable-kvm -cpu host").cpu == "host"
    machine = machine_of(Q + "-cdrom L.iso -enable-kvm -cpu host,kvm=off")
    assert (machine.cpu, machine.qemu_args) == ("host", ("-cpu", "max,kvm=off"))


def test_no_network_option_is_qemus_default() -> None:
    lab = lab_of(Q + "-hda D.img")
    assert lab.networks == (HubNetwork("hub"),)
    assert lab.machines[0].nics == (Nic("hub", "e1000"),)
    assert lab_of(Q + "-M q35 -hda D.img").machines[0].nics == (Nic("hub", "e1000e"),)


def test_the_hub_has_three_spellings() -> None:
    hubport = (
        "-netdev user,id=user1 -netdev hubport,id=hp1,hubid=0,netdev=user1 "
        "-netdev hubport,id=hp2,hubid=0 -device e1000,netdev=hp2"
    )
    assert lab_of(Q + hubport) == lab_of(Q + "-net user -net nic,model=e1000") == lab_of(Q)


@pytest.mark.parametrize("words", ["-nic none", "-net none", "-netdev hubport,id=abc,hubid=0", "-nodefaults"])
def test_no_nic_at_all(words: str) -> None:
    lab = lab_of(Q + words)
    assert (lab.networks, lab.machines[0].nics) == ((), ())
    assert lab.machines[0].image == "tiny"


def test_user_mode_networking() -> None:
    lab = lab_of(Q + "-netdev user,id=xyz -device e1000,netdev=xyz")
    assert lab.networks == (UserNetwork("xyz"),)
    assert lab.machines[0].nics == (Nic("xyz", "e1000"),)


def test_a_tap_with_and_without_a_nic() -> None:
    tap = "-netdev tap,id=nd1,ifname=tap1,script=no,downscript=no"
    lab = lab_of(Q + tap)
    assert (lab.networks, lab.machines[0].nics) == ((TapNetwork("tap1"),), ())
    lab = lab_of(Q + tap + " -device e1000,netdev=nd1")
    assert (lab.networks, lab.machines[0].nics) == ((TapNetwork("tap1"),), (Nic("tap1", "e1000"),))


def test_several_nics_on_a_tap_are_a_bridge() -> None:
    lab = lab_of(Q + "-net nic -net nic,model=rtl8139 -net tap,ifname=tap0,script=no")
    assert lab.networks == (BridgeNetwork("tap0"),)
    assert lab.machines[0].nics == (Nic("tap0", "e1000"), Nic("tap0", "rtl8139"))


def test_vlans_are_hubs() -> None:
    lab = lab_of(
        Q + "-net nic,vlan=1 -net user,vlan=1 -net nic,vlan=2 -net socket,vlan=2,mcast=230.0.0.1:1234"
    )
    assert lab.networks == (HubNetwork("hub1"), SocketNetwork("link"))
    assert [nic.network for nic in lab.machines[0].nics] == ["hub1", "link"]


def test_machines_that_meet_are_on_one_network() -> None:
    lab = lab_of(
        Q + "-name a -netdev socket,id=s,listen=:1234 -device e1000,netdev=s -hda a.img\n"
        + Q + "-name b -netdev socket,id=t,connect=127.0.0.1:1234 -device e1000,netdev=t -hda b.img\n"
        + Q + "-name b -nic bridge,br=lan0 -hda c.img\n"
        + Q + "-nic bridge,br=lan0 -hda d.img\n"
    )  # fmt: skip
    assert lab.networks == (SocketNetwork("link"), BridgeNetwork("lan0"))
    assert [machine.name for machine in lab.machines] == ["a", "b", "b2", "d"]


def test_a_disk_that_two_lines_write_is_the_base_of_both() -> None:
    lab = lab_of(Q + "-hda D.img -enable-kvm\n" + Q + "-hda D.img -cdrom L.iso\n")
    assert [machine.disks for machine in lab.machines] == [(OverlayDisk(HERE / "D.img", bus="ide"),)] * 2


def test_forwards() -> None:
    words = "-nic user,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.15:53"
    network = lab_of(Q + "-hda D.img " + words).networks[0]
    assert isinstance(network, UserNetwork)
    assert [str(forward.bind) for forward in network.forward] == ["127.0.0.1", "0.0.0.0"]
    assert [forward.protocol for forward in network.forward] == ["tcp", "udp"]
    assert "QEMU would listen on every address" in notes_of(Q + "-hda D.img " + words)


def test_ports_below_1024_are_for_root() -> None:
    network = lab_of(Q + "-hda D.img -nic user,hostfwd=tcp::80-:80,hostfwd=tcp::80-:81,hostfwd=bad").networks[
        0
    ]
    assert network == UserNetwork("user", (Forward(8080, 80),))


def test_redirections_of_old() -> None:
    lab = lab_of("qemu -hda D.img -redir tcp:5555::22")
    assert lab.networks == (HubNetwork("hub", (Forward(5555, 22),)),)


def test_sub_options_without_a_key_are_set() -> None:
    machine = machine_of(Q + "-hda D.img -netdev user,id=n,tftp=t -device virtio-net-pci,netdev=n,mq=on")
    assert machine.qemu_args == ("-set", "netdev.net0.tftp=t", "-set", "device.nic0.mq=on")
    machine = machine_of(Q + "-hda D.img -net nic -net user,tftp=t")
    assert machine.qemu_args == ("-set", "netdev.hub0user.tftp=t")
    machine = machine_of(Q + "-nic none -drive file=D.img,cache=none,if=virtio")
    assert machine.qemu_args == ("-set", "drive.disk0.cache=none")


@pytest.mark.parametrize(
    ("words", "disk"),
    [
        ("-hda D.img", FileDisk(HERE / "D.img", "ide")),
        ("D.img", FileDisk(HERE / "D.img", "ide")),
        ("-drive file=D.img", FileDisk(HERE / "D.img", "ide")),
        ("-drive file=D.img,if=virtio,boot=on", FileDisk(HERE / "D.img")),
        ("-drive if=virtio,readonly,file=D.img", FileDisk(HERE / "D.img", read_only=True)),
        ("-drive file=D.img,snapshot=on", OverlayDisk(HERE / "D.img", bus="ide")),
        ("-hda D.img -snapshot", OverlayDisk(HERE / "D.img", bus="ide")),
        ("-drive if=none,id=d,file=D.img -device virtio-blk-pci,drive=d", FileDisk(HERE / "D.img")),
        ("-device ahci,id=a -drive if=none,id=d,file=D.img -device ide-hd,drive=d,bus=a.0", FileDisk(HERE / "D.img", "sata")),
        ("-device virtio-scsi-pci -drive if=none,id=d,file=D.img -device scsi-hd,drive=d", FileDisk(HERE / "D.img", "scsi")),
        ("-drive if=none,id=d,file=D.img -device nvme,drive=d,serial=x", FileDisk(HERE / "D.img", "nvme")),
        ("-hda /dev/sdb", FileDisk(Path("/dev/sdb"), "ide")),
        ("-drive file=a,,b.img", FileDisk(HERE / "a,b.img", "ide")),
        ("-hda a,b.img", FileDisk(HERE / "a,b.img", "ide")),
        (
            "-blockdev driver=file,filename=D.img,node-name=f -blockdev driver=qcow2,file=f,node-name=d "
            "-device virtio-blk-pci,drive=d",
            FileDisk(HERE / "D.img"),
        ),
    ],
)  # fmt: skip
def test_disks(words: str, disk: object) -> None:
    assert machine_of(Q + words).disks == (disk,)


def test_disks_are_in_the_order_of_their_places() -> None:
    machine = machine_of(Q + "-hdb b.img -hda a.img -drive file=v.img,if=virtio")
    assert [disk.path.name for disk in machine.disks if isinstance(disk, FileDisk)] == [
        "a.img",
        "b.img",
        "v.img",
    ]


def test_what_boots_first() -> None:
    assert machine_of(Q + "-hda D.img -cdrom L.iso -boot d -m 512 -enable-kvm").boot == ("cdrom",)
    assert machine_of(Q + "-hda D.img -cdrom L.iso -boot order=cdn").boot == ("disk", "cdrom", "network")
    ordered = (
        "-drive if=none,id=d,file=D.img -device virtio-blk-pci,drive=d,bootindex=2 -device e1000,bootindex=1"
    )
    assert machine_of(Q + ordered).boot == ("network", "disk")
    assert "it names a cdrom, and the machine has none" in notes_of(Q + "-hda D.img -boot d")


def test_firmware() -> None:
    pair = "-drive if=pflash,readonly=on,file=OVMF_CODE.fd -drive if=pflash,file=VARS.fd -hda D.img"
    assert machine_of(Q + pair).firmware is Firmware.UEFI
    assert machine_of(Q + "-bios OVMF.fd -hda D.img").firmware is Firmware.UEFI
    machine = machine_of(Q + "-bios coreboot.rom")
    assert (machine.firmware, machine.image, machine.qemu_args) == (
        Firmware.BIOS,
        None,
        ("-bios", "coreboot.rom"),
    )


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ("-localtime", ("-rtc", "base=localtime")),
        ("-no-acpi", ("-machine", "acpi=off")),
        ("-soundhw sb16", ("-audiodev", "none,id=snd0", "-device", "sb16,audiodev=snd0")),
        ("-usbdevice tablet", ("-usb", "-device", "usb-tablet")),
        ("-balloon virtio", ("-device", "virtio-balloon-pci")),
        ("-watchdog ib700", ("-device", "ib700")),
        ("-vga cirrus", ("-vga", "cirrus")),
        ("-uuid 8-4-4-4-12", ("-uuid", "8-4-4-4-12")),
        ("-s", ("-gdb", "tcp:127.0.0.1:1234")),
        ("-smp 4,cores=2", ("-smp", "4,cores=2")),
        ("-smp 4", ()),
        ("-m 512,slots=2,maxmem=1G", ("-m", "size=512M,slots=2,maxmem=1G")),
        ("-serial stdio -serial tcp::4447,server,nowait", ("-serial", "tcp::4447,server=on,wait=off")),
        ("-device pci-assign,host=01:00.0", ("-device", "vfio-pci,host=01:00.0")),
        ("-boot menu=on", ("-boot", "menu=on")),
        ("-device edu,addr=3,bus=pci.0", ("-device", "edu,bus=pci.0")),
        ('-device \'{"driver":"edu","id":"e"}\'', ("-device", "edu,id=e")),
        (
            "-numa node -m 512",
            ("-object", "memory-backend-ram,id=node0,size=512M", "-numa", "node,memdev=node0"),
        ),
        ("-device edu,id=disk0", ("-device", "edu,id=old-disk0")),
        ("-vga qxl", ()),
        ("-nographic -curses -sdl -vnc :1 -daemonize -pidfile p -k de -L . -S -no-kqemu -tdf", ()),
    ],
)
def test_arguments(words: str, args: tuple[str, ...]) -> None:
    assert machine_of(Q + "-nic none -hda D.img " + words).qemu_args == args


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("-netdev tap,id=n,script=/tmp/up", "script=/tmp/up"),
        ("-net tap,script=up,downscript=no", "script=up"),
        ("-nic tap,helper=/tmp/h", "helper=/tmp/h"),
        ("-nic user,guestfwd=tcp:10.0.2.100:80-cmd:cat", "guestfwd=tcp:10.0.2.100:80-cmd:cat"),
        ('-netdev \'{"type":"user","id":"n","guestfwd":[{"str":"tcp:1.2.3.4:1-cmd:sh"}]}\'', "cmd:sh"),
        ("-netdev user,id=n -set netdev.n.guestfwd=tcp:1.2.3.4:1-cmd:sh", "cmd:sh"),
        ("-net user,smb=/tmp", "smb=/tmp"),
        ("-smb /tmp", "-smb /tmp"),
        ("-incoming exec:sh", "-incoming exec:sh"),
        ("-incoming 'exec: sh'", "exec: sh"),
        ("-plugin ./p.so", "-plugin ./p.so"),
        ("-netdev passt,id=n,path=/tmp/p", "path=/tmp/p"),
    ],
)
def test_what_runs_programs_is_refused_unless_trusted(words: str, named: str) -> None:
    why, reason = refused(Q + words)
    assert why is Why.RUNS_CODE
    assert named in reason
    assert imported(Q + words, trust=True).lab is not None


def test_a_trusted_script_is_not_run_but_the_rest_is_kept() -> None:
    assert lab_of(Q + "-net nic -net tap,script=up", trust=True).networks == (TapNetwork("tap0"),)
    machine = machine_of(Q + "-nic user,guestfwd=tcp:10.0.2.100:80-cmd:cat", trust=True)
    assert machine.qemu_args == ("-set", "netdev.net0.guestfwd=tcp:10.0.2.100:80-cmd:cat")


@pytest.mark.parametrize(
    ("text", "why", "says"),
    [
        ("qemu-system-arm -M versatilepb", Why.ARCHITECTURE, "this line is for arm"),
        (Q + "-M mac99", Why.ARCHITECTURE, "'mac99'"),
        (Q + "--vcpu=2 -hda D.img", Why.NO_SUCH_OPTION, "did you mean -smp?"),
        (Q + "-cdorm L.iso", Why.NO_SUCH_OPTION, "did you mean -cdrom?"),
        (Q + "-m=512 -hda D.img", Why.NO_SUCH_OPTION, "it is written -m 512"),
        ("qemu -hda -m 1024", Why.NO_ARGUMENT, "-hda has no argument: the next word is the option -m"),
        (Q + "-cdrom L.iso -m", Why.NO_ARGUMENT, "the line ends there"),
        (Q + "-cpu help", Why.NO_MACHINE, "asks QEMU"),
        (Q + "-version -m 1", Why.NO_MACHINE, "asks QEMU"),
    ],
)
def test_lines_that_are_no_lab(text: str, why: Why, says: str) -> None:
    found, reason = refused(text)
    assert found is why
    assert says in reason
    assert "\n" not in reason


def test_what_is_not_known_is_to_be_filled_in() -> None:
    found = imported(Q + '-hda "$DIR/new.img" -m $MEM -nic tap,ifname=$TAP,script=no $MORE')
    assert found.lab is not None
    machine = found.lab.machines[0]
    assert machine.disks == (FileDisk(HERE / "<DIR>/new.img", "ide"),)
    assert machine.memory == 512 * MIB
    assert [(blank.name, blank.place) for blank in found.blanks] == [("DIR", "disks")]
    text = "\n".join(map(str, found.changes))
    for name in ("<MEM>", "<TAP>", "<MORE>"):
        assert f"what {name} is, is not known; " in text
    assert "-m <MEM>: what <MEM> is, is not known; here memory: 512M" in text
    assert "no -m" not in text


def test_nowhere() -> None:
    lab = lab_of(Q + "-hda D.img -device e1000 -netdev hubport,id=h,hubid=3 -device e1000,netdev=h")
    assert lab.networks == (NoNetwork("nowhere"),)


def test_a_page_keeps_what_can_be_a_lab() -> None:
    found = imported(f"# notes\n{Q} -hda D.img\nqemu-system-arm -M virt\n{Q} -hda -m 1\n")
    assert found.lab is not None
    assert [machine.name for machine in found.lab.machines] == ["D"]
    assert [(refusal.why, refusal.line) for refusal in found.refused] == [
        (Why.ARCHITECTURE, 3),
        (Why.NO_ARGUMENT, 4),
    ]


def test_a_guest_of_libvirts_with_uefi() -> None:
    machine = machine_of(LIBVIRT_OF_2022)
    assert machine.firmware is Firmware.UEFI
    assert machine.disks == (FileDisk(HERE / "win.qcow2", "ide"),)
    assert not any("isa-serial" in word or "secret" in word for word in machine.qemu_args)


def test_the_first_serial_port_is_the_console_however_it_is_made() -> None:
    machine = machine_of(Q + "-hda D.img -device isa-serial,chardev=c -chardev pty,id=c")
    assert machine.qemu_args == ()
    machine = machine_of(Q + "-hda D.img -serial stdio -device isa-serial,chardev=c -chardev pty,id=c")
    assert machine.qemu_args == ("-chardev", "pty,id=c", "-device", "isa-serial,chardev=c")


def test_scsi_disks_are_where_a_lab_can_have_them() -> None:
    drive = Q + "-drive if=none,id=d,file=D.img -device scsi-hd,drive=d,bus=s.0 "
    machine = machine_of(drive + "-device lsi53c895a,id=s")
    assert (machine.disks, machine.qemu_args) == ((FileDisk(HERE / "D.img", "scsi"),), ())
    assert "here on virtio-scsi (bus: scsi) instead of lsi53c895a" in notes_of(
        drive + "-device lsi53c895a,id=s"
    )
    machine = machine_of(drive + "-device usb-uas,id=s")
    assert (machine.usb, machine.disks, machine.qemu_args) == ((HERE / "D.img",), (), ())


def test_a_kept_drive_has_a_format() -> None:
    machine = machine_of(Q + "-device sdhci-pci -device sd-card,drive=c -drive if=none,id=c,file=c.img")
    assert "if=none,id=c,format=raw,file=c.img" in machine.qemu_args


def test_the_last_of_two_counts() -> None:
    machine = machine_of(Q + "-hda D.img -cpu host,kvm=off -vga cirrus -m 1G -cpu qemu64 -m 2G -std-vga")
    assert (machine.cpu, machine.memory, machine.qemu_args) == ("qemu64", 2048 * MIB, ())


def test_a_list_that_goes_on_after_a_blank() -> None:
    text = Q + "-hda D.img -net nic, model=rtl8139 -net user"
    assert machine_of(text).nics == (Nic("hub", "rtl8139"),)
    assert "-net nic,model=rtl8139: a blank after a comma is left out" in notes_of(text)


@pytest.mark.parametrize("text", HOLD)
def test_lines_as_people_have_them(text: str) -> None:
    for qemu in (None, QEMU):
        found = imported(text, qemu=qemu)
        assert found.lab is not None, found.refused
        assert loads(dumps(found.lab), folder=HERE) == found.lab
        said = " ".join(note.words for note in found.notes)
        for word in command_lines(text)[0].words[1:]:
            assert not word.startswith("-") or word in said, f"{word} is dropped in silence"
        assert not any("vmlan does not know" in note.text for note in found.notes)
        once = [(note.words, note.fate) for note in found.changes if note.fate is Fate.OUT]
        assert len(once) == len(set(once)), "something is left out twice"


def test_names_of_files_can_be_independent_of_the_lab_file() -> None:
    words = (
        "-hda D.img -bios b.rom -D log -drive file=fat:rw:esp,if=virtio -debugcon file:e9 -option-rom r,bootindex=1 "
        "-virtfs local,path=share,mount_tag=t,security_model=none -net nic -net user,tftp=boot -fw_cfg name=opt/x,file=f"
    )
    lines = command_lines(Q + words)
    found = import_lines(lines, None, folder=HERE, absolute=True)
    assert found.lab is not None
    said = " ".join(found.lab.machines[0].qemu_args)
    named = (
        "-bios {}b.rom",
        "-D {}log",
        "fat:rw:{}esp",
        "file:{}e9",
        "-option-rom {}r,bootindex=1",
        "file={}f",
    )
    for text in (*named, "path={}share", "tftp={}boot"):
        assert text.format(f"{HERE}/") in said
    machine = machine_of(Q + words)
    assert str(HERE) not in " ".join(machine.qemu_args)


def test_what_stands_for_what_is_said_once() -> None:
    text = notes_of(Q + "-m $MEM -accel $A -cpu $C -net $NET -hda D.img")
    for default in ("no -m", "no -accel", "no -cpu", "no network option"):
        assert default not in text


# Any option with any argument: nothing fails, nothing is silent, and the lab file is one.

_RARE = st.text(st.characters(exclude_characters="\0'", exclude_categories=["Cs"]), max_size=12)
_ARGUMENTS = """
user,id=n tap,id=n n file=a.img,if=none,id=n e1000,netdev=n virtio-blk-pci,drive=n none nic,vlan=1 kvm 1G dca on
hubport,id=n,hubid=1 ide-hd,drive=n disk:a.img socket,id=n,path=p,server file=a,media=cdrom 2,cores=x host,+x
driver=file,node-name=n,filename=a node memory-backend-ram,id=n,size=1M user,hostfwd=tcp::80-:80 sb16 cirrus
"""
_NAMED = st.sampled_from(_ARGUMENTS.split())


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    words = ["qemu-system-x86_64"]
    for name in draw(st.lists(st.sampled_from(sorted(TABLE)), max_size=6)):
        if TABLE[name].kind is not Kind.ASK:
            words.append(f"-{name}")
            if TABLE[name].takes:
                words.append(draw(_NAMED | _RARE.map(lambda text: f"x{text}")))
    return words


@settings(max_examples=400, deadline=None)
@given(lines(), st.booleans())
def test_no_option_is_dropped_in_silence(words: list[str], trust: bool) -> None:
    from vmlan.notes.shell import CommandLine

    found = import_lines([CommandLine(tuple(words), 1, ())], QEMU, folder=HERE, trust=trust)
    if found.lab is None:
        assert len(found.refused) == 1
        assert found.refused[0].reason
        return
    assert loads(dumps(found.lab), folder=HERE) == found.lab
    said = " ".join(note.words for note in found.notes)
    for word in words[1:]:
        if word.startswith("-") and word[1:] in TABLE:
            assert word in said, f"{word} is dropped in silence"
    assert not any("vmlan does not know" in note.text for note in found.notes)
    for note in found.notes:
        assert note.fate is not Fate.OUT or note.text


def test_every_option_of_the_table_is_read() -> None:
    from vmlan.notes.readers import LATER, READERS

    read = {name for name, row in TABLE.items() if row.kind is Kind.READ}
    assert read == set(READERS) | LATER
