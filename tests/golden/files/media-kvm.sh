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

# new's sockets and logs
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-new

# new's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/new

# new's disk 0: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/new/disk0.qcow2 8589934592

# overlay's sockets and logs
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-overlay

# overlay's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/overlay

# overlay's disk 0: its own writes, over debian.qcow2, which stays as it is
qemu-img create -q -f qcow2 -b /labs/here/debian.qcow2 \
    -F qcow2 /home/user/.local/state/vmlan/here-123456/overlay/disk0.qcow2

# data's sockets and logs
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-data

# data's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/data

# data's disk 0: its own writes, over data.img, which stays as it is
qemu-img create -q -f qcow2 -b /labs/here/data.img \
    -F raw /home/user/.local/state/vmlan/here-123456/data/disk0.qcow2 2147483648

# live's sockets and logs
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-live

# floppy's sockets and logs
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-floppy

# direct's sockets and logs
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-direct

# extra's sockets and logs
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-extra

# new: what its disks and media hold, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host /usr/bin/qemu-system-x86_64 -name new \
    -nodefaults -no-user-config -machine pc,accel=kvm -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-new/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-new/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-new/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev socket,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-new/agent,server=on,wait=off \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/new/disk0.qcow2,format=qcow2,discard=unmap \
    -device virtio-blk-pci,drive=disk0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-new/qemu.log 2>&1 &

# overlay: debian.qcow2, 1024M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host /usr/bin/qemu-system-x86_64 \
    -name overlay -nodefaults -no-user-config -machine pc,accel=kvm -cpu max -m 1024M -smp 2 \
    -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-overlay/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-overlay/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-overlay/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev socket,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-overlay/agent,server=on,wait=off \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/overlay/disk0.qcow2,format=qcow2,discard=unmap \
    -device virtio-blk-pci,drive=disk0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-overlay/qemu.log 2>&1 &

# data: the embedded guest, 256M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host /usr/bin/qemu-system-x86_64 -name data \
    -nodefaults -no-user-config -machine pc,accel=kvm -cpu max -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-data/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-data/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-data/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev socket,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-data/agent,server=on,wait=off \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init init_on_alloc=0 audit=0 vmlan.hostname=data' \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/data/disk0.qcow2,format=qcow2,discard=unmap \
    -device virtio-blk-pci,drive=disk0 \
    -drive if=none,id=disk1,file=/labs/here/a,,b:c.img,format=raw,discard=unmap \
    -device virtio-blk-pci,drive=disk1 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-data/qemu.log 2>&1 &

# live: live.iso, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host /usr/bin/qemu-system-x86_64 -name live \
    -nodefaults -no-user-config -machine pc,accel=kvm -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-live/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-live/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-live/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev socket,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-live/agent,server=on,wait=off \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/labs/here/live.iso,format=raw,media=cdrom,readonly=on \
    -device ide-cd,drive=cdrom0,bootindex=0 \
    -drive if=none,id=usb0,file=/labs/here/stick.img,format=raw -usb \
    -device usb-storage,drive=usb0,bootindex=100 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-live/qemu.log 2>&1 &

# floppy: what its disks and media hold, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host /usr/bin/qemu-system-x86_64 -name floppy \
    -nodefaults -no-user-config -machine q35,accel=kvm -cpu max -m 512M -smp 1 -display none \
    -vga std -qmp unix:/run/user/1000/vmlan/here-123456/vm-floppy/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-floppy/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-floppy/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev socket,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-floppy/agent,server=on,wait=off \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=floppy0,file=/labs/here/boot.img,format=raw -device isa-fdc,id=fdc0 \
    -device floppy,drive=floppy0,bootindex=0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-floppy/qemu.log 2>&1 &

# direct: the kernel vmlinuz, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host /usr/bin/qemu-system-x86_64 -name direct \
    -nodefaults -no-user-config -machine pc,accel=tcg -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-direct/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-direct/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-direct/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev socket,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-direct/agent,server=on,wait=off \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -kernel /labs/here/vmlinuz -initrd /labs/here/initrd.img \
    -append 'console=ttyS0 root=/dev/vda, ro' \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-direct/qemu.log 2>&1 &

# extra: the embedded guest, 256M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host /usr/bin/qemu-system-x86_64 -name extra \
    -nodefaults -no-user-config -machine pc,accel=kvm -cpu host -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-extra/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-extra/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-extra/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev socket,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-extra/agent,server=on,wait=off \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init init_on_alloc=0 audit=0 vmlan.hostname=extra' \
    -rtc base=localtime \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-extra/qemu.log 2>&1 &
