"""Whether a lab fits into memory: what is counted, what can be had by the kernel's own words, what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests import labs
from vmlan.errors import DoesNotFit, HostError
from vmlan.host import memory
from vmlan.host.memory import Mount, folders, groups, meminfo, mounts, room
from vmlan.model import MIB, Accel, Lab, Machine
from vmlan.plan.admission import Room, refuse, size
from vmlan.plan.steps import Command, MakeTemplate, Start, Step, Told, Warm
from vmlan.qemu.facts import KvmVerdict

GIB = 1024 * MIB
HERE = Path("/x")
FACTS = labs.facts(kvm=KvmVerdict(works=True, reason="it works"))


def start(name: str, *, warm: bool = False) -> Step:
    told = Told(name, "", (), True, 0, (), "", 0, HERE, (), HERE)
    how = Warm("key", HERE, Command(()), (), (), told) if warm else None
    return Start(f"machine {name}", "a machine", f"vm-{name}", Command(()), HERE, machine=name, warm=how)


def make(name: str) -> Step:
    return MakeTemplate(
        "template key",
        "a template",
        "key",
        "template",
        Command(()),
        log=HERE,
        qmp=HERE,
        agent=HERE,
        identity=HERE,
        save=(),
        folder=HERE,
        parts=(),
        macs=(),
        bound=True,
        machines=(name,),
    )


def lab(*machines: Machine) -> Lab:
    return Lab("lab", HERE, machines)


def fits(lab: Lab, steps: list[Step], bytes_: int) -> bool:
    try:
        refuse(lab, steps, FACTS, Room(bytes_, "as the test says"))
    except DoesNotFit:
        return False
    return True


# What is counted


def test_what_is_to_be_started_is_counted_and_no_more() -> None:
    three = lab(Machine("a", memory=GIB), Machine("b", memory=GIB), Machine("c", memory=100 * GIB))
    both = [start("a"), start("b")]
    assert fits(three, both, 2 * GIB + 100 * MIB)
    assert not fits(three, both, 2 * GIB)
    assert fits(three, both[:1], GIB + 100 * MIB)
    assert fits(three, [], 0)


def test_emulation_takes_more_than_kvm() -> None:
    kvm, tcg = Machine("a", memory=GIB), Machine("a", memory=GIB, accel=Accel.TCG)
    assert fits(lab(kvm), [start("a")], GIB + 40 * MIB)
    assert not fits(lab(tcg), [start("a")], GIB + 40 * MIB)


def test_a_clone_takes_its_share_and_its_template_is_there_before_it() -> None:
    many = lab(*(Machine(f"vm{n}", memory=GIB) for n in range(50)))
    clones = [start(machine.name, warm=True) for machine in many.machines]
    assert fits(many, clones, 3 * GIB)
    assert not fits(many, clones, 2 * GIB)
    assert fits(many, [make("vm0"), *clones], 3 * GIB)
    big = replace(many, machines=(Machine("vm0", memory=4 * GIB),))
    assert fits(big, [start("vm0", warm=True)], 3 * GIB)
    assert not fits(big, [make("vm0"), start("vm0", warm=True)], 3 * GIB)


def test_the_sum_is_shown() -> None:
    machines = (Machine("big", memory=1024 * GIB), *(Machine(f"vm{n}") for n in range(1, 8)))
    with pytest.raises(DoesNotFit) as refused:
        refuse(lab(*machines), [start(each.name) for each in machines], FACTS, Room(2 * GIB, "so they say"))
    assert isinstance(refused.value, HostError) and refused.value.exit_code == 3
    assert refused.value.what.splitlines() == [
        "this lab does not fit into memory: what is to be started asks for 1.0T, and 2.0G can be had",
        "    MACHINES                    EACH   SUM",
        "    big                         1.0T  1.0T",
        "    vm1, vm2, vm3, vm4, 3 more  291M  2.0G",
        "                                      1.0T",
        "    (EACH is what it may use, and what QEMU itself takes)",
        "    can be had: 2.0G (so they say)",
    ]
    assert "--overcommit" in (refused.value.hint or "")


def test_sizes() -> None:
    assert [size(each) for each in (0, MIB, GIB - 1, GIB, 1536 * MIB, 1024 * GIB)] == [
        "0M", "1M", "1023M", "1.0G", "1.5G", "1.0T",
    ]  # fmt: skip


# What can be had


MEMINFO = """\
MemTotal:       16301020 kB
MemFree:          801020 kB
MemAvailable:    8388608 kB
SwapTotal:       2097152 kB
SwapFree:        1048576 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
"""
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 23 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "33 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 30 0:32 / /sys/fs/cgroup/memory rw shared:11 master:2 - cgroup cgroup rw,memory\n"
    "41 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


class Host:
    """The files of a host, as far as they are looked at."""

    def __init__(self, root: Path, mountinfo: str, group: str, meminfo: str = MEMINFO) -> None:
        self.root = root
        self.write("proc/meminfo", meminfo)
        self.write("proc/self/mountinfo", mountinfo)
        self.write("proc/self/cgroup", group)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def group(self, at: str, stat: str = "", **files: int | str) -> None:
        folder = f"sys/fs/cgroup/{at}".rstrip("/")
        self.write(f"{folder}/memory.stat", stat)
        for name, value in files.items():
            self.write(f"{folder}/memory.{name.replace('__', '.')}", f"{value}\n")

    @property
    def room(self) -> Room:
        found = room(self.root)
        assert found is not None
        return found


def test_the_host_itself(tmp_path: Path) -> None:
    host = Host(tmp_path, V2, "0::/user.slice\n")
    assert host.room.bytes == 9 * GIB
    assert host.room.of == "MemAvailable 8.0G and SwapFree 1.0G in /proc/meminfo"
    (tmp_path / "proc/self/cgroup").unlink()
    assert host.room.bytes == 9 * GIB


@pytest.mark.parametrize("text", ["", "MemFree: 1 kB\n", "MemAvailable: much\n"])
def test_where_it_is_not_known_nobody_says_anything(tmp_path: Path, text: str) -> None:
    Host(tmp_path, V2, "0::/\n", text)
    assert room(tmp_path) is None


def test_the_strictest_group_counts_wherever_it_is(tmp_path: Path) -> None:
    """A limit in the middle: of what it leaves, the groups below have no say, nor those above."""
    host = Host(tmp_path, V2, "0::/user.slice/user-1000.slice/session-1.scope\n")
    host.group("", stat="file 1\n")  # the root group has no limit, and no such files
    host.group("user.slice", max=20 * GIB, current=GIB)
    host.group("user.slice/user-1000.slice", max=4 * GIB, current=3 * GIB, swap__max=0, swap__current=0)
    host.group("user.slice/user-1000.slice/session-1.scope", max="max", current=2 * GIB)
    assert host.room.bytes == GIB
    assert host.room.of == "/sys/fs/cgroup/user.slice/user-1000.slice/memory.max is 4.0G"
    host.group("user.slice/user-1000.slice/session-1.scope", max=2 * GIB, current=2 * GIB + MIB)
    assert host.room.bytes == GIB  # of swap
    host.group("user.slice/user-1000.slice", max=40 * GIB, current=3 * GIB)
    host.group("user.slice/user-1000.slice/session-1.scope", max="max", current=2 * GIB)
    assert host.room.bytes == 9 * GIB


def test_a_groups_page_cache_is_free_and_what_is_in_a_tmpfs_is_not(tmp_path: Path) -> None:
    host = Host(tmp_path, V2, "0::/a\n")
    stat = f"anon 5\nfile {3 * GIB}\nshmem {GIB}\nslab_reclaimable {MIB}\n"
    host.group("a", stat, max=4 * GIB, current=4 * GIB, swap__max=512 * MIB, swap__current=0)
    assert host.room.bytes == 2 * GIB + MIB + 512 * MIB


def test_version_1(tmp_path: Path) -> None:
    host = Host(tmp_path, V1, "12:cpu,cpuacct:/\n4:memory:/a/b\n0::/c\n")
    none = (1 << 63) - 4096
    stat = f"cache 1\ntotal_cache {2 * GIB}\ntotal_shmem {GIB}\n"
    host.group("memory", limit_in_bytes=none, usage_in_bytes=GIB)
    host.group("memory/a", stat, limit_in_bytes=3 * GIB, usage_in_bytes=3 * GIB)
    host.group("memory/a/b", limit_in_bytes=none, usage_in_bytes=GIB)
    assert host.room.bytes == 2 * GIB
    assert host.room.of == "/sys/fs/cgroup/memory/a/memory.limit_in_bytes is 3.0G"
    host.group("memory/a", memsw__limit_in_bytes=3 * GIB, memsw__usage_in_bytes=3 * GIB, stat=stat,
               limit_in_bytes=3 * GIB, usage_in_bytes=3 * GIB)  # fmt: skip
    assert host.room.bytes == GIB


def test_a_container_sees_a_part_of_the_tree() -> None:
    own, all_ = Mount(2, "/docker/1", "/sys/fs/cgroup"), Mount(2, "/", "/sys/fs/cgroup")
    assert [*folders(own, "/docker/1")] == ["/sys/fs/cgroup"]
    assert [*folders(own, "/docker/1/a b")] == ["/sys/fs/cgroup/a b", "/sys/fs/cgroup"]
    assert [*folders(own, "/elsewhere")] == ["/sys/fs/cgroup"]
    assert [*folders(all_, "/../../x")] == ["/sys/fs/cgroup"]
    assert [*folders(all_, "/")] == ["/sys/fs/cgroup"]
    assert [*mounts("1 2 0:1 /a\\040b /c\\040d rw - cgroup2 x rw\n")] == [Mount(2, "/a b", "/c d")]


def test_this_host_is_read_as_free_reads_it() -> None:
    """What the kernel of the machine that tests says of itself."""
    assert groups(Path("/proc/self/cgroup").read_text())
    found, said = memory.room(), meminfo(Path("/proc/meminfo").read_text())
    assert found is not None
    assert 0 < found.bytes <= said["MemTotal"] + said["SwapTotal"]
