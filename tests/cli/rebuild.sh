#!/usr/bin/env bash
# The metadata directory is gone: check --rebuild-map makes new metadata from what extents and log say; every acknowledged
# write reads back, under the old name and identity. Exit statuses of check: 0, 1, 2, 3.
. "$(dirname "$0")/lib.bash"
[ -x "$O/firn-bench" ] || { echo "skip: $O/firn-bench is not built"; exit 77; }
conf=$T/f.conf
cat >"$conf" <<END
node = "n1"; reactors = 2;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "288MiB"; }; capacity: ( { path = "$T/c"; size = "192MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; };
tier: { dirty_start = 1; dirty_max = 2; };
END
sock=$T/s
bench() { # bench VERB ARGUMENTS...
    local verb=$1
    shift
    "$O/firn-bench" "$verb" --port "$(ready port)" --nqn nqn.2026-11.io.firn:n1:db --ack-log "$T/ack" "$@" >"$T/bench" 2>&1
}
exits 0 "$firnd" --format --config "$conf"
start --config "$conf"
ctl volume create db --size 100MiB --quiet || bad create
ctl volume create small --size 10MiB --lba 512 --quiet || bad create
ctl host allow db '*' --quiet
uuid=$(ctl volume show db --json | jq -r .uuid)
bench run --rw randwrite --verify --fresh --ops 20000 --bs 8KiB || bad "run: $(cat "$T/bench")"
for ((i = 0; i < 50; i++)); do # what is above dirty_start settles by itself
    wrote=$(curl -s --unix-socket "$sock" http://x/metrics | awk '/^firn_tier_descriptor_writes_total/ {print ($2 > 0)}')
    [ "$wrote" = 1 ] && break
    sleep 0.1
done
is "quiet devices get their extents' descriptions" "$wrote" 1
stop
is "stopped" $rc 0
for mode in --quick --meta --data; do exits 0 "$firnctl" check --config "$conf" $mode; done
exits 2 "$firnctl" check --config "$conf" --quick --rebuild-map "$T/new"
exits 2 "$firnctl" check --config "$conf" --rebuild-map
exits 1 "$firnctl" check --config "$conf" --rebuild-map "$T/m"
has "never over metadata that is there" "$out" "$T/m"

rm -r "$T/m"
exits 1 "$firnd" --config "$conf"
exits 3 "$firnctl" check --config "$conf"
has "check says what helps" "$out" "--rebuild-map $T/m\$"
has "so does a start" "$("$firnd" --config "$conf" 2>&1)" "cannot start.*$T/m.*do=.*pool.metadata, $T/m, or.*: firnctl check --config $conf --rebuild-map $T/m\"\$"
exits 1 "$firnd" --check --config "$conf"
has "so does --check" "$out" "firnctl check --config $conf --rebuild-map $T/m\$"
exits 0 "$firnctl" check --config "$conf" --rebuild-map "$T/m"
has "names the volume" "$out" '^volume name=db bytes=104857600 extents=[1-9]'
exits 0 "$firnctl" check --config "$conf" --data
start --config "$conf"
is "the same volume" "$(ctl volume show db --json | jq -r .uuid)" "$uuid"
is "nobody is allowed until it is said again" "$(ctl volume show db --json | jq -c .hosts)" "[]"
ctl host allow db '*' --quiet
bench verify || bad "verify: $(cat "$T/bench")"
bench run --rw randwrite --verify --ops 2000 || bad "and writes go on: $(cat "$T/bench")"
stop
start --config "$conf"
bench verify || bad "verify after a restart: $(cat "$T/bench")"
stop

# A description that rotted: said, exit 3, and the pool opens for those alone who accept the loss.
mv "$T/m" "$T/old"
printf X | dd of="$T/c" bs=1 seek=$((1048576 + 100)) conv=notrunc status=none
exits 3 "$firnctl" check --config "$conf" --rebuild-map "$T/m" --json
is "one finding" "$(jq .findings <<<"$out")" 1
exits 1 "$firnd" --config "$conf"
start --config "$conf" --accept-loss
ctl host allow db '*' --quiet
bench verify && bad "the loss went unnoticed"
ok
stop
start --config "$conf" # it was accepted, and is not asked for again
missing="acknowledged data is missing, which was accepted on $(date -u +%Y)-[0-9-]* [0-9:]* UTC: .*firnctl loss clear"
has "an alert at later starts" "$(ctl status)" "$missing"
code() { curl -s -o /dev/null -w '%{http_code}' --unix-socket "$sock" -X PATCH -d "$1" http://x/v1/pool; }
is "only this can be changed of a pool" "$(code '{"name": null}') $(code '{"loss_accepted": 5}') $(code '{}')" "400 400 400"
ctl volume create other --size 1MiB --quiet || bad "create" # writes the same record
stop
start --config "$conf"
has "nor does a new volume end it" "$(ctl status)" "$missing"
exits 0 ctl loss clear
is "clear" "$out" cleared
has "no alert" "$(ctl status)" "alerts: none"
exits 0 ctl loss clear
stop
start --config "$conf"
has "nor at the next start" "$(ctl status)" "alerts: none"
stop

# All of it was destaged: what the log still proves is how far its numbers had come, and check asks for that.
mkdir "$T/2"
sed -e "s|$T/m|$T/2/m|; s|$T/j|$T/2/j|; s|$T/c|$T/2/c|; s/288MiB/256MiB/; s/512MiB/1GiB/" "$conf" >"$T/2.conf"
exits 0 "$firnd" --format --config "$T/2.conf"
start --config "$T/2.conf"
ctl volume create db --size 32MiB --quiet || bad create
ctl host allow db '*' --quiet
rm "$T/ack"
bench run --rw write --verify --bs 64KiB --bytes 32MiB || bad "fill: $(cat "$T/bench")"
for ((i = 1; i <= 150; i++)); do # what is below dirty_start waits for more: just over it all goes in one round
    dirty=$(curl -s --unix-socket "$sock" http://x/metrics | awk '/^firn_journal_dirty_bytes/ {print $2}')
    [ "$dirty" = 0 ] && break
    [ $((i % 15)) != 0 ] || bench run --rw write --verify --bs 64KiB --bytes 3MiB || bad "write: $(cat "$T/bench")"
    sleep 0.1
done
stop
rm -r "$T/2/m"
exits 0 "$firnctl" check --config "$T/2.conf" --rebuild-map "$T/2/m"
exits 0 "$firnctl" check --config "$T/2.conf" --data
has "no loss is seen where there is none" "$out" ' 0 findings'
start --config "$T/2.conf"
stop
exits 0 "$firnctl" check --config "$T/2.conf" --data
