#!/bin/bash
# What the guest does; one `ok - words` or `not ok - words` a step. Runs as a child of the guest's init, with WORK (a folder shared
# with the outside) and TARGET set.
set -u
nqn() { echo "nqn.2026-11.io.firn:$(cat "$WORK/node" 2>/dev/null || hostname):$1"; }
hostnqn=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555
hostid=11111111-2222-3333-4444-555555555555
id="--hostnqn=$hostnqn --hostid=$hostid"

step() { # step WORDS COMMAND...
    local words=$1 out
    shift
    if out=$("$@" 2>&1); then echo "ok - $words"; else echo "not ok - $words"; sed 's/^/    /' <<<"$out" | tail -n 15; fi
}
ask() { # ask THING: the outside does it
    touch "$WORK/ask/$1"
    for _ in $(seq 600); do [ -e "$WORK/ask/$1.done" ] && { rm -f "$WORK/ask/$1.done"; return 0; }; sleep 0.1; done
    return 1
}
device() { # device NQN: the multipath device above its only path, once it is there
    local s n
    for _ in $(seq 100); do
        for s in /sys/class/nvme-subsystem/nvme-subsys*; do
            [ "$(cat "$s/subsysnqn" 2>/dev/null)" = "$1" ] || continue
            n=$(ls -d "$s"/nvme*n1 2>/dev/null | head -n 1)
            [ -n "$n" ] && [ -b "/dev/${n##*/}" ] && { echo "/dev/${n##*/}"; return 0; }
        done
        sleep 0.1
    done
    return 1
}
controller() { local c; for c in /sys/class/nvme/nvme*; do [ "$(cat "$c/subsysnqn" 2>/dev/null)" = "$1" ] && { echo "$c"; return; }; done; return 1; }
connect() { nvme connect -t tcp -a "$TARGET" -s 4420 -n "$1" $id -i 2 -c 1 -l 120 -k 5 "${@:2}"; }
verify() { # verify FILE-OR-DEVICE SECONDS SIZE EXTRA...
    fio --verify_state_save=0 --name=v --filename="$1" --rw=randrw --rwmixread=30 --bsrange=4k-64k --bs_unaligned=0 --iodepth=16 --ioengine=libaio --direct=1 \
        --size="$3" --io_size="$3" --verify=crc32c --verify_fatal=1 --verify_backlog=256 --norandommap=0 "${@:4}"
}
settle() { # the controller is live again
    for _ in $(seq 300); do [ "$(cat "$1/state")" = live ] && return 0; sleep 0.1; done
    cat "$1/state"; return 1
}

v1=$(nqn v1) v2=$(nqn v2) v3=$(nqn v3)
discovered() { nvme discover -t tcp -a "$TARGET" -s "$1" $id | tee /run/disc | grep -q "$v1" && grep -q "$v2" /run/disc; }
step "discovery on 8009 lists the volumes" discovered 8009
step "discovery on 4420 lists the volumes" discovered 4420

step "connect" connect "$v1"
d1=$(device "$v1") || { echo "not ok - the namespace appears"; dmesg | tail -n 10; echo "end of steps"; exit; }
echo "ok - the namespace appears"
step "identify: no volatile write cache" sh -c "nvme id-ctrl $d1 | grep -qE '^vwc +: 0'"
step "identify: several controllers, shared, no ANA" sh -c "nvme id-ctrl $d1 | grep -qE '^cmic +: 0x3$' && nvme id-ns $d1 | grep -qE '^nmic +: 0x1$'"
step "mkfs.ext4" mkfs.ext4 -q -F "$d1"
mkdir -p /mnt/a /mnt/b /mnt/c
step "mount ext4" mount "$d1" /mnt/a
step "fio verify crc32c on ext4" verify /mnt/a/f 10 128m
step "fstrim ext4" fstrim -v /mnt/a
c1=$(controller "$v1")
reset() { echo 1 >"$c1/reset_controller" && settle "$c1"; }
sum_before=$(sha256sum </mnt/a/f)
same_sum() { sync && echo 3 >/proc/sys/vm/drop_caches && [ "$(sha256sum </mnt/a/f)" = "$sum_before" ]; }
step "controller reset" reset
step "data is there after the reset" same_sum

step "connect a second volume with header and data digests" connect "$v2" -g -G
if d2=$(device "$v2"); then
    step "mkfs.xfs" mkfs.xfs -q -f "$d2"
    step "mount xfs" mount "$d2" /mnt/b
    step "fio verify crc32c on xfs with digests" verify /mnt/b/f 10 128m
    step "fstrim xfs" sh -c "fstrim -v /mnt/b || { dmesg | tail -n 5; false; }"
    step "reset under load" sh -c "fio --verify_state_save=0 --name=l --filename=/mnt/b/g --rw=randwrite --bs=4k --size=64m --io_size=64m --direct=1 --ioengine=libaio --iodepth=8 --verify=crc32c >/run/l 2>&1 & sleep 0.5; kill -0 \$! || { cat /run/l; echo too early; exit 1; }; echo 1 >$(controller "$v2")/reset_controller; wait; grep -q 'err= 0' /run/l || { cat /run/l; false; }"
    step "umount xfs" umount /mnt/b
    step "xfs_repair finds nothing" xfs_repair -n "$d2"
else
    echo "not ok - the second namespace appears"
fi

step "connect a volume of 512-byte blocks" connect "$v3"
if d3=$(device "$v3"); then
    step "its blocks are 512 bytes" [ "$(blockdev --getss "$d3")" = 512 ]
    step "fio verify of 512-byte writes" fio --verify_state_save=0 --name=s --filename="$d3" --rw=randwrite --bs=512 --iodepth=8 --ioengine=libaio --direct=1 --size=8m --verify=crc32c --verify_fatal=1
fi

grown() { ask grow || return 1; for _ in $(seq 50); do [ "$(blockdev --getsize64 "$d1")" = 2147483648 ] && return 0; sleep 0.1; done; blockdev --getsize64 "$d1"; return 1; }
step "grow online: the host sees the new size by event" grown
step "resize2fs on the mounted file system" resize2fs "$d1"

survive() {
    fio --verify_state_save=0 --name=k --filename=/mnt/a/k --rw=randwrite --bs=8k --iodepth=8 --ioengine=libaio --direct=1 --size=96m --io_size=192m \
        --verify=crc32c --verify_backlog=512 --verify_fatal=1 >/run/k 2>&1 &
    local pid=$!
    sleep 1
    kill -0 $pid && ask kill || return 1
    sleep 0.5
    kill -0 $pid && ask kill || return 1
    wait $pid && grep -q 'err= 0' /run/k || { dmesg | tail -n 5; head -n 10 /run/k; return 1; }
}
step "I/O on the mounted file system survives two SIGKILLs of the server" survive
step "umount" umount /mnt/a
step "fsck is clean" fsck.ext4 -f -n "$d1"
step "disconnect" sh -c "nvme disconnect -n $v1 && nvme disconnect -n $v2 && nvme disconnect -n $v3"
echo "end of steps"
