#!/usr/bin/env bash
# firn-bench: what does not fit the target is the command line's fault (exit 2, the limit named, at once); statuses in words.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }

# What is wrong by itself: exit 2 and one line with option, value and what is allowed, before anybody is called.
wrong() { # wrong PATTERN ARGUMENTS...
    local p=$1
    shift
    exits 2 timeout 10 "$bench" run --nqn nqn.2014-08.org.example:x --port 1 "$@"
    has "$*" "$out" "^firn-bench: $p"
    is "$*: one line" "$(wc -l <<<"$out")" 1
}
number='a number, '
size='a size such as 4KiB [^;]*, '
for v in 0 2000 -1 x ""; do wrong "--qd: \"$v\" is not valid; allowed: ${number}1 to 1024;" --qd "$v"; done
for v in 0 65; do wrong "--threads: \"$v\" is not valid; allowed: ${number}1 to 64;" --threads "$v"; done
for v in 0 4097; do wrong "--connections: \"$v\" is not valid; allowed: ${number}1 to 4096;" --connections "$v"; done
for v in 0 70000; do wrong "--port: \"$v\" is not valid; allowed: ${number}1 to 65535;" --port "$v"; done
for v in 0 128MiB 10MB; do wrong "--bs: \"$v\" is not valid; allowed: ${size}512 B to 64.0 MiB;" --bs "$v"; done
wrong "--size: \"1.2MiB\" is not a whole number of bytes; allowed: $size" --size 1.2MiB
wrong "--bs must be a multiple of 512 bytes" --bs 1000
for o in read-pct trim-pct zero-pct; do wrong "--$o: \"101\" is not valid; allowed: ${number}0 to 100;" "--$o" 101; done
wrong "--trim-pct and --zero-pct are more than 100 together" --trim-pct 60 --zero-pct 60
for v in sideways rand ""; do wrong "--rw: \"$v\" is not valid; allowed: read, write, mixed, randread," --rw "$v"; done
for v in 5 0s x; do wrong "--time: \"$v\" is not valid; allowed: a duration such as 10s .*, at least 1.0 ms;" --time "$v"; done
for o in warmup reconnect keep-alive; do wrong "--$o: \"5\" is not valid; allowed: a duration such as 10s" "--$o" 5; done
wrong "--keep-alive must be whole milliseconds" --keep-alive 10us
for v in 0 1.5 x; do wrong "--ops: \"$v\" is not valid; allowed: a number, at least 1;" --ops "$v"; done
wrong "--ops must be at least --threads" --ops 2 --threads 3
for v in 0 x; do wrong "--size: \"$v\" is not valid; allowed: ${size}at least 512 B;" --size "$v"; done
for v in 10/m x; do wrong "--rate: \"$v\" is not valid; allowed: a number, or N/s;" --rate "$v"; done
wrong "--cpu: \"5000\" is not valid; allowed: ${number}0 to 1023;" --cpu 5000
wrong "--nqn: \"\" is not valid; allowed: characters, 1 to 223;" --nqn ""
wrong "takes no value: --json=1" --json=1
wrong "unknown option: --colour" --colour
wrong "unexpected word: surplus" surplus
wrong "a value is missing after: --qd" --qd
exits 2 "$bench" frobnicate
has "commands are named" "$out" 'unknown command "frobnicate"; there are run, verify, list, ping'
exits 0 "$bench" -h

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
exits 0 run run --rw=randwrite --time=1s --verify --ack-log="$T/acks" --fresh
exits 0 run verify --ack-log "$T/acks"
exits 2 run run --verify --ack-log "$T/acks" --bs 512 --time 1s

