#!/usr/bin/env bash
# faults.md C12, C13 on the real server: io_uring refused by a sandbox, few descriptors, little memory, no locked memory: the start says what
# is missing, in one line, or all works; and a journal that is persistent memory (a file that stands for it) under kills.
. "$(dirname "$0")/faults.bash"
refusal() { # refusal WHAT OUTPUT EXIT: one error line with a reason, no crash
    [ "$3" = 1 ] && ok || bad "$1: exit $3: $2"
    is "$1: error lines" "$(grep -c 'level=error msg="cannot start" why="..*"' <<<"$2")" 1
}
REACTORS=2 begin 160MiB
before=$(sums)

# --- C12 ------------------------------------------------------------------------------------------------------------------------
no_uring=$build/tests/crash/no_uring
rc=0
out=$("$no_uring" true 2>&1) || rc=$?
if [ $rc = 0 ]; then
    rc=0
    out=$(timeout 20 "$no_uring" "$firnd" --config "$pool/firn.conf" 2>&1) || rc=$?
    refusal "io_uring refused" "$out" $rc
    has "io_uring refused: what to do" "$out" 'io_uring.*(seccomp|io_uring_disabled)'
    exits 1 timeout 20 "$no_uring" "$firnctl" check --config "$pool/firn.conf"
    has "the offline check says so, too" "$out" 'io_uring'
    is "and nothing was written" "$(sums)" "$before"
else
    skip "io_uring refused: $out"
fi
brief() { # brief PREFIX...: a start of the server under it, until it is ready or has ended; $out, $rc
    local i pid
    : >"$work/brief" # what the start before said is not this one's
    "$@" "$firnd" --config "$pool/firn.conf" >"$work/brief" 2>&1 &
    pid=$!
    for ((i = 0; i < 1000; i++)); do
        ! grep -q msg=ready "$work/brief" && kill -0 $pid 2>/dev/null || break
        sleep 0.01
    done
    kill -TERM $pid 2>/dev/null
    rc=0
    wait $pid || rc=$?
    out=$(<"$work/brief")
}
started=0
for files in 6 7 8 10 12 13 14 15 16 18 20 21 22 24 32; do
    brief prlimit --nofile=$files:$files
    if grep -q msg=ready <<<"$out"; then
        started=$((started + 1))
        has "$files descriptors: that they are few is said" "$out" 'few file descriptors'
    else
        refusal "$files descriptors" "$out" $rc
    fi
done
[ $started -gt 0 ] && ok || bad "40 descriptors are too few for a server without hosts"
for mib in 64 192 384 768 1536; do # of address space
    brief prlimit --as=$((mib << 20))
    grep -q msg=ready <<<"$out" || refusal "$mib MiB of address space" "$out" $rc
done
pinned="prlimit --memlock=0"
up
volume_make v 64MiB
nqn=$(volume_nqn v)
is "no locked memory: it serves" "$(host "$nqn" write 0 100 1 | cut -d' ' -f1,2)" "good 100"
down
pinned="prlimit --nproc=1" # of a user who has more already: no thread can be made; root is exempt
if [ "$(id -u)" != 0 ]; then
    out=$(timeout 20 $pinned "$firnd" --config "$pool/firn.conf" 2>&1) && rc=0 || rc=$?
    refusal "no threads" "$out" $rc
fi
# fewer descriptors than hosts want: those that fit are served, the others are turned away, and room serves the next
pinned="prlimit --nofile=48:48"
up
fds=()
for ((i = 0; i < 60; i++)); do exec {fd}<>"/dev/tcp/127.0.0.1/$port" && fds+=("$fd"); done 2>/dev/null
sleep 0.5
kill -0 "$server" && ok || bad "descriptors used up: the server ended"
for fd in "${fds[@]}"; do exec {fd}>&-; done
sleep 1
is "descriptors came back: it serves" "$(host "$nqn" read 0 100 1 | cut -d' ' -f1,2)" "good 100"
pinned=
down

# --- C13: msync for persistence (a file on a disk), and cache-line flushes (as on DAX) ------------------------------------------
for force in 0 1; do
    export PMEM_IS_PMEM_FORCE=$force
    REACTORS=2 PORT=$(free_port) begin 160MiB 'journal: { segment_size = "16MiB"; }; tier: { dirty_start = 20; dirty_max = 50; };'
    sed -i "s|journal: { path|journal: { pmem = true; path|" "$pool/firn.conf"
    up
    fixed=$port
    volume_make v 128MiB
    nqn=$(volume_nqn v)
    "$bench" run --port "$port" --nqn "$nqn" --rw randmixed --read-pct 30 --bs 4KiB --qd 16 --trim-pct 5 --zero-pct 5 --size 96MiB --rate 4000 --time 600s --verify \
        --fresh --ack-log "$work/pmem.$force" --reconnect 20s --json >"$work/pmem.json" 2>>"$work/pmem.log" &
    loader=$!
    for ms in 400 100 030 250 010 150; do
        sleep 0.$ms
        server_kill
        server_start --config "$pool/firn.conf"
        server_wait 20 && ok || bad "pmem (force $force): no start after a kill"
    done
    sleep 0.5
    kill -TERM $loader
    wait $loader && ok || bad "pmem (force $force): load: $(head -c 400 "$work/pmem.json")"
    exits 0 timeout 60 "$bench" verify --port "$fixed" --nqn "$nqn" --ack-log "$work/pmem.$force" --reconnect 10s
    down
    exits 0 "$firnctl" check --data --config "$pool/firn.conf"
    # the same journal, opened as a plain file
    sed -i "s|pmem = true; ||" "$pool/firn.conf"
    up
    exits 0 timeout 60 "$bench" verify --port "$fixed" --nqn "$nqn" --ack-log "$work/pmem.$force" --reconnect 10s
    down
done
unset PMEM_IS_PMEM_FORCE
report
