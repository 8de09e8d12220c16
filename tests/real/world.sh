#!/bin/bash
# A machine with a network, in namespaces of its own, for the tests of `uplink: internet`:
# eth0 192.0.2.10 leads to a "world" that serves HTTP and DNS at 203.0.113.80. A web server on this
# machine's loopback is what no guest may reach. Then the command in "$@" runs as an ordinary user.
# Usage (inside `unshare --user --map-root-user --net --mount --pid --fork`): world.sh FOLDER UID CMD…
set -eu
folder=$1 user=$2
shift 2
: > "$folder/world"
unshare --net="$folder/world" true
sysctl -qw net.ipv4.ping_group_range="0 0" # as ordinary systems let everybody ping
ip -batch - <<END
link set lo up
link add eth0 type veth peer name w0
link set w0 netns $folder/world
addr add 192.0.2.10/24 dev eth0
link set eth0 up
route add default via 192.0.2.1
END
nsenter --net="$folder/world" ip -batch - <<END
link set lo up
addr add 192.0.2.1/24 dev w0
addr add 203.0.113.80/32 dev lo
link set w0 up
END
mkdir "$folder/www" "$folder/secret"
echo "hello from outside" > "$folder/www/index.html"
echo "this machine's own" > "$folder/secret/index.html"
echo "nameserver 203.0.113.80" > "$folder/resolv.conf"
mount --bind "$folder/resolv.conf" /etc/resolv.conf
nsenter --net="$folder/world" dnsmasq --conf-file=/dev/null --no-daemon --no-resolv --no-hosts \
  --listen-address=203.0.113.80 --bind-interfaces --address=/example.com/203.0.113.80 2> "$folder/dns.log" &
nsenter --net="$folder/world" python3 -m http.server --bind 203.0.113.80 --directory "$folder/www" 80 \
  2> "$folder/http.log" &
python3 -m http.server --bind 127.0.0.1 --directory "$folder/secret" 9999 2> "$folder/loopback.log" &
for try in $(seq 100); do
  curl -sf http://127.0.0.1:9999/ > /dev/null && curl -sf http://203.0.113.80/ > /dev/null && break
  sleep 0.05
done
: > "$folder/loopback.log"
exec unshare --user --map-user="$user" --map-group="$user" -- "$@"
