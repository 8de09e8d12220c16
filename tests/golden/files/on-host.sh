# note: all machines run on emulation: /dev/kvm is not there
# note: street is a macvtap of enp3s0: its guests reach each other and the outside; this host and they do not reach each other (ip-link(8), macvtap)
# note: forwarding is for IPv4 only here: a host that passes on IPv6 no longer listens to its own router (accept_ra), and could lose its way out. To switch it on by hand: sysctl -w net.ipv6.conf.enp3s0.accept_ra=2 net.ipv6.conf.all.forwarding=1
# note: Docker's policy (ip filter FORWARD) would drop what is passed on from and to lan. What would mend it: iptables -I DOCKER-USER -i lan -j ACCEPT; iptables -I DOCKER-USER -o lan -j ACCEPT
# note: Docker's policy (ip filter FORWARD) would drop what is passed on from and to wire. What would mend it: iptables -I DOCKER-USER -i wire -j ACCEPT; iptables -I DOCKER-USER -o wire -j ACCEPT
# the lab's folder: gone when the lab ends
mkdir -p -m 711 /run/vmlan/here-123456

# the lab's first process: when it ends, every process of the lab ends; networks are undone
unshare --mount --pid --fork --mount-proc --kill-child /usr/bin/python3 -I -S \
    -B /opt/vmlan/keeper.py /run/vmlan/here-123456/keeper.sock 2> /run/vmlan/here-123456/keeper.log &

# the network namespaces' files
mkdir -p -m 700 /run/vmlan/here-123456/net

# this machine's own network is to be found by this file
: > /run/vmlan/here-123456/net/host

# the lab's host side is this machine's own network
mount --bind /proc/self/ns/net /run/vmlan/here-123456/net/host

# the machines' names, for commands on the host side
cat > /run/vmlan/here-123456/hosts <<'END'
127.0.0.1 localhost workshop
10.2.0.11 vm1 vm1.on-host.internal
10.1.1.2 vm2 vm2.on-host.internal
END

# seen as /etc/hosts inside the lab, and only there
mount --bind /run/vmlan/here-123456/hosts /etc/hosts

# this host passes packets on between all of its networks (it did not before, and will not after `vmlan down`)
nsenter --net=/run/vmlan/here-123456/net/host sysctl -q -w net.ipv4.ip_forward=1

# the machines' names, watched by dnsmasq
mkdir -p -m 700 /run/vmlan/here-123456/names
chown 1000:1000 /run/vmlan/here-123456/names

# lan's leases
mkdir -p -m 700 /run/vmlan/here-123456/net-lan
chown 1000:1000 /run/vmlan/here-123456/net-lan

# lan's reservations, watched by dnsmasq
mkdir -p -m 700 /run/vmlan/here-123456/net-lan/reservations
chown 1000:1000 /run/vmlan/here-123456/net-lan/reservations

nsenter --net=/run/vmlan/here-123456/net/host ip -batch - <<'END'
# lan: a bridge, which is a switch
link add name vml~d310a87b address 52:54:00:01:b1:ba type bridge
link property add dev vml~d310a87b altname vmlan-here-123456.lan
link set dev vml~d310a87b name lan
addr add 10.2.0.1/24 dev lan
link set dev lan up
# vm1's NIC 0: a tap, and a port of lan, so without an address
tuntap add dev vml~405d6ea7 mode tap user 1000 group 1000
link property add dev vml~405d6ea7 altname vmlan-here-123456.vm1-lan
link set dev vml~405d6ea7 name vm1-lan
link set dev vm1-lan addrgenmode none master lan
link set dev vm1-lan up
END

# lan: what leaves it takes the host side's address, so that it can be answered
nsenter --net=/run/vmlan/here-123456/net/host nft -f - <<'END'
table ip vmlan_here_123456.lan {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.2.0.0/24 oifname != "lan" masquerade
  }
}
END

