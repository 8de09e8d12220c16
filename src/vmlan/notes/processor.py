"""What a machine is: its type, accelerator, processors and memory."""

from __future__ import annotations

import re
from math import prod

from vmlan.labfile import values
from vmlan.model import MIB, Accel
from vmlan.notes.draft import Draft, clean, unknown
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import PLACEHOLDER, shown
from vmlan.qemu import machine_types

#: The processors that QEMU 5.2 to 11.1 have (`-cpu help`), without version numbers.
_NAMES = """
486 Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Cascadelake-Server Cascadelake-Server-noTSX
Conroe Cooperlake Denverton Dhyana EPYC EPYC-IBPB EPYC-Rome Haswell Haswell-IBRS Haswell-noTSX
Haswell-noTSX-IBRS Icelake-Server Icelake-Server-noTSX IvyBridge IvyBridge-IBRS KnightsMill Nehalem
Nehalem-IBRS Opteron_G1 Opteron_G2 Opteron_G3 Opteron_G4 Opteron_G5 Penryn SandyBridge SandyBridge-IBRS
Skylake-Client Skylake-Client-IBRS Skylake-Client-noTSX-IBRS Skylake-Server Skylake-Server-IBRS
Skylake-Server-noTSX-IBRS Snowridge Westmere Westmere-IBRS athlon core2duo coreduo kvm32 kvm64 n270 pentium
pentium2 pentium3 phenom qemu32 qemu64 base host max
"""
_MODELS = frozenset(_NAMES.split())
#: Newer ones, and the release that brought each.
_NEWER = {
    "EPYC-Milan": (6, 0),
    "SapphireRapids": (8, 0),
    "EPYC-Genoa": (8, 1),
    "GraniteRapids": (8, 1),
    "SierraForest": (9, 1),
    "EPYC-Turin": (10, 1),
    "ClearwaterForest": (10, 1),
    "YongFeng": (10, 0),
    "DiamondRapids": (11, 0),
}

#: The last version (`EPYC-Rome-v4`) of the models that got new ones since QEMU 5.2: in 5.2, 7.2 and 10.0.
_VERSIONS: dict[str, tuple[int, int, int]] = {
    "Cascadelake-Server": (4, 5, 5),
    "Cooperlake": (1, 2, 2),
    "Denverton": (2, 3, 3),
    "Dhyana": (1, 2, 2),
    "EPYC": (3, 3, 4),
    "EPYC-Genoa": (0, 0, 1),
    "EPYC-Milan": (0, 1, 2),
    "EPYC-Rome": (1, 2, 4),
    "GraniteRapids": (0, 0, 2),
    "Icelake-Server": (4, 6, 7),
    "SapphireRapids": (0, 0, 3),
    "SierraForest": (0, 0, 2),
    "Skylake-Client": (3, 4, 4),
    "Skylake-Server": (4, 5, 5),
    "Snowridge": (2, 4, 4),
    "YongFeng": (0, 0, 2),
}

#: Accelerators of other systems than Linux, or gone ones.
_ELSEWHERE = {"whpx": "Windows", "hvf": "macOS", "hax": "Windows and macOS", "nvmm": "NetBSD", "xen": "Xen"}

#: Properties of a PC that QEMU 5.2 to 11.1 take, as the installed one would.
_PROPERTIES = {"acpi", "hpet", "smm", "vmport", "usb", "memory-backend", "nvdimm", "graphics", "mem-merge"}
_PROPERTIES |= {"dump-guest-core", "suppress-vmdesc", "pit", "smbus", "max-ram-below-4g", "hmat"}
_PROPERTIES |= {"kernel-irqchip", "pcspk-audiodev", "max-fw-size", "fd-bootchk"}

#: Machines of QEMU's for x86 that have no PCI bus, or are none for guests.
_BARE = {"isapc", "microvm", "xenpv", "nitro", "x-remote"}


