#!/usr/bin/env bash
# A pool of a disk that seeks (modelled) and flash: a volume's tier moves its extents between them while it is served, counted in API and
# metrics; what it holds stays what was written, also after a SIGKILL in the middle, and by a map that was rebuilt.
. "$(dirname "$0")/lib.bash"
[ -x "$O/firn-bench" ] || { echo "skip: $O/firn-bench is not built"; exit 77; }
conf=$T/f.conf sock=$T/s
cat >"$conf" <<END
node = "n1"; reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; };
        capacity: ( { path = "$T/hdd"; size = "192MiB"; }, { path = "$T/flash"; size = "192MiB"; media = "ssd"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; };
tier: { migrate_rate = "64MiB"; };
END
serve() { start --config "$conf" --model-hdd 0; }
used() { ctl volume show db --json | jq ".used.$1 / 1048576"; }
metric() { curl -s --max-time 20 --unix-socket "$sock" http://x/metrics | grep -F "$1" | cut -d' ' -f2; }
bench() { # bench VERB ARGUMENTS...
    local verb=$1
    shift
    timeout 100 "$O/firn-bench" "$verb" --port "$(ready port)" --nqn nqn.2026-11.io.firn:n1:db --ack-log "$T/ack" "$@" >"$T/bench" 2>&1
}
until_is() { # until_is WHERE MIB
    for ((i = 0; i < 200; i++)); do [ "$(used "$1")" = "$2" ] && break; sleep 0.1; done
    is "$1 has" "$(used "$1")" "$2"
}

exits 0 "$firnd" --format --config "$conf"
serve
is "tiers" "$(curl -s --unix-socket "$sock" http://x/v1/status | jq -c '.tiers|map(.tier)')" '["ssd","flash","hdd"]'
ctl volume create db --size 32MiB --tier hdd --quiet
ctl host allow db '*' --quiet
bench run --rw write --verify --fresh --bs 256KiB --bytes 32MiB --qd 4 || bad "run: $(cat "$T/bench")"
until_is hdd 32
for ((i = 0; i < 200; i++)); do [ "$(ctl volume show db --json | jq .dirty)" = 0 ] && break; sleep 0.1; done
is "none on flash" "$(used flash)" 0
exits 0 ctl volume set db tier=ssd
until_is flash 32
is "counted" "$(($(metric 'firn_tier_migrated_bytes_total{pool="default",direction="to_flash"}') >= 32 << 20))" 1
is "extents of flash" "$(metric 'firn_tier_extents{pool="default",tier="flash"}')" 32
is "extents of the disk" "$(metric 'firn_tier_extents{pool="default",tier="hdd"}')" 0
is "of the volume" "$(metric 'firn_volume_used_bytes{volume="db",tier="flash"}')" $((32 << 20))
has "status" "$(ctl status)" "flash +32.0 MiB of"
has "show" "$(ctl volume show db)" "0 B on HDD; .*32.0 MiB on flash"
is "the picture of heat" "$(curl -s --unix-socket "$sock" http://x/v1/volumes/db/heat | jq -c '.used|[(.ssd|add),(.hdd|add)]')" "[$((32 << 20)),0]"
bench verify || bad "verify: $(cat "$T/bench")"
said=$(metric 'firn_tier_descriptor_bytes_total{')
for ((i = 0; i < 100; i++)); do [ "$said" -lt $((32 * 4096)) ] || break; sleep 0.1; said=$(metric 'firn_tier_descriptor_bytes_total{'); done
is "every extent has said so there" "$((said >= 32 * 4096))" 1

exits 0 ctl volume set db tier=hdd
for ((i = 0; i < 100; i++)); do [ "$(used hdd)" = 0 ] || break; sleep 0.02; done
kill -9 "$pid"
wait "$pid" 2>/dev/null
exits 0 "$firnctl" check --config "$conf" --data
serve
bench verify || bad "verify after a kill: $(cat "$T/bench")"
until_is flash 0
bench verify || bad "verify: $(cat "$T/bench")"
exits 0 curl -sf --unix-socket "$sock" -X PATCH -d '{"tier.migrate_rate": 0}' http://x/v1/config
exits 0 ctl volume set db tier=ssd
sleep 0.5
is "off" "$(used flash)" 0
stop
is "stopped" "$rc" 0
exits 0 "$firnctl" check --config "$conf" --data

# Every extent has two descriptions of one destage now. Its old place is somebody else's, who has not said so: the bytes tell, but
# not that nobody has written to the extent since. Somebody has to accept that.
dd if=/dev/zero of="$T/flash" bs=64K seek=20 count=512 conv=notrunc status=none
exits 0 "$firnctl" check --config "$conf" --data
exits 3 "$firnctl" check --config "$conf" --rebuild-map "$T/new"
has "which of two places" "$out" "two places say the same, and the bytes of one do not fit"
sed -i "s|$T/m|$T/new|" "$conf"
exits 1 "$O/firnd" --config "$conf"
has "a loss to accept" "$out" "accept-loss"
start --config "$conf" --model-hdd 0 --accept-loss
nqn=$(ctl volume show db --json | jq -r .nqn)
ctl host allow db '*' --quiet
timeout 100 "$O/firn-bench" verify --port "$(ready port)" --nqn "$nqn" --ack-log "$T/ack" >"$T/bench" 2>&1 || bad "verify of a rebuilt map: $(cat "$T/bench")"
stop
exits 0 "$firnctl" check --config "$conf" --data
