from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vmlan.errors import HostError
from vmlan.host.doctor import diagnose
from vmlan.host.doctor_data import NEEDED, OPTIONAL, SETTINGS, TRIALS
from vmlan.host.run import PACKAGES, Result
from vmlan.qemu.facts import KvmVerdict, QemuFacts

QEMU = QemuFacts(Path("/q"), (7, 2, 0), "7.2.0", (), frozenset(), frozenset(), frozenset(), frozenset())
WORKS = KvmVerdict(True, "KVM runs guests here")


@dataclass
class FakeHost:
    """A machine on which everything is as it should be, but for what a test says."""

    uid: int = 1000
    missing: set[str] = field(default_factory=set)
    fails: dict[str, str] = field(default_factory=dict)  # a word of the command line → what it says
    files: dict[str, str] = field(default_factory=lambda: {"/proc/meminfo": "MemAvailable:  8000000 kB\n"})
    lists: tuple[str, ...] = ("mirror.example.org_main_binary-amd64_Packages.lz4",)
    tun: str = ""
    root: Path | HostError = Path("/run/user/1000/vmlan")
    facts: QemuFacts | HostError = QEMU
    verdict: KvmVerdict = WORKS
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def user(self):
        return self.uid

    def find(self, program):
        return None if program in self.missing else Path("/usr/bin") / program

    def run(self, argv, *, timeout, stdin=""):
        assert 0 < timeout < 3
        assert argv[0] == "unshare", "nothing is run outside of namespaces"
        self.ran.append(tuple(argv))
        for word, says in self.fails.items():
            if word in argv or word in stdin:
                return Result(tuple(argv), 1, "", says)
        return Result(tuple(argv), 0, "", "")

    def read(self, path):
        return self.files.get(str(path), "")

    def names(self, folder):
        return self.lists

    def exists(self, path):
        return str(path) in self.files or (str(path) == "/dev/net/tun" and self.tun != "none")

    def open_error(self, device):
        return self.tun

    def runtime(self):
        if isinstance(self.root, HostError):
            raise self.root
        return self.root

    def qemu(self, binary):
        if isinstance(self.facts, HostError):
            raise self.facts
        return self.facts

    def kvm(self, binary):
        return self.verdict


def found(host):
    return {finding.name: finding for finding in diagnose(host)}


def test_a_machine_that_is_as_it_should_be():
    findings = diagnose(FakeHost())
    assert {finding.status for finding in findings} == {"ok"}
    assert [finding.name for finding in findings] == [
        *("user", "programs", "namespaces", "tap", "bridge", "veth", "nat"),
        *("QEMU", "KVM", "memory", "runtime folder", "package lists"),
    ]
    assert not any(finding.mend for finding in findings)
    assert all(finding.detail and "\n" not in finding.detail for finding in findings)


@pytest.mark.parametrize("program", NEEDED)
def test_each_needed_program_is_missed_with_its_package(program):
    findings = found(FakeHost(missing={program}))
    assert findings[program].status == "bad"
    assert findings[program].mend == f"sudo apt-get install {PACKAGES[program]}"
    assert "programs" not in findings


@pytest.mark.parametrize("wanted", OPTIONAL, ids=lambda wanted: wanted.any_of[0])
def test_each_optional_program_is_missed_with_its_purpose(wanted):
    finding = found(FakeHost(missing=set(wanted.any_of)))[" or ".join(wanted.any_of)]
    assert finding.status == "warn"
    assert wanted.purpose in finding.detail
    assert finding.mend == f"sudo apt-get install {PACKAGES[wanted.any_of[0]]}"


def test_one_of_several_is_enough():
    assert {finding.status for finding in diagnose(FakeHost(missing={"pasta"}))} == {"ok"}


def test_root_is_told_to_be_somebody_else():
    assert found(FakeHost(uid=0))["user"].status == "warn"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: Path(setting.file).name)
def test_a_setting_that_forbids_namespaces_is_named(setting):
    host = FakeHost(fails={"true": "unshare: unshare failed: Operation not permitted\n"})
    host.files[setting.file] = setting.value + "\n"
    finding = found(host)["namespaces"]
    assert finding.status == "bad"
    assert setting.why in finding.detail
    assert "Operation not permitted" in finding.detail
    assert finding.mend == setting.mend


