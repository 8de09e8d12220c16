# note: all machines run on emulation: /dev/kvm is not there
# the lab's folder: gone when the lab ends
mkdir -p -m 700 /run/user/1000/vmlan/here-123456

# the lab's first process, in namespaces of its own: no root, and when it ends, everything in it ends
unshare --user --map-root-user --mount --pid --fork --mount-proc --kill-child /usr/bin/python3 \
    -I -S -B /opt/vmlan/keeper.py /run/user/1000/vmlan/here-123456/keeper.sock 2> /run/user/1000/vmlan/here-123456/keeper.log &

# the network namespaces' files
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net

# the host namespace is held by this file
: > /run/user/1000/vmlan/here-123456/net/host

# the lab's host side: a network namespace of its own
unshare --net=/run/user/1000/vmlan/here-123456/net/host true

# let /sys/class/net show the host side's interfaces
nsenter --net=/run/user/1000/vmlan/here-123456/net/host mount -t sysfs sysfs /sys

# the machines' names, for commands on the host side
cat > /run/user/1000/vmlan/here-123456/hosts <<'END'
127.0.0.1 localhost
::1 localhost ip6-localhost
10.2.0.11 vm1 vm1.lan.internal
10.2.0.12 vm2 vm2.lan.internal
END

# seen as /etc/hosts inside the lab, and only there
mount --bind /run/user/1000/vmlan/here-123456/hosts /etc/hosts

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# the host side's loopback
link set dev lo up
END

# the host side passes packets on between its networks, and no rule of its own turns any away
nsenter --net=/run/user/1000/vmlan/here-123456/net/host sysctl -q -w net.ipv4.ip_forward=1

# what the way out writes
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-outside

# the machines' names, watched by dnsmasq
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/names

# lan's leases
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-lan

# lan's reservations, watched by dnsmasq
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-lan/reservations

# the outside namespace is held by this file
: > /run/user/1000/vmlan/here-123456/net/outside

# the outside: one more namespace, so that no packet leaves this machine
unshare --net=/run/user/1000/vmlan/here-123456/net/outside true

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# the host side's way out: a cable to the outside
link add name eth0 address 52:54:00:b2:a6:47 type veth peer name out0 address 52:54:00:5a:c8:df
link set dev out0 netns /run/user/1000/vmlan/here-123456/net/outside
addr add 198.51.100.2/24 dev eth0
link set dev eth0 up
route add default via 198.51.100.1
END

nsenter --net=/run/user/1000/vmlan/here-123456/net/outside ip -batch - <<'END'
# a router that knows no private network, and 203.0.113.68, a host on the internet
link set dev lo up
addr add 198.51.100.1/24 dev out0
addr add 203.0.113.68/32 dev lo
link set dev out0 up
END

# the outside's DHCP: 198.51.100.100 to 198.51.100.199
nsenter --net=/run/user/1000/vmlan/here-123456/net/outside dnsmasq --conf-file=/dev/null \
    --no-daemon --bind-interfaces --except-interface=lo --no-resolv --no-hosts --no-ping \
    --dhcp-authoritative --port=0 --interface=out0 \
    --dhcp-range=198.51.100.100,198.51.100.199,255.255.255.0,1h \
    --dhcp-leasefile=/run/user/1000/vmlan/here-123456/net-outside/leases \
    < /dev/null > /run/user/1000/vmlan/here-123456/net-outside/dnsmasq.log 2>&1 &

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# lan: a bridge, which is a switch
link add name lan address 52:54:00:a1:b7:65 type bridge
addr add 10.2.0.1/24 dev lan
link set dev lan up
# vm1's NIC 0: a tap, and a port of lan, so without an address
tuntap add dev vm1-lan mode tap
link set dev vm1-lan addrgenmode none master lan
link set dev vm1-lan up
# vm2's NIC 0: a tap, and a port of lan, so without an address
tuntap add dev vm2-lan mode tap
link set dev vm2-lan addrgenmode none master lan
link set dev vm2-lan up
END

# lan: what leaves it takes the host side's address, so that it can be answered
nsenter --net=/run/user/1000/vmlan/here-123456/net/host nft -f - <<'END'
table ip vmlan_lan {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.2.0.0/24 oifname != "lan" masquerade
  }
}
END

# lan: addresses (DHCP) and the machines' names (DNS)
nsenter --net=/run/user/1000/vmlan/here-123456/net/host dnsmasq --conf-file=/dev/null \
    --no-daemon --bind-interfaces --except-interface=lo --no-resolv --no-hosts --no-ping \
    --dhcp-authoritative --interface=lan --dhcp-range=10.2.0.100,10.2.0.199,255.255.255.0,1h \
    --dhcp-hostsdir=/run/user/1000/vmlan/here-123456/net-lan/reservations \
    --hostsdir=/run/user/1000/vmlan/here-123456/names --domain=lan.internal --local=/lan.internal/ \
    --expand-hosts --dhcp-leasefile=/run/user/1000/vmlan/here-123456/net-lan/leases \
    < /dev/null > /run/user/1000/vmlan/here-123456/net-lan/dnsmasq.log 2>&1 &

# vm1's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-vm1
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-vm1/agent.in /run/user/1000/vmlan/here-123456/vm-vm1/agent.out /run/user/1000/vmlan/here-123456/vm-vm1/identity.in /run/user/1000/vmlan/here-123456/vm-vm1/identity.out

# vm1's name, for DNS
cat > /run/user/1000/vmlan/here-123456/names/vm1 <<'END'
10.2.0.11 vm1 vm1.lan.internal
END

# vm1's reserved address on lan
cat > /run/user/1000/vmlan/here-123456/net-lan/reservations/vm1.0 <<'END'
52:54:00:5e:37:af,10.2.0.11,vm1
END

# vm2's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-vm2
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-vm2/agent.in /run/user/1000/vmlan/here-123456/vm-vm2/agent.out /run/user/1000/vmlan/here-123456/vm-vm2/identity.in /run/user/1000/vmlan/here-123456/vm-vm2/identity.out

# vm2's name, for DNS
cat > /run/user/1000/vmlan/here-123456/names/vm2 <<'END'
10.2.0.12 vm2 vm2.lan.internal
END

# vm2's reserved address on lan
cat > /run/user/1000/vmlan/here-123456/net-lan/reservations/vm2.0 <<'END'
52:54:00:d0:40:c4,10.2.0.12,vm2
END

# vm1: the embedded guest, 256M, virtio on lan
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name vm1 -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-vm1/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-vm1/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-vm1/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-vm1/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=vm1' \
    -netdev tap,id=net0,ifname=vm1-lan,script=no,downscript=no \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:5e:37:af,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-vm1/qemu.log 2>&1 &

# vm2: the embedded guest, 256M, virtio on lan
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name vm2 -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-vm2/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-vm2/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-vm2/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-vm2/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=vm2' \
    -netdev tap,id=net0,ifname=vm2-lan,script=no,downscript=no \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:d0:40:c4,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-vm2/qemu.log 2>&1 &
