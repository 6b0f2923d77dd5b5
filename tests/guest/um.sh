#!/usr/bin/env bash
# The real Linux initiator against firnd: User-mode Linux on a tap device in a network namespace of its own, firnd beside it.
# The guest runs steps.sh as its init; what only the outside can do (kill, restart, resize) it asks for through files.
# Closes with `N passed, N failed, N skipped`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
bin=${FIRN_BIN:-$top/build}
[ "$(id -u)" = 0 ] || { echo "skip: needs root for a network namespace"; exit 77; }
[ -c /dev/net/tun ] || { echo "skip: no /dev/net/tun"; exit 77; }
for p in nvme fio mkfs.ext4 mkfs.xfs ip busybox; do command -v $p >/dev/null || { echo "skip: $p is not installed"; exit 77; }; done
kernel=$("$here/kernel") || exit $?

id=firn-um-$$
work=$top/build/guest/um-$$
rm -rf "$work"; mkdir -p "$work/ask"
cleanup() {
    [ -z "${guest:-}" ] || { kill "$guest" 2>/dev/null; sleep 0.2; pkill -9 -f "umid=$id" 2>/dev/null; }
    [ -z "${daemon:-}" ] || kill -9 "$daemon" 2>/dev/null
    [ -z "${holder:-}" ] || { kill "$holder"; wait "$holder"; } 2>/dev/null
    [ -n "${KEEP:-}" ] || rm -rf "$work/pool"
}
trap cleanup EXIT

# The namespace lives as long as a process in it. (`ip netns` would need / to be a mount, which it is not in a chroot.)
unshare -n true 2>/dev/null || { echo "skip: network namespaces are not allowed here"; exit 77; }
unshare -n sleep 3600 &
holder=$!
inside="nsenter --net=/proc/$holder/ns/net" # no function: what it starts is to be this shell's own child
until [ "$(readlink "/proc/$holder/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do
    kill -0 $holder || { echo "not ok - a network namespace"; exit 1; }
    sleep 0.02
done
$inside ip link set lo up && $inside ip tuntap add tap0 mode tap && $inside ip addr add 10.77.0.1/24 dev tap0 && $inside ip link set tap0 up || exit 1

start_daemon() {
    $inside "$bin/firnd" --dev "$work/pool" --listen 0.0.0.0 --port 4420 >>"$work/firnd.log" 2>&1 &
    daemon=$!
    for _ in $(seq 200); do
        kill -0 $daemon 2>/dev/null || break
        [ "$(grep -c 'msg=ready' "$work/firnd.log")" -gt "$1" ] && return 0
        sleep 0.05
    done
    echo "firnd did not get ready:"; tail -n 5 "$work/firnd.log"; exit 1
}
ctl() { "$bin/firnctl" --socket "$work/pool/firnd.sock" "$@"; }

hostname >"$work/node"
start_daemon 0
ctl volume create v1 --size 1GiB && ctl volume create v2 --size 1GiB && ctl volume create v3 --size 512MiB --lba 512 &&
    ctl host allow v1 '*' && ctl host allow v2 '*' && ctl host allow v3 '*' || exit 1

cat >"$work/init" <<INIT
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin WORK=$work TARGET=10.77.0.1 STEPS="${STEPS:-all}"
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /mnt
ip link set lo up; ip addr add 10.77.0.2/24 dev vec0; ip link set vec0 up
/bin/bash $here/steps.sh >$work/steps.log 2>&1
sync; busybox poweroff -f
INIT
chmod +x "$work/init"
TMPDIR=$([ -w /dev/shm ] && echo /dev/shm || echo "$work") $inside "$kernel" mem=1024M umid="$id" uml_dir="$work/" root=/dev/root rootfstype=hostfs rootflags=/ rw \
    init="$work/init" vec0:transport=tap,ifname=tap0,depth=128,gro=1 con=null con0=null,fd:1 panic=1 \
    >"$work/console.log" 2>&1 </dev/null &
guest=$!

restarts=0
deadline=$((SECONDS + ${GUEST_SECONDS:-420}))
while kill -0 $guest 2>/dev/null; do
    if [ $SECONDS -gt $deadline ]; then echo "guest: out of time"; tail -n 20 "$work/console.log"; pkill -9 -f "umid=$id"; break; fi
    if [ -e "$work/ask/kill" ]; then
        kill -9 $daemon; wait $daemon 2>/dev/null
        sleep 1
        restarts=$((restarts + 1))
        start_daemon $restarts
        mv "$work/ask/kill" "$work/ask/kill.done"
    fi
    if [ -e "$work/ask/grow" ]; then ctl volume resize v1 --size 2GiB; mv "$work/ask/grow" "$work/ask/grow.done"; fi
    sleep 0.1
done
guest=
cat "$work/steps.log"
kill -TERM $daemon; wait $daemon; rc=$?
daemon=
complaint='Kernel panic|BUG: |Oops: |WARNING: '
{
    if grep -qE "$complaint" "$work/console.log"; then echo "not ok - the guest kernel complained"; grep -E -A5 "$complaint" "$work/console.log" | head -n 20; fi
    if [ $rc = 0 ]; then echo "ok - SIGTERM ends firnd with status 0"; else echo "not ok - SIGTERM ends firnd with status $rc"; tail -n 5 "$work/firnd.log"; fi
    if "$bin/firnctl" check --dev "$work/pool" --data >"$work/check.log" 2>&1; then echo "ok - check finds no damage"; else echo "not ok - check"; tail -n 5 "$work/check.log"; fi
} >"$work/after.log"
cat "$work/after.log"
p=$(cat "$work/steps.log" "$work/after.log" | grep -c '^ok '); f=$(cat "$work/steps.log" "$work/after.log" | grep -c '^not ok ')
grep -q '^end of steps' "$work/steps.log" || { f=$((f + 1)); tail -n 30 "$work/console.log"; }
echo "$p passed, $f failed, 0 skipped"
[ "$f" = 0 ]