# --fresh is believed only of a new log and of a volume that holds nothing; what another run overwrote is called that
exits 2 run run --verify --ack-log "$T/acks" --fresh --ops 10
has "--fresh on a log that has runs" "$out" "^firn-bench: --fresh is for a new log, and $T/acks has runs in it; leave --fresh out"
head -c 64 "$T/acks" >"$T/acks3"
exits 2 run run --verify --ack-log "$T/acks3" --fresh --ops 10
has "a log without runs is not that" "$out" "the volume was written before"
exits 2 run run --verify --ack-log "$T/acks2" --fresh --ops 10
has "--fresh on a volume that was written" "$out" "^firn-bench: --fresh, but the volume was written before \\(byte [0-9]+ is not zero\\); leave --fresh out"
[ -e "$T/acks2" ] && bad "a log was made for a run that did not begin" || ok
exits 0 run run --verify --ack-log "$T/acks" --rw randwrite --ops 10
exits 0 run verify --ack-log "$T/acks"
exits 0 run run --verify --ack-log "$T/acks2" --rw write --ops 5000
exits 0 run verify --ack-log "$T/acks2"
exits 1 run verify --ack-log "$T/acks"
has "another log's writes have a name" "$out" "[0-9]+: a write of another run, which this log does not know$"
is "none of them is called an older version" "$(grep -c 'an older version' <<<"$out")" 0
has "the other cause is said" "$out" "^firn-bench: if something else wrote to this volume since .*, this is no loss of the server"

exits 0 run run --threads 3 --connections 4 --rw randmixed --time 1s --json
is "threads are one host, with one controller" "$(jq -c '[.ok, .reconnects, .protocol_faults, .by_op.read.count > 0]' <<<"$out")" "[true,0,0,true]"
exits 1 run run --threads 2 --own-hosts --time 1s
has "threads that are hosts of their own: one is refused" "$out" "or another host is connected|reset|closed"
exits 2 run run --threads 2 --connections 65 --time 1s
uuid=$(ctl volume show a --json | jq -r .uuid)
ctl volume create other --size 16MiB --quiet || bad "create"
ctl host allow other '*' --quiet || bad "allow"
exits 2 timeout 10 "$bench" run --port "$(ready port)" --nqn "$(ctl volume show other --json | jq -r .nqn)" --verify --ack-log "$T/acks" --ops 10
has "another volume's log: whose, and what to do" "$out" "^firn-bench: $T/acks: this log is of volume $uuid, not of this one; name a new --ack-log FILE, or remove it$"
ctl volume delete other --quiet || bad "delete"
exits 0 run run --threads 3 --rw randwrite --time 1s --verify --ack-log "$T/acks3"
exits 0 run verify --ack-log "$T/acks3"
# the server dies under all threads of a run: one controller again for all of them
timeout 40 "$bench" run --port "$(ready port)" --nqn "$nqn" --threads 3 --rw randwrite --time 4s --reconnect 20s --verify --ack-log "$T/acks3" >"$T/out" 2>&1 &
load=$!
sleep 1
port=$(ready port)
kill -KILL "$pid"; wait "$pid" 2>/dev/null
start_dev --port "$port" --discovery-port 0
wait $load; is "a run of three threads outlives its server" "$? $(grep -c ' 0 violations; [1-9][0-9]* reconnects' "$T/out")" "0 1"
exits 0 run verify --ack-log "$T/acks3"

# the server dies and nobody said what to do then: what was under way, what can be known of it, what to do
lost() { # lost WHAT [ARGUMENTS...]: a run whose server dies; $out
    "$bench" run --port "$(ready port)" --nqn "$nqn" --qd 8 --time 30s "${@:2}" >"$T/out" 2>&1 &
    load=$!
    sleep 1
    kill -KILL "$pid"; wait "$pid" 2>/dev/null; pid=
    wait $load; is "$1: fails" $? 1
    out=$(cat "$T/out")
}
lost "reads" --rw randread
has "a connection that is lost" "$out" "^firn-bench: the connection was lost in the middle of the run: "
has "reads: what to do" "$out" "^firn-bench: [1-8] requests were under way; look whether the target runs; --reconnect 60s goes on when it comes back$"
start_dev
lost "writes" --rw randwrite --verify --ack-log "$T/acks4"
has "writes: what is known" "$out" "^firn-bench: [1-8] requests were under way, [1-8] of them writes that may be there or not; when the target is back, \
firn-bench verify --ack-log $T/acks4 proves what was acknowledged; --reconnect 60s goes on by itself$"
start_dev
lost "nobody comes back" --rw randread --reconnect 200ms
has "said as such" "$out" "^firn-bench: the connection was lost and did not come back within --reconnect: connect to .* refused"
start_dev
exits 0 run verify --ack-log "$T/acks4"