def machine(draft: Draft, option: Option) -> None:
    """`-machine [type=]NAME,accel=…,…` and `-M`."""
    params = Params(option.value, "type")
    kind = params.take("type")
    if kind and not draft.unclear(option, kind, "here machine: pc", words=f"{option.name_of} {shown(kind)}"):
        _type(draft, option, kind)
    accel_ = params.take("accel")
    if accel_:
        _accelerators(draft, option, accel_)
    for key, value in params.rest:
        _property(draft, option, key.replace("_", "-"), value)
    draft.became(option, Fate.KEY)


def _type(draft: Draft, option: Option, kind: str) -> None:
    kind = re.sub(r"\+pve\d+$", "", kind)  # Proxmox's count of its own changes
    draft.asked_machine = kind
    words = f"{option.name_of} {kind}"
    if kind in _BARE:
        draft.machine = "pc"
        why = f"a lab's machines have PCI, which {kind} has not; here pc, which has what {kind} has too"
        draft.became(option, Fate.KEY, why, words=words)
        return
    draft.machine = kind
    nearest = _nearest(draft, kind)
    if nearest is not None and nearest != kind:
        draft.machine = nearest
        why = f"{_whose(kind)}; the nearest that QEMU has here: machine: {nearest}"
        draft.became(option, Fate.KEY, why, words=words)


def _whose(kind: str) -> str:
    if set(kind.split("-")) & {"ubuntu", *machine_types.UBUNTU}:
        return "a machine type of Ubuntu's own"
    return "the installed QEMU has no such machine type"


def _nearest(draft: Draft, kind: str) -> str | None:
    if draft.facts is None:
        release = next(
            (machine_types.UBUNTU[word] for word in kind.split("-") if word in machine_types.UBUNTU), None
        )
        if release is None:
            return None
        return f"pc-{'q35' if 'q35' in kind else 'i440fx'}-{release[0]}.{release[1]}"
    names = {each.name for each in draft.facts.machines} | {each.alias for each in draft.facts.machines}
    if kind in names:
        return kind
    return machine_types.nearest(kind, draft.facts.machines) or ("q35" if "q35" in kind else "pc")


def _property(draft: Draft, option: Option, key: str, value: str) -> None:
    words = f"{option.name_of} {key}={shown(value)}"
    if draft.unclear(option, value, "the machine's own default stands", words=words):
        return
    if key in {"pflash0", "pflash1"}:
        draft.flashes.append((option, value))
    elif key == "sata":
        draft.out(option, "the machine's disks are on that controller", words=words)
    elif key not in _PROPERTIES:
        if key in {"confidential-guest-support", "memory-encryption", "igd-passthru"}:
            draft.out(
                option, "it needs a processor or a graphics card of this host's for the guest", words=words
            )
        else:
            draft.out(option, "not every QEMU's PC has this property", words=words)
    else:
        draft.keep(option, "-machine", f"{key}={value}")


def accel(draft: Draft, option: Option) -> None:
    """`-accel NAME,…`; several are tried in turn."""
    params = Params(option.value, "accel")
    _accelerators(draft, option, params.take("accel") or "")
    for key, value in params.rest:
        words = f"-accel {key}={shown(value)}"
        draft.out(option, "it tunes the accelerator, and the guest does not see it", words=words)


def _accelerators(draft: Draft, option: Option, text: str) -> None:
    words = f"{option.name_of} {shown(text)}"
    if draft.unclear(option, text, "here accel: auto", words=words):
        draft.accel_said = True
        return
    names = re.split("[:,]", text.lower())
    chosen = {"kvm": Accel.KVM, "tcg": Accel.TCG}.get(names[0])
    if len(names) > 1 or (draft.accel_said and draft.accel is not chosen):
        chosen = Accel.AUTO if chosen is not None or "kvm" in names else None
    draft.accel_said = True
    draft.accel = chosen or Accel.AUTO
    if chosen is None:
        where = _ELSEWHERE.get(names[0])
        what = f"an accelerator of {where}" if where else "QEMU has no such accelerator"
        draft.became(option, Fate.KEY, f"{what}; here accel: auto (KVM where it works)", words=words)
    else:
        draft.became(option, Fate.KEY)


