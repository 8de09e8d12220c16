# Run by mmdebstrap last; $1 is the tree. Writes a disk with partitions, boot loaders and the system into
# the file that descriptor $disk_fd is (of its full size, all zeros). Everything is done by programs of
# the tree itself, so that the disk is the same wherever it is made; nothing is mounted from the disk.
set -eu
echo "vmlan: making the boot loaders" >&2
root=$1
disk=/proc/self/fd/$disk_fd # opened by whoever may: the user in whose place we are may not see the path
here() { chroot "$root" "$@"; }
put() { here dd of=$disk conv=notrunc,sparse bs=512 status=none "$@"; }

# In sectors of 512 bytes. The system is last, so that it can grow; behind it is the table's copy.
bios=2048 esp=4096 esp_size=32768 system=36864
system_size=$((disk_sectors - system - 2048))
here sfdisk --quiet --no-reread --no-tell-kernel $disk <<END
label: gpt
label-id: $disk_uuid
start=$bios, size=2048, type=21686148-6449-6E6F-744E-656564454649, name="bios", uuid=$bios_uuid
start=$esp, size=$esp_size, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="esp", uuid=$esp_uuid
start=$system, size=$system_size, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name="system", uuid=$system_uuid
END

mkdir -p "$root/boot/grub"
cat > "$root/boot/grub/grub.cfg" <<END
# Until update-grub writes its own.
if serial --unit=0 --speed=115200; then
    terminal_input console serial
    terminal_output console serial
fi
set timeout=0
search --no-floppy --fs-uuid --set=root $fs_uuid
menuentry "Debian GNU/Linux" {
    linux /vmlinuz root=UUID=$fs_uuid ro $kernel_options
    initrd /initrd.img
}
END
cat > "$root/tmp/find.cfg" <<END
search.fs_uuid $fs_uuid root
set prefix=(\$root)/boot/grub
END
for kind in i386-pc x86_64-efi; do
    mkdir -p "$root/boot/grub/$kind"
    cp "$root/usr/lib/grub/$kind"/*.mod "$root/usr/lib/grub/$kind"/*.lst "$root/boot/grub/$kind"
done
common='part_gpt ext2 search_fs_uuid normal'

# BIOS: the first sector loads the first of the BIOS boot partition, which knows where its rest is.
# Both are told as grub-bios-setup does: 8 bytes at 0x5c, and at 0x1f4 (grub, i386/pc/boot.h).
here grub-mkimage -O i386-pc -c /tmp/find.cfg -p /boot/grub -o /tmp/core.img biosdisk $common
address() { # a sector's number as 8 bytes, least first
    # shellcheck disable=SC2059
    printf "$(printf '\\%03o\\%03o' $(($1 % 256)) $(($1 / 256)))\\0\\0\\0\\0\\0\\0"
}
address $((bios + 1)) | here dd of=/tmp/core.img conv=notrunc bs=1 seek=$((0x1f4)) status=none
put if=/tmp/core.img seek=$bios
here dd if=/usr/lib/grub/i386-pc/boot.img of=$disk conv=notrunc bs=440 count=1 status=none
address $bios | here dd of=$disk conv=notrunc bs=1 seek=$((0x5c)) status=none

# UEFI: the file that firmware starts from a disk which it has not seen before.
here grub-mkimage -O x86_64-efi -c /tmp/find.cfg -p /boot/grub -o /tmp/bootx64.efi $common fat
here mkfs.vfat -C -F 16 -n ESP -i "$esp_serial" /tmp/esp.img $((esp_size / 2)) > /dev/null
here mmd -i /tmp/esp.img ::/EFI ::/EFI/BOOT
here mcopy -i /tmp/esp.img /tmp/bootx64.efi ::/EFI/BOOT/BOOTX64.EFI
put if=/tmp/esp.img seek=$esp

# The system, without what is mounted in it now. No table is left for the running system to zero, since
# each overlay would grow by that.
echo "vmlan: making the file system" >&2
mkdir "$root/run/whole"
trap 'umount --recursive "$root/run/whole"' EXIT
mount --bind "$root" "$root/run/whole"
for path in dev run tmp; do
    mount -t tmpfs -o "mode=$(stat -c %a "$root/run/whole/$path")" none "$root/run/whole/$path"
done
here mke2fs -q -F -t ext4 -L debian -U "$fs_uuid" -m 1 -J size=32 \
    -E "offset=$((system * 512)),lazy_itable_init=0,lazy_journal_init=0,hash_seed=$hash_seed" \
    -d /run/whole $disk "$((system_size / 2))k"
here dpkg-query -W -f '${Package} ${Version}\n' > /proc/self/fd/$list_fd
