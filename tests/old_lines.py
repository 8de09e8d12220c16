"""Command lines of the kinds that people have published since QEMU 0.8: none of them is a copy.

`HOLD` are lab files that must start on every QEMU once their files are there; what the others become, the
tests that name them say.
"""

from __future__ import annotations

_Q = "qemu-system-x86_64"

LIBVIRT_OF_2018 = (
    "LC_ALL=C PATH=/usr/bin HOME=/root QEMU_AUDIO_DRV=spice /usr/bin/kvm-spice -name guest=web,debug-threads=on"
    " -S -object secret,id=masterKey0,format=raw,file=key.aes"
    " -machine pc-i440fx-bionic,accel=kvm,usb=off,vmport=off,dump-guest-core=off -cpu kvm64,ss=on -m 2048"
    " -realtime mlock=off -smp 2,sockets=2,cores=1,threads=1 -uuid 0f1b2c3d-1111-2222-3333-444455556666"
    " -no-user-config -nodefaults -chardev socket,id=charmonitor,path=monitor.sock,server,nowait"
    " -mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc,driftfix=slew"
    " -global kvm-pit.lost_tick_policy=delay -no-hpet -no-shutdown -global PIIX4_PM.disable_s3=1"
    " -boot strict=on -device ich9-usb-ehci1,id=usb,bus=pci.0,addr=0x5.0x7"
    " -device ich9-usb-uhci1,masterbus=usb.0,firstport=0,bus=pci.0,multifunction=on,addr=0x5"
    " -device virtio-serial-pci,id=virtio-serial0,bus=pci.0,addr=0x6"
    " -drive file=web.qcow2,format=qcow2,if=none,id=drive-virtio-disk0"
    " -device virtio-blk-pci,scsi=off,bus=pci.0,addr=0x7,drive=drive-virtio-disk0,id=virtio-disk0,bootindex=1"
    " -drive if=none,id=drive-ide0-0-0,readonly=on"
    " -device ide-cd,bus=ide.0,unit=0,drive=drive-ide0-0-0,id=ide0-0-0"
    " -drive file=fd.img,if=none,id=drive-fdc0-0-0,format=raw -global isa-fdc.driveA=drive-fdc0-0-0"
    " -netdev tap,fd=26,id=hostnet0,vhost=on,vhostfd=28"
    " -device virtio-net-pci,netdev=hostnet0,id=net0,mac=52:54:00:aa:bb:cc,bus=pci.0,addr=0x3"
    " -chardev pty,id=charserial0 -device isa-serial,chardev=charserial0,id=serial0"
    " -chardev socket,id=charchannel0,path=agent,server,nowait"
    " -device virtserialport,bus=virtio-serial0.0,nr=1,chardev=charchannel0,name=org.qemu.guest_agent.0"
    " -chardev spicevmc,id=charchannel1,name=vdagent"
    " -device virtserialport,bus=virtio-serial0.0,nr=2,chardev=charchannel1,name=com.redhat.spice.0"
    " -device usb-tablet,id=input0,bus=usb.0,port=1 -spice port=5900,addr=127.0.0.1,disable-ticketing"
    " -device qxl-vga,id=video0,ram_size=67108864,bus=pci.0,addr=0x2"
    " -device intel-hda,id=sound0,bus=pci.0,addr=0x4 -device hda-duplex,id=codec0,bus=sound0.0,cad=0"
    " -device virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x8 -object rng-random,id=objrng0,filename=/dev/urandom"
    " -device virtio-rng-pci,rng=objrng0,id=rng0,bus=pci.0 -sandbox on,obsolete=deny -msg timestamp=on"
)

