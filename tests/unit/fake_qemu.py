"""Scripts that stand for QEMU: they speak QMP, boot with a given outcome, crash or hang, and count."""

import json
from pathlib import Path

GREETING = {
    "QMP": {
        "version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "Debian 1:7.2"},
        "capabilities": ["oob"],
    }
}

REPLIES = (
    {"return": {}},
    {"id": "target", "return": {"arch": "x86_64"}},
    {
        "id": "machines",
        "return": [
            {"name": "pc-q35-7.2", "alias": "q35", "cpu-max": 288},
            {"name": "pc-i440fx-7.2", "alias": "pc", "is-default": True, "cpu-max": 255},
            {"name": "microvm", "cpu-max": 288},
        ],
    },
    {
        "id": "accelerators",
        "return": [{"name": "tcg-accel"}, {"name": "kvm-accel"}, {"name": "accel", "parent": "object"}],
    },
    {"id": "migration", "return": [{"capability": "x-ignore-shared", "state": False}]},
    {"id": "devices", "return": [{"name": "e1000", "parent": "e1000-base"}, {"name": "virtio-net-pci"}]},
    {"event": "SHUTDOWN", "data": {"guest": False}},
    {"return": {}},
)

NETDEVS = "Available netdev backend types:\nsocket\nhubport\ntap\nuser\n"


def script(path: Path, body: str) -> Path:
    """A shell script that first counts that it was started."""
    path.write_text(f'#!/bin/sh\necho start >> "{path}.starts"\n{body}\n')
    path.chmod(0o755)
    return path


def starts(binary: Path) -> int:
    """How often a script was started."""
    counted = Path(f"{binary}.starts")
    return len(counted.read_text().splitlines()) if counted.exists() else 0


def speaking(
    path: Path,
    *,
    greeting: dict | None = None,
    replies: tuple[dict, ...] = REPLIES,
    netdevs: str = NETDEVS,
    boot: str = "exit 85",
) -> Path:
    """A QEMU that answers questions, and does `boot` when it is to run a guest."""
    lines = "\n".join(json.dumps(message) for message in (greeting or GREETING, *replies))
    return script(
        path,
        f"""case "$*" in
*"-netdev help"*) cat <<'END'
{netdevs}END
;;
*"-qmp stdio"*) cat > "{path}.asked"; echo "a library's own words"; cat <<'END'
{lines}
END
;;
*) {boot} ;;
esac""",
    )


def aborting(path: Path, *, has: set[str]) -> Path:
    """A QEMU that aborts over `qom-list-types`, and knows some devices by name."""
    answers = "\n".join(
        f"""*'"typename": "{name}"'*) echo '{json.dumps({"id": name, "return": []})}' ;;"""
        for name in sorted(has)
    )
    unknown = json.dumps({"id": "NAME", "error": {"class": "DeviceNotFound"}})
    machines = {"id": "machines", "return": [{"name": "pc-i440fx-7.2", "alias": "pc", "is-default": True}]}
    return script(
        path,
        f"""case "$*" in
*"-netdev help"*) printf '{NETDEVS}' ;;
*"-accel help"*) printf 'Accelerators supported in QEMU binary:\\ntcg\\nkvm\\n' ;;
*"-qmp stdio"*) echo '{json.dumps(GREETING)}'
while read -r line; do case "$line" in
*qom-list-types*) kill -ABRT $$ ;;
*query-target*) echo '{json.dumps(REPLIES[1])}' ;;
*query-migrate*) echo '{json.dumps(REPLIES[4])}' ;;
*query-machines*) echo '{json.dumps(machines)}' ;;
{answers}
*typename*) echo '{unknown}' | sed "s/NAME/$(echo "$line" | sed 's/.*"id": "//; s/".*//')/" ;;
esac; done ;;
esac""",
    )


def gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody has reaped yet has ended too)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
