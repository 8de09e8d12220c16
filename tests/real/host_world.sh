#!/bin/bash
# A host, in namespaces of its own, for the tests of `place: host`: root of a user namespace stands for root.
# eth0 (198.51.100.2) leads to an outside with a router at 198.51.100.1, which serves DHCP, and 203.0.113.68,
# "a host on the internet". FOLDER has what survives a reboot (/var/lib) and the outside's namespace and logs.
# Then the command in "$@" runs.
# Usage (inside `unshare --user --map-root-user --net --mount --pid --fork --mount-proc`): host_world.sh FOLDER CMD…
set -eu
folder=$1
shift
mkdir -p "$folder/lib"
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$folder/lib" /var/lib
: > "$folder/outside"
unshare --net="$folder/outside" true
ip -batch - <<END
link set lo up
link add eth0 address 52:54:00:00:00:02 type veth peer name out0 address 52:54:00:00:00:01
link set out0 netns $folder/outside
addr add 198.51.100.2/24 dev eth0
link set eth0 up
route add default via 198.51.100.1
END
nsenter --net="$folder/outside" ip -batch - <<END
link set lo up
addr add 198.51.100.1/24 dev out0
addr add 203.0.113.68/32 dev lo
link set out0 up
END
nsenter --net="$folder/outside" dnsmasq --conf-file=/dev/null --no-daemon --bind-interfaces --except-interface=lo \
  --port=0 --interface=out0 --no-ping --dhcp-authoritative --dhcp-range=198.51.100.100,198.51.100.199,255.255.255.0,1h \
  --dhcp-leasefile="$folder/leases" 2> "$folder/dhcp.log" &
exec "$@"
