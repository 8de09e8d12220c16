import json
import resource
import time
from typing import get_args, get_type_hints

import pytest

from tests.golden.test_qemus import MODELS
from tests.unit.fake_qemu import GREETING, NETDEVS, REPLIES, aborting, gone, script, speaking, starts
from vmlan.errors import HostError
from vmlan.labfile.machine_shapes import Nic
from vmlan.qemu import features
from vmlan.qemu.ask import Answer, ask
from vmlan.qemu.facts import MachineType
from vmlan.qemu.probe import probe


def test_facts_are_what_the_binary_says(tmp_path):
    binary = speaking(tmp_path / "qemu")
    facts = probe(binary, tmp_path / "cache")
    assert facts.path == binary
    assert facts.version == (7, 2, 22)
    assert facts.full_version == "7.2.22 (Debian 1:7.2)"
    assert facts.machines == (
        MachineType("microvm"),
        MachineType("pc-i440fx-7.2", "pc", default=True),
        MachineType("pc-q35-7.2", "q35"),
    )
    assert facts.accelerators == {"tcg", "kvm"}
    assert facts.netdevs == {"socket", "hubport", "tap", "user"}
    assert facts.migration == {"x-ignore-shared"}
    assert facts.devices == {"e1000", "virtio-net-pci"}


def test_every_question_is_sent_and_the_session_ended(tmp_path):
    binary = speaking(tmp_path / "qemu")
    probe(binary, tmp_path / "cache")
    asked = [json.loads(line) for line in (tmp_path / "qemu.asked").read_text().splitlines()]
    assert asked[0]["execute"] == "qmp_capabilities"
    assert asked[-1]["execute"] == "quit"
    assert {command["id"] for command in asked[1:-1]} == {
        "target",
        "machines",
        "migration",
        "accelerators",
        "devices",
    }


def test_a_missing_command_is_an_answer(tmp_path):
    missing = {"machines", "migration"}
    error = {"class": "CommandNotFound", "desc": "The command … not found"}
    replies = tuple(
        {"id": reply["id"], "error": error} if reply.get("id") in missing else reply for reply in REPLIES
    )
    facts = probe(speaking(tmp_path / "qemu", replies=replies), tmp_path / "cache")
    assert facts.machines == ()
    assert facts.migration == frozenset()
    assert facts.accelerators == {"tcg", "kvm"}


def test_a_build_of_ones_own_has_no_package(tmp_path):
    version = {"qemu": {"major": 11, "minor": 1, "micro": 3}, "package": ""}
    binary = speaking(tmp_path / "qemu", greeting={"QMP": {**GREETING["QMP"], "version": version}})
    facts = probe(binary, tmp_path / "cache")
    assert (facts.version, facts.full_version) == ((11, 1, 3), "11.1.3")


def test_the_answer_is_kept_and_nothing_is_started_for_it(tmp_path):
    binary = speaking(tmp_path / "qemu")
    first = probe(binary, tmp_path / "cache")
    before = starts(binary)
    assert probe(binary, tmp_path / "cache") == first
    assert starts(binary) == before > 0


def test_another_name_of_the_same_binary_is_known(tmp_path):
    binary, link = speaking(tmp_path / "qemu"), tmp_path / "link"
    link.symlink_to(binary)
    probe(binary, tmp_path / "cache")
    before = starts(binary)
    assert probe(link, tmp_path / "cache").path == link
    assert starts(binary) == before


def test_a_changed_binary_is_asked_again(tmp_path):
    binary = speaking(tmp_path / "qemu")
    probe(binary, tmp_path / "cache")
    speaking(binary, netdevs=NETDEVS.replace("user\n", ""))
    assert "user" not in probe(binary, tmp_path / "cache").netdevs


@pytest.mark.parametrize("rot", [b"", b"{", b"[]", b"\xff\x00", b'{"%s": 5}', b'{"%s": {"path": 1}}'])
def test_a_rotten_cache_is_no_harm(tmp_path, rot):
    binary, cache = speaking(tmp_path / "qemu"), tmp_path / "cache"
    facts = probe(binary, cache)
    key = next(iter(json.loads((cache / "qemu.json").read_bytes())))
    (cache / "qemu.json").write_bytes(rot.replace(b"%s", key.encode()))
    before = starts(binary)
    assert probe(binary, cache) == facts
    assert starts(binary) > before
    assert key in json.loads((cache / "qemu.json").read_bytes())