def test_a_setting_is_not_blamed_while_namespaces_work():
    host = FakeHost()
    host.files[SETTINGS[2].file] = "1\n"
    assert found(host)["namespaces"].status == "ok"


@pytest.mark.parametrize(
    ("file", "text"), [("/.dockerenv", ""), ("/proc/self/status", "Name:\tx\nSeccomp:\t2\nThreads:\t1\n")]
)
def test_a_container_that_forbids_namespaces_is_told_from_a_setting(file, text):
    host = FakeHost(fails={"true": "unshare: unshare failed: Operation not permitted"})
    host.files[file] = text
    finding = found(host)["namespaces"]
    assert finding.status == "bad"
    assert "--security-opt seccomp=unconfined" in finding.mend


def test_what_is_not_known_is_not_guessed():
    finding = found(FakeHost(fails={"true": ""}))["namespaces"]
    assert (finding.status, finding.mend) == ("bad", "")


def test_without_namespaces_nothing_more_is_tried_in_them():
    host = FakeHost(fails={"true": "no"})
    assert not {trial.name for trial in TRIALS} & found(host).keys()
    assert len(host.ran) == 1


@pytest.mark.parametrize(
    ("trial", "word"), [("tap", "tuntap"), ("bridge", "bridge"), ("veth", "veth"), ("nat", "nft")]
)
def test_what_the_kernel_lacks_is_named_with_its_module(trial, word):
    findings = found(FakeHost(fails={word: "Error: Unknown device type.\n"}))
    assert findings[trial].status == "bad"
    assert "Unknown device type" in findings[trial].detail
    assert findings[trial].mend.startswith("sudo modprobe ")
    assert all(findings[other.name].status == "ok" for other in TRIALS if other.name != trial)


def test_nfts_carets_are_not_its_message():
    says = "/dev/stdin:1:1-2: Error: Could not process rule: Operation not supported\nmasquerade\n^^^^^^\n"
    assert found(FakeHost(fails={"nft": says}))["nat"].detail.endswith("Operation not supported")


@pytest.mark.parametrize(
    ("tun", "mend"), [("none", "--device /dev/net/tun"), ("Permission denied", "sudo chmod 666 /dev/net/tun")]
)
def test_the_tap_device_is_looked_at_first(tun, mend):
    host = FakeHost(tun=tun)
    findings = [finding for finding in diagnose(host) if finding.name == "tap"]
    assert [finding.status for finding in findings] == ["bad"]
    assert mend in findings[0].mend
    assert not any("tuntap" in argv for argv in host.ran)


def test_a_kvm_that_does_not_work_is_a_warning():
    finding = found(FakeHost(verdict=KvmVerdict(False, "there is no /dev/kvm", "sudo modprobe kvm")))["KVM"]
    assert (finding.status, finding.mend) == ("warn", "sudo modprobe kvm")
    assert "emulation" in finding.detail


def test_a_broken_qemu_is_told_on_one_line():
    findings = found(FakeHost(facts=HostError("it crashed:\n    its words", hint="install it again")))
    assert findings["QEMU"].status == "bad"
    assert findings["QEMU"].detail == "it crashed: its words"
    assert findings["QEMU"].mend == "install it again"
    assert "KVM" not in findings


@pytest.mark.parametrize(("kib", "status"), [(100_000, "warn"), (524_288, "ok")])
def test_memory(kib, status):
    host = FakeHost(files={"/proc/meminfo": f"MemTotal: 9 kB\nMemAvailable:   {kib} kB\n"})
    assert found(host)["memory"].status == status


@pytest.mark.parametrize(
    ("root", "status"),
    [
        (Path("/run/user/1000/vmlan"), "ok"),
        (Path("/tmp/" + "x" * 55), "warn"),
        (Path("/tmp/" + "x" * 80), "bad"),
        (HostError("not yours", hint="remove it"), "bad"),
    ],
)
def test_the_runtime_folder_must_be_ours_and_short(root, status):
    finding = found(FakeHost(root=root))["runtime folder"]
    assert finding.status == status
    assert bool(finding.mend) == (status != "ok")


def test_empty_package_lists():
    finding = found(FakeHost(lists=("auxfiles", "lock", "partial")))["package lists"]
    assert (finding.status, finding.mend) == ("warn", "sudo apt-get update")
    assert "package lists" not in found(FakeHost(missing={"apt-get"}))
