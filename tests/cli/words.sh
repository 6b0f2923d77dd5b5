#!/usr/bin/env bash
# Errors say what, why and what to do; help is help.
. "$(dirname "$0")/lib.bash"

# Who answers at a URL may be anybody: nothing of it reaches a terminal but text, or a page but numbers.
if command -v python3 >/dev/null; then
    cat >"$T/anybody.py" <<'END'
import http.server, json
E = "\x1b[31m\x07\u009b2J"
V = {"name": "a" + E, "hosts": [E, 5, None], "admit": "third" + E, "cache_min": E, "size": 5}
ALL = {"node": E, "version": E, "pool": {"name": E}, "alerts": [E, 7], "devices": [{"path": E, "role": E, "state": E}]}
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        at = self.path.split("?")[0]
        body = {"volumes": [V]} if at.endswith("volumes") else {"volume": "<script>", "size": 9, "read": [1e300], "write": ["x"]} \
            if at.endswith("heat") else {"hosts": V["hosts"]} if at.endswith("hosts") else ALL if at.endswith("status") else V
        self.send_response(404 if "gone" in at else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"error": {"code": "x", "message": E}} if "gone" in at else body).encode())
    def log_message(self, *a): pass
s = http.server.HTTPServer(("127.0.0.1", 0), H)
print(s.server_port, flush=True)
s.serve_forever()
END
    python3 "$T/anybody.py" >"$T/port" &
    anybody=$!
    for ((i = 0; i < 100; i++)); do [ -s "$T/port" ] && break; sleep 0.1; done
    url=http://127.0.0.1:$(cat "$T/port")
    for what in status "volume list" "volume show a" "host list a" "volume show gone" "heat a" "host deny a nqn.x"; do
        timeout 20 "$firnctl" --url "$url" $what >"$T/said" 2>&1
        [ $? -le 1 ] && ok || bad "$what ends badly: $(cat "$T/said")"
        is "$what: nothing but text" "$(LC_ALL=C grep -cP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' "$T/said")" 0
    done
    exits 0 "$firnctl" --url "$url" heat a --svg "$T/a.svg"
    is "no markup of its own" "$(grep -c '<script' "$T/a.svg")" 0
    kill "$anybody"
    wait "$anybody" 2>/dev/null
fi
old=$(ulimit -S -l)
ulimit -S -l 64
start_dev --log-level debug
has "a limit that does no harm: what it means, for those who look closely" "$(cat "$log")" '^level=debug msg="locked memory is limited" limit_kib=64 note="no fault'
stop
ulimit -S -l "$old"
start_dev
is "and not a word otherwise" "$(grep -c "locked memory" "$log")" 0
has "no volume" "$(ctl volume list 2>&1 >/dev/null)" "^firnctl: there are no volumes yet; .firnctl volume create NAME --size SIZE. makes one$"
is "no such word in JSON" "$(ctl volume list --json 2>&1 | jq -c .volumes)" "[]"
exits 0 ctl volume create a --size 10MiB --iops 500
exits 1 ctl volume resize a --size 4MiB
exits 1 ctl volume show nope
has "a volume that is not there has a name" "$out" "there is no volume nope; .firnctl volume list. shows"
exits 1 ctl volume resize nope --size 20MiB
has "however it is asked for" "$out" "there is no volume nope;"
exits 1 ctl volume delete nope
has "to be deleted" "$out" "there is no volume nope;"
exits 1 ctl host allow nope '*'
has "to be opened" "$out" "there is no volume nope;"
exits 1 ctl volume resize a --size 4MiB
has "shrink" "$out" "volumes only grow; its size is 10.0 MiB now; to have less, make a smaller volume, copy the files and delete this one$"
exits 1 ctl volume create a --size 20MiB --iops 500
has "conflict: size" "$out" "its size is 10.0 MiB, not 20.0 MiB"
exits 1 ctl volume create a --size 10MiB --iops 7
has "conflict: iops" "$out" "its iops is 500, not 7"
exits 0 ctl volume set a iops=700 tier=ssd
exits 0 ctl volume create a --size 10MiB
has "made before, and changed since: what is not asked for may be anything" "$out" "^exists a, 10.0 MiB"
exits 0 ctl volume create a --size 10MiB --iops 700 --lba 4096
exits 1 ctl volume create a --size 10MiB --iops 500
has "what is asked for is compared" "$out" "its iops is 700, not 500; choose another name"
exits 1 ctl volume create a --size 10MiB --tier auto
has "also where it is the default" "$out" "its tier is ssd, not auto"

