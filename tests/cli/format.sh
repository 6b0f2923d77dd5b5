#!/usr/bin/env bash
# --format prepares empty devices and refuses others; --check looks and changes nothing; one pool, one server.
. "$(dirname "$0")/lib.bash"
conf=$T/f.conf
cat >"$conf" <<END
node = "n1"; reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; }; capacity: ( { path = "$T/c"; size = "256MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; };
END
exits 1 "$firnd" --check --config "$conf"
has "a pool that is not there is missing" "$out" "$T/j"
is "--check makes nothing" "$(ls "$T")" "f.conf"
exits 1 "$firnd" --config "$conf"
has "no pool: no start, said in one line" "$out" 'level=error msg="cannot start" why="'
has "with the next step in it" "$out" "do=\"not formatted yet: run firnd --config $conf --format"

# Foreign content, each kind of it, is refused and left as it was.
truncate -s 256M "$T/c"
mkfs.ext4 -q -F "$T/c" 2>/dev/null || printf 'something' | dd of="$T/c" conv=notrunc status=none
before=$(cmp -s "$T/c" "$T/c" && sha256sum <"$T/c")
exits 1 "$firnd" --format --config "$conf"
has "refused with the device named" "$out" "$T/c"
has "where to look" "$out" "do=\"look at what is there: firnctl dump labels --config $conf .* blkid .* add --force\"$"
is "and not changed" "$(sha256sum <"$T/c")" "$before"
exits 0 "$firnd" --format --force --config "$conf"
exits 1 "$firnd" --format --config "$conf"
has "a pool is not formatted over" "$out" "not empty"
has "how to look at it, and to replace it" "$out" "do=\"a whole pool is there: leave --format out to serve it; firnctl dump volumes --config $conf tells .* lose all that its volumes hold, stop its firnd, save what is wanted, then add --force\"$"
exits 0 "$firnctl" dump volumes --config "$conf"
exits 0 "$firnd" --check --config "$conf"
has "good" "$out" "devices: good"

start --config "$conf"
sock=$T/s
is "the node's name" "$(ready node)" n1
exits 1 timeout 10 "$firnd" --config "$conf"
has "a second server is refused at once" "$out" "in use"
exits 1 timeout 10 "$firnd" --format --force --config "$conf"
has "nor formatted under a server, even with --force" "$out" "in use"
exits 0 "$firnd" --check --config "$conf"
exits 1 "$firnctl" check --config "$conf"
has "nor checked under it" "$out" "stop firnd first"
ctl volume create a --size 10MiB --quiet || bad "create"
stop
is "stopped" $rc 0
exits 0 "$firnctl" check --config "$conf" --data
exits 0 "$firnctl" dump labels --config "$conf"
has "labels in words" "$out" "pool=default"
exits 0 "$firnctl" dump volumes --config "$conf"
has "volumes in words" "$out" "name=a"

# A device that is not the pool's: refused, with its name.
truncate -s 256M "$T/c2"
sed "s|$T/c\"|$T/c2\"|" "$conf" >"$T/g.conf"
exits 1 "$firnd" --config "$T/g.conf"
has "a device without a label is named" "$out" "$T/c2"
mv "$T/c" "$T/away"
exits 1 "$firnd" --config "$conf"
has "a missing device is named" "$out" "$T/c"

# Eight servers at once: one serves, the others leave with 1.
mv "$T/away" "$T/c"
for i in 1 2 3 4 5 6 7 8; do
    sed "s|$T/s\"|$T/s$i\"|" "$conf" >"$T/$i.conf"
    "$firnd" --config "$T/$i.conf" 2>"$T/log$i" &
    pids[i]=$!
done
sleep 2
alive=0
for i in 1 2 3 4 5 6 7 8; do
    if kill -0 "${pids[i]}" 2>/dev/null; then alive=$((alive + 1)); kill -TERM "${pids[i]}"; fi
    wait "${pids[i]}"; rcs[i]=$?
done
is "one of eight serves" $alive 1
is "seven say why" "$(cat "$T"/log? | grep -c 'in use')" 7
