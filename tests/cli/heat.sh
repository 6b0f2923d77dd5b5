#!/usr/bin/env bash
# Heat as users see it: API, pictures, what outlives a restart and a SIGKILL; and that losing it changes no byte that is read.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }
get() { curl -s --max-time 20 --unix-socket "$sock" "http://x/v1/volumes/$1"; }
run() { timeout 60 "$bench" run --port "$(ready port)" --nqn "$(ctl volume show "${vol:-db}" --json | jq -r .nqn)" --bs 4KiB --qd 8 "$@" >"$T/bench" 2>&1 || bad "firn-bench $*: $(cat "$T/bench")"; }
near() { # near WHAT GOT WANTED: within 2 %
    if jq -en --argjson g "${2:-0}" --argjson w "$3" '($g - $w | fabs) <= $w * 0.02' >/dev/null; then ok; else bad "$1: $2, wanted about $3"; fi
}

start_dev
exits 0 ctl heat
has "nothing to draw yet" "$out" "there are no volumes yet"
ctl volume create db --size 128MiB --quiet
ctl volume create idle --size 5MiB --quiet
ctl volume create half --size 8MiB --lba 512 --quiet
for v in db idle half; do ctl host allow $v '*'; done
exits 0 ctl heat db
has "cold" "$out" "All of it is cold"

run --rw randwrite --offset 40MiB --size 4MiB --ops 3000
run --rw randread --offset 40MiB --size 4MiB --ops 1000
run --rw randread --offset 100MiB --size 4MiB --ops 300
vol=half run --rw randwrite --bs 512 --size 4MiB --ops 200
doc=$(get db/heat)
is "parts of whole cells" "$(jq -c '[.volume,.size,.part,.half_life_s,(.read|length),(.write|length),(.used.ssd|length),(.used.hdd|length)]' <<<"$doc")" \
   '["db",134217728,4194304,3600,32,32,32,32]'
near "writes" "$(jq '.write[10]' <<<"$doc")" 3000
near "reads" "$(jq '.read[10]' <<<"$doc")" 1000
near "reads elsewhere" "$(jq '.read[25]' <<<"$doc")" 300
is "and nowhere else" "$(jq '[.read,.write]|map(map(select(.>0))|length)' -c <<<"$doc")" '[2,1]'
is "what is on the SSD" "$(jq '[.used.ssd[10]>2000000,.used.ssd[9],.used.hdd[10]]' -c <<<"$doc")" '[true,0,0]'
near "blocks of 512 count as requests" "$(get half/heat | jq '.write[0]')" 200
is "fewer parts" "$(get 'db/heat?parts=5' | jq -c '[.part/4194304,(.read|length),(.write|map(.>0))]')" '[7,5,[false,true,false,false,false]]'
is "a volume that ends within a cell" "$(get idle/heat | jq -c '[.part,(.read|length)]')" '[4194304,2]'
is "unknown volume" "$(get nobody/heat | jq -r .error.code)" not_found
for q in parts=0 parts=4097 parts=x parts=; do is "$q" "$(get "db/heat?$q" | jq -r .error.code)" invalid; done

exits 0 ctl heat db
has "reads" "$out" "^       0 B r {11}[*#%] {14}[^ ] {6}$"
has "the hottest sign" "$out" "^           w {11}@ {21}$"
has "and where it lies" "$out" "^ {13} {10}1"
has "the scale" "$out" "^ {13}cold  .:-=.*#%@ hot: 0 to 20[0-9]{2} an hour$"
has "in words" "$out" "^ 1 40.0 MiB - 44.0 MiB +[67][0-9]{2} +20[0-9]{2}"
is "plain without a terminal" "$(grep -c $'\033' <<<"$out")" 0
if command -v script >/dev/null; then
    tty() { env TERM=xterm-256color LC_ALL=C.UTF-8 "$@" script -qec "stty cols ${cols:-60} rows ${rows:-24}; $firnctl --socket $sock heat ${what-db}" /dev/null </dev/null; }
    has "half blocks on a terminal: reads over writes" "$(tty A=b)" $'\033\\[38;5;[0-9]*;48;5;159m\xe2\x96\x80'
    has "its colours where it has no UTF-8" "$(tty LC_ALL=C)" $'\033\\[48;5;159m '
    is "and nothing but ASCII there" "$(tty LC_ALL=C | LC_ALL=C grep -c $'[\x80-\xff]')" 0
    is "but not against one's will" "$(tty NO_COLOR=1 | grep -c $'\033')" 0
    is "nor on a terminal that has none" "$(tty TERM=vt100 | grep -c $'\033')" 0
    for cols in 60 80 132; do
        widest=$(for what in db ""; do tty NO_COLOR=1; done | tr -d '\r' | awk '{ if (length($0) > w) w = length($0) } END { print w }')
        [ "$widest" -le $((cols < 80 ? 80 : cols)) ] && ok || bad "$widest columns on a terminal of $cols"
    done
    unset cols what