# lan: addresses (DHCP) and the machines' names (DNS)
nsenter --net=/run/vmlan/here-123456/net/host dnsmasq --conf-file=/dev/null --keep-in-foreground \
    --log-facility=- --user=anna --group=anna --bind-interfaces --except-interface=lo --no-hosts \
    --no-ping --dhcp-authoritative --interface=lan \
    --dhcp-range=10.2.0.100,10.2.0.199,255.255.255.0,1h \
    --dhcp-hostsdir=/run/vmlan/here-123456/net-lan/reservations \
    --hostsdir=/run/vmlan/here-123456/names --domain=on-host.internal --local=/on-host.internal/ \
    --expand-hosts --dhcp-leasefile=/run/vmlan/here-123456/net-lan/leases \
    < /dev/null > /run/vmlan/here-123456/net-lan/dnsmasq.log 2>&1 &

nsenter --net=/run/vmlan/here-123456/net/host ip -batch - <<'END'
# wire: a tap, the host side's end of a cable to one guest
tuntap add dev vml~20704bd0 mode tap user 1000 group 1000
link property add dev vml~20704bd0 altname vmlan-here-123456.wire
link set dev vml~20704bd0 name wire
addr add 10.1.1.1/24 dev wire
addr add fd00:1::1/64 dev wire nodad
link set dev wire up
# vm1's NIC 1: a macvtap, a second station on enp3s0's cable; enp3s0 itself stays as it is
link add link enp3s0 name vml~4c7fb815 address 52:54:00:37:5e:76 type macvtap mode bridge
link property add dev vml~4c7fb815 altname vmlan-here-123456.vm1-street.1
link set dev vml~4c7fb815 name vm1-street.1
link set dev vm1-street.1 addrgenmode none
link set dev vm1-street.1 up
END

# QEMU is to use vm1-street.1 by its device file: see that it is there, and the right one
nsenter --net=/run/vmlan/here-123456/net/host sh \
    -c 'n=$(cat /sys/class/net/$1/ifindex) && want=$(cat /sys/class/net/$1/tap$n/dev) || exit 1; for try in 1 2 3 4 5 6 7 8 9 10; do [ -c /dev/tap$n ] && break; sleep 0.1; done; have=$(printf "%d:%d" $(stat -c "0x%t 0x%T" /dev/tap$n)); [ "$want" = "$have" ] || { echo "/dev/tap$n is not the device $want of $1, but $have" >&2; exit 1; }' sh vm1-street.1

nsenter --net=/run/vmlan/here-123456/net/host ip -batch - <<'END'
# vm1's NIC 2: a macvtap, a second station on enp3s0's cable; enp3s0 itself stays as it is
link add link enp3s0 name vml~3e3776d1 address 52:54:00:1c:a9:4e type macvtap mode bridge
link property add dev vml~3e3776d1 altname vmlan-here-123456.vm1-street.2
link set dev vml~3e3776d1 name vm1-street.2
link set dev vm1-street.2 addrgenmode none
link set dev vm1-street.2 up
END

# QEMU is to use vm1-street.2 by its device file: see that it is there, and the right one
nsenter --net=/run/vmlan/here-123456/net/host sh \
    -c 'n=$(cat /sys/class/net/$1/ifindex) && want=$(cat /sys/class/net/$1/tap$n/dev) || exit 1; for try in 1 2 3 4 5 6 7 8 9 10; do [ -c /dev/tap$n ] && break; sleep 0.1; done; have=$(printf "%d:%d" $(stat -c "0x%t 0x%T" /dev/tap$n)); [ "$want" = "$have" ] || { echo "/dev/tap$n is not the device $want of $1, but $have" >&2; exit 1; }' sh vm1-street.2

# vm1's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/vmlan/here-123456/vm-vm1
mkfifo -m 600 /run/vmlan/here-123456/vm-vm1/agent.in /run/vmlan/here-123456/vm-vm1/agent.out /run/vmlan/here-123456/vm-vm1/identity.in /run/vmlan/here-123456/vm-vm1/identity.out
chown 1000:1000 /run/vmlan/here-123456/vm-vm1 /run/vmlan/here-123456/vm-vm1/agent.in /run/vmlan/here-123456/vm-vm1/agent.out /run/vmlan/here-123456/vm-vm1/identity.in /run/vmlan/here-123456/vm-vm1/identity.out

# vm1's disks, kept until `down --disks`
mkdir -p -m 700 /home/anna/.local/state/vmlan/here-123456/vm1
chown 1000:1000 /home/anna/.local/state/vmlan/here-123456/vm1

# vm1's disk 0: empty, and as large as it is written
setpriv --reuid=1000 --regid=1000 --init-groups --no-new-privs -- qemu-img create -q \
    -f qcow2 /home/anna/.local/state/vmlan/here-123456/vm1/disk0.qcow2 1073741824

