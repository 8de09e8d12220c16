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
END

# seen as /etc/hosts inside the lab, and only there
mount --bind /run/user/1000/vmlan/here-123456/hosts /etc/hosts

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# the host side's loopback
link set dev lo up
END

# the host side passes nothing on
nsenter --net=/run/user/1000/vmlan/here-123456/net/host sysctl -q -w net.ipv4.ip_forward=0

# one's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-one
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-one/agent.in /run/user/1000/vmlan/here-123456/vm-one/agent.out /run/user/1000/vmlan/here-123456/vm-one/identity.in /run/user/1000/vmlan/here-123456/vm-one/identity.out

# one's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/one

# one's disk 0: its own writes, over image, which stays as it is
qemu-img create -q -f qcow2 -b /cache/media/grub-usb/image \
    -F raw /home/user/.local/state/vmlan/here-123456/one/disk0.qcow2

# two's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-two
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-two/agent.in /run/user/1000/vmlan/here-123456/vm-two/agent.out /run/user/1000/vmlan/here-123456/vm-two/identity.in /run/user/1000/vmlan/here-123456/vm-two/identity.out

# two's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/two

# two's disk 0: its own writes, over image, which stays as it is
qemu-img create -q -f qcow2 -b /cache/media/grub-usb/image \
    -F raw /home/user/.local/state/vmlan/here-123456/two/disk0.qcow2

# booted's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-booted
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-booted/agent.in /run/user/1000/vmlan/here-123456/vm-booted/agent.out /run/user/1000/vmlan/here-123456/vm-booted/identity.in /run/user/1000/vmlan/here-123456/vm-booted/identity.out

# booted's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/booted

# booted's disk 0: its own writes, over image, which stays as it is
qemu-img create -q -f qcow2 -b /cache/media/grub-usb/image \
    -F raw /home/user/.local/state/vmlan/here-123456/booted/disk0.qcow2

# one: the embedded guest, 256M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name one -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-one/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-one/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-one/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-one/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=one' \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/one/disk0.qcow2,format=qcow2,backing.driver=raw,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-one/qemu.log 2>&1 &

# two: the embedded guest, 256M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name two -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-two/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-two/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-two/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-two/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=two' \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/two/disk0.qcow2,format=qcow2,backing.driver=raw,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-two/qemu.log 2>&1 &

# booted: what its disks and media hold, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name booted -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-booted/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-booted/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-booted/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-booted/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/booted/disk0.qcow2,format=qcow2,backing.driver=raw,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-booted/qemu.log 2>&1 &