# What no server could make of it is the command line's fault: exit 2, what was given, what is allowed; nothing is made.
wrong() { # wrong PATTERN ARGUMENTS...
    local p=$1
    shift
    exits 2 ctl "$@"
    has "$*" "$out" "^firnctl: $p"
    is "$*: one line" "$(wc -l <<<"$out")" 1
}
for s in 0 4KiB 1048575 300TiB -1 10MB 1e9 ""; do
    wrong "size: \"$s\" is not valid; allowed: 1MiB to 256TiB" volume create b --size "$s"
    wrong "size: \"$s\" is not valid; allowed: 1MiB to 256TiB" volume resize a --size "$s"
done
wrong 'size: "1.2MiB" is not a whole number of bytes; allowed: 1MiB to 256TiB' volume create b --size 1.2MiB
wrong 'bandwidth: "1.2MiB" is not a whole number of bytes; allowed: a size' volume set a bandwidth=1.2MiB
for v in 0 1024 4KiB ""; do wrong "lba: \"$v\" is not valid; allowed: 4096, 512" volume create b --size 1MiB --lba "$v"; done
for v in -1 x 1k 99999999999999999999 ""; do
    wrong "iops: \"$v\" is not valid; allowed: a whole number" volume create b --size 1MiB --iops "$v"
    wrong "iops: \"$v\" is not valid; allowed: a whole number" volume set a "iops=$v"
done
for v in -1 10MB ""; do wrong "bandwidth: \"$v\" is not valid; allowed: a size such as" volume create b --size 1MiB --bandwidth "$v"; done
for v in 200 1023KiB; do # the unit was forgotten
    is_it="$([ $v = 200 ] && echo 200 || echo 1047552) bytes"
    wrong "bandwidth: \"$v\" is $is_it a second; allowed: at least 1MiB, such as 200MiB; 0: no cap" volume create b --size 1MiB --bandwidth "$v"
    wrong "bandwidth: \"$v\" is $is_it a second; allowed: at least 1MiB" volume set a "bandwidth=$v"
done
exits 0 ctl volume set a bandwidth=1MiB
exits 0 ctl volume set a bandwidth=0
wrong 'tier: "fast" is not valid; allowed: auto, ssd, hdd' volume create b --size 1MiB --tier fast
wrong 'tier: "" is not valid; allowed: auto, ssd, hdd' volume set a tier=
wrong 'key: "colour" is not valid; allowed: tier, iops, bandwidth' volume set a colour=red
wrong 'NAME: "B" is not valid; allowed: a-z' volume create B --size 1MiB
for h in me "nqn." "nqn.a b" "nqn.a/b" "nqn.$(printf 'x%.0s' {1..220})"; do
    wrong 'HOSTNQN: ".*" is not valid; allowed: nqn' host allow a "$h"
done
wrong 'bundle: FILE is empty' bundle ""
wrong 'top: --count takes 1 to' top --count 0
wrong 'unknown option --colour' status --colour
is "nothing of it was made" "$(ctl volume list --json | jq -c '[.volumes[].name]')" '["a"]'
for u in "" ftp://x; do
    exits 2 "$firnctl" --url "$u" status
    has "--url $u" "$out" "^firnctl: --url: \"$u\" is not valid; allowed: http://"
done
exits 2 "$firnctl" --socket "" status
has "no socket" "$out" '^firnctl: --socket: "" is not valid'
exits 2 "$firnctl" --socket "/$(printf 'x%.0s' {1..107})" status
has "a path too long for a socket" "$out" 'is not valid; allowed: a path of 1 to 107 characters'

# What is not there is said, but not among what a script reads.
is "no host: nothing on standard output" "$(ctl host list a 2>/dev/null)" ""
has "but a word" "$(ctl host list a 2>&1)" "^firnctl: no host may connect to volume a; .firnctl host allow a HOSTNQN. lets one in$"
is "none with --quiet" "$(ctl host list a --quiet 2>&1)" ""
is "none with --json" "$(ctl host list a --json 2>&1 | jq -c .hosts)" "[]"
is "a tier is set without a word" "$(ctl volume set a tier=hdd --quiet 2>&1)" ""
exits 0 ctl volume create t --size 1MiB --tier ssd
is "the answer is JSON alone" "$(ctl volume set a tier=ssd --json 2>/dev/null | jq -r .tier)" ssd
ctl volume delete t --quiet || bad "delete"
exits 1 ctl host deny a nqn.2014-08.org.example:none
has "deny of a stranger" "$out" "not on the list"
exits 0 ctl host allow a nqn.2014-08.org.example:h
exits 0 ctl host deny a nqn.2014-08.org.example:h
exits 0 ctl host allow a '*'
has "any host" "$(ctl volume show a)" '^hosts +\* \(any\)'
has "columns" "$(ctl volume list)" "CONNECTED"
is "top in JSON: a document a screen" "$(ctl top --json --count 2 | jq -s 'map(has("read_iops"))' -c)" "[true,true]"
has "which its help says" "$("$firnctl" top --help)" "each screen is a JSON document of its own"

