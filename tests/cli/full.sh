#!/usr/bin/env bash
# A pool that gets full is an alert; reactors without a shard are told of at format.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }
cat >"$T/f.conf" <<END
reactors = 4;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; }; capacity: ( { path = "$T/c"; size = "64MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; };
END
exits 0 "$firnd" --format --config "$T/f.conf"
has "fewer shards than reactors" "$out" 'level=warn .*reactors=4 shards=1 '
start --config "$T/f.conf"
sock=$T/s
has "empty: no alert" "$(ctl status)" "alerts: none"
ctl volume create a --size 256MiB --quiet || bad "create"
ctl host allow a '*' --quiet || bad "allow"
timeout 20 "$bench" run --port "$(ready port)" --nqn "$(ctl volume show a --json | jq -r .nqn)" --rw write --bs 64KiB --bytes 100MiB >/dev/null 2>&1
has "full: an alert" "$(ctl status)" "the pool is (getting full, above [89][05] %: .* of .* are taken|full: writes to new places are refused)"
taken='capacity [0-9.]+ (B|[KM]iB) used \+ [0-9.]+ (B|[KM]iB) reserved of [0-9.]+ MiB'
has "what is reserved is not free: status" "$(ctl status)" "  $taken"
has "device list" "$(ctl device list)" "^$taken"
page=$(curl -s --unix-socket "$T/s" http://firn/)
has "full: the same alert on the status page" "$page" "<b>the pool is (getting full.* of .* are taken|full: writes)"
has "what is reserved, there too" "$page" "Capacity: .* used \+ .* reserved of "
sleep 6
lines=$(grep -c 'msg="the pool is getting full" above_pct=[89][05] used=' "$log")
[ "$lines" -ge 1 ] && [ "$lines" -le 3 ] && ok || bad "a line in the log for each of 80, 90 and 95 %: $lines"
stop
is "stops" $rc 0
