#!/bin/bash
# The lab of by-hand.sh in munet (https://pypi.org/project/munet): a switch and N qemu nodes with a kernel and
# an initrd, from one munet.yaml. munet wants root, so this goes into namespaces of its own first, in which any
# user is root, and with which everything in it ends. It gives no addresses by DHCP: it waits for the shell on
# each guest's console and sets them there, which is its way.
#
#     by-munet.sh KERNEL INITRD N
#
# Prints the seconds from the start of `munet` to the moment when every guest has answered a ping, and the
# QEMUs' memory as by-hand.sh does.
# In the environment: MUNET, the program, where it is not in PATH; ACCEL, QEMU's accelerator;
# PATIENCE, seconds.
set -eu

[ $# = 3 ] || { echo "usage: by-munet.sh KERNEL INITRD N" >&2; exit 2; }
if [ "${BY_MUNET-} $$" != "inside 1" ]; then
  BY_MUNET=inside exec unshare --user --map-root-user --net --mount --uts --pid --fork --mount-proc \
    --kill-child "$0" "$@"
fi
# shellcheck disable=SC2034 # in the here-document
kernel=$(realpath "$1") initrd=$(realpath "$2") count=$3 kvm=false
# shellcheck disable=SC2034
if [ "${ACCEL-tcg}" = kvm ]; then kvm=true; fi
mount -t tmpfs tmpfs /run # logs and sockets, gone with the namespaces
mkdir /run/lab
export TMPDIR=/run/lab
# munet touches this file, which in here is not root's.
cp /etc/hosts /run/lab/hosts
mount --bind /run/lab/hosts /etc/hosts

# Two words that help munet, and that the other scripts do not say. `quiet`: it takes the kernel's messages for
# answers, and gives up. And no driver for virtio consoles: munet gives each guest two that have no name, and
# vmlan's guest would wait a second or two for the names.
# `stdio: false`: the first serial port, on which the guest has its shell, is the one that munet talks to.
cat >/run/lab/munet.yaml <<END
version: 1
topology:
  networks:
    - name: lan
      ip: 10.2.0.1/24
  nodes:
$(for i in $(seq "$count"); do
  cat <<NODE
    - name: vm$i
      connections:
        - {to: lan, name: eth0, ip: 10.2.0.$((10 + i))/24}
      qemu:
        unix-os: true
        kvm: $kvm
        memory: 256M
        kernel: $kernel
        initrd: $initrd
        cmdline-extra: quiet module_blacklist=virtio_console
        console: {stdio: false, timeout: 280}
NODE
done)
END

began=${EPOCHREALTIME/[.,]/}

cd /run/lab
"${MUNET-munet}" --config munet.yaml --rundir /run/lab/run --no-cli </dev/null >/run/lab/munet.log 2>&1 &

failed() {
  tail -n 5 /run/lab/run/*/*.err /run/lab/run/*/*log.txt >&2 2>/dev/null || true
  tail -n 20 /run/lab/munet.log >&2
  exit 1
}

# munet's own network namespace has the switch, with the address of the host side.
until [ -s /run/lab/run/nspid ]; do
  kill -0 $! 2>/dev/null || failed
  sleep 0.02
done
inside=(nsenter --net="/proc/$(cat /run/lab/run/nspid)/ns/net")

for i in $(seq "$count"); do
  until "${inside[@]}" ping -q -c 1 -W 0.2 "10.2.0.$((10 + i))" >/dev/null 2>&1; do
    if ! kill -0 $! 2>/dev/null || [ $SECONDS -gt "${PATIENCE-280}" ]; then
      echo "vm$i has not answered after $SECONDS s" >>/run/lab/munet.log
      failed
    fi
  done
done

took=$((${EPOCHREALTIME/[.,]/} - began))
pss() { # of all QEMUs in here: proc_pid_smaps(5)
  for pid in $(pgrep -x qemu-system-x86); do cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss:/ { kb += $2 } END { print kb }'
}
printf '%d.%06d %d\n' $((took / 1000000)) $((took % 1000000)) "$(pss)"
