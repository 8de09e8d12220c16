# note: new, overlay, data, live, floppy, extra, old, buses run on emulation: /dev/kvm is not there
# note: cpu: host needs KVM; extra will have 'max', the richest that is emulated
# note: QEMU 7.2.22 has no machine type pc-q35-xenial; old will have pc-q35-7.2
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

# new's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-new
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-new/agent.in /run/user/1000/vmlan/here-123456/vm-new/agent.out /run/user/1000/vmlan/here-123456/vm-new/identity.in /run/user/1000/vmlan/here-123456/vm-new/identity.out

# new's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/new

# new's disk 0: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/new/disk0.qcow2 8589934592

# overlay's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-overlay
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-overlay/agent.in /run/user/1000/vmlan/here-123456/vm-overlay/agent.out /run/user/1000/vmlan/here-123456/vm-overlay/identity.in /run/user/1000/vmlan/here-123456/vm-overlay/identity.out

# overlay's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/overlay

# overlay's disk 0: its own writes, over debian.qcow2, which stays as it is
qemu-img create -q -f qcow2 -b /labs/here/debian.qcow2 \
    -F qcow2 /home/user/.local/state/vmlan/here-123456/overlay/disk0.qcow2

# data's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-data
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-data/agent.in /run/user/1000/vmlan/here-123456/vm-data/agent.out /run/user/1000/vmlan/here-123456/vm-data/identity.in /run/user/1000/vmlan/here-123456/vm-data/identity.out

# data's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/data

# data's disk 0: its own writes, over data.img, which stays as it is
qemu-img create -q -f qcow2 -b /labs/here/data.img \
    -F raw /home/user/.local/state/vmlan/here-123456/data/disk0.qcow2 2147483648

# live's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-live
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-live/agent.in /run/user/1000/vmlan/here-123456/vm-live/agent.out /run/user/1000/vmlan/here-123456/vm-live/identity.in /run/user/1000/vmlan/here-123456/vm-live/identity.out

# floppy's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-floppy
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-floppy/agent.in /run/user/1000/vmlan/here-123456/vm-floppy/agent.out /run/user/1000/vmlan/here-123456/vm-floppy/identity.in /run/user/1000/vmlan/here-123456/vm-floppy/identity.out

# direct's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-direct
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-direct/agent.in /run/user/1000/vmlan/here-123456/vm-direct/agent.out /run/user/1000/vmlan/here-123456/vm-direct/identity.in /run/user/1000/vmlan/here-123456/vm-direct/identity.out

# extra's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-extra
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-extra/agent.in /run/user/1000/vmlan/here-123456/vm-extra/agent.out /run/user/1000/vmlan/here-123456/vm-extra/identity.in /run/user/1000/vmlan/here-123456/vm-extra/identity.out

# old's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-old
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-old/agent.in /run/user/1000/vmlan/here-123456/vm-old/agent.out /run/user/1000/vmlan/here-123456/vm-old/identity.in /run/user/1000/vmlan/here-123456/vm-old/identity.out

# buses's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-buses
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-buses/agent.in /run/user/1000/vmlan/here-123456/vm-buses/agent.out /run/user/1000/vmlan/here-123456/vm-buses/identity.in /run/user/1000/vmlan/here-123456/vm-buses/identity.out

# buses's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/buses

# buses's disk 0: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/buses/disk0.qcow2 1073741824

# buses's disk 1: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/buses/disk1.qcow2 1073741824

# buses's disk 2: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/buses/disk2.qcow2 1073741824

# buses's disk 3: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/buses/disk3.qcow2 1073741824

# buses's disk 4: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/buses/disk4.qcow2 1073741824

# buses's own UEFI variables (its boot order, its keys)
qemu-img convert -f raw \
    -O qcow2 /fw/VARS.fd /home/user/.local/state/vmlan/here-123456/buses/uefi.qcow2

# new: what its disks and media hold, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name new -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-new/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-new/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-new/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-new/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/new/disk0.qcow2,format=qcow2,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-new/qemu.log 2>&1 &

# overlay: debian.qcow2, 1024M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name overlay -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 1024M -smp 2 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-overlay/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-overlay/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-overlay/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-overlay/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/overlay/disk0.qcow2,format=qcow2,backing.driver=qcow2,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-overlay/qemu.log 2>&1 &

# data: the embedded guest, 256M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name data -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-data/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-data/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-data/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-data/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=data' \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/data/disk0.qcow2,format=qcow2,backing.driver=raw,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    -drive if=none,id=disk1,file=/labs/here/a,,b:c.img,format=raw,discard=unmap \
    -device virtio-blk-pci,id=dev-disk1,drive=disk1 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-data/qemu.log 2>&1 &

