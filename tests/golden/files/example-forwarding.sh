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
10.1.1.2 vm1 vm1.forwarding.internal
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

# the outside namespace is held by this file
: > /run/user/1000/vmlan/here-123456/net/outside

# the outside: one more namespace, so that no packet leaves this machine
unshare --net=/run/user/1000/vmlan/here-123456/net/outside true

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# the host side's way out: a cable to the outside
link add name eth0 address 52:54:00:45:3e:90 type veth peer name out0 address 52:54:00:28:e1:ce
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
# wire: a tap, the host side's end of a cable to one guest
tuntap add dev wire mode tap
addr add 10.1.1.1/24 dev wire
link set dev wire up
# ask: a tap, the host side's end of a cable to one guest
tuntap add dev ask mode tap
addr add 10.1.2.1/24 dev ask
link set dev ask up
END

# vm1's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-vm1
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-vm1/agent.in /run/user/1000/vmlan/here-123456/vm-vm1/agent.out /run/user/1000/vmlan/here-123456/vm-vm1/identity.in /run/user/1000/vmlan/here-123456/vm-vm1/identity.out

# asker's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-asker
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-asker/agent.in /run/user/1000/vmlan/here-123456/vm-asker/agent.out /run/user/1000/vmlan/here-123456/vm-asker/identity.in /run/user/1000/vmlan/here-123456/vm-asker/identity.out

# vm1: the embedded guest, 256M, e1000 on wire
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name vm1 -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-vm1/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-vm1/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-vm1/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-vm1/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 vmlan.hostname=vm1 vmlan.nic=52:54:00:4d:d9:31,10.1.1.2/24,10.1.1.1' \
    -netdev tap,id=net0,ifname=wire,script=no,downscript=no \
    -device e1000,id=nic0,netdev=net0,mac=52:54:00:4d:d9:31,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-vm1/qemu.log 2>&1 &

# asker: the embedded guest, 256M, e1000 on ask
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name asker -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-asker/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-asker/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-asker/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-asker/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 vmlan.hostname=asker' \
    -netdev tap,id=net0,ifname=ask,script=no,downscript=no \
    -device e1000,id=nic0,netdev=net0,mac=52:54:00:21:4b:37,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-asker/qemu.log 2>&1 &
