# note: vm1 runs on emulation: /dev/kvm is not there
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
10.1.1.2 vm1 vm1.crossover.internal
END

# seen as /etc/hosts inside the lab, and only there
mount --bind /run/user/1000/vmlan/here-123456/hosts /etc/hosts

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# the host side's loopback
link set dev lo up
END

# the host side passes nothing on
nsenter --net=/run/user/1000/vmlan/here-123456/net/host sysctl -q -w net.ipv4.ip_forward=0

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# wire: a tap, the host side's end of a cable to one guest
tuntap add dev wire mode tap
addr add 10.1.1.1/24 dev wire
link set dev wire up
END

# vm1's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-vm1
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-vm1/agent.in /run/user/1000/vmlan/here-123456/vm-vm1/agent.out /run/user/1000/vmlan/here-123456/vm-vm1/identity.in /run/user/1000/vmlan/here-123456/vm-vm1/identity.out

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
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 vmlan.hostname=vm1 vmlan.nic=52:54:00:01:01:02,10.1.1.2/24,10.1.1.1' \
    -netdev tap,id=net0,ifname=wire,script=no,downscript=no \
    -device e1000,id=nic0,netdev=net0,mac=52:54:00:01:01:02,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-vm1/qemu.log 2>&1 &
