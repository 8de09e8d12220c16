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
10.5.0.11 installer installer.install.internal
END

# seen as /etc/hosts inside the lab, and only there
mount --bind /run/user/1000/vmlan/here-123456/hosts /etc/hosts

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# the host side's loopback
link set dev lo up
END

# the host side passes nothing on
nsenter --net=/run/user/1000/vmlan/here-123456/net/host sysctl -q -w net.ipv4.ip_forward=0

# the machines' names, watched by dnsmasq
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/names

# lan's leases
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-lan

# lan's reservations, watched by dnsmasq
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/net-lan/reservations

nsenter --net=/run/user/1000/vmlan/here-123456/net/host ip -batch - <<'END'
# lan: a bridge, which is a switch
link add name lan address 52:54:00:e4:b7:5a type bridge
addr add 10.5.0.1/24 dev lan
link set dev lan up
# installer's NIC 0: a tap, and a port of lan, so without an address
tuntap add dev installer-lan mode tap
link set dev installer-lan addrgenmode none master lan
link set dev installer-lan up
END

# lan: addresses (DHCP) and the machines' names (DNS)
nsenter --net=/run/user/1000/vmlan/here-123456/net/host dnsmasq --conf-file=/dev/null \
    --no-daemon --bind-interfaces --except-interface=lo --no-resolv --no-hosts --no-ping \
    --dhcp-authoritative --interface=lan --dhcp-range=10.5.0.100,10.5.0.199,255.255.255.0,1h \
    --dhcp-hostsdir=/run/user/1000/vmlan/here-123456/net-lan/reservations \
    --hostsdir=/run/user/1000/vmlan/here-123456/names --domain=install.internal \
    --local=/install.internal/ --expand-hosts \
    --dhcp-leasefile=/run/user/1000/vmlan/here-123456/net-lan/leases \
    < /dev/null > /run/user/1000/vmlan/here-123456/net-lan/dnsmasq.log 2>&1 &

# installer's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-installer
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-installer/agent.in /run/user/1000/vmlan/here-123456/vm-installer/agent.out /run/user/1000/vmlan/here-123456/vm-installer/identity.in /run/user/1000/vmlan/here-123456/vm-installer/identity.out

# installer's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/installer

# installer's disk 0: empty, and as large as it is written
qemu-img create -q \
    -f qcow2 /home/user/.local/state/vmlan/here-123456/installer/disk0.qcow2 4294967296

# installer's name, for DNS
cat > /run/user/1000/vmlan/here-123456/names/installer <<'END'
10.5.0.11 installer installer.install.internal
END

# installer's reserved address on lan
cat > /run/user/1000/vmlan/here-123456/net-lan/reservations/installer.0 <<'END'
52:54:00:9f:f6:2d,10.5.0.11,installer
END

# empty's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-empty
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-empty/agent.in /run/user/1000/vmlan/here-123456/vm-empty/agent.out /run/user/1000/vmlan/here-123456/vm-empty/identity.in /run/user/1000/vmlan/here-123456/vm-empty/identity.out

# empty's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/empty

# empty's disk 0: empty, and as large as it is written
qemu-img create -q -f qcow2 /home/user/.local/state/vmlan/here-123456/empty/disk0.qcow2 4294967296

# disk-first's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-disk-first
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-disk-first/agent.in /run/user/1000/vmlan/here-123456/vm-disk-first/agent.out /run/user/1000/vmlan/here-123456/vm-disk-first/identity.in /run/user/1000/vmlan/here-123456/vm-disk-first/identity.out

# disk-first's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/disk-first

# disk-first's disk 0: its own writes, over image, which stays as it is
qemu-img create -q -f qcow2 -b /cache/media/grub-usb/image \
    -F raw /home/user/.local/state/vmlan/here-123456/disk-first/disk0.qcow2

# cd-first's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-cd-first
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-cd-first/agent.in /run/user/1000/vmlan/here-123456/vm-cd-first/agent.out /run/user/1000/vmlan/here-123456/vm-cd-first/identity.in /run/user/1000/vmlan/here-123456/vm-cd-first/identity.out

# cd-first's disks, kept until `down --disks`
mkdir -p -m 700 /home/user/.local/state/vmlan/here-123456/cd-first

# cd-first's disk 0: its own writes, over image, which stays as it is
qemu-img create -q -f qcow2 -b /cache/media/grub-usb/image \
    -F raw /home/user/.local/state/vmlan/here-123456/cd-first/disk0.qcow2

# installer: debian-installer, 1024M, virtio on lan
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name installer -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 1024M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-installer/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-installer/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-installer/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-installer/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -kernel /cache/media/debian-installer/kernel -initrd /cache/media/debian-installer/initrd \
    -append console=ttyS0 \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/installer/disk0.qcow2,format=qcow2,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    -netdev tap,id=net0,ifname=installer-lan,script=no,downscript=no \
    -device virtio-net-pci,id=nic0,netdev=net0,mac=52:54:00:9f:f6:2d,romfile= \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-installer/qemu.log 2>&1 &

# empty: what its disks and media hold, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name empty -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-empty/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-empty/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-empty/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-empty/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/empty/disk0.qcow2,format=qcow2,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    -drive if=none,id=cdrom0,file=/cache/media/ipxe/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-empty/qemu.log 2>&1 &

# disk-first: what its disks and media hold, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name disk-first -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-disk-first/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-disk-first/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-disk-first/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-disk-first/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/disk-first/disk0.qcow2,format=qcow2,backing.driver=raw,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0 \
    -drive if=none,id=cdrom0,file=/cache/media/ipxe/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-disk-first/qemu.log 2>&1 &

# cd-first: what its disks and media hold, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name cd-first -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-cd-first/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-cd-first/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-cd-first/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-cd-first/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=disk0,file=/home/user/.local/state/vmlan/here-123456/cd-first/disk0.qcow2,format=qcow2,backing.driver=raw,discard=unmap \
    -device virtio-blk-pci,id=dev-disk0,drive=disk0,bootindex=100 \
    -drive if=none,id=cdrom0,file=/cache/media/ipxe/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0,bootindex=0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-cd-first/qemu.log 2>&1 &
