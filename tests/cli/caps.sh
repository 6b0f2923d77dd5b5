#!/usr/bin/env bash
# A queue that waits under a low cap holds up nobody: not its own host that comes back, not a delete, not the end of the server.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }
start_dev
for v in a b; do
    exits 0 ctl volume create $v --size 64MiB --quiet
    exits 0 ctl host allow $v '*'
    exits 0 ctl volume set $v iops=1
done
nqn() { ctl volume show "$1" --json | jq -r .nqn; }
load() { "$bench" run --port "$(ready port)" --nqn "$(nqn "$1")" "${@:2}"; }
backlog() { # backlog VOLUME: a host that dies with a minute of writes on their way
    load "$1" --rw randwrite --qd 64 --time 30s >/dev/null 2>&1 &
    local host=$!
    sleep 1.5
    kill -9 "$(pgrep -P $host)" $host 2>/dev/null
    wait $host 2>/dev/null
}
backlog a
exits 0 load a --rw randread --qd 1 --ops 1 --timeout 10s
backlog b
begin=$SECONDS
exits 0 ctl volume delete b --force
[ $((SECONDS - begin)) -le 5 ] && ok || bad "the delete took $((SECONDS - begin)) s"
load a --rw randwrite --qd 64 --time 30s >/dev/null 2>&1 &
host=$!
sleep 1.5
stop
is "SIGTERM under load and a cap" $rc 0
wait $host 2>/dev/null
