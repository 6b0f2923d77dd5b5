#!/usr/bin/env bash
# Sizes and devices that were changed in firn.conf after the format: --check and the start say what has no effect, and what to do.
. "$(dirname "$0")/lib.bash"
conf() { # conf FILE JOURNAL_SIZE CAPACITY_SIZE [CACHE]
    cat >"$T/$1" <<END
node = "n1"; reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = $2; }; cache: ( ${4-{ path = \"$T/s\"; size = \"64MiB\"; \}} );
        capacity: ( { path = "$T/c"; size = $3; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/sock"; listen = ""; };
END
}
conf f.conf '"160MiB"' '"256MiB"'
exits 0 "$firnd" --format --config "$T/f.conf"
exits 0 "$firnd" --check --config "$T/f.conf"
is "nothing changed, nothing said" "$(grep -c level= <<<"$out")" 0
conf whole.conf 0 0
exits 0 "$firnd" --check --config "$T/whole.conf"
is "files used whole are as long as they were made" "$(grep -c level= <<<"$out")" 0

told() { # told CONF PATTERN...: by --check, which is content, and by the start, which serves; each pattern in one line
    local p
    exits 0 "$firnd" --check --config "$T/$1"
    has "$1: the rest is good" "$out" "devices: good"
    start --config "$T/$1"
    stop
    for p in "${@:2}"; do
        has "$1: --check" "$out" "^level=warn .*$p"
        is "$1: start, once" "$(grep -cE "^level=warn .*$p" "$log")" 1
    done
}
larger='ignored: the pool was formatted with another'
conf larger.conf '"1GiB"' '"1TiB"'
told larger.conf "$larger\" role=journal path=\"$T/j\" configured=\"1.0 GiB\" formatted=\"160.0 MiB\" do=.*set size = $((160 << 20))," \
    "$larger\" role=capacity path=\"$T/c\" configured=\"1.0 TiB\" formatted=\"256.0 MiB\" do=.*set size = $((256 << 20)),"
is "and no file has grown" "$(stat -c %s "$T/j" "$T/c" | tr '\n' ' ')" "$((160 << 20)) $((256 << 20)) "
conf nocache.conf '"160MiB"' '"256MiB"' ''
told nocache.conf "more cache devices than are configured: .*\" configured=0 known=1 do=\"nothing is lost; put them back into pool.cache"
sed '1a journal: { segment_size = "32MiB"; align = 512; };' "$T/f.conf" >"$T/segments.conf"
told segments.conf "journal.segment_size is ignored.* configured=\"32.0 MiB\" formatted=\".*\" do=\"set segment_size = [0-9]+ or 0," \
    "journal.align is ignored.* configured=512 formatted=4096 do=\"set align = 4096,"
truncate -s 512M "$T/c"
told whole.conf "$larger\" role=capacity path=\"$T/c\" configured=\"all of it: 512.0 MiB\" formatted=\"256.0 MiB\""
exits 0 "$firnd" --check --config "$T/f.conf"
is "a longer file of which the configuration says how much is used" "$(grep -c level= <<<"$out")" 0

# What would take bytes away, or add a device, is refused; nothing is lost by either.
refused() { # refused CONF PATTERN
    exits 1 "$firnd" --check --config "$T/$1"
    has "$1: --check" "$out" "^firnd: .*$2"
    exits 1 timeout 10 "$firnd" --config "$T/$1"
    has "$1: start" "$out" "cannot start.*$2"
}
conf smaller.conf '"160MiB"' '"128MiB"'
refused smaller.conf "$T/c\\\\?\" .* was formatted with $((256 << 20)) bytes, more than the size that is configured, and keeps them: set size = $((256 << 20))"
conf smallj.conf '"96MiB"' '"256MiB"'
refused smallj.conf "journal device \\\\?\"$T/j.*: set size = $((160 << 20))"
truncate -s 64M "$T/s2"
conf twocaches.conf '"160MiB"' '"256MiB"' "{ path = \"$T/s\"; }, { path = \"$T/s2\"; }"
refused twocaches.conf "$T/s2.*firnd --add-cache takes in an empty one; else correct pool.cache"
truncate -s 256M "$T/c2"
sed "s|capacity: (|& { path = \"$T/c2\"; }, |" "$T/f.conf" >"$T/more.conf"
refused more.conf "$T/c2.*cannot be added to a pool yet: take it out of pool.capacity"
sed "s|$T/|$T/two-|g; s|capacity: (|& { path = \"$T/two-c2\"; size = \"64MiB\"; }, |" "$T/f.conf" >"$T/two.conf"
exits 0 "$firnd" --format --config "$T/two.conf"
exits 0 "$firnd" --check --config "$T/two.conf"
sed "s|{ path = \"$T/two-c2\"; size = \"64MiB\"; }, ||" "$T/two.conf" >"$T/fewer.conf"
refused fewer.conf "names 2 capacity devices; 1 are configured: put the others back into pool.capacity"

# --dev: the sizes of files that are to be made; those that are there keep theirs.
start_dev
is "made, nothing said" "$(grep -c "has no effect" "$log")" 0
stop
start_dev
is "the same again, nothing said" "$(grep -c "has no effect" "$log")" 0
stop
start_dev --journal-size 128MiB --capacity-size 1GiB
kept='level=warn msg="an option has no effect: the pool is there already" option='
has "another journal" "$(cat "$log")" "$kept--journal-size wanted=\"128.0 MiB\" is=\"64.0 MiB\" path=\"$T/p/journal\" do="
has "another capacity" "$(cat "$log")" "$kept--capacity-size wanted=\"1.0 GiB\" is=\"256.0 MiB\" path=\"$T/p/capacity\" do="
stop

start --config "$T/f.conf"
stop
is "put right, it serves" $rc 0