# vm1's name, for DNS
cat > /run/vmlan/here-123456/names/vm1 <<'END'
10.2.0.11 vm1 vm1.on-host.internal
END

# vm1's reserved address on lan
cat > /run/vmlan/here-123456/net-lan/reservations/vm1.0 <<'END'
52:54:00:d0:b1:a4,10.2.0.11,vm1
END

# vm2's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/vmlan/here-123456/vm-vm2
mkfifo -m 600 /run/vmlan/here-123456/vm-vm2/agent.in /run/vmlan/here-123456/vm-vm2/agent.out /run/vmlan/here-123456/vm-vm2/identity.in /run/vmlan/here-123456/vm-vm2/identity.out
chown 1000:1000 /run/vmlan/here-123456/vm-vm2 /run/vmlan/here-123456/vm-vm2/agent.in /run/vmlan/here-123456/vm-vm2/agent.out /run/vmlan/here-123456/vm-vm2/identity.in /run/vmlan/here-123456/vm-vm2/identity.out

# vm2's name, for DNS
cat > /run/vmlan/here-123456/names/vm2 <<'END'
10.1.1.2 vm2 vm2.on-host.internal
END

# vm1: the embedded guest, 256M, virtio on lan, virtio on street, e1000 on street, virtio on p2p
nsenter --net=/run/vmlan/here-123456/net/host sh \
    -c 'exec 3<>/dev/tap$(cat /sys/class/net/vm1-street.1/ifindex) 4<>/dev/tap$(cat /sys/class/net/vm1-street.2/ifindex) && exec "$@"' sh setpriv \
    --reuid=1000 --regid=1000 --init-groups --no-new-privs -- chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name vm1 -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/vmlan/here-123456/vm-vm1/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/vmlan/here-123456/vm-vm1/serial,server=on,wait=off,logfile=/run/vmlan/here-123456/vm-vm1/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/vmlan/here-123456/vm-vm1/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 vmlan.hostname=vm1' \
    -drive if=none,id=disk0,file=/home/anna/.local/state/vmlan/here-123456/vm1/disk0.qcow2,format=qcow2,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    -netdev tap,id=net0,ifname=vm1-lan,script=no,downscript=no \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:d0:b1:a4,romfile= \
    -netdev tap,id=net1,fd=3 \
    -device virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:37:5e:76,romfile= \
    -netdev tap,id=net2,fd=4 -device e1000,id=nic2,netdev=net2,mac=52:54:00:1c:a9:4e,romfile= \
    -netdev socket,id=net3,udp=127.0.0.1:27273,localaddr=127.0.0.1:27272 \
    -device virtio-net-pci,id=nic3,netdev=net3,mac=52:54:00:66:a8:82,romfile= \
    < /dev/null > /run/vmlan/here-123456/vm-vm1/qemu.log 2>&1 &

# vm2: the embedded guest, 256M, virtio on wire, virtio on web, virtio on p2p
nsenter --net=/run/vmlan/here-123456/net/host setpriv --reuid=1000 --regid=1000 --init-groups \
    --no-new-privs -- chrt --batch 0 /usr/bin/qemu-system-x86_64 -name vm2 -nodefaults \
    -no-user-config -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 \
    -display none -qmp unix:/run/vmlan/here-123456/vm-vm2/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/vmlan/here-123456/vm-vm2/serial,server=on,wait=off,logfile=/run/vmlan/here-123456/vm-vm2/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/vmlan/here-123456/vm-vm2/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=vm2 vmlan.nic=52:54:00:1b:8c:2d,10.1.1.2/24' \
    -netdev tap,id=net0,ifname=wire,script=no,downscript=no \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:1b:8c:2d,romfile= \
    -netdev user,id=net1,hostfwd=tcp:192.0.2.7:8080-:80 \
    -device virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:61:5b:33,romfile= \
    -netdev socket,id=net2,udp=127.0.0.1:27272,localaddr=127.0.0.1:27273 \
    -device virtio-net-pci,id=nic2,netdev=net2,mac=52:54:00:c3:3f:a5,romfile= \
    < /dev/null > /run/vmlan/here-123456/vm-vm2/qemu.log 2>&1 &
