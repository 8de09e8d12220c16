"""A plan as text: for people to read, and as a bash script that makes the same lab without vmlan.

Both are written from the very steps that `up` runs, by the same function, so they cannot differ.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmlan.errors import RequestError
from vmlan.plan.build import HOST_NAMESPACES, NAMESPACES
from vmlan.plan.layout import Layout
from vmlan.plan.steps import (
    BridgeNic,
    Command,
    Installed,
    Interfaces,
    MakeFolder,
    MakeTemplate,
    Plan,
    Run,
    Start,
    StartKeeper,
    Step,
    Switch,
    Told,
    Warm,
    WriteFile,
    batches,
    ip_batch,
    ip_undo,
    meeting,
    spaced,
    switch_command,
)
from vmlan.qemu.qmp_words import request

#: Longer command lines are broken between their options (columns).
_WIDTH = 100


@dataclass(frozen=True)
class Paragraph:
    """What is printed for the steps that run as one: why, and the shell lines."""

    ids: tuple[str, ...]
    reason: str
    shell: str


def paragraphs(plan: Plan, layout: Layout, name: str | None = None) -> list[Paragraph]:
    """The plan, a paragraph for each thing that runs; only those about `name`, if given.

    `name` is a machine or a network. In a batch, the other lines of that batch are left out.
    """
    steps = tuple(step for step in plan.steps if name is None or _is_about(step, name))
    return [
        Paragraph(
            tuple(step.id for step in group),
            "" if isinstance(group[0], Interfaces) else _line(group[0].reason),
            shell(group, layout),
        )
        for group in batches(steps)
    ]


def names(plan: Plan) -> set[str]:
    """What `paragraphs` can be asked about, but for templates, whose names nobody has given."""
    named = [step for step in plan.steps if not step.id.startswith("template")]
    return {word for step in named for word in _names(step) if not word.startswith(("/", "net/"))}


def _names(step: Step) -> Iterator[str]:
    """The machines and networks that a step's id names: `KIND NAME` or `KIND NAME.INDEX`."""
    _, _, rest = step.id.partition(" ")
    for word in rest.split():
        yield word.partition(".")[0]
    if isinstance(step, Interfaces):
        yield from (line.rpartition(" master ")[2] for line in step.lines if " master " in line)


def _is_about(step: Step, name: str) -> bool:
    return name in _names(step)


def text(plan: Plan, layout: Layout, name: str | None = None) -> str:
    """The plan for reading: each command with its reason above it."""
    blocks = [
        f"# {paragraph.reason}\n{paragraph.shell}" if paragraph.reason else paragraph.shell
        for paragraph in paragraphs(plan, layout, name)
    ]
    return "\n\n".join(blocks) + "\n"


def shell(group: tuple[Step, ...], layout: Layout) -> str:
    """The shell lines that do what these steps do (they run as one: see `batches`)."""
    match group[0]:
        case MakeFolder() as step:
            return _make_folder(step, layout)
        case WriteFile(path=path, text=content):
            return f"cat > {_quote(path)} {_here(content)}" if content else f": > {_quote(path)}"
        case StartKeeper(argv=argv, log=log):
            return f"{_wrapped(argv)} 2> {_quote(log)} &"
        case Run(command=command):
            return _command(command, layout)
        case Interfaces():
            return _command(ip_batch(tuple(step for step in group if isinstance(step, Interfaces))), layout)
        case Switch() as step:
            return _command(switch_command(step), layout)
        case BridgeNic(parts=parts):
            return "\n\n".join(
                shell(inner, layout)
                if isinstance(inner[0], Interfaces)
                else f"# {_line(inner[0].reason)}\n{shell(inner, layout)}"
                for inner in batches(parts)
            )
        case MakeTemplate() as step:
            return _make_template(step, layout)
        case Start(warm=Warm() as warm, log=log, ready=Path() as qmp):
            return _go_on(warm, qmp, log, layout)
        case Start(command=command, log=log):
            return _in_the_background(command, log, layout)
    raise AssertionError(group[0])


def _in_the_background(command: Command, log: Path, layout: Layout) -> str:
    return f"{_wrapped(spaced(command, layout.net))} \\\n    < /dev/null > {_quote(log)} 2>&1 &"