fi
exits 0 ctl heat
has "a line a volume" "$out" "^db +128.0 MiB \|.{38}\| +[0-9]+ +[0-9]+$"
has "the cold one, too" "$out" "^idle +5.0 MiB \| {38}\| +0 +0$"
has "on one scale: less than the hottest" "$out" "^half +8.0 MiB \|[-=+*#%:] +\|"
is "no heading, no scale if one is quiet" "$(ctl heat --quiet | cut -d' ' -f1 | xargs)" "db half idle"
is "as JSON" "$(ctl heat --json | jq -c '.volumes|map(.volume)')" '["db","half","idle"]'
is "one as JSON" "$(ctl --json heat db | jq -c '.read|length')" 32
exits 0 ctl heat db --svg "$T/heat.svg"
has "a drawing" "$(cat "$T/heat.svg")" '^<svg .*'
is "a square a part" "$(grep -c '<title>' "$T/heat.svg")" 32
has "that tells" "$(cat "$T/heat.svg")" '<title>40.0 MiB - 44.0 MiB: [0-9]+ reads and [0-9]+ writes an hour'
if command -v xmllint >/dev/null; then exits 0 xmllint --noout "$T/heat.svg"; fi
exits 1 ctl heat db --svg "$T/no/such/dir.svg"
has "a file that cannot be" "$out" "dir.svg cannot be written \(No such file or directory\); name a file in a place with room$"
exits 2 ctl heat --svg "$T/x.svg"
exits 2 ctl heat 'Bad Name'
exits 1 ctl heat nobody
has "by its name" "$out" "there is no volume nobody"

# Tiers.
status=$(ctl status --json)
is "tiers" "$(jq -c '.tiers|map(.tier)' <<<"$status")" '["ssd","hdd"]'
is "what the SSD has" "$(jq '.tiers[0]|.used == .dirty and .used > 4000000 and .extents >= 5' <<<"$status")" true
exits 0 ctl status
is "one shard: its part of the log is all of it" "$(grep -c '^  shards ' <<<"$out")" 0
has "as a line" "$out" "^  ssd +[0-9.]+ MiB of [0-9.]+ MiB, [0-9.]+ MiB not yet destaged; [0-9]+ extents$"
has "and where reads came from" "$out" "^  reads +[0-9.]+ % of blocks from the SSD"
m=$(curl -s --unix-socket "$sock" http://x/metrics)
is "extents by tier" "$(grep '^firn_tier_extents{.*ssd' <<<"$m" | cut -d' ' -f2)" "$(jq '.tiers[0].extents' <<<"$status")"

# A stop keeps it; the record can be read offline; one that is gone costs nothing else.
stop
exits 0 "$firnctl" dump heat --dev "$T/p"
has "offline" "$out" "^heat layer=[0-9]+ mib=40 clock_s=[0-9]+ read=[0-9.]+ write=[0-9.]+ use=[0-9.]+$"
exits 0 "$firnctl" check --dev "$T/p"
start_dev
near "after a restart" "$(get db/heat | jq '.write[10]')" 3000
kill -9 "$pid"; wait "$pid" 2>/dev/null
start_dev
near "after SIGKILL" "$(get db/heat | jq '.write[10]')" 3000
ctl volume delete half --quiet
stop
is "a deleted volume's is gone" "$("$firnctl" dump heat --dev "$T/p" | grep -o 'layer=[0-9]*' | sort -u | wc -l)" 1

# Two shards: one volume fills the part of the one that it is on.
start --dev "$T/two" --journal-size 320MiB --capacity-size 256MiB --reactors 2 --port 0
sock=$T/two/firnd.sock
ctl volume create db --size 64MiB --quiet
ctl host allow db '*'
timeout 60 "$bench" run --port "$(ready port)" --nqn "$(ctl volume show db --json | jq -r .nqn)" --rw randwrite --bs 64KiB --ops 200 >"$T/bench" 2>&1 ||
    bad "$(cat "$T/bench")"
is "each one's part of the log" "$(ctl status --json | jq -c '.pool | [(.shard_fill | length), (.shard_fill | map(.dirty) | add) == .journal.dirty,
    (.shard_fill | map(select(.dirty > 4000000)) | length), (.shard_fill | map(.room > .dirty) | all), .shard_fill[0].kept, .journal.kept]')" \
    '[2,true,1,true,0,0]'
exits 0 ctl status
has "in words" "$out" "^  shards    [0-9]+ %, [0-9]+ % of what each can hold not yet destaged$"
stop
