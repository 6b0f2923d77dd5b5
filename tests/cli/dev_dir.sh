#!/usr/bin/env bash
# --dev: what keeps a pool from being made or read in a directory is said as it is, and nothing is left of a failed start.
. "$(dirname "$0")/lib.bash"

for p in "$firnd --check" "$firnd" "$firnctl check"; do
    exits 1 timeout 10 $p --dev /etc/passwd
    has "a file is no directory ($p)" "$out" '--dev: /etc/passwd is not a directory'
done

# Somebody else's pool is not an absent one.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
    chmod 755 "$T"
    cp "$firnd" "$firnctl" "$T"
    chmod 755 "$T/firnd" "$T/firnctl"
    start_dev
    stop
    for p in "firnd --check" firnd "firnctl check"; do
        exits 1 timeout 10 $nobody "$T"/$p --dev "$T/p"
        has "a closed directory ($p)" "$out" "$T/p cannot be read as uid 65534: Permission denied; run it as the user that owns it"
    done
    chmod 755 "$T/p"
    for p in firnd "firnctl check"; do
        exits 1 timeout 10 $nobody "$T"/$p --dev "$T/p"
        has "a closed pool ($p)" "$out" "journal\\\\?\" cannot be opened as uid 65534: Permission denied; run it as the user that owns it"
    done
    # Data that only another user may read is not lost: no findings, and no word of making it anew.
    chown 65534:65534 "$T/p" "$T/p/journal" "$T/p/capacity"
    exits 1 timeout 10 $nobody "$T/firnctl" check --dev "$T/p"
    has "closed metadata" "$out" "cannot check: metadata .*$T/p/meta.*Permission denied; run it as the user that owns it"
    grep -q 'rebuild-map\|loss:' <<<"$out" && bad "called lost: $out" || ok
    mkdir -m 755 "$T/empty"
    exits 1 timeout 10 $nobody "$T/firnd" --dev "$T/empty"
    has "a directory to read only" "$out" "$T/empty cannot be written as uid 65534: Permission denied; run it as the user that owns it"
    exits 1 timeout 10 $nobody "$T/firnd" --dev "$T/empty/deep"
    has "nor made in" "$out" "$T/empty/deep cannot be made as uid 65534: Permission denied; run it as the user that owns it"
fi

# A disk that is too small: said with the room that it takes, and nothing stays to fill it; a smaller journal then fits.
mounted="unshare -m sh -c 'mount -t tmpfs -o size=96m none $T/small && exec \"\$0\" \"\$@\"'"
mkdir "$T/small"
if eval "$mounted true" 2>/dev/null; then
    exits 1 eval "$mounted sh -c 'timeout 20 $firnd --dev $T/small/p --journal-size 256MiB; rc=\$?; echo left: \$(ls $T/small/p); exit \$rc'"
    has "too small a disk" "$out" 'No space left on device: it takes 256 MiB of room at once; make room or the journal smaller'
    has "what was made is gone" "$out" '^left: *$'
    exits 0 eval "$mounted sh -c 'timeout 20 $firnd --dev $T/small/p --journal-size 256MiB; timeout --preserve-status -s TERM 5 $firnd --dev $T/small/p --journal-size 64MiB --port 0'"
    has "a smaller one fits" "$out" 'msg=ready'
fi
# What a crash left of a larger one is cut to what is asked for now.
mkdir "$T/cut"
: >"$T/cut/formatting"
truncate -s 128M "$T/cut/journal"
truncate -s 512M "$T/cut/capacity"
timeout -s TERM 5 "$firnd" --dev "$T/cut" $small --port 0 2>"$T/log"
has "formatted again" "$(<"$T/log")" 'msg=ready'
is "as long as asked for" "$(stat -c %s "$T/cut/journal" "$T/cut/capacity" | tr '\n' ' ')" "$((64 << 20)) $((256 << 20)) "

# A pool that was made whole, and only its mark is left: it keeps its segments, and there is nothing to say of them.
rm -rf "$T/whole"
timeout -s TERM 5 "$firnd" --dev "$T/whole" --journal-size 256MiB --capacity-size 256MiB --reactors 1 --port 0 2>"$T/log"
: >"$T/whole/formatting"
timeout -s TERM 5 "$firnd" --dev "$T/whole" --journal-size 512MiB --capacity-size 256MiB --reactors 1 --port 0 2>"$T/log"
has "it starts" "$(<"$T/log")" 'msg=ready'
grep -q 'journal.segment_size' "$T/log" && bad "said of a key that nobody set: $(<"$T/log")" || ok
[ -e "$T/whole/formatting" ] && bad "the mark stays" || ok

# A mark that something left beside a pool in use: damage is said, and nothing is formatted over what was acknowledged.
rm -rf "$T/p"
start_dev
ctl volume create db --size 16MiB >/dev/null
stop
: >"$T/p/formatting"
dd if=/dev/urandom of="$T/p/meta/data.mdb" bs=4096 count=2 conv=notrunc status=none
before=$(cat "$T/p/journal" "$T/p/capacity" "$T/p/meta/data.mdb" | md5sum)
exits 1 timeout 20 "$firnd" --dev "$T/p" --journal-size 64MiB --capacity-size 128MiB --port 0
has "the damage is said" "$out" 'cannot start.*metadata is damaged'
has "and the mark" "$out" 'nothing is made anew'
is "no byte is changed" "$(cat "$T/p/journal" "$T/p/capacity" "$T/p/meta/data.mdb" | md5sum)" "$before"
[ -e "$T/p/formatting" ] && bad "the mark stays" || ok
# One makes the pool, another one comes: it neither marks nor makes anything.
if command -v flock >/dev/null; then
    mkdir "$T/held"
    for how in "" --format; do
        exits 1 flock "$T/held" timeout 10 "$firnd" --dev "$T/held" $small --port 0 $how
        has "held by another ($how)" "$out" "$T/held is in use by another process: a pool is being made in it"
        is "nothing made ($how)" "$(ls "$T/held")" ""
    done
fi
# Metadata that does not fit its file system: what was made of it goes, and does not refuse the next format.
mkdir "$T/tiny"
cat >"$T/tiny.conf" <<END
pool: { metadata = "$T/tiny/m"; journal: { path = "$T/tj"; size = "160MiB"; }; capacity: ( { path = "$T/tc"; size = "256MiB"; } ); };
api: { unix = "$T/ts"; listen = ""; };
END
for size in 4k 8k; do
    mounted="unshare -m sh -c 'mount -t tmpfs -o size=$size none $T/tiny && exec \"\$0\" \"\$@\"'"
    eval "$mounted true" 2>/dev/null || continue
    exits 1 eval "$mounted sh -c '$firnd --format --config $T/tiny.conf; rc=\$?; echo left: \$(ls $T/tiny $T/tj $T/tc 2>/dev/null); exit \$rc'"
    has "it does not fit ($size)" "$out" '(cannot format|commit failed).*No space left'
    has "nothing of it stays ($size)" "$out" "^left: ($T/tiny:)? *\$"
done
