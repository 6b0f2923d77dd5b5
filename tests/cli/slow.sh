#!/usr/bin/env bash
# The metadata hangs: changes hang with it, and nothing else does. Probes, figures and lists are answered at once, on new
# connections and on old ones; changes beyond those in work are refused with a time to come again; all goes on when it ends.
. "$(dirname "$0")/lib.bash"
shim=$T/hang.so hang=$T/hang
"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O1 -fPIC -shared -o "$shim" tests/crash/shim/hang.c 2>"$T/cc" || { echo "skip: no library can be built: $(head -n 1 "$T/cc")"; exit 77; }
sock=$T/p/firnd.sock log=$T/log
: >"$log"
env LD_PRELOAD="$shim" HANG_FILE="$hang" "$firnd" --dev "$T/p" $small --reactors 2 --port 0 2>"$log" &
pid=$!
wait_ready "$log"
for i in 1 2 3 4 5 6 7 8; do exits 0 ctl volume create v$i --size 1MiB; done
get() { curl -s -o "$T/got" -w '%{http_code}%{stderr}%{time_total}\n' --max-time 3 --unix-socket "$sock" "http://x$1" 2>>"$T/took"; } # get PATH: the status
change() { curl -s -D "$T/head.$1" -o "$T/body.$1" -w '%{http_code}' --max-time 60 --unix-socket "$sock" -X PATCH -d '{"iops":700}' "http://x/v1/volumes/v$1" >"$T/code.$1"; }

# Connections that live on, spread over the server's threads: one of them may stand behind a change, or none.
cat >"$T/probe.py" <<'END'
import socket, sys, time
conns = []
for i in range(16):
    s = socket.socket(socket.AF_UNIX); s.settimeout(3); s.connect(sys.argv[1]); conns.append(s)
def ask(s):
    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    d = b""
    while not d.endswith(b"ok\n"):
        c = s.recv(4096)
        if not c: return 0
        d += c
    return d.startswith(b"HTTP/1.1 200 ")
def round():
    n = 0
    for s in conns:
        try: n += ask(s)
        except OSError: pass
    return n
print(round(), flush=True)
sys.stdin.readline()
print(round(), flush=True)
END
coproc PROBE { python3 "$T/probe.py" "$sock"; }
read -r n <&"${PROBE[0]}"
is "connections" "$n" 16

touch "$hang"
changes=()
for i in 1 2 3 4 5 6; do change $i & changes+=($!); done
sleep 1
: >"$T/took" # by the requests: on a busy machine the programs that ask need longer to start
for p in /healthz /readyz /metrics /v1/status /v1/volumes /v1/volumes/v1 / /v1/config /v1/devices; do
    for i in 1 2 3; do is "$p while the metadata hangs" "$(get $p)" 200; done
done
is "and soon" "$(awk '{ all += $1 } END { print NR, all < 2 ? "soon" : all }' "$T/took")" "27 soon"
echo >&"${PROBE[1]}"
read -r n <&"${PROBE[0]}"
is "connections that were there before" "$n" 16
sleep 3
refused=0 open=0
for i in 1 2 3 4 5 6; do
    case $(cat "$T/code.$i") in
    503)
        refused=$((refused + 1))
        has "refused" "$(cat "$T/body.$i")" '"code":"busy".*not begun'
        has "when to come again" "$(cat "$T/head.$i")" '^Retry-After: 2'
        ;;
    "") open=$((open + 1)) ;;
    esac
done
is "changes that were refused" $refused 4
is "changes in work" $open 2
exits 1 ctl volume set v7 iops=5
has "the command line says so" "$out" 'earlier requests take long.*firnctl status'
rm "$hang"
wait "${changes[@]}"
is "changes that were begun end well" "$(grep -lx 200 "$T"/code.* | wc -l)" 2
exits 0 ctl volume set v7 iops=5
is "of those refused nothing was done" "$(curl -s --unix-socket "$sock" http://x/v1/volumes | jq '[.volumes[] | select(.iops == 700)] | length')" 2

# A stop answers what it finds in work.
touch "$hang"
change 8 &
changes=($!)
sleep 0.5
kill -TERM "$pid"
sleep 0.5
rm "$hang"
wait "${changes[@]}"
is "a change that a stop meets" "$(cat "$T/code.8")" 200
wait "$pid"
is "stopped" $? 0
pid=
