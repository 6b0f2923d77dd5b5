#!/usr/bin/env bash
# Everything at once: hosts that read, write, trim and zero, volumes that come and go, caps that change, and everybody asks for figures.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }
start_dev
for v in a b c; do
    ctl volume create $v --size 32MiB --quiet
    ctl host allow $v '*' --quiet
done
port=$(ready port) loads=()
for v in a b c; do
    "$bench" run --port "$port" --nqn "$(ctl volume show $v --json | jq -r .nqn)" --rw randmixed --trim-pct 5 --zero-pct 5 --qd 16 --time 8s \
        --verify --ack-log "$T/acks.$v" >"$T/load.$v" 2>&1 &
    loads+=($!)
done
get() { curl -s -o /dev/null --unix-socket "$sock" "http://x$1" || bad "GET $1"; }
rounds=0
while kill -0 "${loads[0]}" 2>/dev/null; do
    rounds=$((rounds + 1))
    for u in /metrics /v1/volumes /v1/devices /v1/status /; do get $u; done
    ctl volume create "z$rounds" --size 1MiB --quiet || bad "create z$rounds"
    ctl volume set a iops=$((rounds * 1000)) --quiet || bad "set a"
    ctl volume show a >"$T/show" || bad "show a"
    ctl volume delete "z$rounds" --quiet || bad "delete z$rounds"
done
for i in 0 1 2; do wait "${loads[i]}" && ok || bad "load $i: $(tail -n 3 "$T/load.$(cut -c$((i + 1)) <<<abc)")"; done
[ $rounds -ge 3 ] && ok || bad "only $rounds rounds"
for v in a b c; do
    exits 0 "$bench" verify --port "$port" --nqn "$(ctl volume show $v --json | jq -r .nqn)" --ack-log "$T/acks.$v"
done
stop
is "stops" $rc 0
exits 0 "$firnctl" check --data --dev "$T/p"
