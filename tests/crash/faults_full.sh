#!/usr/bin/env bash
# faults.md C5, C6, C7, C4 on the real server: a capacity device, a metadata store and a log file with no room left, a metadata
# directory that cannot be written, a journal smaller than the load. An error says which; what was acknowledged stays; room brings all of it back.
if [ -z "${FIRN_IN_NS:-}" ] && unshare -rm true 2>/dev/null; then # a mount namespace, for small and read-only file systems
    FIRN_IN_NS=1 exec unshare -rm "$0" "$@"
fi
. "$(dirname "$0")/faults.bash"
soon() { # soon SECONDS COMMAND...: until it succeeds
    local limit=$((EPOCHSECONDS + $1))
    shift
    until "$@"; do
        [ $EPOCHSECONDS -lt $limit ] || return 1
        sleep 0.3
    done
}
outcome() { grep -E "^$1 " <<<"$2" | cut -d' ' -f2; }

# --- C5: 64 MiB of capacity, a volume of 256 MiB ---------------------------------------------------------------------------------
CAPACITY=66MiB REACTORS=1 begin 160MiB 'journal: { segment_size = "16MiB"; }; tier: { dirty_start = 1; dirty_max = 20; };'
up
volume_make v 256MiB
volume_make w 16MiB
nqn=$(volume_nqn v)
got=$(host "$nqn" write 0 256x256 1) # one block in every extent
fit=$(outcome good "$got") full=$(outcome status-081 "$got")
[ "${fit:-0}" -ge 32 ] && [ "$fit" -le 66 ] && ok || bad "C5: $fit extents of 66 MiB were taken: $got"
is "C5: all others are told Capacity Exceeded" "$full" $((256 - fit))
is "C5: what was taken reads, the rest reads zeros" "$(host "$nqn" read 0 256x256 1 | cut -d' ' -f1,2)" "$(printf 'good %d\nzeros %d' "$fit" "$full")"
is "C5: overwrites go on" "$(host "$nqn" write 0 "${fit}x256" 2 | cut -d' ' -f1,2)" "good $fit"
is "C5: other blocks of the same extents, too" "$(host "$nqn" write 7 "${fit}x256" 3 | cut -d' ' -f1,2)" "good $fit"
is "C5: write zeroes in them, too" "$(host "$nqn" zero 9 "${fit}x256" | cut -d' ' -f1,2)" "good $fit"
has "C5: another volume is told the same" "$(host "$(volume_nqn w)" write 0 1 1)" '^status-081 1 0'
server_kill
up
is "C5: a full pool starts after a kill" "$(host "$nqn" read 0 "${fit}x256" 2 | cut -d' ' -f1,2)" "good $fit"
has "C5: and is still full" "$(host "$nqn" write $((fit * 256)) 1 1)" '^status-081 1'
is "C5: deallocate is answered" "$(host "$nqn" free 0 1024)" "good 1 0" # four whole extents
more() { [ "$(host "$nqn" write $((fit * 256)) 4x256 4 | cut -d' ' -f1,2)" = "good 4" ]; }
soon 20 more && ok || bad "C5: trimmed space does not come back: $(host "$nqn" write $((fit * 256)) 4x256 4)"
is "C5: the trimmed read zeros" "$(host "$nqn" read 0 1024 2 | cut -d' ' -f1,2)" "zeros 1024"
down
up
is "C5: and stays so" "$(host "$nqn" read $((fit * 256)) 4x256 4 | cut -d' ' -f1,2)" "good 4"
ctl --quiet volume delete v || bad "C5: delete on a full pool"
w=$(volume_nqn w)
fresh() { [ "$(host "$w" write 0 16x256 1 | cut -d' ' -f1,2)" = "good 16" ]; }
soon 20 fresh && ok || bad "C5: deleting a volume gives no space back: $(host "$w" write 0 16x256 1)"
down
exits 0 "$firnctl" check --data --config "$pool/firn.conf"

# --- C5: the same pool, nothing destaged yet, trimmed block by block ---------------------------------------------------------
CAPACITY=66MiB REACTORS=1 begin 160MiB 'journal: { segment_size = "16MiB"; };'
up
volume_make v 256MiB
nqn=$(volume_nqn v)
fit=$(outcome good "$(host "$nqn" write 0 70x256 1)")
has "C5: 70 extents do not fit" "$(host "$nqn" write $((fit * 256)) 1 1)" '^status-081 1'
is "C5: single blocks are deallocated" "$(host "$nqn" trim 0 1024 | cut -d' ' -f1,2)" "good 1024"
soon 5 more && ok || bad "C5: four extents with nothing left in them keep their space: $(host "$nqn" write $((fit * 256)) 4x256 4)"
down

