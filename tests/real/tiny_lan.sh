#!/bin/sh
# A LAN of its own for tests of the tiny guest, inside namespaces that end with this process: a
# bridge with three taps (documentation addresses), DHCP and names for lan.test. Ends when its input
# does, so that nothing outlives a test that was killed.
set -e
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs tmpfs /run
ip -batch - <<'EOF'
link set lo up
link add br0 type bridge
address add 192.0.2.1/24 dev br0
link set br0 up
EOF
for n in 1 2 3; do
  ip tuntap add "tap$n" mode tap
  ip link set "tap$n" master br0 up
done
# As a daemon it would want to change its group, which a namespace of one user does not allow.
dnsmasq --no-daemon --conf-file=/dev/null --user=root --no-hosts --no-resolv \
  --interface=br0 --bind-interfaces --dhcp-range=192.0.2.10,192.0.2.99,1h --dhcp-authoritative \
  --no-ping --domain=lan.test --local=/lan.test/ --dhcp-leasefile="$1/leases" \
  --pid-file= </dev/null >"$1/dnsmasq.log" 2>&1 &
for _ in $(seq 200); do
  grep -qs 'IP range' "$1/dnsmasq.log" && break
  kill -0 $! || { cat "$1/dnsmasq.log" >&2; exit 1; }
  sleep 0.05
done
echo ready
cat >/dev/null
