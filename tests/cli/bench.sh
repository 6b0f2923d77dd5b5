#!/usr/bin/env bash
# firn-bench: what does not fit the target is the command line's fault (exit 2, the limit named, at once); statuses in words.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }
start_dev
ctl volume create a --size 64MiB --quiet || bad "create"
ctl host allow a '*' --quiet || bad "allow"
nqn=$(ctl volume show a --json | jq -r .nqn)
run() { timeout 10 "$bench" "$@" --port "$(ready port)" --nqn "$nqn"; }
exits 2 run run --bs 8MiB --time 1s
has "the limit of a request is named" "$out" "MDTS.*[0-9]+ bytes"
exits 2 run run --bs 512 --time 1s
has "the block size is named" "$out" "multiple of .* 4096 bytes"
exits 2 run run --size 20GiB --time 1s
has "the size is named" "$out" "67108864 bytes"
exits 2 run run --offset 64MiB --time 1s
has "the end is named" "$out" "67108864 bytes"
exits 2 run verify --ack-log "$T/none"
has "the log is named" "$out" "$T/none"
exits 0 run run --rw randwrite --time 1s --verify --ack-log "$T/acks" --fresh
exits 0 run verify --ack-log "$T/acks"
exits 2 run run --verify --ack-log "$T/acks" --bs 512 --time 1s

"$bench" run --port "$(ready port)" --nqn "$nqn" --time 60s >"$T/out" 2>&1 &
load=$!
sleep 0.7
kill -TERM $load
wait $load; is "SIGTERM ends a run, with figures" "$? $(grep -c IOPS "$T/out")" "0 1"

exits 1 timeout 10 "$bench" run --port "$(ready port)" --nqn "$nqn-not" --time 1s
has "no such subsystem: in words" "$out" "such a subsystem"
grep -q IOPS <<<"$out" && bad "figures without a run: $out" || ok
stop
exits 1 timeout 10 "$bench" run --port 1 --nqn "$nqn" --time 1s
has "nobody there" "$out" "refused"
grep -q IOPS <<<"$out" && bad "figures without a run: $out" || ok
