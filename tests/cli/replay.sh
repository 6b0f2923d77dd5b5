#!/usr/bin/env bash
# firn-sim replay: a generated OLTP-like trace, its scorecard twice, its log of commands priced here, and what it refuses.
. "$(dirname "$0")/lib.bash"
sim=$O/firn-sim
[ -x "$sim" ] || { echo "skip: $sim is not built"; exit 77; }

awk 'BEGIN { srand(7)
    for (i = 0; i < 3000; i++) {
        printf "%d,W,%d,1536\n", i * 2500, i * 1536 % 4194304
        printf "%d,%s,%d,16384\n", i * 2500 + 300, rand() < 0.4 ? "W" : "R", 67108864 + int(rand() * rand() * 8192) * 16384
    } }' >"$T/oltp.csv"
gzip -k "$T/oltp.csv"
run="$sim replay --trace $T/oltp.csv.gz --ssd 8MiB --open"

exits 0 $run --json --oplog "$T/log"
first=$out
exits 0 $run --json
is "the same again" "$out" "$first"
exits 0 "$sim" replay --trace "$T/oltp.csv" --ssd 8MiB --open --json
is "without gzip" "$out" "$first"
is "keys" "$(jq -r 'keys_unsorted | join(" ")' <<<"$first")" "requests hdd_reads hdd_writes hdd_seeks hdd_read_mb hdd_write_mb \
hdd_busy_s ssd_write_mb ssd_relocated_mb read_hit mean_ms p50_ms p99_ms p999_ms"
is "requests" "$(jq .requests <<<"$first")" 6000

# The constants of the model, a second time, over what the devices were sent.
priced=$(awk -F, -v span=1073741824 '
    function pos(g, w,   x, p) {
        if (g == 0) return 0
        x = (g < 0 ? -g : g) / span; if (x > 1) x = 1
        p = (w ? 0.32 : 0.23) + (w ? 14.78 : 13.44) * sqrt(x) + 4.16
        if (g > 0 && g <= 524288 && g / 200000 < p) return g / 200000
        seeks++; return p
    }
    $1 == "H" { t += 0.1 + pos($3 - head, $2 == "W") + $4 / 200000; head = $3 + $4; if ($2 == "W") w += $4; else r += $4 }
    $1 == "S" && $2 == "W" { s += $4 }
    $1 !~ /^[HS]$/ || $2 !~ /^[RW]$/ || NF != 4 { exit 1 }
    END { printf "%.4f %d %.6f %.6f %.6f\n", t / 1000, seeks, r / 1e6, w / 1e6, s / 1e6 }' "$T/log")
is "priced apart" "$priced" "$(jq -r '"\(.hdd_busy_s) \(.hdd_seeks) \(.hdd_read_mb) \(.hdd_write_mb) \(.ssd_write_mb)"' <<<"$first" |
    awk '{ printf "%.4f %d %.6f %.6f %.6f\n", $1, $2, $3, $4, $5 }')"

awk -F, -v OFS=, '{ $1 += 1600000000000000; print }' CONVFMT=%.0f OFMT=%.0f "$T/oltp.csv" >"$T/epoch.csv"
exits 0 "$sim" replay --trace "$T/epoch.csv" --ssd 8MiB --open --json
is "times since 1970" "$out" "$first"
has "and the load of the disk" "$("$sim" size --trace "$T/epoch.csv" --sizes 8MiB --open --json)" '"hdd_load": 0\.[1-9]'
exits 0 $run
has "arrivals" "$out" "^arrivals +at the trace's times$"
has "table" "$out" "^HDD +[0-9]+ reads .* busy .* seeks"
has "split" "$out" "host [0-9.]+ MB, headers [0-9.]+ MB, relocated [0-9.]+ MB, fill [0-9.]+ MB"
exits 0 "$sim" replay --trace "$T/oltp.csv.gz" --ssd 8MiB --json
dense=$out
exits 0 "$sim" replay --trace "$T/oltp.csv.gz" --ssd 8MiB --closed --json
is "too dense for a disk: one at a time" "$out" "$dense"
if [ "$dense" != "$first" ]; then ok; else bad "--open changes nothing"; fi
refused() { # refused PATTERN ARGUMENTS...
    local p=$1
    shift
    exits 2 "$sim" replay "$@"
    has "refused" "$out" "$p"
}
"$sim" trace-gen zipf --requests 300 >"$T/clockless.csv"
exits 0 "$sim" replay --trace "$T/clockless.csv" --ssd 8MiB --open
has "no times: none are looked at" "$out" "^arrivals +one request outstanding$"
exits 0 "$sim" size --trace "$T/clockless.csv" --sizes 8MiB
has "nor here" "$out" "one request outstanding"
exits 0 "$sim" peers --trace "$T/clockless.csv"
has "nor there" "$out" "^closed "
refused "one of the two: --closed, --open" --trace "$T/oltp.csv" --closed --open
exits 0 "$sim" replay --trace "$T/oltp.csv.gz" --ssd 8MiB --hdd 3 --closed --profile balanced --oplog "$T/three"
has "three disks" "$out" "3 HDD"
if [ -s "$T/three" ] && [ -s "$T/three.1" ] && [ -e "$T/three.2" ]; then ok; else bad "three logs of commands"; fi
printf 'journal: { align = "4096"; };\n' >"$T/conf"
exits 0 $run --config "$T/conf" --json
more=$(jq -n --argjson a "$out" --argjson b "$first" '$a.ssd_write_mb > 1.1 * $b.ssd_write_mb and $a.requests == $b.requests')
is "larger headers write more" "$more" true
printf 'tier: { dirty_start = 20; dirty_max = 40; };\n' >"$T/conf"
exits 0 $run --config "$T/conf" --json
is "a knob alone leaves the headers small" "$(jq --argjson b "$first" '.ssd_write_mb < 1.1 * $b.ssd_write_mb' <<<"$out")" true
is "destage that begins earlier writes more to the disk" "$(jq --argjson b "$first" '.hdd_write_mb > $b.hdd_write_mb' <<<"$out")" true