# --- C4: writes many times the journal, while reads, trims and volume verbs go on -------------------------------------------
CAPACITY=2GiB REACTORS=1 begin 160MiB 'journal: { segment_size = "16MiB"; }; tier: { dirty_start = 20; dirty_max = 40; }; mover: { bandwidth = "30MiB"; };'
up
volume_make v 1GiB
volume_make w 16MiB
nqn=$(volume_nqn v) w=$(volume_nqn w)
host "$w" write 0 100 1 >/dev/null
"$bench" run --port "$port" --nqn "$nqn" --rw write --bs 256KiB --qd 16 --size 1GiB --time 8s --timeout 60s --json >"$work/write.json" 2>&1 &
writer=$!
sleep 3
t=$(now_ms)
is "C4: reads of another volume go on" "$(host "$w" read 0 100 1 | cut -d' ' -f1,2)" "good 100"
[ $(($(now_ms) - t)) -le 5000 ] && ok || bad "C4: 100 reads took $(($(now_ms) - t)) ms"
ctl --quiet volume create x --size 1MiB && ctl --quiet volume delete x && ok || bad "C4: volumes cannot be made and deleted"
t=$(now_ms)
is "C4: its writes wait and come through" "$(host "$w" write 0 20 2 | cut -d' ' -f1,2)" "good 20"
wait $writer && ok || bad "C4: the load failed: $(head -c 400 "$work/write.json")"
[ "$(metric firn_tier_write_waits_total)" -gt 0 ] && ok || bad "C4: no write waited, so nothing was shown"
is "C4: nothing failed" "$(jq .io_errors "$work/write.json")" 0
down

if [ -z "${FIRN_IN_NS:-}" ]; then
    skip "C6, C7: no mount namespace can be made here"
    report
    exit
fi

# --- C6: metadata on a file system that is full ----------------------------------------------------------------------------
rm -rf "$pool"
CAPACITY=1GiB REACTORS=1 conf "$pool" 160MiB 'journal: { segment_size = "16MiB"; }; tier: { dirty_start = 1; dirty_max = 20; };'
mkdir "$pool/meta"
mount -t tmpfs -o size=160k meta "$pool/meta"
sed -i "s|metadata = \"$pool/meta\"|metadata = \"$pool/meta/m\"|" "$pool/firn.conf"
if pool_format "$pool"; then
    up
    volume_make v 256MiB
    nqn=$(volume_nqn v)
    host "$nqn" write 0 60 1 >/dev/null
    made=0
    for ((i = 0; i < 400; i++)); do # records until there is no room
        ctl --quiet volume create "v$i" --size 1MiB >"$work/create" 2>&1 || break
        made=$((made + 1))
    done
    [ $i -lt 400 ] && ok || bad "C6: 400 volumes fit in 160 KiB of metadata"
    has "C6: the error says so" "$(cat "$work/create")" '^firnctl: cannot create volume v[0-9]+: .*metadata'
    has "C6: so does the log" "$(said)" 'level=error msg="metadata commit failed'
    has "C6: what was acknowledged reads" "$(host "$nqn" read 0 60 1)" '^good 60'
    got=$(host "$nqn" write 60 200 1) # taken into the log, or refused: never half
    kept=$(outcome good "$got")
    grep -qE '^(ended|exit)' <<<"$got" && bad "C6: writes get no answer: $got" || ok
    why="metadata can no longer be written \\(No space left on device\\): volumes take no writes; make room in $pool/meta/m, then restart firnd"
    has "C6: why, and what to do: the error" "$(cat "$work/create")" "$why"
    has "C6: an alert" "$(ctl status)" "^  $why"
    has "C6: in the log" "$(said)" 'msg="metadata commit failed.*error="No space left on device" do="make room in '
    has "C6: not ready" "$(curl -s -w '%{http_code}' --unix-socket "$socket" http://x/readyz | tr '\n' ' ')" "^read-only: $why 503"
    is "C6: alive" "$(curl -s -w '%{http_code}' --unix-socket "$socket" http://x/healthz | tr '\n' ' ')" "ok 200"
    is "C6: the gauge" "$(metric firn_pool_read_only)" 1
    has "C6: volumes are shown so" "$(ctl volume list)" '^v .* read-only$'
    rc=0
    server_term || rc=$?
    is "C6: a stop that cannot commit" $rc 1
    server_start --config "$pool/firn.conf"
    if server_wait 20 2>/dev/null; then
        has "C6: starts with metadata full" "$(host "$nqn" read 0 60 1)" '^good 60'
        server_kill
    else
        has "C6: or says why it cannot" "$(said)" 'cannot start.*(metadata|No space|space)'
    fi
    mount -o remount,size=32m "$pool/meta"
    up
    is "C6: with room, all that was acknowledged is there" "$(host "$nqn" read 0 $((60 + ${kept:-0})) 1 | cut -d' ' -f1,2)" "good $((60 + ${kept:-0}))"
    is "C6: volumes that were made, and no half one" "$(ctl volume list --json | jq '.volumes | length')" $((made + 1))
    ctl --quiet volume create again --size 1MiB && ok || bad "C6: no volume can be made with room"
    down
    exits 0 "$firnctl" check --data --config "$pool/firn.conf"
    # a metadata directory that cannot be written
    mount -o remount,ro "$pool/meta"
    before=$(sums)
    exits 1 timeout 20 "$firnd" --config "$pool/firn.conf"
    has "C6: read-only metadata is named" "$out" "cannot start.*$pool/meta"
    is "C6: and no device was written" "$(sums)" "$before"
    umount "$pool/meta"