# live: live.iso, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name live -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-live/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-live/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-live/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-live/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/labs/here/live.iso,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0,bootindex=0 \
    -device qemu-xhci,id=xhci0 -drive if=none,id=usb0,file=/labs/here/stick.img,format=raw \
    -device usb-storage,bus=xhci0.0,id=dev-usb0,drive=usb0,bootindex=100 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-live/qemu.log 2>&1 &

# floppy: what its disks and media hold, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name floppy -nodefaults -no-user-config \
    -machine q35,accel=tcg -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-floppy/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-floppy/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-floppy/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-floppy/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device isa-fdc,id=fdc0 -drive if=none,id=floppy0,file=/labs/here/boot.img,format=raw \
    -global isa-fdc.bootindexA=0 -device floppy,id=dev-floppy0,drive=floppy0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-floppy/qemu.log 2>&1 &

# direct: the kernel vmlinuz, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name direct -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-direct/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-direct/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-direct/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-direct/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -kernel /labs/here/vmlinuz -initrd /labs/here/initrd.img \
    -append 'console=ttyS0 root=/dev/vda, ro' \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-direct/qemu.log 2>&1 &

# extra: the embedded guest, 256M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt --batch 0 env \
    --chdir=/labs/here /usr/bin/qemu-system-x86_64 -name extra -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max,la57=off,erms=off,fsrm=off,pku=off -m 256M -smp 1 -display none \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-extra/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-extra/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-extra/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-extra/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device vmgenid,guid=auto -kernel /cache/tiny/vmlinux -initrd /cache/tiny/initrd \
    -append 'console=ttyS0 quiet random.trust_cpu=on mitigations=off no_timer_check rodata=off cryptomgr.notests=1 initcall_blacklist=crypto_kdf108_init,init_encrypted,init_zswap noreplace-smp init_on_alloc=0 audit=0 lsm= cgroup_disable=memory,cpuacct psi=0 noautogroup hardened_usercopy=off kfence.sample_interval=0 nowatchdog tsc=reliable rcu_nocbs=0 acpi=noirq vmlan.hostname=extra' \
    -rtc base=localtime \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-extra/qemu.log 2>&1 &

# old: what its disks and media hold, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name old -nodefaults -no-user-config \
    -machine pc-q35-7.2,accel=tcg -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-old/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-old/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-old/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-old/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/labs/here/data.img,format=raw,discard=unmap \
    -device ide-hd,bus=ide.0,id=dev-disk0,drive=disk0 \
    -drive if=none,id=cdrom0,file=/labs/here/live.iso,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.2,id=dev-cdrom0,drive=cdrom0 -device isa-fdc,id=fdc0 \
    -drive if=none,id=floppy0,file=/labs/here/boot.img,format=raw \
    -device floppy,id=dev-floppy0,drive=floppy0 \
    -drive if=none,id=floppy1,file=/labs/here/boot.img,format=raw \
    -device floppy,id=dev-floppy1,drive=floppy1 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-old/qemu.log 2>&1 &

# buses: what its disks and media hold, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name buses -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-buses/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-buses/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-buses/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-buses/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=pflash,unit=0,format=raw,readonly=on,file=/fw/CODE.fd \
    -drive if=pflash,unit=1,format=qcow2,file=/home/user/.local/state/vmlan/here-123456/buses/uefi.qcow2 \
    -device ich9-ahci,id=ahci0 \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/buses/disk0.qcow2,format=qcow2,discard=unmap \
    -device ide-hd,bus=ahci0.0,id=dev-disk0,drive=disk0 \
    -drive if=none,id=disk1,file=/home/user/.local/state/vmlan/here-123456/buses/disk1.qcow2,format=qcow2,discard=unmap \
    -device ide-hd,bus=ahci0.1,id=dev-disk1,drive=disk1 -device virtio-scsi-pci,id=scsi0 \
    -drive if=none,id=disk2,file=/home/user/.local/state/vmlan/here-123456/buses/disk2.qcow2,format=qcow2,discard=unmap \
    -device scsi-hd,bus=scsi0.0,id=dev-disk2,drive=disk2 \
    -drive if=none,id=disk3,file=/home/user/.local/state/vmlan/here-123456/buses/disk3.qcow2,format=qcow2,discard=unmap \
    -device scsi-hd,bus=scsi0.0,id=dev-disk3,drive=disk3 \
    -drive if=none,id=disk4,file=/home/user/.local/state/vmlan/here-123456/buses/disk4.qcow2,format=qcow2,discard=unmap \
    -device nvme,serial=disk4,id=dev-disk4,drive=disk4 \
    -drive if=none,id=disk5,file=/labs/here/stick.img,format=raw,readonly=on \
    -device virtio-blk-pci,id=dev-disk5,drive=disk5 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-buses/qemu.log 2>&1 &
