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
nqn=$(ctl volume show a --json | jq -r .nqn)
pool() { ctl status --json | jq ".pool.capacity.$1"; }
mib=$(($(pool size) >> 20))
fill() { # fill MIB: so much of the volume, from its beginning
    timeout 30 "$bench" run --port "$(ready port)" --nqn "$nqn" --rw write --bs 64KiB --size "$1MiB" --bytes "$1MiB" >"$T/out" 2>&1
}
told() { grep -oE 'msg="the pool is getting full" above_pct=[0-9]+' "$log" | grep -oE '[0-9]+$' | tr '\n' ' '; } # all levels, in order
settle() { # settle LEVELS: until so many lines are there; then no look of the server may add one
    local i
    for ((i = 0; i < 300; i++)); do
        [ "$(told | wc -w)" -ge "$(wc -w <<<"$1")" ] && break
        sleep 0.1
    done
    is "a line for each level that is reached, once, on the way up" "$(told)" "$1"
}
taken='capacity [0-9.]+ (B|[KM]iB) used \+ [0-9.]+ (B|[KM]iB) reserved of [0-9.]+ MiB'
said=
for level in 80 90 95; do
    n=$(((mib * level + 99) / 100)) # the first whole MiB at or above it
    fill $n || bad "$n MiB: $(cat "$T/out")"
    is "$n of $mib MiB are taken" $(($(pool used) + $(pool reserved))) $((n << 20))
    has "an alert" "$(ctl status)" "the pool is getting full, above $level %: $n.0 MiB of $mib.0 MiB are taken; delete volumes"
    said+="$level "
    settle "$said"
done
fill $((mib + 20)) && bad "more than the pool has was written" || ok
has "no place: said by whom it was refused" "$(cat "$T/out")" "[Cc]apacity"
is "all of it is taken" $(($(pool used) + $(pool reserved))) $((mib << 20))
has "full: an alert" "$(ctl status)" "the pool is full: writes to new places are refused; .* used \\+ .* reserved"
has "what is reserved is not free: status" "$(ctl status)" "  $taken"
has "device list" "$(ctl device list)" "^$taken"
page=$(curl -s --unix-socket "$T/s" http://firn/)
has "full: the same alert on the status page" "$page" "<b>the pool is full: writes"
has "what is reserved, there too" "$page" "Capacity: .* used \+ .* reserved of "
words() { grep -oE 'msg="the pool (refuses writes to new places|has room again)' "$log" | grep -oE 'refuses|room' | tr '\n' ' '; }
become() { # become WORDS: until they are there
    local i
    for ((i = 0; i < 300; i++)); do
        [ "$(words)" = "$1" ] && break
        sleep 0.1
    done
    is "$2" "$(words)" "$1"
}
become "refuses " "a write that is refused is said"
fill $((mib + 20)) && bad "more than the pool has was written" || ok
sleep 6 # at least one look more
is "more of them are not" "$(words)" "refuses "
is "a level that holds is not said at every look" "$(told)" "80 90 95 "
ctl volume delete a --quiet || bad "delete"
for _ in {1..100}; do ctl status | grep -q "alerts: none" && break; sleep 0.1; done
become "refuses room " "that there is room is said"
has "room: no alert" "$(ctl status)" "alerts: none"
stop
is "stops" $rc 0
