#!/usr/bin/env bash
# faults.md C1, C2, C3, C11 on the real server: devices that are missing, swapped, foreign, cloned, resized or newer. The start is
# refused with the device named, at once, and not a byte of any device is changed; put right, the pool serves all it had.
. "$(dirname "$0")/faults.bash"
conf2() { # a pool with two capacity devices
    conf "$1" 160MiB
    sed -i "s|capacity: ( .* );|capacity: ( { path = \"$1/hdd0\"; size = \"256MiB\"; }, { path = \"$1/hdd1\"; size = \"320MiB\"; } );|" "$1/firn.conf"
}
conf2 "$pool"
pool_format "$pool" || exit 1
other=$work/other
conf2 "$other"
pool_format "$other" || exit 1
up
volume_make v 64MiB
nqn=$(volume_nqn v)
is "written" "$(host "$nqn" write 0 300 7)" "$(host "$nqn" read 0 300 7)"
down
uuid_of() { "$firnctl" dump labels --config "$1/firn.conf" 2>/dev/null | grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | sort -u; }
is "labels name the pool and three devices" "$(uuid_of "$pool" | wc -l)" 4
cp -a "$pool/meta" "$work/meta.before"

state() { # every byte (holes left out) and the time of the last write of all devices
    python3 - "$pool"/journal "$pool"/hdd* "$pool"/meta/data.mdb "$other"/journal "$other"/hdd* <<'END'
import os, sys, zlib
for p in sys.argv[1:]:
    try: fd = os.open(p, os.O_RDONLY)
    except OSError: continue
    st = os.fstat(fd); crc = at = 0
    while at < st.st_size:
        try: at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError: break
        end = os.lseek(fd, at, os.SEEK_HOLE)
        while at < end:
            b = os.pread(fd, min(1 << 20, end - at), at)
            if b.count(0) != len(b): crc = zlib.crc32(b, zlib.crc32(str(at).encode(), crc))
            at += len(b)
    print(p, st.st_size, st.st_mtime_ns, crc)
END
}
refused() { # refused WHAT CONF PATTERN: start and --check; nothing changes
    local before after t=$EPOCHSECONDS
    before=$(state)
    exits 1 timeout 20 "$firnd" --config "$2"
    has "$1" "$out" "cannot start.*$3"
    [ $((EPOCHSECONDS - t)) -le 5 ] && ok || bad "$1: took $((EPOCHSECONDS - t)) s"
    exits 1 timeout 20 "$firnd" --config "$2" --check
    has "$1, --check" "$out" "$3"
    exits 1 timeout 20 "$firnd" --config "$2" --format
    after=$(state)
    is "$1: nothing changed" "$(diff <(echo "$before") <(echo "$after") | head -n 2)" ""
    ls "$pool/firnd.sock" >/dev/null 2>&1 && bad "$1: a socket is left" || ok
}
use() { sed "s|$1|$2|" "$pool/firn.conf" >"$work/t.conf"; } # use FROM TO: another configuration
away() { mv "$1" "$1.away"; }
back() { mv "$1.away" "$1"; }
id='[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'

for d in journal hdd0 hdd1; do # C1, C2: missing, by device
    mv "$pool/$d" "$work/away"
    before=$(state)
    exits 1 timeout 20 "$firnd" --config "$pool/firn.conf"
    has "missing $d is named" "$out" "cannot start.*$pool/$d.*missing"
    is "missing $d: nothing changed or made" "$(state)" "$before"
    mv "$work/away" "$pool/$d"
done
# C3: every device of another pool in every place
for d in journal hdd0 hdd1; do
    use "$pool/$d" "$other/$d"
    # a foreign journal makes every other device the foreign one
    refused "foreign $d" "$work/t.conf" "$([ $d = journal ] && echo "$pool/hdd0" || echo "$other/$d").*$id.*belongs to pool $id"