printf '0,R,0,4096\n0,W,4096,512\n0,W,here,512\n' >"$T/broken.csv"
refused "^$T/broken.csv:3: the offset is not a number" --trace "$T/broken.csv"
gzip -k "$T/broken.csv"
head -c 300000 /dev/zero | tr '\0' 1 >"$T/huge.csv"
printf '0,R,0,4096\r\n1,X,0,4096\r\n' >"$T/op.csv"
printf '0,R,-4096,4096\n' >"$T/negative.csv"
printf '0,R,0,4096\n1,W,18446744073709551616,4096\n' >"$T/over.csv"
: >"$T/none.csv"
head -c 9000 "$T/oltp.csv.gz" >"$T/torn.csv.gz"
printf 'PK\003\004\024\n0,R,0,4096\n' >"$T/zip.csv"
{ head -c 9000 "$T/oltp.csv.gz"; head -c 64 /dev/zero | tr '\0' x; tail -c +9065 "$T/oltp.csv.gz"; } >"$T/rot.csv.gz"
size=$(stat -c %s "$T/oltp.csv.gz") # a bit in the middle becomes another sign, and the sum at the end tells
{ head -c $((size / 2)) "$T/oltp.csv.gz"; tail -c +$((size / 2 + 1)) "$T/oltp.csv.gz" | head -c 1 | tr '\000-\377' '\001-\377\000'
    tail -c +$((size / 2 + 2)) "$T/oltp.csv.gz"; } >"$T/bit.csv.gz"
while read -r name line why; do # whichever verb reads them
    for verb in "replay --ssd 8MiB" "size --sizes 8MiB,16MiB" "peers --ssd 8MiB"; do
        # shellcheck disable=SC2086
        exits 2 "$sim" $verb --trace "$T/$name"
        has "$verb: $name" "$out" "^$T/$name:$line: $why"
        is "$verb: $name: one line, no figures" "$(wc -l <<<"$out")" 1
    done
done <<'END'
broken.csv 3 the offset is not a number
huge.csv 1 the line is longer than 255 characters
op.csv 2 the operation is neither R nor W
negative.csv 1 the offset is not a number
over.csv 2 the offset is not a number
none.csv 1 there is no request in the file
zip.csv 1 this is not text: a trace is text, or text compressed with gzip
torn.csv.gz [0-9]+ the compressed file ends too soon
bit.csv.gz [1-9][0-9][0-9]+ the compressed file is damaged: copy it again
rot.csv.gz [1-9][0-9][0-9]+ the compressed file is damaged: copy it again
END
rm "$T/none.csv"
printf '0,R,0,4096\r\n1,W,4096,4096\r\n' >"$T/crlf.csv"
for verb in "replay --ssd 8MiB" "size --sizes 8MiB" "peers --ssd 8MiB"; do
    # shellcheck disable=SC2086
    exits 0 "$sim" $verb --trace "$T/crlf.csv"
done
refused "^$T/broken.csv.gz:3: the offset" --trace "$T/broken.csv.gz"
head -c 20000 "$T/oltp.csv.gz" >"$T/cut.csv.gz"
refused "^$T/cut.csv.gz:[0-9]+: the compressed file ends too soon" --trace "$T/cut.csv.gz"
printf '0,R,0,4096\n\n0,W,4096,512\n' >"$T/gap.csv"
refused "^$T/gap.csv:2: the line is empty, and not the last" --trace "$T/gap.csv"
exits 0 "$sim" replay --trace "$T/oltp.csv" --ssd 8MiB --json
plain=$out
for end in '\n' '\r\n\n'; do
    { cat "$T/oltp.csv"; printf "$end"; } >"$T/end.csv"
    exits 0 "$sim" replay --trace "$T/end.csv" --ssd 8MiB --json
    is "an empty line at the end is none" "$out" "$plain"
