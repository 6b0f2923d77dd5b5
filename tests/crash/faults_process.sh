#!/usr/bin/env bash
# faults.md C8, A1, A5, A10 on the real server: eight at once on one pool, kills in the first half second of a start, SIGTERM
# under load and then SIGKILL, the time a start takes.
. "$(dirname "$0")/faults.bash"
rounds=${FAULT_ROUNDS:-10}
REACTORS=1 begin 160MiB
up
volume_make v 64MiB
nqn=$(volume_nqn v)
is "written" "$(host "$nqn" write 0 200 1 | cut -d' ' -f1,2)" "good 200"
server_kill

# C8: eight at once; every other round right after a kill -9, whose start must not wait for anything
for i in 1 2 3 4 5 6 7 8; do sed "s|$pool/firnd.sock|$work/s$i|" "$pool/firn.conf" >"$work/$i.conf"; done
slow=0 wrong=0 mute=0
for ((r = 0; r < rounds; r++)); do
    pids=()
    for i in 1 2 3 4 5 6 7 8; do
        "$firnd" --config "$work/$i.conf" 2>"$work/log$i" &
        pids[i]=$!
    done
    t=$(now_ms) alive=8 ready=0
    while [ "$(($(now_ms) - t))" -lt 8000 ] && { [ $alive -gt 1 ] || [ $ready != 1 ]; }; do
        alive=0
        for i in 1 2 3 4 5 6 7 8; do kill -0 "${pids[i]}" 2>/dev/null && alive=$((alive + 1)); done
        ready=$(cat "$work"/log? | grep -c msg=ready)
        sleep 0.02
    done
    [ "$alive" = 1 ] && [ "$ready" = 1 ] || wrong=$((wrong + 1))
    [ "$(($(now_ms) - t))" -le 5000 ] || slow=$((slow + 1))
    [ "$(grep -l 'cannot start.*in use' "$work"/log? | wc -l)" = 7 ] || mute=$((mute + 1))
    sig=$([ $((r % 2)) = 0 ] && echo KILL || echo TERM)
    for i in 1 2 3 4 5 6 7 8; do kill -$sig "${pids[i]}" 2>/dev/null; done
    wait "${pids[@]}" 2>/dev/null
done
is "rounds in which not exactly one of eight served" $wrong 0
is "rounds in which one did not say why it left" $mute 0
is "rounds that took more than 5 s" $slow 0

# A5: killed again at 20, 40, ... 500 ms after its start, ten times in a row; then all is there.
load() { # load FILE SECONDS [OPTION]: writes that are kept in a log outside the pool
    "$bench" run --port "$port" --nqn "$nqn" --rw randwrite --bs 4KiB --qd 8 --size 32MiB --offset 32MiB --time "$2s" --rate 4000 --verify --ack-log "$1" \
        --reconnect 20s --json ${3:-} >"$work/load.json" 2>>"$work/load.log" &
    loader=$!
}
sed -i "s/port = 0; discovery/port = $(free_port); discovery/" "$pool/firn.conf"
up
fixed=$port
load "$work/acks" 600 --fresh
sleep 1
server_kill
for ms in 020 040 080 120 160 200 250 300 400 500; do
    server_start --config "$pool/firn.conf"
    sleep 0.$ms
    server_kill
done
server_start --config "$pool/firn.conf"
server_wait 30 && ok || bad "no start after ten kills"
[ "$ready_ms" -le 10000 ] && ok || bad "A1: ready after $ready_ms ms"
sleep 1
kill -TERM $loader; wait $loader && ok || bad "load over kills: $(cat "$work/load.json")"
exits 0 timeout 60 "$bench" verify --port "$fixed" --nqn "$nqn" --ack-log "$work/acks" --reconnect 10s

# A10: SIGTERM under load ends in 0 and soon, with a checkpoint: the next start has nothing dirty to look for, and no client waits long.
load "$work/acks" 600
sleep 1
t=$(now_ms) rc=0
server_term || rc=$?
is "SIGTERM under load" $rc 0
[ $(($(now_ms) - t)) -le 25000 ] && ok || bad "stopping took $(($(now_ms) - t)) ms"
server_start --config "$pool/firn.conf"
server_wait 30 && ok || bad "no start after SIGTERM"
sleep 0.5
# SIGTERM, and SIGKILL while it stops: as a crash
for ms in 0.005 0.02 0.1; do
    kill -TERM "$server"
    sleep $ms
    server_kill
    server_start --config "$pool/firn.conf"
    server_wait 30 && ok || bad "no start after SIGTERM and SIGKILL"
    sleep 0.3
done
kill -TERM $loader; wait $loader && ok || bad "load over SIGTERM: $(cat "$work/load.json")"
exits 0 timeout 60 "$bench" verify --port "$fixed" --nqn "$nqn" --ack-log "$work/acks" --reconnect 10s
is "and what was written first" "$(host "$nqn" read 0 200 1 | cut -d' ' -f1,2)" "good 200"

# A10: a second SIGTERM while stopping does no harm
kill -TERM "$server"; kill -TERM "$server" 2>/dev/null; rc=0; wait "$server" || rc=$?; server=0
is "two SIGTERMs" $rc 0
exits 0 "$firnctl" check --data --config "$pool/firn.conf"

report