def kvm(draft: Draft, option: Option) -> None:
    """`-enable-kvm`, `-no-kvm`, `-enable-hax`: the short spellings."""
    draft.accel_said = True
    if option.name == "enable-hax":
        draft.became(option, Fate.KEY, "HAXM is gone since QEMU 8.2; here accel: auto (KVM where it works)")
        return
    draft.accel = Accel.KVM if option.name == "enable-kvm" else Accel.TCG
    draft.became(
        option, Fate.KEY, "" if option.name == "enable-kvm" else "dropped in QEMU 5.2; here accel: tcg"
    )


def cpu(draft: Draft, option: Option) -> None:
    """`-cpu MODEL,FLAG,…`. The flags go to qemu-args, where QEMU takes the last -cpu."""
    params = [item for item in option.value.split(",") if item]
    model, flags = (params[0], params[1:]) if params else ("", [])
    if draft.unclear(option, model, "here cpu: max", words=f"-cpu {shown(model)}"):
        model = "max"
    elif not _has_model(draft, model):
        draft.became(option, Fate.KEY, f"the installed QEMU has no x86 processor '{model}'; here cpu: max")
        model = "max"
    elif not _has_version(draft, model):
        bare = model.rpartition("-v")[0]
        draft.became(option, Fate.KEY, f"perhaps the installed QEMU has no '{model}'; here cpu: {bare}")
        model = bare
    draft.cpu = model
    kept = [flag for flag in flags if _flag(draft, option, flag)]
    if kept:
        # "host" is refused without KVM; "max" is the same as "host" with it.
        full = ",".join(["max" if model == "host" else model, *kept])
        why = (
            "host is written max there, which is the same with KVM and works without"
            if model == "host"
            else ""
        )
        draft.keep(option, "-cpu", full, text=why)
    draft.became(option, Fate.KEY)


def _flag(draft: Draft, option: Option, flag: str) -> bool:
    return not draft.unclear(option, flag, "the flag is left out", words=f"-cpu {shown(flag)}")


def _has_model(draft: Draft, model: str) -> bool:
    bare = re.sub(r"-v\d+$", "", model)
    if bare in _NEWER:
        return not draft.version_before(*_NEWER[bare])
    return bare in _MODELS


def _has_version(draft: Draft, model: str) -> bool:
    """Whether the installed QEMU has this version; a release between two that were asked is the older."""
    bare, _, number = model.rpartition("-v")
    last = _VERSIONS.get(bare)
    if last is None or not number.isdigit():
        return True
    for release, known in zip(((7, 2), (10, 0), (11, 1)), last, strict=True):
        if draft.version_before(*release):
            return int(number) <= known
    return True


def smp(draft: Draft, option: Option) -> None:
    """`-smp [cpus=]N,sockets=…,cores=…,threads=…`; a topology goes to qemu-args if it is consistent."""
    params = Params(option.value, "cpus")
    numbers: dict[str, int] = {}
    for key, value in params.rest:
        words = f"-smp {key}={shown(value)}"
        if draft.unclear(option, value, "it is left out", words=words):
            continue
        if not re.fullmatch(r"[1-9]\d{0,3}", value):
            draft.out(option, "it is not a number of processors", words=words)
            continue
        numbers[key] = int(value)
    draft.became(option, Fate.KEY)
    topology = {key: numbers[key] for key in ("sockets", "dies", "cores", "threads") if key in numbers}
    for key in numbers.keys() - topology.keys() - {"cpus", "maxcpus"}:
        if numbers[key] != 1:
            draft.out(option, "not every QEMU's PC has such a level", words=f"-smp {key}={numbers[key]}")
    product = prod(topology.values())
    draft.cpus = min(numbers.get("cpus", numbers.get("maxcpus", product)), 255)
    if not topology and "maxcpus" not in numbers:
        return
    most = numbers.get("maxcpus", max(draft.cpus, product if len(topology) > 1 else 1))
    complete = {"sockets", "cores", "threads"} <= topology.keys()
    if most % product or most < draft.cpus or (complete and product != most) or most > 255:
        draft.out(option, f"its numbers do not give {draft.cpus} processors: only cpus: {draft.cpus} is kept")
        return
    if product == 1 and most == draft.cpus:
        return
    rest = [f"{key}={value}" for key, value in topology.items()]
    maximum = [f"maxcpus={most}"] if most != draft.cpus else []
    draft.keep(option, "-smp", ",".join([str(draft.cpus), *maximum, *rest]))


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"b": 1, "k": 1024, "": MIB, "m": MIB, "g": 1024 * MIB, "t": MIB * MIB}


