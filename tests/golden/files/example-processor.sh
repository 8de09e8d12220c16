# note: fast, handed-through run on emulation: /dev/kvm is not there
# note: cpu: host needs KVM; handed-through will have 'max', the richest that is emulated
# note: QEMU 7.2.22 has no machine type pc-q35-xenial; emulated will have pc-q35-7.2
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

# emulated's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-emulated
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-emulated/agent.in /run/user/1000/vmlan/here-123456/vm-emulated/agent.out /run/user/1000/vmlan/here-123456/vm-emulated/identity.in /run/user/1000/vmlan/here-123456/vm-emulated/identity.out

# fast's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-fast
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-fast/agent.in /run/user/1000/vmlan/here-123456/vm-fast/agent.out /run/user/1000/vmlan/here-123456/vm-fast/identity.in /run/user/1000/vmlan/here-123456/vm-fast/identity.out

# handed-through's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-handed-through
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-handed-through/agent.in /run/user/1000/vmlan/here-123456/vm-handed-through/agent.out /run/user/1000/vmlan/here-123456/vm-handed-through/identity.in /run/user/1000/vmlan/here-123456/vm-handed-through/identity.out

# emulated: ipxe, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name emulated -nodefaults -no-user-config \
    -machine pc-q35-7.2,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-emulated/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-emulated/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-emulated/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-emulated/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/cache/media/ipxe/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.2,id=dev-cdrom0,drive=cdrom0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-emulated/qemu.log 2>&1 &

# fast: ipxe, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name fast -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-fast/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-fast/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-fast/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-fast/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/cache/media/ipxe/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-fast/qemu.log 2>&1 &

# handed-through: ipxe, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name handed-through -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-handed-through/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-handed-through/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-handed-through/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-handed-through/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/cache/media/ipxe/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-handed-through/qemu.log 2>&1 &
