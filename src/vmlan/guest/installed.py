"""Telling a system that is installed on a disk who it is, when it goes on from a template: by its agent.

For the images that `guest.debian_build` makes: systemd, its network and journal, an SSH server. Pure.
"""

from __future__ import annotations

#: Ends when all is started; what failed to start is no reason to wait for ever (systemctl(1), exit codes).
STARTED = ("sh", "-c", "systemctl is-system-running --wait || :")

#: What a machine that is to be a template does last: what is one machine's own is made by whoever goes on.
SEAL = b"""set -e
systemctl stop ssh.service
rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed
sync
"""

#: RNDRESEEDCRNG of random(4): what was written to /dev/urandom counts from now on, not a minute later.
_RESEED = 0x5207

_BECOME = """set -e
printf %s {seed} >/dev/urandom
perl -e 'open(R, "+<", "/dev/urandom") or die; ioctl(R, {reseed}, 0) or die "$!\\n"'
date -s @{now} >/dev/null
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
systemctl restart systemd-journald.service systemd-networkd.service
systemctl start --no-block vmlan-host-keys.service ssh.service
"""


def become(seed: str, now: float) -> bytes:
    """The commands that make another machine of it. `seed`: letters and digits; `now`: Unix time.

    Its network is started anew before it has a card, since what that says of a machine to others comes from
    the machine's id (RFC 8415; systemd.network(5), DUIDType=).
    """
    return _BECOME.format(seed=seed, reseed=_RESEED, now=f"{now:.3f}").encode()
