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
10.4.0.11 network network.media.internal
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
link add name lan address 52:54:00:df:02:de type bridge
addr add 10.4.0.1/24 dev lan
link set dev lan up
# network's NIC 0: a tap, and a port of lan, so without an address
tuntap add dev network-lan mode tap
link set dev network-lan addrgenmode none master lan
link set dev network-lan up
END

# lan: addresses (DHCP) and the machines' names (DNS)
nsenter --net=/run/user/1000/vmlan/here-123456/net/host dnsmasq --conf-file=/dev/null \
    --no-daemon --bind-interfaces --except-interface=lo --no-resolv --no-hosts --no-ping \
    --dhcp-authoritative --interface=lan --dhcp-range=10.4.0.100,10.4.0.199,255.255.255.0,1h \
    --dhcp-hostsdir=/run/user/1000/vmlan/here-123456/net-lan/reservations \
    --hostsdir=/run/user/1000/vmlan/here-123456/names --domain=media.internal \
    --local=/media.internal/ --expand-hosts \
    --dhcp-leasefile=/run/user/1000/vmlan/here-123456/net-lan/leases \
    < /dev/null > /run/user/1000/vmlan/here-123456/net-lan/dnsmasq.log 2>&1 &

# floppy's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-floppy
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-floppy/agent.in /run/user/1000/vmlan/here-123456/vm-floppy/agent.out /run/user/1000/vmlan/here-123456/vm-floppy/identity.in /run/user/1000/vmlan/here-123456/vm-floppy/identity.out

# stick's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-stick
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-stick/agent.in /run/user/1000/vmlan/here-123456/vm-stick/agent.out /run/user/1000/vmlan/here-123456/vm-stick/identity.in /run/user/1000/vmlan/here-123456/vm-stick/identity.out

# cd's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-cd
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-cd/agent.in /run/user/1000/vmlan/here-123456/vm-cd/agent.out /run/user/1000/vmlan/here-123456/vm-cd/identity.in /run/user/1000/vmlan/here-123456/vm-cd/identity.out

# network's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-network
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-network/agent.in /run/user/1000/vmlan/here-123456/vm-network/agent.out /run/user/1000/vmlan/here-123456/vm-network/identity.in /run/user/1000/vmlan/here-123456/vm-network/identity.out

# network's name, for DNS
cat > /run/user/1000/vmlan/here-123456/names/network <<'END'
10.4.0.11 network network.media.internal
END

# network's reserved address on lan
cat > /run/user/1000/vmlan/here-123456/net-lan/reservations/network.0 <<'END'
52:54:00:55:bd:6f,10.4.0.11,network
END

# tester's sockets and logs, and the pipes to its guest
mkdir -p -m 700 /run/user/1000/vmlan/here-123456/vm-tester
mkfifo -m 600 /run/user/1000/vmlan/here-123456/vm-tester/agent.in /run/user/1000/vmlan/here-123456/vm-tester/agent.out /run/user/1000/vmlan/here-123456/vm-tester/identity.in /run/user/1000/vmlan/here-123456/vm-tester/identity.out

# floppy: what its disks and media hold, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name floppy -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-floppy/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-floppy/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-floppy/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-floppy/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=floppy0,file=/cache/media/grub-floppy/image,format=raw,readonly=on \
    -global isa-fdc.bootindexA=0 -device floppy,id=dev-floppy0,drive=floppy0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-floppy/qemu.log 2>&1 &

# stick: what its disks and media hold, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name stick -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-stick/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-stick/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-stick/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-stick/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -device qemu-xhci,id=xhci0 \
    -drive if=none,id=usb0,file=/cache/media/grub-usb/image,format=raw,readonly=on \
    -device usb-storage,bus=xhci0.0,id=dev-usb0,drive=usb0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-stick/qemu.log 2>&1 &

# cd: what its disks and media hold, 512M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name cd -nodefaults -no-user-config -machine pc,accel=tcg \
    -cpu max -m 512M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-cd/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-cd/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-cd/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-cd/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/cache/media/grub-cd/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-cd/qemu.log 2>&1 &

# network: ipxe, 64M, e1000 on lan
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name network -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-network/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-network/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-network/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-network/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/cache/media/ipxe/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0 \
    -netdev tap,id=net0,ifname=network-lan,script=no,downscript=no \
    -device e1000,id=nic0,netdev=net0,mac=52:54:00:55:bd:6f \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-network/qemu.log 2>&1 &

# tester: memtest86+, 64M, no NIC
nsenter --net=/run/user/1000/vmlan/here-123456/net/host chrt \
    --batch 0 /usr/bin/qemu-system-x86_64 -name tester -nodefaults -no-user-config \
    -machine pc,accel=tcg -cpu max -m 64M -smp 1 -display none -vga std \
    -qmp unix:/run/user/1000/vmlan/here-123456/vm-tester/qmp,server=on,wait=off \
    -chardev socket,id=serial0,path=/run/user/1000/vmlan/here-123456/vm-tester/serial,server=on,wait=off,logfile=/run/user/1000/vmlan/here-123456/vm-tester/serial.log \
    -serial chardev:serial0 -device virtio-serial-pci \
    -chardev pipe,id=agent0,path=/run/user/1000/vmlan/here-123456/vm-tester/agent \
    -device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0 -device virtio-rng-pci \
    -drive if=none,id=cdrom0,file=/cache/media/memtest86+/image,format=raw,media=cdrom,readonly=on \
    -device ide-cd,bus=ide.1,unit=0,id=dev-cdrom0,drive=cdrom0 \
    < /dev/null > /run/user/1000/vmlan/here-123456/vm-tester/qemu.log 2>&1 &
