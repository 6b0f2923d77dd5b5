#!/usr/bin/env bash
# Debian's unmodified kernel in QEMU without acceleration, firnd and the kernel's initiator both inside, on the guest's loopback.
# The initramfs is assembled here; the kernel package is downloaded and unpacked into the cache, never installed.
# Closes with `N passed, N failed, N skipped`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
bin=${FIRN_BIN:-$top/build}
cache=${FIRN_CACHE:-$top/build/cache}
for p in qemu-system-x86_64 busybox nvme fio mkfs.ext4 cpio depmod; do command -v $p >/dev/null || { echo "skip: $p is not installed"; exit 77; }; done

unpack_kernel() { # prints the folder with boot/ and lib/modules/
    local pkg dir
    pkg=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/{print $2; exit}')
    [ -n "$pkg" ] || { dir=$(ls -d "$cache"/linux-image-* 2>/dev/null | tail -n 1); [ -n "$dir" ] && echo "$dir"; return; }
    dir=$cache/$pkg
    if [ ! -d "$dir" ]; then
        mkdir -p "$cache/dl.$$"
        (cd "$cache/dl.$$" && apt-get download "$pkg" >/dev/null 2>&1 && dpkg-deb -x ./*.deb tree && mv tree "$dir")
        rm -rf "$cache/dl.$$"
    fi
    [ -d "$dir" ] || return 1
    [ -e "$(echo "$dir"/lib/modules/*/modules.dep)" ] || depmod -b "$dir" "$(ls "$dir/lib/modules")"
    echo "$dir"
}
kdir=$(unpack_kernel)
[ -n "$kdir" ] || { echo "skip: Debian's kernel package cannot be downloaded"; exit 77; }
version=$(ls "$kdir/lib/modules" | head -n 1)

work=$(mktemp -d "${TMPDIR:-/tmp}/firn-qemu.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,run,tmp,mnt,pool,etc/nvme,lib,lib64,usr/share} "$root/lib/modules/$version"

add() { # add PROGRAM: with the libraries it needs
    local p lib
    p=$(command -v "$1") || return 1
    install -D "$(readlink -f "$p")" "$root/usr/bin/$(basename "$1")"
    for lib in $(ldd "$p" 2>/dev/null | grep -oE '/[^ ]+' | sort -u); do
        [ -e "$root$lib" ] || install -D "$(readlink -f "$lib")" "$root$lib"
    done
}
for p in nvme fio mkfs.ext4 fsck.ext4 cmp bash blockdev timeout; do add $p; done
for p in firnd firnctl firn-bench; do add "$bin/$p"; done
ln -sf /usr/bin/bash "$root/bin/bash"
install -D "$(command -v busybox)" "$root/bin/busybox"
for a in sh mount umount mkdir sleep cat grep ls insmod modprobe poweroff ip seq touch dmesg kill sync awk sed head tail ln chmod rm uname wc tr mv hostname; do ln -sf busybox "$root/bin/$a"; done
cp "$here/qemu_init" "$root/init"
for m in nvme-tcp ext4 virtio_blk virtio_pci crc32c_generic crc32c-intel loop; do
    for f in $(modprobe -d "$kdir" -S "$version" --show-depends $m 2>/dev/null | awk '/insmod/{print $2}'); do
        install -D "$f" "$root/lib/modules/$version/${f#*/lib/modules/"$version"/}"
    done
done
for f in modules.order modules.builtin modules.builtin.modinfo; do cp "$kdir/lib/modules/$version/$f" "$root/lib/modules/$version/" 2>/dev/null; done
depmod -b "$root" "$version" 2>/dev/null
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd.gz"
truncate -s 3G "$work/disk"
mkfs.ext4 -q -F "$work/disk"

timeout --foreground "${QEMU_SECONDS:-400}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nographic -no-reboot -nodefaults \
    -serial "file:$work/console" -kernel "$kdir/boot/vmlinuz-$version" -initrd "$work/initrd.gz" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" -append "console=ttyS0 panic=-1 quiet mitigations=off" >/dev/null 2>&1 </dev/null
tr -d '\r' <"$work/console" | grep -aE '^(ok|not ok) - |^    |^end' || tail -n 30 "$work/console"
p=$(grep -ac '^ok - ' "$work/console"); f=$(grep -ac '^not ok - ' "$work/console")
grep -aq '^end of steps' "$work/console" || { f=$((f + 1)); tail -n 30 "$work/console"; }
echo "$p passed, $f failed, 0 skipped"
[ "$f" = 0 ]
