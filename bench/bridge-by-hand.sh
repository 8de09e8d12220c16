#!/bin/bash
# A bridge with two ports, as one would make it by hand, and two guests on it, until its standard input ends:
# what bench/traffic.py measures next to vmlan's. In namespaces of its own, as by-hand.sh.
#
#     bridge-by-hand.sh QEMU1 QEMU2
#
# Each QEMU is a file with a command that uses the tap vm1-lan or vm2-lan. MAC1 and MAC2 are in the
# environment; the guests get 10.2.0.11 and 10.2.0.12.
set -eu

[ $# = 2 ] || { echo "usage: bridge-by-hand.sh QEMU1 QEMU2" >&2; exit 2; }
if [ "${BY_HAND-} $$" != "inside 1" ]; then
  BY_HAND=inside exec unshare --user --map-root-user --net --mount --pid --fork --mount-proc --kill-child "$0" "$@"
fi
mount -t tmpfs tmpfs /run

ip link set lo up
ip link add lan type bridge
ip addr add 10.2.0.1/24 dev lan
ip link set lan up
for i in 1 2; do
  ip tuntap add "vm$i-lan" mode tap
  ip link set "vm$i-lan" master lan
  ip link set "vm$i-lan" up
done
dnsmasq --no-daemon --conf-file=/dev/null --interface=lan --bind-interfaces --no-resolv \
  --dhcp-range=10.2.0.100,10.2.0.199,12h --dhcp-leasefile=/run/leases \
  --dhcp-host="$MAC1,10.2.0.11" --dhcp-host="$MAC2,10.2.0.12" </dev/null >/run/dnsmasq.log 2>&1 &
for qemu; do
  bash "$qemu" </dev/null >"$qemu.log" 2>&1 &
done
cat >/dev/null # until whoever started this lets go
