#!/usr/bin/env bash
# faults.md A8 on the real server: the wall clock jumps by decades, forward and back, under load, at start and over restarts; then the whole process stands still for
# seconds, so that time jumps for it. No error, no lost connection, no byte changes; what has a deadline keeps it.
. "$(dirname "$0")/faults.bash"
shim=$work/clock.so clock=$work/clock
"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O1 -fPIC -shared -o "$shim" tests/crash/shim/clock.c 2>"$work/cc" || { echo "skip: no library can be built: $(head -n 1 "$work/cc")"; exit 77; }
head -c 16 /dev/zero >"$clock"
years() { # years N: from now on the wall clock is so far off
    python3 -c 'import struct, sys
f = open(sys.argv[1], "r+b"); f.write(struct.pack("=q", int(sys.argv[2]) * 31557600))' "$clock" "$1"
}
asked() { od -An -t u8 -j 8 "$clock" | tr -d ' '; } # how often it was
pinned="env LD_PRELOAD=$shim CLOCK_FILE=$clock"
load() { # load SECONDS OFFSET: without --reconnect, so a cut connection or an error ends it
    "$bench" run --port "$port" --nqn "$(volume_nqn v)" --rw randmixed --bs 4KiB --qd 8 --size 16MiB --offset "$2" --time "$1s" --rate 3000 --verify --fresh \
        --keep-alive 5s --json >"$work/load.json" 2>"$work/load.log" &
    loader=$!
}
loaded() { wait $loader && ok || bad "$1: the load: $(head -c 300 "$work/load.json") $(head -c 300 "$work/load.log")"; }
served() { # served WHAT: the API answers, what was written is there
    is "$1: status" "$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 --unix-socket "$socket" http://x/v1/status)" 200
    is "$1: bytes" "$(host "$(volume_nqn keep)" read 0 64 1 | cut -d' ' -f1,2)" "good 64"
}

# Made in the future.
years 10
REACTORS=2
conf "$pool" 160MiB 'tier: { io_deadline = "2s"; };'
$pinned "$firnd" --config "$pool/firn.conf" --format 2>"$work/format.log" && ok || bad "format: $(tail -n 1 "$work/format.log")"
[ "$(asked)" -gt 0 ] && ok || bad "nobody asked the clock that is moved"
up
volume_make v 64MiB
volume_make keep 16MiB
is "written" "$(host "$(volume_nqn keep)" write 0 64 1 | cut -d' ' -f1,2)" "good 64"

# Jumps under load.
load 9 0
for y in -20 30 0 -55 200 10; do
    sleep 1
    years $y
    served "$y years off"
done
loaded "jumps of the wall clock"
up_s=$(curl -s --unix-socket "$socket" http://x/v1/status | jq '.uptime_s | floor')
[ "$up_s" -ge 5 ] && [ "$up_s" -lt 600 ] && ok || bad "up for $up_s s"

# A host that falls silent is found out in its keep-alive time, whatever the wall clock says meanwhile.
connections_are() { [ "$(metric firn_connections)" = "$1" ]; }
"$bench" run --port "$port" --nqn "$(volume_nqn v)" --idle --keep-alive 2s --time 60s >"$work/idle.log" 2>&1 &
idle=$!
for ((i = 0; i < 50; i++)); do connections_are 0 || break; sleep 0.1; done
connections_are 0 && bad "no idle host" || ok
kill -STOP $idle
t=$(now_ms)
for y in -30 40 -50 10; do years $y; sleep 0.3; done
until connections_are 0 || [ $(($(now_ms) - t)) -gt 12000 ]; do sleep 0.1; done
t=$(($(now_ms) - t))
[ $t -ge 1500 ] && [ $t -le 10000 ] && ok || bad "a silent host was found out after $t ms"
{ kill -KILL $idle; wait $idle; } 2>/dev/null

# The process stands still under load: shorter, then longer than tier.io_deadline.
load 12 16MiB
for s in 1 3 3; do
    sleep 1
    kill -STOP "$server"
    sleep $s
    kill -CONT "$server"
done
loaded "standing still"
served "after standing still"
down

# A start long before the pool was made; SIGKILL and a start long after.
years -40
up
served "started 50 years earlier"
load 60 32MiB
sleep 1
server_kill
wait $loader
years 150
up
served "started 190 years later"
t=$(now_ms)
years -10
down
[ $(($(now_ms) - t)) -le 25000 ] && ok || bad "stopping took $(($(now_ms) - t)) ms"
exits 0 "$firnctl" check --data --config "$pool/firn.conf"
report
