#!/usr/bin/env bash
# SSDs of clean copies: used, missing, taken out, put back, added, refused; nothing of it loses a byte or stops a start that can go on.
. "$(dirname "$0")/lib.bash"
conf() { # conf FILE CACHE...
    cat >"$T/$1" <<END2
node = "n1"; reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; }; cache: ( $2 );
        capacity: ( { path = "$T/c"; size = "256MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/sock"; listen = ""; };
END2
}
s1="{ path = \"$T/s1\"; size = \"64MiB\"; }" s2="{ path = \"$T/s2\"; size = \"64MiB\"; }"
conf one.conf "$s1"
conf two.conf "$s1, $s2"
conf swapped.conf "$s2, $s1"
conf second.conf "$s2"
conf none.conf ""
state() { jq -r ".devices[] | select(.path == \"$T/$1\") | .state" <<<"$("$firnctl" --socket "$T/sock" --json device list)"; }
serves() { # serves CONF
    start --config "$T/$1"
    exits 0 "$firnctl" --socket "$T/sock" volume list
    has "$1: the volume is there" "$out" "^a +"
}
exits 0 "$firnd" --format --config "$T/one.conf"
start --config "$T/one.conf"
exits 0 "$firnctl" --socket "$T/sock" volume create a --size 16MiB
is "used" "$(state s1)" ok
exits 0 "$firnctl" --socket "$T/sock" status
has "status" "$out" "^cache +$T/s1 +64.0 MiB .* ok"
ssd() { curl -s --unix-socket "$T/sock" http://firn/v1/status | jq -c '.pool.journal.size as $j | .tiers[0].size as $s | [$s - $j > 50000000, $s - $j <= 67108864]'; }
is "what it holds has room in the tier's size" "$(ssd)" "[true,true]"
stop

# C1: missing
mv "$T/s1" "$T/s1.away"
exits 0 "$firnd" --check --config "$T/one.conf"
has "--check names it" "$out" "^firnd: cache device \"$T/s1\": No such file"
has "--check says what follows" "$out" "^cache_missing: a start goes on without 1 cache device, and loses nothing"
serves one.conf
is "missing" "$(state s1)" missing
is "and does not count" "$(ssd)" "[false,true]"
exits 0 "$firnctl" --socket "$T/sock" status
has "the alert" "$out" "^  cache_missing: cache device $T/s1 is missing: nothing is lost"
exits 0 curl -sf --unix-socket "$T/sock" http://firn/metrics
has "the metric" "$out" "^firn_device_up\{.*device=\"$T/s1\".*\} 0"
stop
has "the log" "$(cat "$log")" "level=warn msg=\"a cache device is missing.* alert=cache_missing path=\"$T/s1\""
mv "$T/s1.away" "$T/s1"
serves one.conf
is "and back" "$(state s1)" ok
exits 0 "$firnctl" --socket "$T/sock" status
has "no alert" "$out" "alerts: none"
stop

# Taken out, put back.
serves none.conf
stop
serves one.conf
is "put back" "$(state s1)" ok
stop

# Another one: refused until it is added by name; then in any order.
refused() { # refused CONF PATTERN
    exits 1 "$firnd" --check --config "$T/$1"
    has "$1: --check" "$out" "^firnd: .*$2"
    exits 1 timeout 10 "$firnd" --config "$T/$1"
    has "$1: start" "$out" "cannot start.*$2"
}
truncate -s 64M "$T/s2"
refused two.conf "$T/s2.*firnd --add-cache takes in an empty one; else correct pool.cache"
rm "$T/s2"
exits 0 "$firnd" --add-cache --config "$T/two.conf"
has "added" "$out" "added=1 forgotten=0"
is "its file is made" "$(stat -c %s "$T/s2")" $((64 << 20))
exits 0 "$firnd" --add-cache --config "$T/two.conf"
has "once" "$out" "added=0 forgotten=0"
serves two.conf
is "the new one" "$(state s2)" ok
stop
serves swapped.conf
is "in another order" "$(state s1)$(state s2)" okok
exits 1 "$firnd" --add-cache --config "$T/two.conf"
has "not under a server" "$out" "in use by another process"
stop

# Forgotten: it is not believed again, and taken in anew without force.
exits 0 "$firnd" --add-cache --config "$T/second.conf"
has "forgotten" "$out" "added=0 forgotten=1"
serves second.conf
stop
refused two.conf "$T/s1.*is the pool's no more: firnd --add-cache takes it in again"
exits 0 "$firnd" --add-cache --config "$T/two.conf"
serves two.conf
stop

# Somebody else's, and rot.
mkfs.ext4 -q -F "$T/s1"
refused two.conf "$T/s1"
exits 1 "$firnd" --add-cache --config "$T/two.conf"
has "not over a file system" "$out" "it carries an ext2/3/4 file system; --force overwrites it"
exits 0 "$firnd" --add-cache --force --config "$T/two.conf"
serves two.conf
stop
for at in 0 1 16383; do printf x | dd of="$T/s2" bs=1 seek=$((at * 4096 + 100)) conv=notrunc status=none; done
refused two.conf "cache device .*$T/s2.*: all copies of its label are damaged"
exits 2 "$firnd" --add-cache --dev "$T/p"
exits 2 "$firnd" --force --config "$T/two.conf"
serves none.conf
stop

# More than an index can number: refused before a byte is written, by whatever would make such a pool.
mkdir "$T/big"
big() { sed "s|\"$T/|\"$T/big/|g" "$T/$1" >"$T/big.$1"; } # big FILE: the same for a pool of its own
b1="{ path = \"$T/b1\"; size = \"5TiB\"; }" b2="{ path = \"$T/b2\"; size = \"5TiB\"; }" b3="{ path = \"$T/b3\"; size = \"5TiB\"; }"
conf three "$b1, $b2, $b3"; big three
conf four "$b1, $b2, $b3, { path = \"$T/b4\"; size = \"5TiB\"; }"; big four
if truncate -s 5T "$T/big/b1" 2>/dev/null; then
    rm "$T/big/b1"
    exits 1 "$firnd" --format --config "$T/big.four"
    has "not formatted" "$out" "journal and cache devices have 20480 GiB together, and a pool can use 16379 GiB of them: say a smaller size in pool.journal"
    is "nothing is made" "$(ls "$T/big")" ""
    exits 0 "$firnd" --format --config "$T/big.three"
    before=$(cat "$T"/big/m/* "$T/big/j" | sha256sum)
    exits 1 "$firnd" --add-cache --config "$T/big.four"
    has "not taken in" "$out" "together, and a pool can use 16379 GiB of them: .* or leave a cache device out"
    is "nothing is written" "$(cat "$T"/big/m/* "$T/big/j" | sha256sum)$(ls "$T/big/b4" 2>/dev/null)" "$before"
    exits 0 "$firnd" --check --config "$T/big.three"
else
    echo "no file of 5 TiB can be made here: the limit of an index is not tried"
fi
rm -rf "$T/big"