LIBVIRT_OF_2022 = (
    "LC_ALL=C \\\nHOME=/root \\\n/usr/bin/qemu-system-x86_64 \\\n-name guest=win,debug-threads=on \\\n-S \\\n"
    """-object '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"key.aes"}' \\\n"""
    """-blockdev '{"driver":"file","filename":"OVMF_CODE.fd","node-name":"f0","auto-read-only":true}' \\\n"""
    """-blockdev '{"node-name":"pflash0-format","read-only":true,"driver":"raw","file":"f0"}' \\\n"""
    """-blockdev '{"driver":"file","filename":"win_VARS.fd","node-name":"f1","discard":"unmap"}' \\\n"""
    """-blockdev '{"node-name":"pflash1-format","read-only":false,"driver":"raw","file":"f1"}' \\\n"""
    "-machine pc-q35-6.2,usb=off,smm=on,memory-backend=ram,pflash0=pflash0-format,pflash1=pflash1-format \\\n"
    "-accel kvm \\\n-cpu host,migratable=on,hv-time=on,hv-relaxed=on -m 1024 \\\n"
    """-object '{"qom-type":"memory-backend-memfd","id":"ram","share":true,"size":1073741824}' \\\n"""
    "-overcommit mem-lock=off -smp 4,sockets=1,dies=1,cores=4,threads=1 -no-user-config -nodefaults \\\n"
    """-device '{"driver":"pcie-root-port","port":16,"chassis":1,"id":"pci.1","bus":"pcie.0","addr":"0x2"}' \\\n"""
    """-device '{"driver":"qemu-xhci","p2":15,"p3":15,"id":"usb","bus":"pci.1","addr":"0x0"}' \\\n"""
    """-blockdev '{"driver":"file","filename":"win.qcow2","node-name":"s2","auto-read-only":true}' \\\n"""
    """-blockdev '{"node-name":"fmt2","read-only":false,"driver":"qcow2","file":"s2","backing":null}' \\\n"""
    """-device '{"driver":"ide-hd","bus":"ide.0","drive":"fmt2","id":"sata0-0-0","bootindex":1}' \\\n"""
    """-netdev '{"type":"tap","fd":"34","vhost":true,"id":"hostnet0"}' \\\n"""
    """-device '{"driver":"e1000e","netdev":"hostnet0","id":"net0","mac":"52:54:00:11:22:33"}' \\\n"""
    """-chardev pty,id=cs0 -device '{"driver":"isa-serial","chardev":"cs0","id":"serial0","index":0}' \\\n"""
    "-chardev socket,id=chrtpm,path=tpm.sock -tpmdev emulator,id=tpm-tpm0,chardev=chrtpm \\\n"
    """-device '{"driver":"tpm-crb","tpmdev":"tpm-tpm0","id":"tpm0"}' \\\n"""
    """-device '{"driver":"usb-tablet","id":"input0","bus":"usb.0","port":"1"}' -audiodev spice,id=a1 \\\n"""
    "-watchdog-action reset -msg timestamp=on\n"
)

PROXMOX = (
    "/usr/bin/kvm -id 100 -name 'web,debug-threads=on' -no-shutdown"
    " -chardev 'socket,id=qmp,path=100.qmp,server=on,wait=off' -mon 'chardev=qmp,mode=control'"
    " -chardev 'socket,id=qmp-event,path=qmeventd.sock,reconnect=5' -mon 'chardev=qmp-event,mode=control'"
    " -pidfile 100.pid -daemonize -smbios 'type=1,uuid=0f1b2c3d-1111-2222-3333-444455556668'"
    " -smp '2,sockets=1,cores=2,maxcpus=2' -nodefaults"
    " -boot 'menu=on,strict=on,reboot-timeout=1000,splash=/usr/share/qemu-server/bootsplash.jpg'"
    " -vnc 'unix:100.vnc,password=on' -cpu kvm64,+lahf_lm,+sep -m 2048"
    " -device 'pci-bridge,id=pci.1,chassis_nr=1,bus=pci.0,addr=0x1e'"
    " -device 'vmgenid,guid=0f1b2c3d-1111-2222-3333-444455556669'"
    " -device 'piix3-usb-uhci,id=uhci,bus=pci.0,addr=0x1.0x2' -device 'usb-tablet,id=tablet,bus=uhci.0,port=1'"
    " -device 'VGA,id=vga,bus=pci.0,addr=0x2' -iscsi 'initiator-name=iqn.1993-08.org.debian:01:a'"
    " -drive 'if=none,id=drive-ide2,media=cdrom,aio=threads'"
    " -device 'ide-cd,bus=ide.1,unit=0,drive=drive-ide2,id=ide2,bootindex=101'"
    " -device 'virtio-scsi-pci,id=scsihw0,bus=pci.0,addr=0x5'"
    " -drive 'file=vm-100-disk-0,if=none,id=drive-scsi0,format=raw,cache=none,aio=native,detect-zeroes=on'"
    " -device 'scsi-hd,bus=scsihw0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,bootindex=100'"
    " -netdev 'type=tap,id=net0,ifname=tap100i0,script=no,downscript=no,vhost=on'"
    " -device 'virtio-net-pci,mac=BC:24:11:00:00:01,netdev=net0,bus=pci.0,id=net0,rx_queue_size=1024'"
    " -machine 'type=pc+pve0'"
)

STICKS = " ".join(f"-usbdevice disk:{letter}.img" for letter in "abcdefgh")

