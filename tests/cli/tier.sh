#!/usr/bin/env bash
# A volume's tier acts at once: for the HDD it is destaged in the next pause, for the SSD it stays, as far as there is room to pin it.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }
dirty() { ctl volume show "$1" --json | jq .dirty; }
load() { timeout 60 "$bench" run --port "$(ready port)" --nqn "$(ctl volume show "$1" --json | jq -r .nqn)" --rw randwrite --bs 4KiB --ops 300 >"$T/bench" 2>&1 || bad "$(cat "$T/bench")"; }

start_dev
ctl volume create cold --size 20MiB --tier hdd --quiet
ctl volume create any --size 60MiB --quiet
for v in cold any; do ctl host allow $v '*'; load $v; done
for ((i = 0; i < 100; i++)); do [ "$(dirty cold)" = 0 ] && break; sleep 0.05; done
is "for the HDD: on its way at once" "$(dirty cold)" 0
is "no other" "$(($(dirty any) > 1000000))" 1
exits 0 ctl volume set any tier=hdd
for ((i = 0; i < 100; i++)); do [ "$(dirty any)" = 0 ] && break; sleep 0.05; done
is "changed while it runs" "$(dirty any)" 0
exits 0 ctl volume set any tier=auto

exits 1 ctl volume create big --size 1GiB --tier ssd
has "more than there is" "$out" "tier ssd: there is no room to keep it on the SSD; volumes of that tier may have [0-9.]+ MiB in all on each reactor"
exits 1 ctl volume set any tier=ssd
has "nor later" "$out" "tier ssd: there is no room"
is "it stays as it was" "$(ctl volume show any --json | jq -r .tier)" auto
exits 0 ctl volume create hot --size 8MiB --tier ssd
stop
start_dev
is "kept" "$(ctl volume show hot --json | jq -r .tier)" ssd

# What was read from where, volume by volume: one is larger than the log, the other was just written.
go() { timeout 60 "$bench" run --port "$(ready port)" --nqn "$(ctl volume show "$1" --json | jq -r .nqn)" "${@:2}" >"$T/bench" 2>&1 || bad "$(cat "$T/bench")"; }
reads() { ctl volume show "$1" --json | jq -c '.read_blocks'; }
ctl volume create large --size 120MiB --tier hdd --quiet
for v in large hot; do ctl host allow $v '*'; done
is "nothing yet" "$(reads large)" '{"hit":0,"miss":0}'
is "and nothing is said of it" "$(ctl volume show large | grep -c ^reads)" 0
is "nor in top" "$(ctl top --json --count 1 | jq -c '[.hit_ratio, .volumes[].hit_ratio] | unique')" '[null]'
is "in words" "$(ctl top --count 1 | head -n 1)" "0 reads/s, 0 writes/s, 0 B/s"
go large --rw write --bs 128KiB --bytes 120MiB --qd 4
go hot --rw write --bs 128KiB --bytes 8MiB --qd 4
go hot --rw randread --bs 4KiB --ops 500
(sleep 1; go large --rw randread --bs 4KiB --size 16MiB --rate 200 --time 4s) &
exits 0 ctl top --json --count 1 --interval 4
wait $!
is "all of what is in the log" "$(reads hot)" '{"hit":500,"miss":0}'
is "not what is not" "$(reads large | jq '.miss > 0 and .hit + .miss >= 500')" true
is "of each in top" "$(jq -c '.volumes | map({(.name): .hit_ratio}) | add | [.hot, (.large | . >= 0 and . < 1), has("any")]' <<<"$out")" '[null,true,true]'
m=$(curl -s --unix-socket "$sock" http://x/metrics)
has "in the metrics" "$m" '^firn_volume_cache_hits_total\{volume="hot"\} 500$'
is "together those of the pool" "$(grep -E '^firn_volume_cache_(hits|misses)_total' <<<"$m" | awk '{ s += $2 } END { print s }')" \
    "$(grep -E '^firn_cache_(hits|misses)_total' <<<"$m" | awk '{ s += $2 } END { print s }')"
exits 0 ctl volume show large
has "in words" "$out" "^reads +[0-9.]+ % of blocks from the SSD or RAM, [0-9.]+ % from capacity devices$"
has "and as a column" "$(ctl top --count 1)" "^VOLUME .* HITS %$"
