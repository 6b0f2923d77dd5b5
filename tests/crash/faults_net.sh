#!/usr/bin/env bash
# faults.md D1, D5, D6, D13, F4 on the real server, in a network namespace of its own: a host whose cable is pulled, a host that asks and never reads, thousands of
# connections that say nothing, a network that cuts the stream into crumbs; hosts that behave are served meanwhile.
if [ -z "${FIRN_IN_NS:-}" ]; then
    for way in -n -rn; do # root needs no user namespace, and has none to give inside a chroot
        if unshare $way true 2>/dev/null; then FIRN_IN_NS=1 exec unshare $way "$0" "$@"; fi
    done
fi
. "$(dirname "$0")/faults.bash"
[ -z "${FIRN_IN_NS:-}" ] || ip link set lo up
ulimit -n 8192 2>/dev/null || { echo "skip: 8192 descriptors are not allowed"; exit 77; }
soon() { local limit=$((EPOCHSECONDS + $1)); shift; until "$@"; do [ $EPOCHSECONDS -lt $limit ] || return 1; sleep 0.2; done; }
connections_are() { [ "$(metric firn_connections)" = "$1" ]; }
files() { ls "/proc/$server/fd" | wc -l; }
rss() { awk '/VmRSS/ {print $2}' "/proc/$server/status"; }

CAPACITY=1GiB REACTORS=2 begin 160MiB 'limits: { connections = 3000; };'
sed -i 's|listen = "127.0.0.1"|listen = "0.0.0.0"|' "$pool/firn.conf"
up
volume_make v 128MiB
volume_make w 16MiB
nqn=$(volume_nqn v)
is "written" "$(host "$(volume_nqn w)" write 0 100 1 | cut -d' ' -f1,2)" "good 100"
soon 5 connections_are 0
files0=$(files) rss0=$(rss)

# --- D6: 4000 connections that say nothing, 3000 allowed; a host that was there works on ---------------------------------------
"$bench" run --port "$port" --nqn "$nqn" --rw randmixed --bs 4KiB --qd 8 --size 32MiB --time 7s --rate 2000 --verify --json >"$work/d6.json" 2>&1 &
loader=$!
sleep 0.5
python3 - "$port" >"$work/d6" <<'END'
import select, socket, sys, time
socks, refused = [], 0
for i in range(4000):
    s = socket.socket(); s.settimeout(5)
    try: s.connect(("127.0.0.1", int(sys.argv[1])))
    except OSError: refused += 1; continue
    socks.append(s)
print("open", len(socks)); sys.stdout.flush()
ended, reset, t = 0, 0, time.time()
poll = select.poll(); by = {}
for s in socks: poll.register(s, select.POLLIN); by[s.fileno()] = s
early = 0
while by and time.time() - t < 12:
    for fd, _ in poll.poll(500):
        try: d = by[fd].recv(100)
        except OSError: d = b""; reset += 1
        if d == b"":
            ended += 1; early += time.time() - t < 3
            poll.unregister(fd); by.pop(fd).close()
print("ended", ended, "early", early, "after", int(time.time() - t), "left", len(by))
END
read -r _ open < <(grep ^open "$work/d6")
is "D6: all were accepted or turned away" "$open" 4000
read -r _ ended _ early _ after _ left < <(grep ^ended "$work/d6")
is "D6: silent connections are all cut" "$ended $left" "4000 0"
[ "$early" -ge 1000 ] && ok || bad "D6: only $early of 4000 were turned away at once with 3000 allowed"
[ "$after" -le 9 ] && ok || bad "D6: cut after $after s"
wait $loader && ok || bad "D6: the load: $(head -c 300 "$work/d6.json")"
soon 10 connections_are 0 && ok || bad "D6: $(metric firn_connections) connections are left"
files_are_few() { [ "$(files)" -le $((files0 + 2)) ]; }
soon 5 files_are_few && ok || bad "D6: $(files) descriptors, $files0 before"
[ $(($(rss) - rss0)) -le 60000 ] && ok || bad "D6: $(($(rss) - rss0)) KiB more resident than before"
is "D6: hosts are served" "$(host "$(volume_nqn w)" read 0 100 1 | cut -d' ' -f1,2)" "good 100"

# --- D5: a host that asks for 64 MiB and reads nothing: a bounded amount is read for it, others are served -------------------
soon 5 connections_are 0
rss1=$(rss)
cat >"$work/slow.py" <<'END'
import socket, struct, sys, time
port, nqn = int(sys.argv[1]), sys.argv[2].encode()
def conn(small=False):
    s = socket.socket(); s.settimeout(10)
    if small: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.connect(("127.0.0.1", port))
    s.sendall(struct.pack("<BBBBIHBBI", 0, 0, 128, 0, 128, 0, 0, 0, 0) + bytes(112)); get(s); return s
def get(s):
    h = b""
    while len(h) < 8: h += s.recv(8 - len(h))
    n = struct.unpack("<I", h[4:])[0]; b = h
    while len(b) < n: b += s.recv(n - len(b))
    return b
def cmd(s, sqe, data=b""):
    pdo = 72 if data else 0
    s.sendall(struct.pack("<BBBBI", 4, 0, 72, pdo, 72 + len(data)) + sqe + data)