done
# swapped: the two capacity devices; the journal and a capacity device
sed "s|$pool/hdd0|@|; s|$pool/hdd1|$pool/hdd0|; s|@|$pool/hdd1|" "$pool/firn.conf" >"$work/t.conf"
refused "swapped capacity devices" "$work/t.conf" "$pool/hdd1.*is capacity device 1 of the pool, not capacity device 0"
sed "s|$pool/hdd0|@|; s|$pool/journal|$pool/hdd0|; s|@|$pool/journal|" "$pool/firn.conf" >"$work/t.conf"
refused "journal and capacity swapped" "$work/t.conf" "$pool/hdd0"
# one named twice
use "$pool/hdd1" "$pool/hdd0"
exits 2 timeout 20 "$firnd" --config "$work/t.conf"
has "one device twice" "$out" 't.conf:4: pool.capacity: names one device twice'
ln -s "$pool/hdd0" "$work/link" # the same file by another name
use "$pool/hdd1" "$work/link"
refused "one device twice, by two names" "$work/t.conf" "$pool/hdd0.*$work/link.*are one device"
ln -f "$pool/hdd0" "$pool/hard"
use "$pool/hdd1" "$pool/hard"
refused "one device twice, by a hard link" "$work/t.conf" "$pool/hdd0.*$pool/hard.*are one device"
rm -f "$pool/hard"
# cloned: an image of one capacity device where the other should be; an old image of a device (a clone taken earlier)
cp --sparse=always "$pool/hdd0" "$work/clone"
use "$pool/hdd1" "$work/clone"
refused "a clone of the other device" "$work/t.conf" "$work/clone"
for d in journal hdd0; do cp --sparse=always "$pool/$d" "$work/$d.old"; done
for _ in 1 2 3; do up; volume_make "v$_" 1MiB; down; done # generations move on
for d in journal hdd0; do
    use "$pool/$d" "$work/$d.old"
    refused "an old copy of $d" "$work/t.conf" "$id.*generation"
done
# other sizes: shorter than its label says; longer is no fault
cp --sparse=always "$pool/hdd1" "$work/short"
truncate -s 200M "$work/short"
use "$pool/hdd1" "$work/short"
refused "a device that shrank" "$work/t.conf" "$work/short"
# empty, and foreign file system
truncate -s 320M "$work/empty"
use "$pool/hdd1" "$work/empty"
before=$(state)
exits 1 timeout 20 "$firnd" --config "$work/t.conf"
has "an empty device is named" "$out" "$work/empty.*does not belong to it"
is "and stays empty" "$(tr -d '\0' <"$work/empty" | head -c 1 | wc -c)" 0
# metadata: missing, and of the other pool
mv "$pool/meta" "$work/meta.away"
exits 1 timeout 20 "$firnd" --config "$pool/firn.conf"
has "missing metadata is named" "$out" "cannot start.*$pool/meta"
[ -e "$pool/meta/data.mdb" ] && bad "empty metadata was made" || ok
rm -rf "$pool/meta"
cp -a "$other/meta" "$pool/meta"
exits 1 timeout 20 "$firnd" --config "$pool/firn.conf"
has "another pool's metadata" "$out" 'cannot start.*(pool|metadata)'
rm -rf "$pool/meta"
# metadata that went back in time (restored from a copy) although the log and the labels moved on
cp -a "$work/meta.before" "$pool/meta"
server_start --config "$pool/firn.conf"
if server_wait 15 2>/dev/null; then
    has "old metadata: no acknowledged byte is lost" "$(host "$nqn" read 0 300 7)" '^good 300'
    server_term || true
else
    has "old metadata is refused" "$(said)" 'cannot start'
fi
rm -rf "$pool/meta"
mv "$work/meta.away" "$pool/meta"
# put right, all is there
up
is "all is there" "$(host "$nqn" read 0 300 7 | cut -d' ' -f1,2)" "good 300"
down
exits 0 "$firnctl" check --data --config "$pool/firn.conf"
report
