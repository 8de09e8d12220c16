"""Asking a QEMU binary what it can do, over QMP on its stdio; no machine runs.

The answer of a binary that has not changed is recalled from the cache. A command that this QEMU does
not know is an answer too: it does not have that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmlan.errors import HostError
from vmlan.qemu import features
from vmlan.qemu.ask import Answer, ask
from vmlan.qemu.cache import identity, recall, remember
from vmlan.qemu.facts import MachineType, QemuFacts

__all__ = ["QemuFacts", "probe"]

#: Raised when `QemuFacts` or what is asked changes: an older answer is then no answer.
_SCHEMA = 4

#: Seconds. QEMU answers within 0.2; a busy machine or a cold disk makes it slower, not a hundredfold.
TIMEOUT = 15.0

#: No machine, no guest, no files of the user's, nothing on a screen.
_QUIET = ("-machine", "none", "-nodefaults", "-no-user-config", "-display", "none")

#: Each question is its command's name; all are sent at once, and `quit` ends the session.
_QUESTIONS: dict[str, dict[str, Any]] = {
    "target": {"execute": "query-target"},
    "machines": {"execute": "query-machines"},
    "migration": {"execute": "query-migrate-capabilities"},
    "accelerators": {"execute": "qom-list-types", "arguments": {"implements": "accel", "abstract": False}},
    "devices": {"execute": "qom-list-types", "arguments": {"implements": "device", "abstract": False}},
}

#: What is asked for one by one of a QEMU that cannot say what there is: all that labs use.
_DEVICES = (
    *(name.removeprefix("device ") for name in features.FEATURES if name.startswith("device ")),
    *("virtio-net-pci", "e1000", "e1000-82544gc", "e1000-82545em", "e1000e", "rtl8139", "vmxnet3"),
    *("ne2k_pci", "ne2k_isa", "pcnet", "i82551", "i82557b", "i82559er", "tulip", "usb-net"),
)

#: The machines that labs are of, as QEMU calls their architecture.
_TARGET = "x86_64"


@dataclass(frozen=True)
class _Session:
    """What QEMU answered: by question, the greeting as "QMP". An answer that is an error is left out."""

    answer: Answer
    replies: Mapping[str, Any]
    answered: frozenset[str]


def probe(binary: Path, cache: Path, *, timeout: float = TIMEOUT) -> QemuFacts:
    """What this QEMU can do; `cache` is the folder of such answers.

    Raises `HostError`, with the binary's own words, if it is no QEMU, crashes, or does not answer
    within `timeout` seconds, or is a QEMU for other machines than labs are of.
    """
    file, key = cache / "qemu.json", f"{_SCHEMA} {identity(binary)}"
    kept = recall(file, key, QemuFacts)
    if kept is not None:
        return replace(kept, path=binary)  # one program can have many names
    replies = _replies(binary, timeout)
    _runs_labs(binary, replies)
    facts = _facts(binary, replies, _backends(binary, timeout))
    remember(file, key, facts)
    return facts


def _runs_labs(binary: Path, replies: Mapping[str, Any]) -> None:
    """Whether its machines are of the kind that labs have."""
    target = replies.get("target", {}).get("arch", _TARGET)
    if target != _TARGET:
        raise HostError(
            f"{binary} is a QEMU for {target} machines, and the machines of a lab are {_TARGET}",
            hint=f"`qemu:` in the lab file, or the variable VMLAN_QEMU, must name a qemu-system-{_TARGET}",
        )


def _replies(binary: Path, timeout: float) -> Mapping[str, Any]:
    """The answers to all questions; if it crashes over one, as many as can be had without it."""
    session = _ask(binary, _QUESTIONS, timeout)
    if session.answered == set(_QUESTIONS):
        return session.replies
    if "QMP" in session.replies and session.answer.code is not None:
        careful = _ask_carefully(binary, timeout)
        if careful is not None:
            return careful
    raise _no_qemu(binary, session.answer, timeout)


def _ask_carefully(binary: Path, timeout: float) -> Mapping[str, Any] | None:
    """The same, without making it load all of its modules; None if it cannot answer even so.

    QEMU 10 and 11 (not 5.2 and 7.2) abort over a module of another build, which is what somebody's own
    build finds in the distribution's folder (util/module.c). Labs run on it: they use none of those.
    """
    questions = {name: _QUESTIONS[name] for name in ("target", "machines", "migration")}
    questions |= {
        name: {"execute": "device-list-properties", "arguments": {"typename": name}} for name in _DEVICES
    }
    session = _ask(binary, questions, timeout)
    accelerators = ask((str(binary), *_QUIET, "-accel", "help"), timeout=timeout)
    if session.answered != set(questions) or accelerators.code != 0:
        return None
    return {
        **session.replies,
        "devices": [{"name": name} for name in _DEVICES if name in session.replies],
        "accelerators": [{"name": f"{name}-accel"} for name in _listed(accelerators.stdout)],
    }


def _ask(binary: Path, questions: Mapping[str, dict[str, Any]], timeout: float) -> _Session:
    commands = [{"execute": "qmp_capabilities"}, *({**what, "id": id_} for id_, what in questions.items())]
    script = "".join(json.dumps(command) + "\n" for command in (*commands, {"execute": "quit"}))
    argv = (str(binary), *_QUIET, "-S", "-monitor", "none", "-qmp", "stdio")
    answer = ask(argv, stdin=script, timeout=timeout)
    replies: dict[str, Any] = {}
    answered: set[str] = set()
    for message in _messages(answer.stdout):
        if "QMP" in message:
            replies["QMP"] = message["QMP"]
        elif "id" in message:
            answered.add(message["id"])
            if "return" in message:
                replies[message["id"]] = message["return"]
    return _Session(answer, replies, frozenset(answered) if "QMP" in replies else frozenset())


def _messages(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue  # a wrapper's, or a library's, own words
        if isinstance(message, dict):
            yield message


def _backends(binary: Path, timeout: float) -> frozenset[str]:
    """The built network backends. QMP's schema lists `user` even where slirp is not built; this does not.

    (QEMU, net/net.c: show_netdevs(); since 2.12 on standard output, one name in each line.)
    """
    answer = ask((str(binary), *_QUIET, "-netdev", "help"), timeout=timeout)
    if answer.code != 0:
        raise _no_qemu(binary, answer, timeout)
    return frozenset(_listed(answer.stdout))


def _listed(text: str) -> Iterator[str]:
    """The names of one of QEMU's lists for people: one a line, below a heading."""
    return (line.strip() for line in text.splitlines() if line.strip() and " " not in line.strip())