def connect(s, qid, cntlid):
    sqe = struct.pack("<BBHB19x", 0x7f, 0x40, 1, 1) + struct.pack("<QI3xB", 0, 1024, 1) + struct.pack("<HHHBBI", 0, qid, 31 if not qid else 127, 4, 0, 0) + bytes(12)
    sqe = sqe.ljust(64, b"\0")
    cmd(s, sqe, bytes([7]) * 16 + struct.pack("<H", cntlid) + bytes(238) + nqn.ljust(256, b"\0") + b"nqn.2014-08.org.nvmexpress:uuid:slow".ljust(256, b"\0") + bytes(256))
    r = get(s); assert struct.unpack("<H", r[22:24])[0] >> 1 == 0, r.hex()
    return struct.unpack("<H", r[8:10])[0]
a = conn(); c = connect(a, 0, 0xffff)
cmd(a, (struct.pack("<BBHB35x", 0x7f, 0x40, 2, 0) + struct.pack("<B3xIQ", 0, 0x14, 0x460001)).ljust(64, b"\0")); get(a)
q = conn(True); connect(q, 1, c)
for i in range(120):
    cmd(q, (struct.pack("<BBHI16x", 2, 0x40, i, 1) + struct.pack("<QI3xB", 0, 524288, 0x5a) .rjust(32, b"\0")[16:] ).ljust(40, b"\0") + struct.pack("<QI12x", 0, 127))
print("asked", q.recv(1, socket.MSG_PEEK)[0]); sys.stdout.flush() # 7: C2HData comes
time.sleep(40)
END
sed -i 's/export: {/export: { send_timeout = "3s";/' "$pool/firn.conf"
down
up
rss1=$(rss)
python3 "$work/slow.py" "$port" "$nqn" >"$work/slow" 2>&1 &
slow=$!
soon 5 grep -q "asked 7" "$work/slow" && ok || bad "D5: the slow reader could not ask: $(tail -n 2 "$work/slow")"
sleep 1
[ $(($(rss) - rss1)) -le 40000 ] && ok || bad "D5: $(($(rss) - rss1)) KiB are held for a host that asked for 60 MiB and reads nothing"
is "D5: it is still there" "$(metric firn_connections)" 2
is "D5: others are served" "$(host "$(volume_nqn w)" read 0 100 1 | cut -d' ' -f1,2)" "good 100"
soon 10 connections_are 1 && ok || bad "D5: $(metric firn_connections) connections after send_timeout, wanted the admin queue alone"
kill $slow 2>/dev/null; wait $slow 2>/dev/null
soon 5 connections_are 0 && ok || bad "D5: the slow reader left $(metric firn_connections) connections"

# --- D1: the cable is pulled under load ----------------------------------------------------------------------------------------------
if [ -n "${FIRN_IN_NS:-}" ] && ip link add va type veth peer name vb 2>/dev/null; then
    unshare -n sleep 60 & # a namespace for the host
    ns=$!
    sleep 0.2
    ip link set vb netns $ns
    ip addr add 10.9.9.1/24 dev va; ip link set va up
    nsenter -t $ns -n sh -c 'ip addr add 10.9.9.2/24 dev vb; ip link set vb up; ip link set lo up'
    nsenter -t $ns -n "$bench" run --host 10.9.9.1 --port "$port" --nqn "$nqn" --rw randmixed --qd 16 --size 32MiB --time 60s --keep-alive 2s --timeout 60s >/dev/null 2>&1 &
    loader=$!
    soon 5 connections_are 2 && ok || bad "D1: the host did not connect"
    sleep 0.5
    ip link set va down
    t=$(now_ms)
    soon 20 connections_are 0 && ok || bad "D1: $(metric firn_connections) half-open connections are left"
    [ $(($(now_ms) - t)) -le 12000 ] && ok || bad "D1: gone after $(($(now_ms) - t)) ms with a keep-alive of 2 s"
    is "D1: a second host is let in" "$(host "$nqn" write 20000 50 3 | cut -d' ' -f1,2)" "good 50"
    kill -9 $loader $ns 2>/dev/null; wait $loader $ns 2>/dev/null
    ip link del va 2>/dev/null
else
    skip "D1: no pair of network devices can be made"
fi

# --- D13: crumbs: the stream in pieces of 1 to 40 bytes, late; a verifying load through it -------------------------------------
cat >"$work/crumbs.py" <<'END'
import random, select, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0)); print(listener.getsockname()[1]); sys.stdout.flush()
def pump(a, b):
    r = random.Random(1)
    try:
        while d := a.recv(4000):
            at = 0
            while at < len(d):
                n = r.choice((1, 2, 7, 8, 23, 40, 900)); b.sendall(d[at:at + n]); at += n
                if r.random() < 0.01: time.sleep(0.002)
    except OSError: pass
    for s in (a, b):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
while True:
    c, _ = listener.accept(); t = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    for s in (c, t): s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for p in ((c, t), (t, c)): threading.Thread(target=pump, args=p, daemon=True).start()
END
python3 "$work/crumbs.py" "$port" >"$work/crumbs" &
proxy=$!
soon 5 test -s "$work/crumbs"
for digests in "" "--hdgst --ddgst"; do
    # shellcheck disable=SC2086
    exits 0 timeout 40 "$bench" run --port "$(cat "$work/crumbs")" --nqn "$nqn" --rw randmixed --read-pct 50 --bs 16KiB --qd 4 --size 8MiB --time 2s --verify $digests
done
kill $proxy
is "no PDU was called wrong" "$(metric firn_protocol_errors_total)" 0
is "no digest was called wrong" "$(metric firn_digest_errors_total)" 0
down
exits 0 "$firnctl" check --data --config "$pool/firn.conf"
report