def test_a_cache_that_cannot_be_written_is_no_harm(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert probe(speaking(tmp_path / "qemu"), tmp_path / "cache").version == (7, 2, 22)


def test_the_cache_stays_small_and_whole(tmp_path):
    cache = tmp_path / "cache"
    for number in range(20):
        last = speaking(tmp_path / f"qemu{number}")
        probe(last, cache)
    assert [path.name for path in cache.iterdir()] == ["qemu.json"]
    kept = json.loads((cache / "qemu.json").read_bytes())
    assert len(kept) == 16
    assert any(str(last) in key for key in kept)


def test_a_crash_is_told_with_its_own_words(tmp_path):
    binary = script(tmp_path / "qemu", "echo 'qemu: no such luck' >&2; kill -ABRT $$")
    with pytest.raises(HostError, match="signal 6") as error:
        probe(binary, tmp_path / "cache")
    assert "no such luck" in error.value.what
    assert error.value.hint


def test_a_crash_halfway_is_not_taken_for_an_answer(tmp_path):
    binary = speaking(tmp_path / "qemu", replies=REPLIES[:2])
    with pytest.raises(HostError):
        probe(binary, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_it_can_say_without_the_question_that_it_dies_of(tmp_path):
    """Somebody's own build that finds the distribution's modules aborts over a list of all there is."""
    binary = aborting(tmp_path / "qemu", has={"e1000", "usb-storage"})
    facts = probe(binary, tmp_path / "cache")
    assert facts.machines == (MachineType("pc-i440fx-7.2", "pc", default=True),)
    assert facts.accelerators == {"tcg", "kvm"}
    assert facts.netdevs == {"socket", "hubport", "tap", "user"}
    assert facts.devices == {"e1000", "usb-storage"}
    before = starts(binary)
    assert probe(binary, tmp_path / "cache") == facts
    assert starts(binary) == before


def test_without_that_question_it_is_asked_for_all_that_labs_use(tmp_path):
    devices = {name.removeprefix("device ") for name in features.FEATURES if name.startswith("device ")}
    devices |= {features.NIC_DEVICES.get(model, model) for model in MODELS}
    assert probe(aborting(tmp_path / "qemu", has=devices), tmp_path / "cache").devices == devices


def test_the_models_of_the_lab_file_are_those(tmp_path):
    assert set(MODELS) == set(get_args(get_args(get_type_hints(Nic, include_extras=True)["model"])[0]))


def test_one_that_dies_again_is_told_with_the_words_of_the_first_time(tmp_path):
    binary = script(tmp_path / "qemu", f"echo '{json.dumps(GREETING)}'; echo 'bad module' >&2; kill -ABRT $$")
    with pytest.raises(HostError, match="signal 6") as error:
        probe(binary, tmp_path / "cache")
    assert "bad module" in error.value.what
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("target", ["aarch64", "i386"])
def test_a_qemu_for_other_machines_is_refused(tmp_path, target):
    told = {"id": "target", "return": {"arch": target}}
    replies = tuple(told if reply.get("id") == "target" else reply for reply in REPLIES)
    with pytest.raises(HostError, match=f"is a QEMU for {target} machines") as error:
        probe(speaking(tmp_path / "qemu", replies=replies), tmp_path / "cache")
    assert "qemu-system-x86_64" in error.value.hint
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("body", ["echo hello; exit 0", "exit 3", "echo '[1]'; echo '5'", "cat"])
def test_what_is_no_qemu_is_refused(tmp_path, body):
    with pytest.raises(HostError, match="does not answer as QEMU does"):
        probe(script(tmp_path / "qemu", body), tmp_path / "cache")


def test_what_hangs_is_ended_with_its_children(tmp_path):
    binary = script(tmp_path / "qemu", f"sleep 60 & echo $! > {tmp_path}/child; echo wait >&2; wait")
    began = time.monotonic()
    with pytest.raises(HostError, match=r"within 0\.3 s") as error:
        probe(binary, tmp_path / "cache", timeout=0.3)
    assert time.monotonic() - began < 5
    assert "wait" in error.value.what
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while not gone(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone(child)


def test_a_child_that_left_the_group_is_not_waited_for(tmp_path):
    binary = script(tmp_path / "qemu", "setsid sleep 3 & sleep 60")
    began = time.monotonic()
    assert ask([str(binary)], timeout=0.2).code is None
    assert time.monotonic() - began < 2.5


def test_what_is_not_there_or_cannot_run(tmp_path):
    with pytest.raises(HostError, match="No such file"):
        probe(tmp_path / "nothing", tmp_path / "cache")
    plain = tmp_path / "plain"
    plain.write_text("no program")
    with pytest.raises(HostError, match="Permission denied"):
        probe(plain, tmp_path / "cache")
    plain.chmod(0o755)
    with pytest.raises(HostError, match="Exec format error"):
        probe(plain, tmp_path / "cache")


@pytest.fixture
def cores_allowed():
    """A limit under which programs that abort leave core files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("no core files are allowed here at all")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def test_what_is_asked_leaves_no_core(cores_allowed):
    assert ask(["sh", "-c", "sleep 0.2; ulimit -c"], timeout=5).stdout.strip() == "0"


@pytest.mark.parametrize(
    ("stderr", "complaint"),
    [
        ("", ""),
        ("qemu-system-x86_64: error: no luck\nmore", "no luck"),
        ("/usr/bin/qemu-system-x86_64: warning: pni\nqemu-system-x86_64: -cpu x: wrong", "-cpu x: wrong"),
        ("\nKVM: entry failed", "KVM: entry failed"),
        ("qemu: warning: only this", ""),
    ],
)
def test_the_complaint_is_the_first_line_that_is_one(stderr, complaint):
    assert Answer(1, "", stderr).complaint == complaint
