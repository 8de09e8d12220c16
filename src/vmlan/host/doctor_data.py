"""What `vmlan doctor` looks for, and what mends it: the descriptive half of `host.doctor`."""

from __future__ import annotations

from dataclasses import dataclass

#: Without one of these no lab runs, or only the plainest.
NEEDED = (
    "qemu-system-x86_64",
    "qemu-img",
    "ip",
    "nft",
    "dnsmasq",
    "unshare",
    "nsenter",
    "sysctl",
    "mount",
)


@dataclass(frozen=True)
class Optional:
    """Programs for one purpose; any of them will do."""

    any_of: tuple[str, ...]
    purpose: str


OPTIONAL = (
    Optional(("pasta", "slirp4netns"), "`uplink: internet`"),
    Optional(("socat",), "publishing ports (`forward:`)"),
    Optional(("ping",), "checks that start at the host side"),
    Optional(("tcpdump",), "looking at what a link carries (`vmlan host -- tcpdump`, `capture --filter`)"),
    Optional(("apt-get",), "building the embedded guest (`image: tiny`)"),
    Optional(("apt-cache",), "building the embedded guest (`image: tiny`)"),
    Optional(("dpkg-deb",), "building the embedded guest (`image: tiny`)"),
    Optional(("mmdebstrap",), "building an installed system (`vmlan image build`)"),
    Optional(("newuidmap",), "building an installed system without root (`vmlan image build`)"),
)


@dataclass(frozen=True)
class Setting:
    """A kernel setting that forbids namespaces when its file says `value`."""

    file: str
    value: str
    why: str
    mend: str


#: user_namespaces(7); Debian's kernel/user_namespace patch; Ubuntu's AppArmor (23.10 release notes).
SETTINGS = (
    Setting(
        "/proc/sys/user/max_user_namespaces",
        "0",
        "the setting user.max_user_namespaces allows none",
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
    Setting(
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "the setting kernel.unprivileged_userns_clone keeps them for root",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    Setting(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "Ubuntu's AppArmor keeps them from programs that it does not know",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)

#: Container engines leave one of these files in each container (docker; podman).
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")

#: What a container must be started with: its seccomp filter forbids unshare(2), and the paths that it
#: masks in /proc forbid a /proc of one's own (mount_namespaces(7), "locked" mounts).
CONTAINER_OPTIONS = (
    "start the container with: --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
    " --device /dev/net/tun"
)


@dataclass(frozen=True)
class Trial:
    """Something that a lab does in its network namespace."""

    name: str
    what: str
    argv: tuple[str, ...]
    mend: str
    stdin: str = ""


_MASQUERADE = (
    "table ip trial {\n"
    "  chain postrouting {\n"
    "    type nat hook postrouting priority srcnat; policy accept;\n"
    '    oifname != "br0" masquerade\n'
    "  }\n"
    "}\n"
)

TRIALS = (
    Trial(
        "tap", "a tap interface", ("ip", "tuntap", "add", "dev", "tap0", "mode", "tap"), "sudo modprobe tun"
    ),
    Trial("bridge", "a bridge", ("ip", "link", "add", "br0", "type", "bridge"), "sudo modprobe bridge"),
    Trial(
        "veth",
        "a veth pair",
        ("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"),
        "sudo modprobe veth",
    ),
    Trial(
        "nat",
        "an nftables masquerade rule",
        ("nft", "-f", "-"),
        "sudo modprobe -a nf_tables nft_chain_nat nft_masq",
        _MASQUERADE,
    ),
)
