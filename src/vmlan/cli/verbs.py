"""The verbs of `vmlan`, and its help. It is loaded by every command, and imports nothing."""

from __future__ import annotations

#: What the program is, in `vmlan --help`.
ABOUT = "Real machines on real networks, from one file, as an ordinary user."

#: verb → (module, one line for `vmlan --help`); the module is loaded when the verb is used.
VERBS: dict[str, str] = {
    "init": "write a lab.yaml to start from, or list the examples",
    "up": "bring the lab up, and return when every machine is ready",
    "confirm": "keep the change that `up` made to this host's NIC (place: host)",
    "down": "end the lab; its disks are kept",
    "ls": "the labs on this machine",
    "ps": "this lab's machines, addresses and networks",
    "explain": "the exact commands that `up` runs, each with its reason",
    "check": "run the lab file's checks, each with its evidence",
    "trace": "where a packet goes and where it dies, and why",
    "capture": "every frame on the lab's links, as rows or as a file for Wireshark",
    "link": "pull a machine's cable, or slow it down",
    "set": "change what can change while the lab runs",
    "exec": "run a command in a machine; its exit code is ours",
    "wait": "wait until a machine's agent, address, port or text is there",
    "console": "a machine's serial console; Ctrl-] leaves it",
    "screen": "a picture of a machine's screen, or its text",
    "host": "run a command on the lab's host side",
    "run": "one machine, now, without a lab file",
    "import": "an old QEMU command line, a script or a page of notes: a lab file",
    "clone": "a running machine, forked into a new one",
    "snapshot": "the whole running lab at one instant: save, restore, ls, rm",
    "disk": "disks and their copies: create, clone, info, ls, rm",
    "image": "the images that vmlan knows by name: ls, pull, build, rm",
    "template": "machines booted once, from which others go on: ls, rm, prune",
    "schema": "the JSON Schema of lab.yaml, for editors",
    "doctor": "can labs run here, and what would mend it",
}


def usual_help() -> str:
    """What click prints for `vmlan --help` where there are 80 columns or more, without loading it."""
    width = max(map(len, VERBS)) + 2
    verbs = "".join(f"  {verb:{width}}{what}\n" for verb, what in VERBS.items())
    return (
        f"Usage: vmlan [OPTIONS] COMMAND [ARGS]...\n\n  {ABOUT}\n\n"
        "Options:\n  --version   Show the version and exit.\n  -h, --help  Show this message and exit.\n\n"
        f"Commands:\n{verbs}"
    )
