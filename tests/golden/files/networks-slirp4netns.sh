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
10.3.0.77 vm2 vm2.networks.internal
10.3.0.11 vm3 vm3.networks.internal
10.3.0.12 vm3 vm3.networks.internal
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
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-uplink

# the machines' names, watched by dnsmasq
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/names

# a-network-with-a-long-name's leases
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-a-network-with-a-long-name

# a-network-with-a-long-name's reservations, watched by dnsmasq
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-a-network-with-a-long-name/reservations

# the way out: the real network, through ordinary sockets; this machine's loopback stays out of reach
unshare --mount slirp4netns --configure --mtu=65520 --disable-host-loopback \
    --api-socket=/run/user/1000/vmlan/here-123456/net-uplink/api \
    --netns-type=path /run/user/1000/vmlan/here-123456/net/host eth0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/net-uplink/uplink.log 2>&1 &

# names on the real network
cat > /run/user/1000/vmlan/here-123456/resolv.conf <<'END'
nameserver 10.0.2.3
END

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# wire: a tap, the host side's end of a cable to one guest
tuntap add dev wire mode tap
link set dev wire up
# a-network-with-a-long-name: a bridge, which is a switch
link add name a-network-~c5bc address 52:54:00:62:12:7c type bridge
addr add 10.3.0.1/24 dev a-network-~c5bc
link set dev a-network-~c5bc up
# vm2's NIC 2: a tap, and a port of a-network-with-a-long-name, so without an address
tuntap add dev vm2-a-netw~931a mode tap
link set dev vm2-a-netw~931a addrgenmode none master a-network-~c5bc
link set dev vm2-a-netw~931a up
# vm3's NIC 1: a tap, and a port of a-network-with-a-long-name, so without an address
tuntap add dev vm3-a-netw~b874 mode tap
link set dev vm3-a-netw~b874 addrgenmode none master a-network-~c5bc
link set dev vm3-a-netw~b874 up
# vm3's NIC 2: a tap, and a port of a-network-with-a-long-name, so without an address
tuntap add dev vm3-a-netw~1b1b mode tap
link set dev vm3-a-netw~1b1b addrgenmode none master a-network-~c5bc
link set dev vm3-a-netw~1b1b up
END

# a-network-with-a-long-name: addresses (DHCP) and the machines' names (DNS)
nsenter --net=/run/user/1000/vmlan/here-123456/net/host dnsmasq --conf-file=/dev/null \
    --no-daemon --bind-interfaces --except-interface=lo --no-resolv --no-hosts --no-ping \
    --dhcp-authoritative '--interface=a-network-~c5bc' \
    --dhcp-range=10.3.0.100,10.3.0.199,255.255.255.0,1h \
    --dhcp-hostsdir=/run/user/1000/vmlan/here-123456/net-a-network-with-a-long-name/reservations \
    --hostsdir=/run/user/1000/vmlan/here-123456/names --domain=networks.internal \
    --local=/networks.internal/ --expand-hosts --server=10.0.2.3 \
    --dhcp-leasefile=/run/user/1000/vmlan/here-123456/net-a-network-with-a-long-name/leases \
    < /dev/null > /run/user/1000/vmlan/here-123456/net-a-network-with-a-long-name/dnsmasq.log 2>&1 &

# vm1's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-vm1
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-vm1/agent.in /run/user/1000/vmlan/here-123456/vm-vm1/agent.out /run/user/1000/vmlan/here-123456/vm-vm1/identity.in /run/user/1000/vmlan/here-123456/vm-vm1/identity.out

# vm2's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-vm2
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-vm2/agent.in /run/user/1000/vmlan/here-123456/vm-vm2/agent.out /run/user/1000/vmlan/here-123456/vm-vm2/identity.in /run/user/1000/vmlan/here-123456/vm-vm2/identity.out

# vm2's name, for DNS
cat > /run/user/1000/vmlan/here-123456/names/vm2 <<'END'
10.3.0.77 vm2 vm2.networks.internal
END

# old's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-old
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-old/agent.in /run/user/1000/vmlan/here-123456/vm-old/agent.out /run/user/1000/vmlan/here-123456/vm-old/identity.in /run/user/1000/vmlan/here-123456/vm-old/identity.out

# vm3's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-vm3
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-vm3/agent.in /run/user/1000/vmlan/here-123456/vm-vm3/agent.out /run/user/1000/vmlan/here-123456/vm-vm3/identity.in /run/user/1000/vmlan/here-123456/vm-vm3/identity.out

# vm3's name, for DNS
cat > /run/user/1000/vmlan/here-123456/names/vm3 <<'END'
10.3.0.11 vm3 vm3.networks.internal
10.3.0.12 vm3 vm3.networks.internal
END

# vm3's reserved address on a-network-with-a-long-name
cat > /run/user/1000/vmlan/here-123456/net-a-network-with-a-long-name/reservations/vm3.1 <<'END'
52:54:00:b1:4c:35,10.3.0.11,vm3
END