def memory(draft: Draft, option: Option) -> None:
    """`-m 512`, `-m 2G`, `-m size=…,slots=…,maxmem=…`; without a unit it is MiB."""
    params = Params(option.value, "size")
    size = params.take("size", "mem")
    draft.became(option, Fate.KEY)
    if size is not None:
        found = _bytes(size)
        if found is None or not MIB <= found < 2**46:
            why = unknown(size) or "it is not a size of memory"
            draft.no_memory = (option, f"-m {shown(size)}", why)
        else:
            draft.memory = found - found % MIB
    more = [(key, value) for key, value in params.rest if key in {"slots", "maxmem"} and clean(value)]
    if len(more) == 2:
        draft.keep(option, "-m", f"size={_spelt(draft.memory)}," + ",".join(f"{k}={v}" for k, v in more))
    for key, value in params.rest:
        if (key, value) not in more or len(more) != 2:
            draft.out(option, "-m has no such thing alone", words=f"-m {key}={shown(value)}")


def _spelt(size: int | None) -> str:
    return f"{(size or 512 * MIB) // MIB}M"


def _bytes(text: str) -> int | None:
    found = _SIZE.fullmatch(text.strip())
    return int(float(found[1]) * _UNITS[found[2].lower()]) if found else None


def memory_path(draft: Draft, option: Option) -> None:
    """`-mem-path FILE`: where the guest's memory is kept."""
    draft.keep(option, "-mem-path", draft.file(option.value))
    draft.need(shown(option.value), folder=True)


def overcommit(draft: Draft, option: Option) -> None:
    """`-overcommit mem-lock=on,cpu-pm=on`: locking memory is for root."""
    params = Params(option.value)
    lock, power = params.take("mem-lock"), params.take("cpu-pm")
    if lock is not None:
        why = "locking a guest's memory needs rights that a lab does not have"
        draft.out(option, why, words=f"-overcommit mem-lock={shown(lock)}")
    if power is not None and not draft.unclear(option, power, "it is left out"):
        draft.keep(option, "-overcommit", f"cpu-pm={power}")
    draft.takes(params.rest, option, "-overcommit")


def icount(draft: Draft, option: Option) -> None:
    """`-icount`: counted instructions, which only emulation has."""
    if draft.unclear(option, option.value, "it is left out"):
        return
    draft.accel, draft.accel_said = Accel.TCG, True
    draft.keep(option, "-icount", option.value, text="only emulation counts instructions: accel: tcg")


def name(draft: Draft, option: Option) -> None:
    """`-name [guest=]NAME,process=…`."""
    params = Params(option.value, "guest")
    guest = params.take("guest") or ""
    draft.name = PLACEHOLDER.sub("", guest) or None
    instead = "the name is without it" if draft.name else "it is named after what it runs"
    draft.unclear(option, guest, instead, words=f"-name {shown(guest)}")
    for key, value in params.rest:
        draft.out(option, "vmlan names the process itself", words=f"-name {key}={shown(value)}")
    draft.became(option, Fate.KEY)


def word(text: str) -> bool:
    """Whether a text can be the value of `cpu:` or `machine:`."""
    try:
        values.word(text)
    except values.Wrong:
        return False
    return True
