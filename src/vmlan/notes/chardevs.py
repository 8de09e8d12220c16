"""Character devices: serial ports and the like. The first serial port is `vmlan console`."""

from __future__ import annotations

from vmlan.notes.draft import Draft, clean
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import shown

_CONSOLE = "the first serial port is `vmlan console`"
_NEEDS = "it is for the session that QEMU ran in, or for another program beside it"

#: Backends that stand on their own: nothing has to be there for them. "socket" only as a server.
_ALONE = {"null", "file", "pty", "ringbuf", "udp", "socket"}


def read(draft: Draft, option: Option) -> None:
    """`-chardev KIND,id=…`: kept for the device that uses it."""
    params = Params(option.value, "backend")
    id_ = params.take_first("id")
    if id_ is None:
        draft.out(option, "it has no id, so nothing can use it")
        return
    if id_ in draft.chardevs:
        draft.out(option, f"there is a chardev '{shown(id_)}' already, and QEMU refuses a second")
        return
    draft.chardevs[id_] = (option, params)


def use(draft: Draft, id_: str | None) -> None:
    """What the chardev was for is vmlan's own: so is the chardev."""
    if id_ in draft.chardevs:
        option, _ = draft.chardevs[id_ or ""]
        draft.became(option, Fate.OURS, "vmlan has a socket of its own for that")


def what(draft: Draft, id_: str) -> str:
    """A chardev, in a few words, for people."""
    if id_ not in draft.chardevs:
        return f"no chardev '{shown(id_)}' is on the line"
    params = draft.chardevs[id_][1]
    kind = params.peek("backend") or ""
    place = params.peek("path") or params.peek("port")
    return f"{kind} {shown(place)}" if place else kind


def stays(draft: Draft, id_: str | None) -> bool:
    """Whether a chardev can be in a lab."""
    if id_ is None or id_ not in draft.chardevs:
        return False
    return _alone(draft.chardevs[id_][1])


def _alone(params: Params) -> bool:
    kind = params.peek("backend")
    if kind not in _ALONE or not all(clean(value) or key == "path" for key, value in params.rest):
        return False
    if params.peek("tls-creds"):
        return False
    return kind != "socket" or params.peek("server") in {"on", "yes", "true", "y", "1"}


def words(draft: Draft, id_: str) -> list[str] | None:
    """The words that make a chardev, the first time that something needs it; None if it cannot be here."""
    if not stays(draft, id_):
        return None
    option, params = draft.chardevs[id_]
    draft.became(option, Fate.ARGS)
    kind = params.peek("backend")
    if id_ in draft.made:
        return []
    draft.made.add(id_)
    made = Params("")
    for key, value in params.rest:
        if key != "backend":
            is_file = key in {"path", "logfile", "input-path"}
            made.put(key, draft.file(value) if is_file else draft.fill(value, "qemu-args"))
    if kind == "socket":  # nobody is there yet when the lab starts
        made.put("wait", "off")
    return ["-chardev", f"{kind},id={id_}" + (f",{made}" if made.rest else "")]


def finish(draft: Draft) -> None:
    """The chardevs that nothing used."""
    for option, _ in draft.chardevs.values():
        if id(option) not in draft.seen:
            draft.out(option, "nothing that is in the lab uses it")


def serial(draft: Draft, option: Option) -> None:
    """`-serial DEV`: the first is the console; a further one stays if nothing has to be there for it."""
    draft.serials += option.value != "none"
    if option.value.startswith("chardev:"):
        use(draft, option.value.removeprefix("chardev:"))
    if draft.serials == 1 or option.value == "none":
        draft.became(option, Fate.OURS, _CONSOLE)
        return
    _port(draft, option, "-serial")


def isa_serial(draft: Draft, option: Option, params: Params) -> bool:
    """`-device isa-serial,…`: whether it is the first serial port, which is the console."""
    if draft.serials or (params.peek("index") or "0") != "0":
        return False
    draft.serials = 1
    use(draft, params.peek("chardev"))
    draft.became(option, Fate.OURS, _CONSOLE)
    return True


def parallel(draft: Draft, option: Option) -> None:
    """`-parallel DEV`."""
    if option.value == "none":
        draft.became(option, Fate.OURS, "a lab's machines have none")
        return
    _port(draft, option, "-parallel")


def debugcon(draft: Draft, option: Option) -> None:
    """`-debugcon DEV`."""
    _port(draft, option, "-debugcon")


def _port(draft: Draft, option: Option, name: str) -> None:
    if draft.unclear(option, option.value, "the port is left out"):
        return
    kind, colon, rest = option.value.partition(":")
    if kind in {"null", "pty", "file"} and (colon or kind != "file"):
        draft.keep(option, name, f"{kind}{colon}{draft.file(rest) if kind == 'file' else rest}")
    elif kind in {"tcp", "telnet", "unix"} and "server" in rest.split(",") + [
        part.partition("=")[0] for part in rest.split(",")
    ]:
        place = rest.split(",")[0]
        place = draft.file(place) if kind == "unix" else place
        draft.keep(
            option, name, f"{kind}:{place},server=on,wait=off", text="the machine does not wait for a caller"
        )
    else:
        draft.out(option, _NEEDS)


def gdb(draft: Draft, option: Option) -> None:
    """`-gdb DEV` and `-s`: the debugger's port is on the lab's host side."""
    place = "tcp::1234" if option.name == "s" else option.value
    if draft.unclear(option, place, "the port is left out"):
        return
    if not place.startswith("tcp:"):
        draft.out(option, "only a port can be in a lab: -gdb tcp::1234")
        return
    why = "the debugger reaches it from the lab's host side: `vmlan host -- gdb`"
    draft.keep(option, "-gdb", place.replace("tcp::", "tcp:127.0.0.1:").partition(",")[0], text=why)


def virtio_console(draft: Draft, option: Option) -> None:
    """`-virtioconsole` and `-vmchannel`: early spellings of a virtserialport."""
    draft.out(option, "dropped by QEMU; `vmlan console` and `vmlan exec` are what it was used for")
