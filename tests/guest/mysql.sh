#!/bin/bash
# The guest's part of tests/bench-mysql: runs as the guest's init with DIR (a folder shared with the outside), TARGET, NQN, PART set.
# PART=load: makes a file system on the volume and copies $DATA into it. PART=serve: starts MariaDB there and runs what the outside
# asks for: a file $DIR/ask.N holds a workload, threads, seconds and sysbench's options; $DIR/done.N answers, $DIR/end ends it.
set -u
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /mnt
ip link set lo up; ip addr add "${TARGET%.*}.2/24" dev vec0; ip link set vec0 up
ip route change "${TARGET%.*}.0/24" dev vec0 rto_min 5ms
exec >"$DIR/guest.log" 2>&1
# The guest gathers no entropy of its own and LuaJIT waits for some: RNDADDENTROPY with what the outside drew.
perl -e 'open R, ">", "/dev/random"; read STDIN, $seed, 32; ioctl(R, 0x40085203, pack("ii a32", 256, 32, $seed)) or die "no entropy: $!"' <"$DIR/seed"

end() { # end WORDS
    echo "$1"
    umount /mnt/v
    sync
    busybox poweroff -f
}

device() { # the block device of the only namespace, once it is there
    for _ in $(seq 100); do
        [ -b /dev/nvme0n1 ] && return 0
        sleep 0.1
    done
    return 1
}

load() {
    mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 -J size=16 /dev/nvme0n1 && mount -t ext4 /dev/nvme0n1 /mnt/v || return 1
    cp -r "$DATA" /mnt/v/data && mkdir /mnt/v/tmp && sync
}

# I/O is to matter: a small buffer pool, no page cache, every commit durable, pages written twice as by default. The guest's
# address space is small: newer versions reserve terabytes of it unless told otherwise. It has one CPU: nothing to spin
# for (once around, since MariaDB 10.11 takes 0 for without end), and one thread that purges: MariaDB's pool runs two tasks at a
# time for one CPU; of four that purge, two waiting for pages that are being written keep it from hearing of the writes for seconds.
serve() {
    mount -t ext4 -o noatime /dev/nvme0n1 /mnt/v || return 1
    LD_PRELOAD=$DIR/clock.so mariadbd --no-defaults --user=root --datadir=/mnt/v/data --tmpdir=/mnt/v/tmp --socket=/run/m.sock --skip-networking \
        --skip-log-bin --skip-name-resolve --performance-schema=OFF --max-connections=64 --table-open-cache=200 \
        --innodb-buffer-pool-size="$POOL" --loose-innodb-buffer-pool-size-max="$POOL" --innodb-log-file-size="$REDO" --innodb-flush-method=O_DIRECT \
        --innodb-flush-log-at-trx-commit=1 --innodb-doublewrite=ON --innodb-sync-spin-loops=1 --innodb-purge-threads=1 \
        --innodb-flush-neighbors=0 --innodb-io-capacity=1000 \
        --innodb-buffer-pool-load-at-startup=OFF --innodb-buffer-pool-dump-at-shutdown=OFF >"$DIR/mariadbd.log" 2>&1 &
    mariadbd=$!
    for _ in $(seq 600); do
        mariadb -S /run/m.sock -e 'select 1' >/dev/null 2>&1 && return 0
        kill -0 $mariadbd 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$DIR/mariadbd.log"
    return 1
}

# Between runs the server stands still for minutes: no request is to wait for it then.
pause() {
    kill -STOP $mariadbd
    sync
    sleep 0.3
}

cpu() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8, $5 + $6 }' /proc/stat; } # ticks busy, ticks idle

answer() { # answer N: what ask.N wants
    local workload threads seconds options busy idle
    read -r workload threads seconds options <"$DIR/ask.$1"
    kill -CONT $mariadbd
    read -r busy idle < <(cpu)
    # shellcheck disable=SC2086
    LD_PRELOAD=$DIR/clock.so sysbench "$workload" --mysql-socket=/run/m.sock --mysql-user=root --mysql-db=sbtest --threads="$threads" --time="$seconds" \
        --percentile=95 $options run >"$DIR/out.$1" 2>&1
    echo "cpu: $(cpu | awk -v b="$busy" -v i="$idle" '{ busy = $1 - b; idle = $2 - i; print(busy + idle > 0 ? int(100 * busy / (busy + idle) + 0.5) : 0) }')" >>"$DIR/out.$1"
    pause
    touch "$DIR/done.$1"
}

nvme connect -t tcp -a "$TARGET" -s 4420 -n "$NQN" --hostnqn=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555 \
    --hostid=11111111-2222-3333-4444-555555555555 -i 2 -l 3600 -k 3600 || end "no connection"
device || end "no namespace"
mkdir -p /mnt/v
if [ "$PART" = load ]; then
    load || end "not loaded"
    end loaded
fi
serve || end "MariaDB does not start"
pause
touch "$DIR/ready"
for ((n = 1; ; n++)); do
    until [ -e "$DIR/ask.$n" ]; do
        if [ -e "$DIR/end" ]; then
            kill -9 $mariadbd
            wait $mariadbd 2>/dev/null
            end served
        fi
        sleep 0.2
    done
    answer $n
done