# A server that hangs: a question waits for ten seconds, or as long as it is told to.
wrong '--timeout: "0" is not valid; allowed: 1 to 3600' --timeout 0 status
wrong '--timeout: "5s" is not valid; allowed: 1 to 3600' status --timeout 5s
exits 0 ctl --timeout 3600 status
kill -STOP "$pid"
for t in 1 10; do
    SECONDS=0
    exits 1 ctl status $([ $t = 10 ] || echo --timeout $t)
    has "said as ever" "$out" "^firnctl: cannot get the status: no answer at $sock \\(.*timed out after $t[0-9]{3} m.*\\); is firnd running"
    [ $SECONDS -ge $t ] && [ $SECONDS -le $((t + 3)) ] && ok || bad "a wait of $t s took $SECONDS s"
done
kill -CONT "$pid"
exits 0 ctl status
kill -HUP "$pid"; sleep 0.3
stop
exits 1 ctl status
has "a server that is gone" "$out" "firnd.sock: (Connection refused|No such file or directory): is firnd running"
for k in extents volumes; do
    "$firnd" --dev "$T/empty" $small --format 2>/dev/null
    exits 0 "$firnctl" dump $k --dev "$T/empty"
    is "nothing to dump" "$out" "firnctl: there are no $k in this pool yet"
    is "nothing in JSON" "$("$firnctl" dump $k --dev "$T/empty" --json 2>&1 | jq -r .text)" ""
done
exits 0 "$firnctl" help
has "columns of help, one of them with a sign of three bytes" "$out" "^  volume set NAME key=value… {13}change"
is "are straight" "$(sed -n '/^Commands/,/^$/p' <<<"$out" | sed 's/…/./' | awk '/^  / { print match(substr($0, 41, 2), /^ [^ ]/) }' | sort -u)" 1
exits 0 "$firnctl" help bundle
has "what is in a bundle" "$out" "status, configuration, devices, volumes and metrics"
exits 0 "$firnctl" help volume
exits 0 "$firnctl" volume --help
has "its commands" "$out" "volume resize"
exits 0 "$firnctl" volume create --help
has "with its options" "$out" "Usage: .*--iops N"
for c in "scrub start" "snapshot create a b" "volume clone a@b c" "volume restore a@b" "device add /dev/x --role cache" \
         "device evacuate x"; do
    exits 2 "$firnctl" $c
    has "commands to come: $c" "$out" "^firnctl: ${c%% *}.*: not in this version \\(see README, limits\\)$"
done
exits 2 "$firnctl" --json scrub
has "behind an option" "$out" "scrub: not in this version"
exits 2 "$firnctl" device frobnicate
has "others are unknown" "$out" "unknown command"
if [ -x "$O/firn-sim" ]; then
    exits 0 "$O/firn-sim" --version
    is "firn-sim has the version of the others" "${out#* }" "$("$firnd" --version | cut -d' ' -f2-)"
    for verb in explore "replay"; do
        exits 2 "$O/firn-sim" $verb --bogus
        has "firn-sim names itself" "$out" "^firn-sim.*--bogus"
        has "and its help" "$out" "see firn-sim.* --help"
    done
fi
exits 2 "$firnd" --colour
has "a hint" "$out" "firnd --help"

# A value with quotes stays one value.
printf 'node = "Node 1";\n' >"$T/f.conf"
cat >"$T/g.conf" <<END
reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; }; capacity: ( { path = "$T/c"; size = "256MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; };
END
exits 0 "$firnd" --format --config "$T/g.conf"
start --config "$T/g.conf"
kill -HUP "$pid"; sleep 0.4
is "a reload is one line" "$(grep -c 'msg="configuration read again"' "$log")" 1
cp "$T/f.conf" "$T/g.conf"
kill -HUP "$pid"; sleep 0.4
has "quotes are escaped" "$(cat "$log")" 'problem=".*\\"Node 1\\" is not a name'
stop
