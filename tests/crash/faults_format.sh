#!/usr/bin/env bash
# faults.md A5 on the real server: SIGKILL at any moment of making a pool. With --dev the next start always ends with a working
# pool, by itself, and a pool that served is never made anew. With --format the next format or start says what happened, --force
# makes the pool, and a pool that was there is not touched. FAULT_ROUNDS (40) random moments; FAULT_SEED repeats them.
# shellcheck disable=SC2086
. "$(dirname "$0")/faults.bash"
rounds=${FAULT_ROUNDS:-40}
RANDOM=${FAULT_SEED:=$((RANDOM + 1))}
socket=$pool/firnd.sock
sizes="--journal-size 64MiB --capacity-size 256MiB"
made="--dev $pool $sizes --reactors 1 --port 0"
later() { # later MS: sleeps any time up to that
    local ms=$((RANDOM % $1)).$((RANDOM % 1000))
    sleep "$(printf '%d.%03d' $((${ms%.*} / 1000)) $((${ms%.*} % 1000)))"
}
works() { # works WHAT: the next start ends with a pool that takes a volume, and no mark stays
    server_start $made
    if ! server_wait 20 2>"$work/why"; then bad "$1: $(tail -n 2 "$work/why")"; server_kill; return; fi
    if [ -e "$pool/formatting" ]; then bad "$1: the mark stayed"; else ok; fi
    volume_make v 16MiB && is "$1: volumes" "$(ctl --json volume list | jq -c '[.volumes[].name]')" '["v"]'
    server_kill
}

# How long making takes here.
server_start $made
server_wait 20 || { bad "no start"; report; exit 1; }
whole=$ready_ms
server_kill

# --dev, cut at random moments, the second start as well in every third round.
early=0
for ((r = 0; r < rounds; r++)); do
    rm -rf "$pool"
    for ((again = r % 3 == 0 ? 2 : 1; again > 0; again--)); do
        server_start $made
        later "$whole"
        server_kill
        [ -e "$pool/formatting" ] && early=$((early + 1))
    done
    works "seed $FAULT_SEED round $r"
done
[ $((early * 8)) -ge $rounds ] && ok || bad "only $early of $rounds kills came while the pool was being made"

# What a cut leaves for a moment only.
left() { # left WHAT: after the caller put it there
    touch "$pool/formatting"
    works "left: $1"
    rm -rf "$pool"
    mkdir "$pool"
}
rm -rf "$pool"; mkdir "$pool"
left "the mark alone"
touch "$pool/journal"; left "a journal without length"
truncate -s 64M "$pool/journal"; left "a journal"
truncate -s 64M "$pool/journal"; touch "$pool/capacity"; left "a capacity file without length"
truncate -s 32M "$pool/journal"; left "a journal, shorter than is asked for now"
truncate -s 128M "$pool/capacity"; left "a capacity file, shorter than is asked for now"
truncate -s 64M "$pool/journal"; truncate -s 256M "$pool/capacity"; mkdir "$pool/meta"; left "no metadata in its directory"
truncate -s 64M "$pool/journal"; truncate -s 256M "$pool/capacity"; mkdir "$pool/meta"; touch "$pool/meta/data.mdb"; left "metadata without length"

# Data is not made anew: the mark is there again (a restored backup, say), and the server is killed in that start too.
server_start $made
server_wait 20 || bad "no start"
volume_make keep 16MiB
is "written" "$(host "$(volume_nqn keep)" write 0 64 1 | cut -d' ' -f1,2)" "good 64"
server_kill
for r in 1 2 3 4 5; do
    touch "$pool/formatting"
    server_start $made
    later 60
    server_kill
done
server_start $made
server_wait 20 || bad "a pool with data and the mark does not start"
is "what was written is there" "$(host "$(volume_nqn keep)" read 0 64 1 | cut -d' ' -f1,2)" "good 64"
down

