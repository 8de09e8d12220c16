# Run by mmdebstrap when all packages are installed; $1 is the tree. The variables come from debian_build.
set -eu
echo "vmlan: settling the system" >&2
root=$1
system() { chroot "$root" systemctl --quiet "$@"; }

printf 'UUID=%s / ext4 errors=remount-ro,x-systemd.growfs 0 0\n' "$fs_uuid" > "$root/etc/fstab"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
rm -f "$root"/*.old

system enable systemd-networkd systemd-resolved ssh serial-getty@ttyS0 vmlan-host-keys.service \
    vmlan-hostname.path
# Nobody waits for the network here: a machine may have none. The rest is what a machine that lives for
# hours does not need, and what takes seconds of a boot where the processor is emulated.
system disable systemd-networkd-wait-online fstrim.timer e2scrub_all.timer e2scrub_reap
system mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
    modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service \
    systemd-pstore.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    systemd-network-generator.service

# What two machines of one image must not share is made by each at its first boot. An empty machine-id
# asks for that without the questions of a "first boot" (machine-id(5)).
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/systemd/random-seed" "$root/etc/hostname" \
    "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
ln -s /etc/machine-id "$root/var/lib/dbus/machine-id"

# How the host reaches the archive (proxies, options, passwords in an address) is the host's affair.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"
mv "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/vmlan"
printf '%s\n' "$sources" > "$root/etc/apt/sources.list"
rm -f "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old
rm -f "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/var/lib/dpkg/*-old

# Nothing is to be brought up to date with /usr at the first boot (systemd-update-done.service(8)).
touch "$root/etc/.updated" "$root/var/.updated"
