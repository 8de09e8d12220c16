"""Where each file of a lab is. Pure: nothing here looks at the disk.

RUN/                    gone when the lab ends
  journal               what was done, in order (host.journal)
  clones                machines that its file does not have (host.clones)
  lab                   what the lab file said when the lab came up (host.kept_lab)
  keeper.sock           the keeper listens here; keeper.log
  net/host net/outside  the lab's network namespaces (bind mounts, seen only inside the lab)
  hosts  resolv.conf    what the host side sees as /etc/hosts and /etc/resolv.conf
  names/NETWORK         names and addresses, for dnsmasq (hostsdir)
  net-NETWORK/          dnsmasq's reservations and leases
  vm-MACHINE/           qmp, serial sockets; agent.in, agent.out, identity.* pipes; qemu.log, serial.log
  template-KEY/         the same of a template while it is made
STATE/MACHINE/          disks; kept until `down --disks`
STATE/.snapshots/NAME/  MACHINE.state, about.json (`host.snapshots`); kept until then too

With `place: host` the journal is in BOOK instead, root's own folder on a disk: what was done to a real host
must be known after a reboot too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: sun_path is 108 bytes with its NUL (unix(7)).
SOCKET_PATH_MAX = 107


def process_name(machine: str) -> str:
    """The name by which the keeper knows a machine's QEMU."""
    return f"vm-{machine}"


@dataclass(frozen=True)
class MachineFiles:
    """The files of one machine."""

    run: Path
    state: Path

    @property
    def qmp(self) -> Path:
        """QEMU's own control socket (QMP)."""
        return self.run / "qmp"

    @property
    def agent(self) -> Path:
        """The guest agent's pipes, without their endings (`guest.pipes`)."""
        return self.run / "agent"

    @property
    def identity(self) -> Path:
        """The pipes by which a machine that goes on from a template is told who it is, likewise."""
        return self.run / "identity"

    @property
    def loaded(self) -> Path:
        """The state that it is to go on from, while that is loaded."""
        return self.run / "state"

    @property
    def pipes(self) -> tuple[str, ...]:
        """The names of all pipes in their folder: what the guest is told, and what it says."""
        return tuple(f"{path.name}.{way}" for path in (self.agent, self.identity) for way in ("in", "out"))

    @property
    def serial(self) -> Path:
        """The serial console's socket."""
        return self.run / "serial"

    @property
    def serial_log(self) -> Path:
        """Everything the serial console ever said."""
        return self.run / "serial.log"

    @property
    def log(self) -> Path:
        """What QEMU itself said."""
        return self.run / "qemu.log"

    @property
    def variables(self) -> Path:
        """The variables of the machine's UEFI, kept like its disks."""
        return self.state / "uefi.qcow2"

    def disk(self, index: int) -> Path:
        """The disk that we made for the machine's n-th `disks` entry."""
        return self.state / f"disk{index}.qcow2"


@dataclass(frozen=True)
class Layout:
    """The folders of one lab: `run` for what ends with it, `state` for what outlives it.

    `book`: where the journal is, if not in `run`: then it is a lab of host placement.
    """

    run: Path
    state: Path
    book: Path | None = None

    @property
    def on_host(self) -> bool:
        """Whether the lab's host side is the real host (`place: host`)."""
        return self.book is not None

    @property
    def id(self) -> str:
        """What tells this lab from all others on this machine."""
        return self.run.name

    @property
    def journal(self) -> Path:
        """What was done, in order."""
        return (self.book or self.run) / "journal"

    @property
    def lab(self) -> Path:
        """What the lab file said when the lab came up."""
        return self.run / "lab"

    @property
    def clones(self) -> Path:
        """The machines that the lab has and its file has not (`host.clones`)."""
        return self.run / "clones"

    @property
    def keeper(self) -> Path:
        """The keeper's socket."""
        return self.run / "keeper.sock"

    @property
    def keeper_log(self) -> Path:
        """What the keeper said, which should be nothing."""
        return self.run / "keeper.log"

    @property
    def net(self) -> Path:
        """The folder of the network namespaces' files."""
        return self.run / "net"

    @property
    def names(self) -> Path:
        """The folder of names for every dnsmasq of the lab."""
        return self.run / "names"

    @property
    def hosts(self) -> Path:
        """The host side's /etc/hosts."""
        return self.run / "hosts"

    @property
    def resolv_conf(self) -> Path:
        """The host side's /etc/resolv.conf."""
        return self.run / "resolv.conf"

    def network(self, name: str) -> Path:
        """The folder of one network's services."""
        return self.run / f"net-{name}"

    @property
    def snapshots(self) -> Path:
        """The folder of the lab's snapshots; no machine can have such a name."""
        return self.state / ".snapshots"

    def template(self, key: str) -> MachineFiles:
        """The files of a template while it is made."""
        folder = self.run / f"template-{key}"
        return MachineFiles(folder, folder)

    def machine(self, name: str) -> MachineFiles:
        """The files of one machine."""
        return MachineFiles(self.run / f"vm-{name}", self.state / name)
