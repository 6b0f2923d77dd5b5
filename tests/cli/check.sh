#!/usr/bin/env bash
# --check looks at everything, names everything that is wrong, says what to do, and makes nothing.
. "$(dirname "$0")/lib.bash"
conf=$T/f.conf
write() { # write API-KEYS
    cat >"$conf" <<END
reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; };
        capacity: ( { path = "$T/c1"; size = "256MiB"; }, { path = "$T/c2"; size = "256MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; $1 };
END
}
exits 0 "$firnd" --check --dev "$T/new"
has "a directory that is not there" "$out" "not formatted yet: the first start"
exits 0 "$firnd" --check --dev "$T/new/deep"
is "--check --dev makes nothing" "$(ls "$T")" ""

write ''
exits 1 "$firnd" --check --config "$conf"
has "every missing device: the journal" "$out" "journal device \"$T/j\": No such file"
has "the first" "$out" "capacity device \"$T/c1\": No such file"
has "the second" "$out" "capacity device \"$T/c2\": No such file"
has "and what to do" "$out" "not formatted yet: run firnd --config $conf --format"
is "nothing made" "$(ls "$T")" "f.conf"

# --format looks at every device before it makes one.
sed "s|$T/c2\"|$T/none/c2\"|" "$conf" >"$T/g.conf"
exits 1 "$firnd" --format --config "$T/g.conf"
has "the last cannot be made" "$out" "$T/none/c2.*No such file"
sed "s|path = \"$T/c2\"; size = \"256MiB\"|path = \"$T/c2\"|" "$conf" >"$T/g.conf"
exits 1 "$firnd" --format --config "$T/g.conf"
has "the last has no size" "$out" "$T/c2.*give it a size"
is "nothing made" "$(ls "$T")" "$(printf 'f.conf\ng.conf')"
truncate -s 256M "$T/c2"; printf 'something' | dd of="$T/c2" conv=notrunc status=none
exits 1 "$firnd" --format --config "$conf"
has "the last holds something" "$out" "$T/c2.*not empty"
is "nothing made" "$(ls "$T")" "$(printf 'c2\nf.conf\ng.conf')"
for how in "some missing" "none missing"; do
    exits 1 "$firnd" --check --config "$conf"
    has "--check says so too ($how)" "$out" "capacity device \"$T/c2\" is not empty: it carries unknown data"
    truncate -s 160M "$T/j"; truncate -s 256M "$T/c1"
done
rm "$T/j" "$T/c1" "$T/c2"
sed "s|$T/|$T/made-|g" "$conf" >"$T/g.conf"
exits 0 "$firnd" --format --config "$T/g.conf"
has "a file that is made is told of" "$out" "level=info msg=\"file made\" path=\"$T/made-j\" bytes=167772160"
rm -r "$T"/made-*

truncate -s 160M "$T/j"; truncate -s 256M "$T/c1" "$T/c2"
exits 1 "$firnd" --check --config "$conf"
has "empty devices" "$out" "not formatted yet: run firnd --config $conf --format"
exits 0 "$firnd" --format --config "$conf"
exits 0 "$firnd" --check --config "$conf"
has "good" "$out" "devices: good"
mv "$T/c2" "$T/away"
exits 1 "$firnd" --check --config "$conf"
has "one is missing" "$out" "capacity device \"$T/c2\": No such file"
grep -q 'not formatted' <<<"$out" && bad "a formatted pool is called unformatted" || ok
mv "$T/away" "$T/c2"

# A device more than the pool has: nothing here says format, and a format without --force leaves the pool.
truncate -s 256M "$T/c3"; : >"$T/c4"
for more in c3 c4; do
    sed "s|path = \"$T/c2\"; size = \"256MiB\"; }|&, { path = \"$T/$more\"; }|" "$conf" >"$T/g.conf"
    for how in --check "--log-level info"; do
        exits 1 timeout 10 "$firnd" --config "$T/g.conf" $how
        has "it is not the pool's ($more $how)" "$out" 'this pool is formatted and ..?'"$T/$more"'.?" does not belong to it; a device cannot be added to a pool yet: take it out of pool.capacity. Do not --format'
        grep -q 'not formatted' <<<"$out" && bad "a formatted pool is called unformatted" || ok
    done
done
exits 1 "$firnd" --format --config "$T/g.conf"
has "what --force would do" "$out" "--force destroys the pool that is there"
exits 0 "$firnd" --check --config "$conf"

# A file of a few bytes is no full disk.
echo note >"$T/note"
sed "s|$T/c2\"|$T/note\"|" "$conf" >"$T/g.conf"
for how in --check --format "--log-level info"; do
    exits 1 timeout 10 "$firnd" --config "$T/g.conf" $how
    has "it is too small ($how)" "$out" "$T/note.*is 5 bytes, too small for a device \(at least [0-9]+\)"
done

# No file is made where a device's path was mistyped.
typo=/dev/firn-typo-$$
sed "s|$T/j\"|$typo\"|" "$conf" >"$T/g.conf"
exits 1 "$firnd" --format --config "$T/g.conf"
has "no file under /dev" "$out" "$typo.* is missing; no file is made under /dev: correct the path"
[ -e "$typo" ] && { bad "a file was made at $typo"; rm -f "$typo"; } || ok

write "token_file = \"$T/token\";"
for how in --check "--log-level info"; do
    exits 2 timeout 10 "$firnd" --config "$conf" $how
    has "a token that is not there ($how)" "$out" "^$conf:5: api.token_file: $T/token: No such file"
done
echo secret >"$T/token"; chmod 600 "$T/token"
exits 0 "$firnd" --check --config "$conf"
