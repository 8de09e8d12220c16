"""Whether KVM runs a guest here. It is tried, because looking is not enough.

On some hosts `/dev/kvm` opens and machines can be made, and yet no guest gets anywhere: QEMU dies when
it sets up the processor, or the kernel emulates each of the guest's instructions, hundreds of times
slower than QEMU's own emulation would. So a guest of a hundred bytes is booted the way a lab's machines
are (`pc`, `-cpu max`), goes to 64-bit mode, does a little work there, and reports.
"""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from pathlib import Path

import msgspec

from vmlan.qemu import testguest
from vmlan.qemu.ask import Answer, ask
from vmlan.qemu.cache import identity, recall, remember
from vmlan.qemu.facts import KvmVerdict
from vmlan.qemu.probe import probe

__all__ = ["KvmVerdict", "boot", "try_kvm"]

#: Seconds. A healthy host needs less than 0.1; so does emulation.
DEADLINE = 1.5

#: A guest can also be late because the host was busy: what was seen at the deadline is tried again
#: after so many seconds. Everything else holds until the host boots again.
_LATE_HOLDS = 600.0

#: Raised when the test or the meaning of its outcome changes: an older answer is then no answer.
_SCHEMA = 1

_WORKS = KvmVerdict(True, "KVM runs guests here")


class _Kept(msgspec.Struct):
    """A verdict in the cache; `until` is in seconds since the host's boot."""

    works: bool
    reason: str
    until: float


def try_kvm(
    binary: Path,
    cache: Path,
    *,
    fresh: bool = False,
    device: Path = Path("/dev/kvm"),
    deadline: float = DEADLINE,
) -> KvmVerdict:
    """Boot a test guest with KVM, or recall how that went; `cache` is the folder of such answers.

    The answer is kept per boot of the host, QEMU binary, user and state of `device`; `fresh` tries
    even so. Takes at most
    `deadline` seconds, and what probing QEMU takes. Raises `HostError` if `binary` is no QEMU.
    """
    if (obstacle := _obstacle(device)) is not None:
        return obstacle
    if "kvm" not in probe(binary, cache).accelerators:
        return KvmVerdict(False, f"{binary} was built without KVM")
    file, key, now = cache / "kvm.json", _key(binary, device), time.clock_gettime(time.CLOCK_BOOTTIME)
    kept = None if fresh else recall(file, key, _Kept)
    if kept is not None and now < kept.until:
        return KvmVerdict(kept.works, kept.reason)
    answer = boot(binary, "kvm", testguest.image(), deadline)
    verdict = _judge(answer, device, deadline)
    until = now + _LATE_HOLDS if answer.code is None else float("1e12")
    remember(file, key, _Kept(verdict.works, verdict.reason, until))
    return verdict


def boot(binary: Path, accel: str, firmware: bytes, deadline: float) -> Answer:
    """Run `testguest`'s firmware; its `EXIT_CODE` says that it did all that it should.

    The image is a file without a name, so that nothing is left behind even if we are killed.
    """
    with tempfile.TemporaryFile() as image:
        image.write(firmware)
        image.flush()
        argv = (
            *(str(binary), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", f"pc,accel={accel}", "-cpu", "max", "-m", "16"),
            *("-device", f"isa-debug-exit,iobase={testguest.EXIT_PORT:#x},iosize=4"),
            *("-bios", f"/proc/self/fd/{image.fileno()}"),
        )
        return ask(argv, timeout=deadline, pass_fds=(image.fileno(),))


def _obstacle(device: Path) -> KvmVerdict | None:
    """What can be told without a guest. Opening is the only proof of a permission (ACLs, cgroups)."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return KvmVerdict(
            False,
            f"there is no {device}: this computer, or the virtual machine that it is, offers no KVM",
            "sudo modprobe kvm_intel || sudo modprobe kvm_amd",
        )
    except PermissionError:
        mend = f"sudo usermod -aG kvm {getpass.getuser()}"
        return KvmVerdict(False, f"this user may not open {device} ({mend}, then log in again)", mend)
    except OSError as error:
        return KvmVerdict(False, f"{device} cannot be opened: {error.strerror}")
    return None


def _judge(answer: Answer, device: Path, deadline: float) -> KvmVerdict:
    if answer.code == testguest.EXIT_CODE:
        return _WORKS
    if answer.code is None:
        what = f"a test guest did not get through its first 64-bit code within {deadline:g} s"
    elif answer.complaint:
        what = f"QEMU cannot run a test guest with it: {answer.complaint}"
    else:
        what = "a test guest crashed before it reached 64-bit mode"
    return KvmVerdict(False, f"{device} opens, but {what}")


def _key(binary: Path, device: Path) -> str:
    """Everything that the verdict depends on."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # a container can hide it: then the answer is found again by nobody
        boot_id = os.urandom(8).hex()
    node = device.stat()
    access = f"{node.st_rdev} {node.st_ino} {node.st_mode:o} {node.st_uid} {node.st_gid}"
    return f"{_SCHEMA} {boot_id} {os.getuid()} {access} {identity(binary)}"
