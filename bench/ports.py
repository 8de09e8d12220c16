"""A bridge with many ports: vmlan's one `ip -batch`, a batch by hand, and a command for each line."""

from __future__ import annotations

from place import Failed, Place, run

SINGLE = "single commands"
BATCH = "one batch by hand"
VMLAN = "vmlan's batch"
VARIANTS = (SINGLE, BATCH, VMLAN)

#: Times one script in a network namespace of its own; what it made (all but the loopback, which stays)
#: is removed before the namespace ends, so that the kernel does not do it while the next one is timed.
_TIMED = r"""
set -eu
began=${EPOCHREALTIME/[.,]/}
bash -eu "$1"
took=$((${EPOCHREALTIME/[.,]/} - began))
ip -br link | sed 's/[@ ].*//; s/^/link delete /' | ip -force -batch - 2>/dev/null || true
echo "$took"
"""


def lab(ports: int) -> str:
    """A lab whose bridge has so many ports."""
    machines = "\n".join(f"  m{n}: {{image: tiny, nics: [lan]}}" for n in range(1, ports + 1))
    return f"name: ports\nnetworks:\n  lan: {{kind: bridge}}\nmachines:\n{machines}\n"


def lines(ports: int) -> list[str]:
    """The same by hand, in the words of ip(8): two lines for the bridge, two for each port."""
    made = ["link add lan type bridge", "link set lan up"]
    for n in range(1, ports + 1):
        made += [f"tuntap add dev m{n}-lan mode tap", f"link set dev m{n}-lan master lan up"]
    return made


def batch(lines_: list[str]) -> str:
    """A script that gives these lines to one `ip`."""
    return "\n".join(["ip -batch - <<'END'", *lines_, "END", ""])


def scripts(ports: int, place: Place) -> dict[str, str]:
    """What each variant runs. Planning a hundred machines is not part of what is timed."""
    by_hand = lines(ports)
    place.write(lab(ports))
    return {
        SINGLE: "".join(f"ip {line}\n" for line in by_hand),
        BATCH: batch(by_hand),
        VMLAN: batch(_planned(place)),
    }


def _planned(place: Place) -> list[str]:
    for step in place.json("explain")["steps"]:
        if "network lan" in step["ids"]:
            return planned_lines(step["shell"])
    raise Failed("vmlan's plan has no step that makes the network lan")


def planned_lines(shell: str) -> list[str]:
    """The lines of a batch, as `vmlan explain` prints it."""
    first, *rest = shell.splitlines()
    if not first.endswith("<<'END'") or rest[-1] != "END":
        raise Failed(f"this is no batch: {first}")
    return rest[:-1]


def measure(scripts: dict[str, str], place: Place, variant: str) -> dict[str, float]:
    """Seconds that this variant's script takes in a namespace of its own."""
    file = place.folder / "ports.sh"
    file.write_text(scripts[variant])
    inside = ["unshare", "--user", "--map-root-user", "--net"]
    took = run([*inside, "bash", "-c", _TIMED, "bash", str(file)], place.folder, place.env)
    return {"s": int(took) / 1e6}