done
: >"$T/empty.csv"
refused "^$T/empty.csv:1: there is no request" --trace "$T/empty.csv"
refused "^$T/none.csv: the trace cannot be read: No such file or directory; see that the name is right, or make a trace: firn-sim trace-gen oltp >FILE$" --trace "$T/none.csv"
refused "^$T: the trace cannot be read: Is a directory; name a file in it$" --trace "$T"
if [ "$(id -u)" != 0 ]; then
    touch "$T/mine.csv"; chmod 0 "$T/mine.csv"
    refused "^$T/mine.csv: the trace cannot be read: Permission denied; let this user read it$" --trace "$T/mine.csv"
fi
refused "trace is needed" --ssd 10%
refused "trace is needed" --trace ""
refused "^firn-sim replay: --config: $T/nope: No such file or directory" --trace "$T/oltp.csv" --config "$T/nope"
refused "unrecognized|invalid option" --trace "$T/oltp.csv" --what
refused "unexpected word: more" --trace "$T/oltp.csv" more
refused "^firn-sim replay: --profile: neither balanced, low-wear, mysql, cassandra nor archive: fast" --trace "$T/oltp.csv" --profile fast
refused "^firn-sim replay: --ssd: neither a size .* nor a percentage up to 1000%: 10%% " --trace "$T/oltp.csv" --ssd 10%%
refused "^firn-sim replay: --ssd: neither a size up to 15TiB .*: 16TiB " --trace "$T/oltp.csv" --ssd 16TiB
refused "^firn-sim replay: --ssd: 500KiB is an SSD of 500.0 KiB, too small for the engine, which needs 512.0 KiB: say --ssd 524288, or more" --trace "$T/oltp.csv" --ssd 500KiB
refused "^firn-sim replay: --hdd: not a number from 1 to 16: 17" --trace "$T/oltp.csv" --hdd 17
refused "none/log: No such file" --trace "$T/oltp.csv" --oplog "$T/none/log"
printf 'tier: { dirty_start = 95; };\n' >"$T/conf"
refused "^$T/conf:1: tier.dirty_start: " --trace "$T/oltp.csv" --config "$T/conf"
printf 'tier: {\n dirty_start = 60;\n dirty_max = 50; };\n' >"$T/conf"
refused "^$T/conf:2: tier.dirty_start: .*, not below tier.dirty_max" --trace "$T/oltp.csv" --config "$T/conf"
printf 'pool: {\n journal: { path = "/j"; };\n cache: ( { path = "/c"; } );\n capacity: ( { path = "/a"; } ); };\n' >"$T/conf"
refused "^$T/conf:3: pool.cache: not modelled: .*; give --config a copy of the file without it\$" --trace "$T/oltp.csv" --config "$T/conf"
exits 2 "$sim" size --trace "$T/oltp.csv" --config "$T/conf"
printf 'pool: {\n journal: { path = "/j"; };\n capacity: ( { path = "/a"; },\n { path = "/b"; media = "ssd"; } ); };\n' >"$T/conf"
refused "^$T/conf:4: pool.capacity: media = \"ssd\" is not modelled" --trace "$T/oltp.csv" --config "$T/conf"
exits 1 "$sim" replay --trace "$T/oltp.csv" --ssd 8MiB --oplog /dev/full
has "a full disk" "$out" "log of commands cannot be written"
exits 0 "$sim" replay --help
has "help" "$out" "^usage: firn-sim replay"

exits 0 "$sim" size --trace "$T/oltp.csv.gz" --sizes 500KiB,4MiB,10%,4MiB --svg "$T/curve.svg"
curve=$out
is "one line a size" "$(grep -cE '^ +[0-9.]+ [KMG]iB' <<<"$curve")" 3
has "too small" "$curve" "500.0 KiB .* too small for the engine"
is "curves" "$(grep -c '<polyline' "$T/curve.svg")" 3
exits 0 "$sim" size --trace "$T/oltp.csv.gz" --sizes 500KiB,4MiB,10%,4MiB
is "the same curve again" "$out" "$curve"
exits 0 "$sim" size --trace "$T/oltp.csv.gz" --sizes 8MiB --open --json
is "a point is a replay" "$(jq '.sizes[0].hdd_busy_s' <<<"$out")" "$(jq .hdd_busy_s <<<"$first")"
exits 2 "$sim" size --trace "$T/oltp.csv" --sizes 10%,,20%
has "an empty size" "$out" "neither a size up to 15TiB nor a percentage"
exits 2 "$sim" size --trace "$T/oltp.csv" --sizes "$(printf '%s,' {1..33})1"
has "too many sizes" "$out" "more than 32 sizes"
exits 2 "$sim" size --trace "$T/oltp.csv" --ssd 10%
exits 2 "$sim" size --trace "$T/oltp.csv" --sizes 4MiB --svg "$T/none/curve"
has "no such folder" "$out" "none/curve: No such file"
is "before anything was replayed" "$(wc -l <<<"$out")" 1
exits 1 "$sim" size --trace "$T/oltp.csv" --sizes 4MiB --svg /dev/full
has "a full disk" "$out" "/dev/full cannot be written"