HOLD = [
    LIBVIRT_OF_2018,
    LIBVIRT_OF_2022,
    PROXMOX,
    # USB
    f"{_Q} -m 512 -usb {STICKS}",
    f"{_Q} -m 512 -usb -device usb-tablet {STICKS} -device usb-kbd -usbdevice mouse",
    f"{_Q} -device qemu-xhci,id=xhci0 -device usb-kbd,bus=xhci0.0 -usbdevice disk:s.img",
    f"{_Q} -device nec-usb-xhci,id=x -drive if=none,id=u,file=s.img -device usb-storage,bus=x.0,drive=u "
    "-device usb-tablet,bus=x.0 -device usb-hub",
    f"{_Q} -drive file=s.img,if=none,id=u -device usb-uas,id=uas -device scsi-hd,bus=uas.0,drive=u",
    f"{_Q} -M q35 -device usb-ehci,id=ehci -device usb-tablet -usbdevice disk:s.img",
    # disks
    f"{_Q} -device lsi53c895a,id=scsi -drive if=none,id=d,file=d.img -device scsi-hd,bus=scsi.0,drive=d",
    f"{_Q} -object iothread,id=io1 -device virtio-blk-pci,drive=d,iothread=io1 -drive if=none,id=d,file=d.img",
    f'{_Q} -drive \'file=json:{{"driver":"raw",,"file":{{"driver":"file",,"filename":"d.img"}}}}\'',
    f"{_Q} -device sdhci-pci -device sd-card,drive=mysd -drive id=mysd,if=none,file=sd.img",
    f"{_Q} -hda fat:root -fda fat:floppy:dos -drive file=fat:rw:esp,format=raw,if=virtio -net none",
    f"{_Q} -blockdev node-name=disk0,driver=raw,file.driver=file,file.filename=d.img "
    "-device virtio-blk-pci,drive=disk0",
    f"{_Q} -M q35,sata=off,i8042=on -hda d.img -device pcie-root-port,id=r,chassis=1 "
    "-device nvme,drive=n,serial=x,bus=r -drive if=none,id=n,file=n.img",
    # screens, sound, firmware, the rest
    f"{_Q} -display gtk,gl=on -device virtio-vga-gl -cdrom L.iso -audiodev pa,id=s -device intel-hda -device hda-output",
    f"{_Q} -cpu host,kvm=off -cpu qemu64,+nx -m 128 -m 256 -vga cirrus -hda d.img -std-vga",
    f"{_Q} -hda d.img -fw_cfg opt/com.example/x,file=x.json -trace events=ev -watchdog-action poweroff",
    f"{_Q} -cpu EPYC-Rome-v2,+x2apic -hda d.img -drive file=v.img,if=virtio -global virtio-blk-pci.scsi=off",
    f"{_Q} -hda d.img -action panic=none -compat deprecated-input=accept -device i6300esb -seed 5",
    f"{_Q} -m $MEM -cpu $CPU -net $NET -hda d.img -accel $A -M $TYPE -name vm-$N -smp $(nproc)",
    f"{_Q} -machine ubuntu-q35,accel=kvm -nic user -hda d.img",
    f"{_Q} -machine pc-q35-rhel8.6.0 -hda d.img -net nic, model=rtl8139 -net user",
    f"{_Q} -kernel bzImage -initrd r.gz -append 'root=/dev/ram rdinit=/bin/sh console=ttyS0' -nographic",
    "qemu -L . -m 128 -hda l.img -soundhw all -localtime -M isapc -tftp boot -bootp /pxelinux.0 -boot n",
    f"{_Q} -nodefaults -device isa-serial,chardev=c -chardev stdio,id=c,mux=on -mon chardev=c "
    "-device isa-serial,chardev=d -chardev file,id=d,path=x.log -kernel k",
]

#: What is found in other texts than a shell's; the command that it is.
TEXTS = {
    "<code>$ kvm -cdrom &lt;iso&gt; -m 1G &amp;&amp; echo</code>": "kvm -cdrom <iso> -m 1G",
    'CMD ["qemu-system-i386", "-m", "5", "-append", "a \\"b"]': 'qemu-system-i386 -m 5 -append a|"b',
    "subprocess.run(['kvm', '-hda', disk, f'-{x}'])": "kvm -hda <disk> -<x>",
    '{"scripts": {\n  "start": "kvm -cdrom a.iso -m 1"\n}}': "kvm -cdrom a.iso -m 1",
    "os.system('sudo kvm -m 1')": "kvm -m 1",
    "@echo off\nqemu.exe -L . -hda %~dp0disk.img": "qemu.exe -L . -hda disk.img",
    "[Service]\nExecStart=/usr/bin/kvm \\\n -name %i \\\n -m 1": "/usr/bin/kvm -name %i -m 1",
    "exec kvm -m 1": "kvm -m 1",
}
