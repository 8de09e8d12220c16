#!/bin/bash
# The lab that bench/run.py gives to vmlan, as one would write it by hand: N guests on a bridge, fixed
# leases from dnsmasq, NAT. Meant for root; so that it touches nothing of this machine, it goes into
# namespaces of its own first, in which any user is root, and with which everything in it ends.
#
#     by-hand.sh KERNEL INITRD N
#
# Prints the seconds from its first command to the moment when every guest has answered a ping, and how much
# memory the guests' QEMUs then take (proportional set size, kB).
# In the environment: APPEND, the kernel's command line; ACCEL, QEMU's accelerator; PATIENCE, seconds.
set -eu

[ $# = 3 ] || { echo "usage: by-hand.sh KERNEL INITRD N" >&2; exit 2; }
if [ "${BY_HAND-} $$" != "inside 1" ]; then
  BY_HAND=inside exec unshare --user --map-root-user --net --mount --pid --fork --mount-proc --kill-child "$0" "$@"
fi
kernel=$1 initrd=$2 count=$3
append=${APPEND-console=ttyS0} accel=${ACCEL-tcg}
mount -t tmpfs tmpfs /run # logs and leases, gone with the namespaces

began=${EPOCHREALTIME/[.,]/}

ip link set lo up
ip link add br0 type bridge
ip addr add 10.2.0.1/24 dev br0
ip link set br0 up
for i in $(seq "$count"); do
  ip tuntap add "tap$i" mode tap
  ip link set "tap$i" master br0
  ip link set "tap$i" up
done

sysctl -q -w net.ipv4.ip_forward=1
nft add table ip nat
nft add chain ip nat postrouting '{ type nat hook postrouting priority 100; }'
nft add rule ip nat postrouting ip saddr 10.2.0.0/24 oifname != br0 masquerade

hosts=()
for i in $(seq "$count"); do
  hosts+=("--dhcp-host=52:54:00:00:00:$(printf %02x "$i"),10.2.0.$((10 + i)),vm$i")
done
# --no-daemon: it would otherwise become another user, and in here there is only one.
dnsmasq --no-daemon --conf-file=/dev/null --interface=br0 --bind-interfaces --no-resolv \
  --dhcp-range=10.2.0.100,10.2.0.199,12h "${hosts[@]}" --dhcp-leasefile=/run/leases \
  </dev/null >/run/dnsmasq.log 2>&1 &

for i in $(seq "$count"); do
  qemu-system-x86_64 -accel "$accel" -m 256M -nographic \
    -kernel "$kernel" -initrd "$initrd" -append "$append" \
    -netdev "tap,id=net0,ifname=tap$i,script=no,downscript=no" \
    -device "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:$(printf %02x "$i")" \
    </dev/null >"/run/vm$i.log" 2>&1 &
done

look=5
for i in $(seq "$count"); do
  until ping -q -c 1 -W 0.2 "10.2.0.$((10 + i))" >/dev/null 2>&1; do
    # Emulation on a busy machine can do that to a guest. Seldom, as looking takes time too.
    if [ $SECONDS -gt "$look" ]; then
      look=$((SECONDS + 5))
      if grep -h -m 1 'Kernel panic' /run/vm*.log >&2; then exit 1; fi
    fi
    if [ "$(jobs -r | wc -l)" -le "$count" ] || [ $SECONDS -gt "${PATIENCE-280}" ]; then
      tail -n 5 /run/*.log >&2 # a program has ended, or a guest is stuck
      echo "vm$i has not answered after $SECONDS s" >&2
      exit 1
    fi
  done
done

took=$((${EPOCHREALTIME/[.,]/} - began))
pss() { # of all QEMUs in here: proc_pid_smaps(5)
  for pid in $(pgrep -x qemu-system-x86); do cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss:/ { kb += $2 } END { print kb }'
}
printf '%d.%06d %d\n' $((took / 1000000)) $((took % 1000000)) "$(pss)"
