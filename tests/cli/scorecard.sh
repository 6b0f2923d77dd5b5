#!/usr/bin/env bash
# tests/scorecard, firn-sim peers and trace-gen: the same card twice, a log that is priced apart, and what is refused.
. "$(dirname "$0")/lib.bash"
sim=$O/firn-sim
[ -x "$sim" ] || { echo "skip: $sim is not built"; exit 77; }
export O JOBS=2 SIZES="1 10" SHARED=$T/shared

mkdir "$T/traces"
for k in zipf oltp compaction; do
    exits 0 "$sim" trace-gen $k --requests 12000 --seed 5
    echo "$out" >"$T/traces/$k.csv"
done
is "lines" "$(wc -l <"$T/traces/zipf.csv")" 12000
exits 0 "$sim" trace-gen zipf --requests 12000 --seed 5
is "the same trace" "$out" "$(cat "$T/traces/zipf.csv")"
exits 2 "$sim" trace-gen
exits 2 "$sim" trace-gen nothing
has "no kind" "$out" "no such kind; there are zipf scan oltp compaction: nothing"
exits 2 "$sim" trace-gen zipf scan
exits 2 "$sim" trace-gen zipf --requests 0
exits 2 "$sim" trace-gen zipf --seed x
exits 1 bash -c "$sim trace-gen zipf >/dev/full"
has "a full disk" "$out" "cannot be written"

exits 0 "$sim" peers --trace "$T/traces/oltp.csv" --ssd 5%
has "peers" "$out" "^bcache +[0-9.]+"
exits 0 "$sim" peers --trace "$T/traces/zipf.csv" --json
is "their names" "$(jq -r '[.peers[].name] | join(" ")' <<<"$out")" "hdd wtlru bcache bc64k ocf ocf64k"
is "the footprint's tenth" "$(jq '.ssd_bytes == (.footprint_bytes / 40960 | floor) * 4096' <<<"$out")" true
exits 2 "$sim" peers
exits 2 "$sim" peers --trace "$T/none.csv"
exits 2 "$sim" peers --trace "$T/traces/zipf.csv" --ssd much
exits 2 "$sim" peers --trace "$T/traces/zipf.csv" --open --closed

exits 0 tests/scorecard --json "$T/traces"
card=$out
exits 0 tests/scorecard --json "$T/traces"
is "the same card again" "$out" "$card"
is "cells" "$(jq '.cells | length' <<<"$card")" 12
is "not priced apart" "$(jq -c '[.cells[] | select(.status == "done") | .priced_same] | unique' <<<"$card")" "[null]"
is "a score is what its formula says" "$(jq '[.cells[] | select(.status == "done") | .anchor as $a | .firn as $f
    | 100 * ((0.5 * ($a.hdd_s / $f.hdd_s | log) + 0.2 * ($a.ssd_mib / ([$f.ssd_mib, $a.ssd_mib / 20] | max) | log)
    + 0.3 * ($a.mean_ms / $f.mean_ms | log)) | exp) - .score | fabs < 0.06] | all' <<<"$card" 2>/dev/null || echo wrong)" true
exits 0 tests/scorecard "$T/traces/zipf.csv" "$T/traces/oltp.csv"
has "table" "$out" "bcache-like = 100"
has "a score for all" "$out" "score at +10 %, balanced +all +[0-9]+ of 2 traces: +[0-9.]+$"
SIZES=0.001 exits 0 tests/scorecard "$T/traces/zipf.csv"
has "too small" "$out" "balanced +too small"

# A pricer of our own, with the constants of the model a second time; then one that is wrong.
mkdir -p "$T/shared/tools"
cat >"$T/shared/tools/oplog_score.c" <<'C'
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int main(int n, char **v)
{
    double span = atof(v[n - 1]), head = 0, ms = 0, off, len;
    char dev, op;
    while (scanf(" %c,%c,%lf,%lf", &dev, &op, &off, &len) == 4) {
        double gap = off - head, part = fmin(1, fabs(gap) / span);
        double seek = op == 'W' ? 4.48 + 14.78 * sqrt(part) : 4.39 + 13.44 * sqrt(part);
        if (dev == 'S') continue;
        ms += 0.1 + len / 200e3 + (gap == 0 ? 0 : gap > 0 && gap <= 524288 && gap / 200e3 < seek ? gap / 200e3 : seek);
        head = off + len;
    }
    printf("hddR 0 hdd_s %.1f ssdR_MB 0\n", ms / 1000);
    return 0;
}
C
SIZES=10 exits 0 tests/scorecard --json "$T/traces"
is "priced the same" "$(jq -c '[.cells[] | select(.status == "done") | .priced_same] | unique' <<<"$out")" "[true]"
printf '#include <stdio.h>\nint main(void) { puts("hddR 0 hdd_s 1.0 ssdR_MB 0"); return 0; }\n' >"$T/shared/tools/oplog_score.c"
SIZES=10 exits 1 tests/scorecard --json "$T/traces/zipf.csv"
has "priced otherwise" "$out" "2 replays are priced otherwise"

printf '0,R,x,1\n' >"$T/broken.csv"
exits 1 tests/scorecard "$T/broken.csv"
has "a broken trace" "$out" "broken.csv:1: the offset"
exits 2 tests/scorecard "$T/none.csv"
exits 2 tests/scorecard --what
exits 0 tests/scorecard --help
rm -r "$T/shared"
PROFILES=balanced SIZES=10 exits 0 tests/scorecard --strict "$T/traces/compaction.csv"
printf 'tier: { dirty_start = 1; dirty_max = 2; };\n' >"$T/hasty.conf" # destage at once: 25 % more of the disk than the best peer
CONFIG=$T/hasty.conf SIZES=10 exits 1 tests/scorecard --strict "$T/traces/zipf.csv"
has "goals" "$out" "goals are missed"