"$bench" run --port "$(ready port)" --nqn "$nqn" --time 60s >"$T/out" 2>&1 &
load=$!
sleep 0.7
kill -TERM $load
wait $load; is "SIGTERM ends a run, with figures" "$? $(grep -c IOPS "$T/out")" "0 1"

exits 1 timeout 10 "$bench" run --port "$(ready port)" --nqn "$nqn-not" --time 1s
has "no such subsystem: in words" "$out" "such a subsystem"
grep -q IOPS <<<"$out" && bad "figures without a run: $out" || ok
has "and in the server's log" "$(cat "$log")" "level=warn msg=\"host refused\" subsystem=$nqn-not host=nqn[^ ]* peer=127.0.0.1:[0-9]+ why=\"no such subsystem\" left_out=0"

# Hosts that may not, or not now: what firn-bench says, and a line in the server's log, but not one for each try of each host.
host=nqn.2014-08.org.example:h
ctl volume create b --size 16MiB --quiet || bad "create"
b=$(ctl volume show b --json | jq -r .nqn)
list() { timeout 10 "$bench" list --port "$(ready port)" "$@"; }
default=$("$bench" --help | grep -oE 'this host.s name \(nqn[^)]*' | sed 's/.*(//')
exits 0 list
has "a's list has anybody on it" "$out" "$nqn"
ctl host deny a '*' --quiet || bad "deny"
exits 0 list
is "nobody is let in, said with the name" "$out" "firn-bench: no subsystem lets host $default in"
exits 0 list --json
has "in JSON too" "$(grep -v ^firn-bench <<<"$out")" '^\[\]'
connect_b() { timeout 10 "$bench" run --port "$(ready port)" --nqn "$b" --hostnqn "$host" --rw randread --time 1s; }
exits 1 connect_b
has "not on the list: what to do" "$out" "host $host is not on the list \\(firnctl host allow VOLUME $host\\), or another host is connected"
has "the log says which" "$(cat "$log")" "msg=\"host refused\" subsystem=$b host=$host peer=127.0.0.1:[0-9]+ why=\"not on the list\""
ctl host allow b '*' --quiet || bad "allow"
"$bench" run --port "$(ready port)" --nqn "$b" --rw randread --time 20s >/dev/null 2>&1 &
load=$!
sleep 1
exits 1 connect_b
has "the log says that another is there" "$(cat "$log")" "msg=\"host refused\" subsystem=$b host=$host peer=127.0.0.1:[0-9]+ why=\"another host is connected\""
exits 1 ctl volume delete b
has "a delete is refused for the host, and says so" "$out" "a host is connected to volume b; disconnect the host"
kill -TERM $load; wait $load
ctl host deny b '*' --quiet || bad "deny"
SECONDS=0
for i in {1..40}; do connect_b >/dev/null 2>&1; done
lines=$(grep -c 'msg="host refused"' "$log")
[ "$lines" -le $((3 + 8 * (2 + SECONDS / 10))) ] && ok || bad "the log is flooded by refusals: $lines lines"
stop
exits 1 timeout 10 "$bench" run --port 1 --nqn "$nqn" --time 1s
has "nobody there" "$out" "refused"
grep -q IOPS <<<"$out" && bad "figures without a run: $out" || ok