else
    bad "C6: 160 KiB are too small to format"
fi

# --- C5: capacity in a file, and no room left where the file lies ---------------------------------------------------------------
rm -rf "$pool"
CAPACITY=1GiB REACTORS=1 conf "$pool" 160MiB 'journal: { segment_size = "16MiB"; }; tier: { dirty_start = 1; dirty_max = 20; };'
mkdir "$work/disks"
mount -t tmpfs -o size=4m disks "$work/disks"
sed -i "s|\"$pool/hdd\"|\"$work/disks/hdd\"|" "$pool/firn.conf"
if pool_format "$pool"; then
    up
    volume_make v 256MiB
    host "$(volume_nqn v)" write 0 2048 1 >/dev/null
    said_degraded() { said | grep -q 'msg="a capacity device is degraded'; }
    soon 20 said_degraded && ok || bad "C5: a device that refuses writes is not said: $(said | tail -n 3)"
    has "C5: why, and what to do" "$(said)" "device=\"$work/disks/hdd\" .*error=\"No space left on device\" do=\"make room"
    sleep 2
    is "C5: once" "$(said | grep -c 'a capacity device is degraded')" 1
    is "C5: this keeps no writes away" "$(host "$(volume_nqn v)" write 1 16x256 1 | cut -d' ' -f1,2)" "good 16"
    server_term || true
else
    bad "C5: 4 MiB are too small to format: $out"
fi
umount "$work/disks"

# --- C7: standard error on a full device and on a full file system, under load ---------------------------------------------
CAPACITY=1GiB REACTORS=1 begin 160MiB
mkdir "$work/logs"
mount -t tmpfs -o size=64k logs "$work/logs"
head -c 70000 /dev/zero >"$work/logs/fill" 2>/dev/null
for to in /dev/full "$work/logs/err"; do
    "$firnd" --config "$pool/firn.conf" --log-level debug --port 0 2>"$to" &
    server=$!
    soon 10 test -S "$socket" && soon 10 ctl --quiet status >/dev/null 2>&1
    ctl --quiet volume create v --size 64MiB >/dev/null
    ctl --quiet host allow v '*' >/dev/null
    port=$(ss -Hltnp 2>/dev/null | awk -v p="pid=$server," 'index($0, p) {sub(/.*:/, "", $4); print $4}' | sort -n | while read -r p; do
        timeout 5 "$blocks" "$p" "$(volume_nqn v)" write 0 1 1 >/dev/null 2>&1 && { echo "$p"; break; }; done)
    nqn=$(volume_nqn v)
    exits 0 timeout 30 "$bench" run --port "${port:-1}" --nqn "$nqn" --rw randmixed --size 32MiB --time 1s --verify
    [ "$(metric firn_log_dropped_lines_total)" -gt 0 ] && ok || bad "C7: no dropped line is counted with stderr on $to"
    server_term && ok || bad "C7: stop with stderr on $to"
done
umount "$work/logs"
report
