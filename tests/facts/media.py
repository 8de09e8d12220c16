"""F01–F10: what a machine boots from, what runs it, and its disks."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from tests.facts.play import Play, need
from vmlan.host.run import run


def _inserted(play: Play, machine: str) -> dict[str, str]:
    """The media that QEMU says a machine has: device → file."""
    drives = play.ask(machine, "query-block")
    return {
        each.get("qdev") or each["device"]: each["inserted"]["file"].rpartition("/")[2]
        for each in drives
        if "inserted" in each
    }


def f01(play: Play) -> str:
    play.check("F01")
    media = _inserted(play, "floppy")
    need(list(media.values()) == ["grub-rescue-floppy.img"], f"it has {media}")
    return "its screen shows GNU GRUB; QEMU says that grub-rescue-floppy.img is its only medium"


OLD_USB = "-usb -usbdevice disk:L.iso -m 512"


def f02(play: Play, line: str = OLD_USB) -> str:
    play.check("F02")
    said = play.ask("stick", "human-monitor-command", **{"command-line": "info usb"})
    need(re.search(r"Product QEMU USB (MSD|HARDDRIVE)", said), f"info usb says {said!r}")
    lab, notes = play.imported(line)
    need("usb: [L.iso]" in lab, "the old line's image is no USB disk")
    need("QEMU dropped it in 2.12" in notes, "no note says what became of -usbdevice")
    return "it boots through usb-storage; -usbdevice disk: becomes usb:, with the note that QEMU dropped it"


def f03(play: Play) -> str:
    play.check("F03")
    media = _inserted(play, "cd")
    need(list(media.values()) == ["grub-rescue-cdrom.iso"], f"it has {media}")
    size = play.ask("cd", "query-memory-size-summary")["base-memory"]
    need(size == 512 << 20, f"it has {size} bytes of memory")
    return "no boot: in the file, and GNU GRUB from the CD; 512M of memory, as explain states"


OLD_TCG = "-cdrom L.iso -m 512 -machine type=pc-q35-xenial,accel=tcg"


def f04(play: Play, line: str = OLD_TCG) -> str:
    play.check("F04")
    kind = play.ask("emulated", "qom-get", path="/machine", property="type")
    need(kind.startswith("pc-q35-"), f"it is a {kind}")
    need(play.ask("emulated", "query-kvm")["enabled"] is False, "it runs on KVM")
    need("pc-q35-xenial" in play.memory["up"], "up does not say what became of pc-q35-xenial")
    lab, notes = play.imported(line)
    mapped = re.search(r"machine: (pc-q35-[\d.]+)", lab)
    need(mapped and "accel: tcg" in lab, f"the import is {lab!r}")
    need("a machine type of Ubuntu's own" in notes, "the import does not say so")
    assert mapped
    return f"QEMU runs {kind.removesuffix('-machine')}, emulated; the import says {mapped[1]}, and why"


SAME_KVM = ("-cdrom L.iso -m 512 -machine accel=kvm", "-cdrom L.iso -m 512 -enable-kvm")


def f05(play: Play, lines: tuple[str, str] = SAME_KVM) -> str:
    play.check("F05")
    one, two = (play.imported(line)[0] for line in lines)
    need(one == two and "accel: kvm" in one, "the two lines do not import to the same machine")
    return f"accel=kvm and -enable-kvm import alike; {_how_kvm(play, 'fast')}"


def _how_kvm(play: Play, machine: str) -> str:
    """Whether it runs on KVM; if not, `up` must have said why."""
    if play.ask(machine, "query-kvm")["enabled"]:
        return "it runs on KVM"
    why = re.search(r"runs? on emulation: (.*)", play.memory["up"])
    need(why, "it runs on emulation, and up did not say why")
    assert why
    return f"it runs on emulation, and up says why ({why[1][:40]}…)"


def f06(play: Play) -> str:
    play.check("F06")
    processors = play.ask("handed-through", "query-cpus-fast")
    kind = play.ask("handed-through", "qom-get", path=processors[0]["qom-path"], property="type")
    if play.ask("handed-through", "query-kvm")["enabled"]:
        need(kind == "host-x86_64-cpu", f"under KVM its processor is {kind}")
        return "under KVM, its processor is the host's"
    need(kind == "max-x86_64-cpu", f"emulated, its processor is {kind}")
    need("cpu: host needs KVM" in play.memory["up"], "up did not say what became of cpu: host")
    return "emulated, its processor is `max`, and up says so"


def f07(play: Play) -> str:
    play.check("F07")
    disk = play.files("empty").disk(0)
    what = json.loads(run(["qemu-img", "info", "-U", "--output=json", str(disk)]).stdout)
    need((what["format"], what["virtual-size"]) == ("qcow2", 4 << 30), f"qemu-img info: {what}")
    need("backing-filename" not in what, "it is over another image")
    need(what["actual-size"] < 4 << 20, f"it takes {what['actual-size']} bytes already")
    return f"qemu-img info: qcow2, 4 GiB, over nothing, {what['actual-size'] >> 10} KiB on this disk"


def f08(play: Play) -> str:
    play.check("F08")
    media = {name: _inserted(play, name) for name in ("cd-first", "disk-first")}
    need(len(media["cd-first"]) == len(media["disk-first"]) == 2, f"they have {media}")
    return "same two media: with boot: [cdrom, disk] iPXE from the CD starts, without it GRUB from the disk"


def _base() -> Path:
    """The file of grub-usb in this user's cache."""
    from vmlan.guest import media
    from vmlan.host import paths

    return media.ensure("grub-usb", paths.cache_root())["image"]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def f09(play: Play) -> str:
    play.check("F09")
    base = _base()
    before, size = _digest(base), base.stat().st_size
    for name in ("one", "two"):
        play.guest(name, "sh", "-c", f"echo this is {name} > /dev/vda; sync")
    for name in ("one", "two"):
        found = play.guest(name, "head", "-n", "1", "/dev/vda").strip()
        need(found == f"this is {name}", f"{name} reads {found!r}")
        bytes_ = int(play.guest(name, "blockdev", "--getsize64", "/dev/vda"))
        need(bytes_ == size, f"{name}'s disk has {bytes_} bytes, its base {size}")
    need(_digest(base) == before, "the base has changed")
    removed = play.bench.vmlan("image", "rm", "grub-usb")
    need(removed.code == 2 and "one" in removed.err, f"image rm ended with {removed.code}: {removed.err}")
    need(base.exists(), "the base is gone")
    return f"one and two read what each wrote; the base is still {before[:12]}…, and image rm refuses it"


def f10(play: Play) -> str:
    play.check("F10")
    (disk,) = _inserted(play, "booted").values()
    need(disk == "disk0.qcow2", f"its disk is {disk}")
    what = json.loads(
        run(["qemu-img", "info", "-U", "--output=json", str(play.files("booted").disk(0))]).stdout
    )
    need(what["backing-filename"] == str(_base()), f"it is over {what.get('backing-filename')}")
    return "GNU GRUB starts from disk0.qcow2, whose backing file is the base (qemu-img info)"