# vm3's reserved address on a-network-with-a-long-name
cat > /run/user/1000/vmlan/here-123456/net-a-network-with-a-long-name/reservations/vm3.2 <<'END'
52:54:00:4e:9b:d4,10.3.0.12,vm3
END

# vm1: the embedded guest, 256M, virtio on nat1, virtio on p2p, virtio on ring, virtio on nowhere, virtio on wire
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
    -netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:127.0.0.1:5353-:53 \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:78:3c:f7,romfile= \
    -netdev socket,id=net1,udp=127.0.0.1:40003,localaddr=127.0.0.1:40002 \
    -device virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:70:70:4f,romfile= \
    -netdev socket,id=net2,mcast=230.0.0.1:40004,localaddr=127.0.0.1 \
    -device virtio-net-pci,id=nic2,netdev=net2,mac=52:54:00:a8:1d:db,romfile= \
    -netdev hubport,id=net3,hubid=3 \
    -device virtio-net-pci,id=nic3,netdev=net3,mac=52:54:00:e6:41:b5,romfile= \
    -netdev tap,id=net4,ifname=wire,script=no,downscript=no \
    -device virtio-net-pci,id=nic4,netdev=net4,mac=52:54:00:d6:cf:7b,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-vm1/qemu.log 2>&1 &

# vm2: the embedded guest, 256M, virtio on p2p, virtio on ring, virtio on a-network-with-a-long-name
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name vm2 -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-vm2/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-vm2/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-vm2/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-vm2/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=vm2 vmlan.nic=52:54:00:c3:41:28,10.3.0.77/24,10.3.0.1' \
    -netdev socket,id=net0,udp=127.0.0.1:40002,localaddr=127.0.0.1:40003 \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:68:80:3d,romfile= \
    -netdev socket,id=net1,mcast=230.0.0.1:40004,localaddr=127.0.0.1 \
    -device virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:14:ce:8d,romfile= \
    -netdev 'tap,id=net2,ifname=vm2-a-netw~931a,script=no,downscript=no' \
    -device virtio-net-pci,id=nic2,netdev=net2,mac=52:54:00:c3:41:28,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-vm2/qemu.log 2>&1 &

# old: the embedded guest, 256M, e1000 on legacy, usb-net on legacy, virtio on nowhere
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name old -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-old/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-old/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-old/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-old/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 vmlan.hostname=old' \
    -netdev user,id=hub0user,hostfwd=tcp:127.0.0.1:2222-:22 \
    -netdev hubport,id=hub0port,hubid=0,netdev=hub0user -netdev hubport,id=net0,hubid=0 \
    -device e1000,id=nic0,netdev=net0,mac=52:54:00:a7:5a:fc,romfile= -netdev hubport,id=net1,hubid=0 \
    -usb -device usb-net,id=nic1,netdev=net1,mac=52:54:00:4e:b9:43 -netdev hubport,id=net2,hubid=2 \
    -device virtio-net-pci,id=nic2,netdev=net2,mac=52:54:00:89:cb:81,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-old/qemu.log 2>&1 &

# vm3: the embedded guest, 256M, virtio on ring, virtio on a-network-with-a-long-name, e1000 on a-network-with-a-long-name
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name vm3 -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-vm3/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-vm3/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-vm3/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-vm3/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 vmlan.hostname=vm3' \
    -netdev socket,id=net0,mcast=230.0.0.1:40004,localaddr=127.0.0.1 \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:a5:0b:72,romfile= \
    -netdev 'tap,id=net1,ifname=vm3-a-netw~b874,script=no,downscript=no' \
    -device virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:b1:4c:35,romfile= \
    -netdev 'tap,id=net2,ifname=vm3-a-netw~1b1b,script=no,downscript=no' \
    -device e1000,id=nic2,netdev=net2,mac=52:54:00:4e:9b:d4,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-vm3/qemu.log 2>&1 &

# port 8080 of 127.0.0.1 on this machine: the guest's 80
socat TCP4-LISTEN:8080,bind=127.0.0.1,reuseaddr,fork 'EXEC:nsenter --net=/run/user/1000/vmlan/here-123456/net/host socat STDIO TCP4\:127.0.0.1\:8080' \
    < /dev/null > /run/user/1000/vmlan/here-123456/publish-tcp-127.0.0.1-8080.log 2>&1 &

# port 5353 of 192.0.2.7 on this machine: the guest's 53
socat UDP4-LISTEN:5353,bind=192.0.2.7,fork 'EXEC:nsenter --net=/run/user/1000/vmlan/here-123456/net/host socat STDIO UDP4\:127.0.0.1\:5353' \
    < /dev/null > /run/user/1000/vmlan/here-123456/publish-udp-192.0.2.7-5353.log 2>&1 &

# port 2222 of 127.0.0.1 on this machine: the guest's 22
socat TCP4-LISTEN:2222,bind=127.0.0.1,reuseaddr,fork 'EXEC:nsenter --net=/run/user/1000/vmlan/here-123456/net/host socat STDIO TCP4\:127.0.0.1\:2222' \
    < /dev/null > /run/user/1000/vmlan/here-123456/publish-tcp-127.0.0.1-2222.log 2>&1 &