def _facts(binary: Path, replies: Mapping[str, Any], netdevs: frozenset[str]) -> QemuFacts:
    number, package = replies["QMP"]["version"]["qemu"], replies["QMP"]["version"].get("package", "")
    version = (number["major"], number["minor"], number["micro"])
    plain = ".".join(map(str, version))
    return QemuFacts(
        path=binary,
        version=version,
        full_version=f"{plain} ({package.strip(' ()')})" if package else plain,
        machines=tuple(
            MachineType(item["name"], item.get("alias", ""), item.get("is-default", False))
            for item in sorted(replies.get("machines", ()), key=lambda item: str(item["name"]))
        ),
        accelerators=frozenset(
            name.removesuffix("-accel")
            for name in _names(replies, "accelerators")
            if name.endswith("-accel")  # the base type "accel" is in the list too
        ),
        netdevs=netdevs,
        migration=frozenset(str(item["capability"]) for item in replies.get("migration", ())),
        devices=frozenset(_names(replies, "devices")),
    )


def _names(replies: Mapping[str, Any], question: str) -> Iterator[str]:
    for item in replies.get(question, ()):
        yield item["name"]


def _no_qemu(binary: Path, answer: Answer, timeout: float) -> HostError:
    """Why it could not be asked, with its own words."""
    if answer.code is None:
        what = f"{binary} did not answer within {timeout:g} s, and was ended"
    elif answer.code < 0:
        what = f"{binary} was killed by signal {-answer.code} when it was asked what it can do"
    else:
        what = f"{binary} does not answer as QEMU does (it ended with {answer.code})"
    words = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[:10]
    return HostError(
        "\n".join([what, *(f"    {line}" for line in words)]),
        hint=f"does `{binary} -machine help` work? If not: sudo apt-get install --reinstall qemu-system-x86",
    )