def _make_template(step: MakeTemplate, layout: Layout) -> str:
    """The making of a template; what is waited for in between is said."""
    folder = _quote(step.folder)
    return "\n".join(
        (
            f"mkdir -p {folder}.new",
            *([_command(step.disk, layout)] if step.disk is not None else []),
            _in_the_background(step.command, step.log, layout),
            f"# when its guest has nothing left to do{_sealed(step)}:",
            _monitor(step.save, step.qmp),
            "# when its state is saved:",
            "kill $!",
            *_macs(step),
            f"mv {folder}.new {folder}",
        )
    )


def _sealed(step: MakeTemplate) -> str:
    return "" if step.disk is None else ", and its agent has removed what is one machine's own"


def _macs(step: MakeTemplate) -> list[str]:
    if not step.macs:
        return []
    pages = "; the pages of its memory in which they stand are added to that" if step.bound else ""
    return [
        f"# it is noted where the MACs of its cards ({', '.join(step.macs)})"
        f" stand in {step.folder}.new/state{pages}"
    ]


def _go_on(warm: Warm, qmp: Path, log: Path, layout: Layout) -> str:
    """A machine that goes on from its template; what is waited for in between is said."""
    if isinstance(told := warm.told, Installed):
        return "\n".join(
            (
                f"cp {_quote(told.template)} {_quote(told.disk)}",
                _in_the_background(warm.command, log, layout),
                _monitor(warm.load, qmp),
                "# when its state is loaded:",
                _monitor(("cont",), qmp),
                "# when its agent has told it that it is another, with a seed and the time:",
                _monitor(warm.plug, qmp),
            )
        )
    return "\n".join(
        (
            _in_the_background(warm.command, log, layout),
            f"# {told.state} is {warm.folder}/state with its own MACs: {', '.join(told.macs) or 'none'}",
            _monitor(warm.load, qmp),
            "# when its state is loaded:",
            _monitor(warm.plug, qmp),
            *_told(told),
            *_met(told, layout),
        )
    )


def _told(told: Told) -> Iterator[str]:
    yield f"# its guest is told, through {told.identity}.in, with a seed and the time:"
    yield f"# {told.words}"
    for card in told.cards:
        if card.address is not None:
            way = f", default via {card.gateway}" if card.gateway else ""
            later = "; its lease is asked for later" if card.lessor else ""
            yield f"# {card.mac} has {card.address}{way}{later}"


def _met(told: Told, layout: Layout) -> Iterator[str]:
    if (command := meeting(told.cards)) is not None:
        yield "# the host side, which leases that, looks whether it is there:"
        yield _command(command, layout)


def _monitor(lines: tuple[str, ...], qmp: Path) -> str:
    """Lines of QEMU's monitor, over its control channel (qemu.qmp.monitor; socat(1))."""
    said = "".join(request("human-monitor-command", **{"command-line": line}) + "\n" for line in lines)
    address = f"UNIX-CONNECT:{qmp}"
    return f"socat -t 10 - {shlex.quote(address)} {_here(request('qmp_capabilities') + chr(10) + said)}"


def _make_folder(step: MakeFolder, layout: Layout) -> str:
    mode = "711" if layout.on_host and step.path == layout.run else "700"
    pipes = " ".join(_quote(step.path / name) for name in step.pipes)
    lines = [f"mkdir -p -m {mode} {_quote(step.path)}"]
    if pipes:
        lines.append(f"mkfifo -m 600 {pipes}")
    if step.owner:
        lines.append(f"chown {step.owner} {_quote(step.path)} {pipes}".rstrip())
    return "\n".join(lines)


def _command(command: Command, layout: Layout) -> str:
    line = _wrapped(spaced(command, layout.net))
    return f"{line} {_here(command.stdin)}" if command.stdin else line


def _here(content: str) -> str:
    end = _end_word("END", content)
    return f"<<'{end}'\n{content}{'' if content.endswith(chr(10)) else chr(10)}{end}"


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


