#!/usr/bin/env bash
# /metrics: every series has HELP and TYPE, stands with its family, once; the contract's names are there; a deleted volume's are not.
. "$(dirname "$0")/lib.bash"
start_dev
ctl volume create a --size 10MiB --quiet
ctl volume create b --size 10MiB --quiet
ctl host allow a '*' --quiet
[ -x "$O/firn-bench" ] || { echo "skip: $O/firn-bench is not built"; exit 77; }
nqn=$(ctl volume show a --json | jq -r .nqn)
"$O/firn-bench" run --port "$(ready port)" --nqn "$nqn" --rw randwrite --ops 200 >"$T/bench" 2>&1 || bad "$(cat "$T/bench")"
page() { curl -s --unix-socket "$sock" http://x/metrics; }
page >"$T/m"
python3 - "$T/m" >"$T/lint" <<'END'
import re, sys
seen, family, types, helps, bad = set(), None, {}, set(), []
closed = set()
for n, line in enumerate(open(sys.argv[1]), 1):
    line = line.rstrip("\n")
    m = re.match(r"# (HELP|TYPE) (\S+) (.+)$", line)
    if m:
        if m[1] == "HELP":
            if m[2] in helps: bad.append(f"{n}: HELP of {m[2]} twice")
            helps.add(m[2])
        else:
            types[m[2]] = m[3]
        continue
    m = re.match(r'([a-z_]+)(\{([a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*)\})? (\S+)$', line)
    if not m: bad.append(f"{n}: not a series: {line}"); continue
    name = m[1]; base = re.sub(r"_(bucket|sum|count)$", "", name)
    fam = base if types.get(base) == "histogram" else name
    if fam not in types or fam not in helps: bad.append(f"{n}: {name} without HELP or TYPE")
    if fam != family:
        if fam in closed: bad.append(f"{n}: {fam} is scattered")
        closed.add(family); family = fam
    if types.get(fam) == "counter" and not name.endswith("_total"): bad.append(f"{n}: counter {name} lacks _total")
    if types.get(fam) not in ("counter", "gauge", "histogram"): bad.append(f"{n}: type of {fam}")
    if line.rsplit(" ", 1)[0] in seen: bad.append(f"{n}: {line} twice")
    seen.add(line.rsplit(" ", 1)[0]); float(m[4])
print("\n".join(bad))
END
is "lint" "$(cat "$T/lint")" ""
# Every name of the contract, with the labels it has and its type; a missing one fails.
wanted() { # wanted NAME TYPE LABELS(pattern; "" for none)
    has "$1 is a $2" "$(grep -E "^# TYPE $1 " "$T/m")" "^# TYPE $1 $2\$"
    local series=$1
    [ "$2" = histogram ] && series="$1_(bucket|sum|count)"
    if [ -n "$3" ]; then has "$1 has a series" "$(grep -E "^$series" "$T/m")" "^$series\{.*$3"
    else has "$1 has a series" "$(grep -E "^$series" "$T/m")" "^$series(\{| )"; fi
}
for op in read write; do
    wanted firn_volume_ops_total counter "volume=\"a\",op=\"$op\""
    wanted firn_volume_bytes_total counter "volume=\"a\",op=\"$op\""
    wanted firn_device_ops_total counter "device=\"[^\"]*/journal\",op=\"$op\""
    wanted firn_device_bytes_total counter "device=\"[^\"]*/capacity\",op=\"$op\""
    wanted firn_device_errors_total counter "device=\"[^\"]*/capacity\",op=\"$op\""
done
wanted firn_device_latency_seconds histogram 'device="[^"]*/journal",op="write"'
for t in ssd hdd; do
    wanted firn_volume_used_bytes gauge "volume=\"a\",tier=\"$t\""
    wanted firn_checksum_errors_total counter "pool=\"default\",tier=\"$t\""
done
wanted firn_volume_size_bytes gauge 'volume="b"'
wanted firn_tier_extents gauge 'pool="default",tier="hdd"'
wanted firn_tier_migrated_bytes_total counter 'pool="default",direction="destage"'
wanted firn_journal_commit_seconds histogram 'pool="default"'
for m in firn_cache_hits_total firn_cache_misses_total; do wanted $m counter 'pool="default"'; done
for m in firn_journal_size_bytes firn_journal_dirty_bytes firn_capacity_size_bytes firn_capacity_used_bytes firn_capacity_reserved_bytes; do wanted $m gauge 'pool="default"'; done
for m in firn_connections firn_build_info firn_up; do wanted $m gauge ""; done
wanted firn_volume_latency_seconds histogram 'volume="a",op="write"'
# One list feeds struct and page: every counter of the headers is there.
counters() { sed -n "/^#define $1(x)/,/[^\\\\]\$/p" "$2" | grep -oE 'x\([a-z_]+,' | sed 's/x(//; s/,//'; }
for c in $(counters TIER_COUNTERS tier/tier.h); do wanted "firn_tier_${c}_total" counter 'pool="default"'; done
for c in $(counters JOURNAL_COUNTERS journal/journal.h); do wanted "firn_journal_${c}_total" counter 'pool="default"'; done
has "the lists were found" "$(counters TIER_COUNTERS tier/tier.h; counters JOURNAL_COUNTERS journal/journal.h)" segments_freed
value() { grep -E "^$1" "$T/m" | awk '{s += $2} END {print (s + 0 >= '"$2"')}'; } # value SERIES LEAST: 1
is "200 writes took groups" "$(value 'firn_journal_commit_seconds_count' 1)" 1
is "and time" "$(grep '^firn_journal_commit_seconds_sum' "$T/m" | awk '{print ($2 > 0)}')" 1
is "their records are counted" "$(value firn_journal_records_total 200)" 1
is "their bytes too" "$(value firn_journal_host_bytes_total $((200 * 4096)))" 1
is "the device's writes were timed" "$(value 'firn_device_latency_seconds_count[{]device="[^"]*/journal",op="write"' 1)" 1
has "volumes' latency by operation" "$(cat "$T/m")" '^firn_volume_latency_seconds_count[{]volume="a",op="write"} 200$'
is "the size of the log" "$(grep '^firn_journal_size_bytes' "$T/m" | awk '{print ($2 > 32 * 1048576 && $2 <= 64 * 1048576)}')" 1
is "up" "$(grep '^firn_up' "$T/m")" "firn_up 1"
is "size of a volume" "$(grep '^firn_volume_size_bytes{volume="a"}' "$T/m")" 'firn_volume_size_bytes{volume="a"} 10485760'
# The manual has every metric of the page, so every counter of the lists, as the page has it; and every name that it has is there.
man=etc/man/firn-metrics.5
rows() { sed -n '/^\.SH METRICS$/,/^\.SH /p' "$man" | sed '1d; $d'; }
if [ -n "${METRICS_WRITE:-}" ]; then
    { sed '/^\.SH METRICS$/q' "$man"; python3 tests/cli/metrics_rows.py <"$T/m"; sed -n '/^\.SH EXAMPLES/,$p' "$man"; } >"$T/man" && cat "$T/man" >"$man"
fi
is "$man has the rows of /metrics; METRICS_WRITE=1 $0 writes them" "$(diff <(rows) <(python3 tests/cli/metrics_rows.py <"$T/m") | head -n 20)" ""
is "as many as the page has" "$(rows | grep -c '^\.B firn_')" "$(grep -c '^# HELP ' "$T/m")"
for c in $(counters TIER_COUNTERS tier/tier.h); do has "$c" "$(rows)" "^\.B firn_tier_${c}_total\$"; done
for c in $(counters JOURNAL_COUNTERS journal/journal.h); do has "$c" "$(rows)" "^\.B firn_journal_${c}_total\$"; done
is "a unit each" "$(rows | grep -A1 '^\.B' | grep -cE '^(counter|gauge|histogram), (seconds|bytes|blocks of 4 KiB|number|0 or 1)[.;]')" "$(rows | grep -c '^\.B')"
ctl volume delete a --quiet
is "a deleted volume is gone" "$(page | grep -c 'volume="a"')" 0
has "others stay" "$(page)" 'volume="b"'
has "content type" "$(curl -si --unix-socket "$sock" http://x/metrics | head -n 5)" 'Content-Type: text/plain; version=0.0.4'
stop