# --format on files: the next start or format knows what it sees.
tell() { # tell WHAT: after a cut format of the pool in $pool
    local rc=0
    server_start --config "$pool/firn.conf"
    if server_wait 20 2>/dev/null; then
        server_kill # it was whole
        exits 1 "$firnd" --config "$pool/firn.conf" --format
        has "$1: a pool is refused" "$out" 'not empty'
    else
        wait "$server" || rc=$?
        server=0
        is "$1: a start without a pool" $rc 1
        has "$1: its words" "$(said)" 'was the pool formatted\?|format was cut short|is missing|no such file'
    fi
    out=$("$firnd" --config "$pool/firn.conf" --format 2>&1) || {
        has "$1: why it does not format" "$out" '"cannot format" why=".*(cut short|not empty).*--force'
        exits 0 "$firnd" --config "$pool/firn.conf" --format --force
    }
    server_start --config "$pool/firn.conf"
    if server_wait 20 2>"$work/why"; then ok; else bad "$1: no start after formatting: $(tail -n 2 "$work/why")"; fi
    server_kill
}
REACTORS=1
begin 160MiB
t=$(now_ms)
"$firnd" --config "$pool/firn.conf" --format --force 2>/dev/null
whole=$(($(now_ms) - t))
for ((r = 0; r * 3 < rounds; r++)); do
    rm -rf "$pool"
    conf "$pool" 160MiB
    server_start --config "$pool/firn.conf" --format
    later "$whole"
    server_kill
    tell "seed $FAULT_SEED format $r"
done

# Every call that leaves something behind, by number, where strace is to be had; the last ones are the labels.
traced() { timeout 20 strace -f -qq "$@" 2>/dev/null; }
cut_at() { # cut_at CALL,NUMBER ARGUMENTS...: firnd, killed in that call
    { traced -o /dev/null -e trace="${1%,*}" -e inject="${1%,*}:signal=KILL:when=${1#*,}" "$firnd" "${@:2}"; } 2>/dev/null
}
if command -v strace >/dev/null && strace -qq -o /dev/null true 2>/dev/null; then
    rm -rf "$pool"
    conf "$pool" 160MiB
    traced -o "$work/calls" -e trace=io_uring_enter "$firnd" --config "$pool/firn.conf" --format
    all=$(wc -l <"$work/calls")
    [ "$all" -gt 100 ] && ok || bad "a format of $all calls"
    for at in mkdir,{1,2} ftruncate,{1,2} fsync,{1,2,3,4,5} pwrite64,{1,2,3} fdatasync,1 unlink,1 \
        io_uring_enter,{1,3,9} $(for ((n = all - 14; n <= all; n += 2)); do echo "io_uring_enter,$n"; done); do
        rm -rf "$pool"
        cut_at "$at" --dev "$pool" --journal-size 160MiB --capacity-size 256MiB --reactors 1 --port 0
        works "cut at $at"
        rm -rf "$pool"
        conf "$pool" 160MiB
        cut_at "$at" --config "$pool/firn.conf" --format
        tell "format cut at $at"
    done
else
    skip "no strace here: moments by random delays alone"
fi

# A disk that is too small, and the server killed as it takes back what it made: a smaller journal then makes a pool.
rm -rf "$pool"; mkdir -p "$work/small"
if command -v strace >/dev/null && unshare -m mount -t tmpfs -o size=96m none "$work/small" 2>/dev/null; then
    for at in 1 2 3 4; do
        out=$(unshare -m sh -c 'mount -t tmpfs -o size=96m none "$2" || exit
            strace -f -qq -o /dev/null -e trace=unlink -e inject=unlink:signal=KILL:when=$0 "$1" --dev "$2/p" --journal-size 256MiB \
                --capacity-size 256MiB --reactors 1 --port 0
            echo left: "$2"/p/*
            exec timeout -s TERM 4 "$1" --dev "$2/p" --journal-size 64MiB --capacity-size 256MiB --reactors 1 --port 0' \
            $at "$firnd" "$work/small" 2>&1)
        has "killed in unlink $at" "$out" '^left: .*formatting'
        has "a smaller one after unlink $at" "$out" 'msg=ready'
    done
else
    skip "no strace or no mounts here: what a format takes back is not cut short"
fi

# A format that is refused touches nothing, whenever it dies.
rm -rf "$pool"
begin 160MiB
up
volume_make keep 16MiB
is "written" "$(host "$(volume_nqn keep)" write 0 64 1 | cut -d' ' -f1,2)" "good 64"
down
for r in 1 2 3 4 5 6; do
    server_start --config "$pool/firn.conf" --format
    later 40
    server_kill
done
up
is "what was written is there" "$(host "$(volume_nqn keep)" read 0 64 1 | cut -d' ' -f1,2)" "good 64"
down
exits 0 "$firnctl" check --data --config "$pool/firn.conf"
report
