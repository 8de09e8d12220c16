#!/bin/bash
# The lab of by-hand.sh, as one would make it with libvirt: a network with reserved addresses and NAT, and a
# domain for each guest, with `virsh`. libvirt's daemon is system-wide and wants root, so this too goes into
# namespaces of its own first, in which any user is root (with a range of subordinate ids, as the daemon
# starts programs as other users), and with which everything in it ends.
#
#     by-libvirt.sh KERNEL INITRD N
#
# Prints the seconds from the first `virsh` to the moment when every guest has answered a ping, and
# the QEMUs' memory as by-hand.sh does. Not counted, as a user's machine has it already: the daemon runs, and
# has asked QEMU what it can do.
# In the environment: LIBVIRT, the folder with Debian's packages unpacked, where they are not installed;
# ACCEL, QEMU's accelerator; PATIENCE, seconds.
set -eu

[ $# = 3 ] || { echo "usage: by-libvirt.sh KERNEL INITRD N" >&2; exit 2; }
if [ "${BY_LIBVIRT-} $$" != "inside 1" ]; then
  user=(--user --map-root-user --map-auto)
  if [ "$(id -u)" = 0 ]; then user=(); fi
  BY_LIBVIRT=inside exec unshare "${user[@]}" --net --mount --pid --fork --mount-proc --kill-child "$0" "$@"
fi
kernel=$(realpath "$1") initrd=$(realpath "$2") count=$3
type=qemu
if [ "${ACCEL-tcg}" = kvm ]; then type=kvm; fi

# What libvirt keeps, it keeps in here; and it looks for its programs where the packages put them.
if [ -n "${LIBVIRT-}" ]; then
  mount -t overlay overlay -o "lowerdir=$LIBVIRT/usr:/usr" /usr
  if [ ! -d /etc/libvirt ]; then mount -t overlay overlay -o "lowerdir=$LIBVIRT/etc:/etc" /etc; fi
fi
mount -t sysfs sysfs /sys # the one of this network namespace
for folder in /run /var/lib /var/cache /var/log /etc/libvirt; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /run/lab /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
export HOME=/run/lab XDG_RUNTIME_DIR=/run/lab XDG_CACHE_HOME=/run/lab
ip link set lo up

# The user that Debian's package makes: the daemon does not start where it cannot be found.
for file in passwd group; do cp "/etc/$file" "/run/lab/$file"; done
getent passwd libvirt-qemu >/dev/null || echo 'libvirt-qemu:x:64055:100::/var/lib/libvirt:/usr/sbin/nologin' >>/run/lab/passwd
getent group libvirt-qemu >/dev/null || echo 'libvirt-qemu:x:64055:' >>/run/lab/group
for file in passwd group; do mount --bind "/run/lab/$file" "/etc/$file"; done

# No polkit in here; QEMU as root, without namespaces and control groups of its own: less work for libvirt.
echo 'auth_unix_rw = "none"' >/etc/libvirt/libvirtd.conf
cat >/etc/libvirt/qemu.conf <<'END'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
END
virtlogd </dev/null >/run/lab/virtlogd.log 2>&1 &
libvirtd </dev/null >/run/lab/libvirtd.log 2>&1 &

failed() {
  tail -n 5 /run/lab/libvirtd.log /var/log/libvirt/qemu/*.log /run/lab/virsh.log >&2 || true
  exit 1
}
virsh() { command virsh --quiet --connect qemu:///system "$@" >>/run/lab/virsh.log 2>&1 </dev/null || failed; }

until [ -S /run/libvirt/libvirt-sock ]; do
  if [ $SECONDS -gt 30 ] || ! kill -0 $! 2>/dev/null; then failed; fi
  sleep 0.1
done
virsh domcapabilities --virttype "$type"

cat >/run/lab/lan.xml <<END
<network>
  <name>lan</name>
  <bridge name="br0"/>
  <forward mode="nat"/>
  <ip address="10.2.0.1" netmask="255.255.255.0">
    <dhcp>
      <range start="10.2.0.100" end="10.2.0.199"/>
$(for i in $(seq "$count"); do
  echo "      <host mac=\"52:54:00:00:00:$(printf %02x "$i")\" ip=\"10.2.0.$((10 + i))\" name=\"vm$i\"/>"
done)
    </dhcp>
  </ip>
</network>
END
for i in $(seq "$count"); do
  cat >"/run/lab/vm$i.xml" <<END
<domain type="$type">
  <name>vm$i</name>
  <memory unit="MiB">256</memory>
  <os>
    <type arch="x86_64" machine="pc">hvm</type>
    <kernel>$kernel</kernel>
    <initrd>$initrd</initrd>
    <cmdline>console=ttyS0</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type="network">
      <source network="lan"/>
      <mac address="52:54:00:00:00:$(printf %02x "$i")"/>
      <model type="virtio"/>
    </interface>
    <console type="pty"/>
  </devices>
</domain>
END
done

began=${EPOCHREALTIME/[.,]/}

virsh net-create /run/lab/lan.xml
for i in $(seq "$count"); do
  virsh create "/run/lab/vm$i.xml"
done

for i in $(seq "$count"); do
  until ping -q -c 1 -W 0.2 "10.2.0.$((10 + i))" >/dev/null 2>&1; do
    if [ $SECONDS -gt "${PATIENCE-280}" ]; then
      echo "vm$i has not answered after $SECONDS s" >>/run/lab/virsh.log
      failed
    fi
  done
done

took=$((${EPOCHREALTIME/[.,]/} - began))
pss() { # of all QEMUs in here: proc_pid_smaps(5)
  for pid in $(pgrep -x qemu-system-x86); do cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss:/ { kb += $2 } END { print kb }'
}
printf '%d.%06d %d\n' $((took / 1000000)) $((took % 1000000)) "$(pss)"
