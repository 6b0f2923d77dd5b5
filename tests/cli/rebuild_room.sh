#!/usr/bin/env bash
# A volume that was deleted is back in a rebuilt map and has the room that the log's newest data was promised: said, nothing made;
# --without leaves it out, the pool starts, and all that was acknowledged reads back. Metadata that is damaged and not gone.
. "$(dirname "$0")/lib.bash"
[ -x "$O/firn-bench" ] || { echo "skip: $O/firn-bench is not built"; exit 77; }
settle=$T/settle.conf keep=$T/keep.conf
conf() { # conf DIRTY_START DIRTY_MAX
    cat <<END_CONF
node = "n1"; reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "256MiB"; }; capacity: ( { path = "$T/c"; size = "128MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; };
tier: { dirty_start = $1; dirty_max = $2; };
END_CONF
}
conf 1 2 >"$settle"
conf 60 80 >"$keep"
sock=$T/s
bench() { # bench VERB VOLUME ARGUMENTS...
    local verb=$1 volume=$2
    shift 2
    "$O/firn-bench" "$verb" --port "$(ready port)" --nqn "nqn.2026-11.io.firn:n1:$volume" --ack-log "$T/$volume.ack" "$@" >"$T/bench" 2>&1
}
metric() { curl -s --unix-socket "$sock" http://x/metrics | awk -v m="^$1" '$0 ~ m {print $2 + 0; exit}'; }
described() { # described EXTENTS: that many settled and told it; what is below dirty_start stays in the log
    local i
    for ((i = 0; i < 150; i++)); do
        [ "$(metric firn_tier_descriptor_bytes_total)" -ge $(($1 * 4096)) ] && return
        sleep 0.1
    done
    bad "$1 extents were not described: $(metric firn_tier_descriptor_bytes_total)"
}
volume() { ctl volume create "$1" --size "$2" --quiet && ctl host allow "$1" '*' --quiet || bad "create $1"; }

exits 0 "$firnd" --format --config "$settle"
start --config "$settle"
volume old 100MiB
bench run old --rw write --verify --bs 256KiB --bytes 100MiB || bad "write: $(cat "$T/bench")"
described 90
exits 0 ctl volume delete old
volume new 40MiB
bench run new --rw write --verify --bs 256KiB --bytes 8MiB || bad "write: $(cat "$T/bench")"
described 94
stop
start --config "$keep"
bench run new --rw write --verify --bs 256KiB --bytes 40MiB || bad "write: $(cat "$T/bench")"
stop
mv "$T/m" "$T/m.lost"

rebuild=("$firnctl" check --config "$keep" --rebuild-map "$T/m")
before=$(cat "$T/j" "$T/c" | sha256sum)
exits 3 "${rebuild[@]}"
has "who was deleted is back" "$out" '^volume name=old bytes=104857600 extents=[0-9]+ log_extents='
has "what is in the log alone is counted" "$out" '^volume name=new bytes=41943040 extents=[1-9] log_extents=3[0-9]$'
has "what is missing" "$out" '^too full to start: .* [1-9][0-9]* MiB too few; no map was made: .*--without VOLUME$'
exits 2 "$firnctl" check --config "$keep" --without old
exits 2 "${rebuild[@]}" --without 'old,,new'
exits 2 "${rebuild[@]}" --without
exits 1 "${rebuild[@]}" --without old --without never
has "a name that is not there" "$out" 'no volume "never"'
has "... with those that are" "$out" '^volume name=new '
exits 0 "${rebuild[@]}" --without old
has "who is left out is said" "$out" '^left out: volume name=old .*extents='
has "nothing is wrong then" "$out" ' 0 findings'
is "devices are only read" "$(cat "$T/j" "$T/c" | sha256sum)" "$before"
exits 0 "$firnctl" check --config "$keep" --data
start --config "$keep"
is "what is left" "$(ctl volume list --json | jq -r '.volumes[].name' | xargs)" new
ctl host allow new '*' --quiet
bench verify new || bad "verify: $(cat "$T/bench")"
volume more 60MiB # its places are free
bench run more --rw write --verify --bs 256KiB --bytes 60MiB || bad "write: $(cat "$T/bench")"
bench verify more || bad "verify: $(cat "$T/bench")"
stop
start --config "$settle"
bench verify new || bad "verify after a restart: $(cat "$T/bench")"
stop

# Damaged, not gone: what helps is said whole, by everybody, and it does help.
head -c 65536 /dev/urandom | dd of="$T/m/data.mdb" conv=notrunc status=none
next="mv $T/m $T/m.bad && $firnctl check --config $keep --rebuild-map $T/m"
said=${next/"$firnctl"/firnctl}
exits 3 "$firnctl" check --config "$keep"
has "check" "$out" "the devices: $said\$"
exits 1 "$firnd" --check --config "$keep"
has "firnd --check" "$out" "the devices: $said\$"
has "a start" "$("$firnd" --config "$keep" 2>&1)" "cannot start.*do=\".*the devices: $said\"\$"
exits 1 "${rebuild[@]}"
has "so does the rebuild" "$out" "holds metadata already.*move it aside first, then the same command again: mv $T/m $T/m.bad\$"
exits 3 bash -c "$next"
has "places that nobody took since still tell of who was deleted" "$out" '^too full to start: '
has "so does check of what that leaves" "$("$firnctl" check --config "$keep")" "the devices: firnctl check --config $keep --rebuild-map $T/m\$"
exits 0 "${rebuild[@]}" --without old
start --config "$keep"
is "all are back" "$(ctl volume list --json | jq -r '.volumes[].name' | sort | xargs)" "more new"
ctl host allow more '*' --quiet
bench verify more || bad "verify: $(cat "$T/bench")"
stop
