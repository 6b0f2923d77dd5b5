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
