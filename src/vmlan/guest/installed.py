"""Telling a system that is installed on a disk who it is, when it goes on from a template: by its agent.

For the images that `guest.debian_build` makes: systemd, its network and journal, an SSH server. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Ends when all is started; what failed to start is no reason to wait for ever (systemctl(1), exit codes).
STARTED = ("sh", "-c", "systemctl is-system-running --wait || :")

_LET_GO = """systemctl stop ssh.service
rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed
"""

#: What a machine that is to be a template does last: what is one machine's own is made by whoever goes on, or
#: boots from the disk: an empty machine-id asks for that (machine-id(5)).
SEAL = f"set -e\n{_LET_GO}: >/etc/machine-id\nsync\n".encode()

#: RNDRESEEDCRNG of random(4): what was written to /dev/urandom counts from now on, not a minute later.
_RESEED = 0x5207

_ANOTHER = """printf %s {seed} >/dev/urandom
perl -e 'open(R, "+<", "/dev/urandom") or die; ioctl(R, {reseed}, 0) or die "$!\\n"'
date -s @{now} >/dev/null
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
"""

_GO_ON = """systemctl restart systemd-journald.service systemd-networkd.service
systemctl start --no-block vmlan-host-keys.service ssh.service
"""

#: Its cards become others while nobody looks at them: a virtio card's driver resets it, and then looks at its
#: MAC anew; to other cards it is said. What was leased to the old ones goes, and the name that came with it.
_OTHER_CARDS = """systemctl stop systemd-networkd.socket systemd-networkd.service
systemctl stop vmlan-hostname.path vmlan-hostname.service
rm -f /run/systemd/netif/leases/*
for nic in /sys/class/net/*/device; do
  [ -e "$nic" ] || continue
  device=$(readlink -f "$nic") nic=${{nic%/device}} nic=${{nic##*/}}
  read -r mac <"/sys/class/net/$nic/address"
  case $device in
    */virtio*)
      card=${{device%/virtio*}} card=${{card##*/}}
      echo "$card" >/sys/bus/pci/drivers/virtio-pci/unbind
      echo "$card" >/sys/bus/pci/drivers/virtio-pci/bind
      ;;
    *)
      ip address flush dev "$nic"
      ip link set "$nic" down
      case $mac in
        {macs}
        *) ;;
      esac
      ;;
  esac
done
hostname localhost
systemctl start systemd-networkd.socket
"""

_OTHER_NAME = "systemctl start --no-block vmlan-hostname.path\n"


def become(seed: str, now: float) -> bytes:
    """The commands that make another machine of it. `seed`: letters and digits; `now`: Unix time.

    Its network is started anew before it has a card, since what that says of a machine to others comes from
    the machine's id (RFC 8415; systemd.network(5), DUIDType=).
    """
    return f"set -e\n{_another(seed, now)}{_GO_ON}".encode()


def fork(seed: str, now: float, macs: Sequence[tuple[str, str]]) -> bytes:
    """The same for one that has cards, which have no carrier yet. `macs`: of each, the old and the new."""
    arms = "\n        ".join(f'{old}) ip link set "$nic" address {new} ;;' for old, new in macs)
    cards = _OTHER_CARDS.format(macs=arms)
    return f"set -e\n{_LET_GO}{_another(seed, now)}{cards}{_GO_ON}{_OTHER_NAME}".encode()


def _another(seed: str, now: float) -> str:
    return _ANOTHER.format(seed=seed, reseed=_RESEED, now=f"{now:.3f}")
