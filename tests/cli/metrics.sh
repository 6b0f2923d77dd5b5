#!/usr/bin/env bash
# /metrics: every series has HELP and TYPE, stands with its family, once; the contract's names are there; a deleted volume's are not.
. "$(dirname "$0")/lib.bash"
start_dev
ctl volume create a --size 10MiB --quiet
ctl volume create b --size 10MiB --quiet
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
for m in firn_volume_ops_total firn_volume_bytes_total firn_volume_latency_seconds firn_volume_size_bytes firn_volume_used_bytes firn_cache_hits_total \
         firn_cache_misses_total firn_tier_extents firn_tier_migrated_bytes_total firn_journal_size_bytes firn_journal_dirty_bytes \
         firn_device_ops_total firn_device_bytes_total firn_device_errors_total firn_checksum_errors_total firn_connections firn_build_info firn_up; do
    has "$m" "$(grep -E "^# TYPE $m " "$T/m")" "$m"
done
is "up" "$(grep '^firn_up' "$T/m")" "firn_up 1"
is "size of a volume" "$(grep '^firn_volume_size_bytes{volume="a"}' "$T/m")" 'firn_volume_size_bytes{volume="a"} 10485760'
ctl volume delete a --quiet
is "a deleted volume is gone" "$(page | grep -c 'volume="a"')" 0
has "others stay" "$(page)" 'volume="b"'
has "content type" "$(curl -si --unix-socket "$sock" http://x/metrics | head -n 5)" 'Content-Type: text/plain; version=0.0.4'
stop