def _wrapped(argv: tuple[str, ...]) -> str:
    """The command line, broken where it is long, but never between an option and its value."""
    line = shlex.join(argv)
    if len(line) <= _WIDTH:
        return line
    units: list[str] = []
    for word in argv:
        starts = not units or (word.startswith("-") and word != "-")
        if starts:
            units.append(shlex.quote(word))
        else:
            units[-1] += f" {shlex.quote(word)}"
    lines = [units[0]]
    for unit in units[1:]:
        if len(lines[-1]) + len(unit) < _WIDTH - 4:
            lines[-1] += f" {unit}"
        else:
            lines.append(unit)
    return " \\\n    ".join(lines)


def script(plan: Plan, layout: Layout, lab: str, version: str) -> str:
    """A bash script that makes the same lab without vmlan, and ends it on Ctrl-C.

    Its own shell is the lab's first process, where vmlan has its keeper. Raises `RequestError` for a plan
    that changes the real host's NIC: a script would do it unguarded.
    """
    if any(isinstance(step, BridgeNic) for step in plan.steps):
        raise RequestError(
            "a script cannot be written of a lab that makes this host's NIC a port of a bridge: nothing would"
            " put the NIC back if the change cut you off",
            hint="vmlan explain shows the commands; vmlan up runs them under guard",
        )
    inside = "\n\n".join(_script_paragraphs(plan, layout))
    end = _end_word("LAB", inside)
    who, ended = (
        ("as root", 'undo; rm -rf -- "$RUN"') if layout.on_host else ("needs no root", 'rm -rf -- "$RUN"')
    )
    namespaces = HOST_NAMESPACES if layout.on_host else NAMESPACES
    return f"""\
#!/bin/bash
# The lab {_line(lab)} without vmlan (written by vmlan {version}): {who}; Ctrl-C ends it.
set -eu
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
RUN={_quote(layout.run)}
if [ -e "$RUN" ]; then
  echo "$RUN is there already: is the lab running? (vmlan down ends it)" >&2
  exit 2
fi
{_undo(plan) if layout.on_host else ""}trap '{ended}' EXIT
mkdir -p -m 700 "$RUN"

# {_reason(plan)}
{shlex.join(namespaces)} bash -eu /dev/fd/3 3<<'{end}'
trap 'exit 130' INT TERM HUP

{inside}

echo "the lab is up; Ctrl-C ends it"
wait
{end}
"""


def _undo(plan: Plan) -> str:
    """A function that puts a real host back as it was. What is gone already is a success."""
    commands: list[Command] = []
    for step in reversed(plan.steps):
        match step:
            case Interfaces() if (undo := ip_undo(step)) is not None:
                commands.append(undo)
            case Run(undo=undone):
                commands += undone
            case Switch(name=name, before=before, also=also):
                switches = [f"{each}={value}" for each, value in ((name, before), *also)]
                commands.append(Command(("sysctl", "-q", "-w", *switches)))
    lines = [
        f"  {_wrapped(command.argv)} 2> /dev/null {_here(command.stdin) if command.stdin else ''}".rstrip()
        for command in commands
    ]
    # Not inside of the lab, which has ended by then.
    return "undo() {\n" + "\n".join(["  set +e", *lines]) + "\n}\n"


def _line(text: str) -> str:
    """Text for a comment: on one line, whatever a file is called."""
    return " ".join(text.split())


def _end_word(word: str, content: str) -> str:
    """A word that ends a here-document, and is no line of it."""
    while word in content.splitlines():
        word += "_"
    return word


def _reason(plan: Plan) -> str:
    return next(step.reason for step in plan.steps if isinstance(step, StartKeeper))


def _script_paragraphs(plan: Plan, layout: Layout) -> Iterator[str]:
    for group in batches(plan.steps):
        step = group[0]
        if isinstance(step, StartKeeper):
            continue
        comment = "" if isinstance(step, Interfaces) else f"# {_line(step.reason)}\n"
        body = shell(group, layout)
        if isinstance(step, Run) and step.creates:
            body = f"[ -e {_quote(step.creates)} ] || {body}"
        if isinstance(step, Start) and step.ready:
            body += f"\nuntil [ -e {_quote(step.ready)} ]; do kill -0 $! || exit 3; sleep 0.02; done"
        yield comment + body
