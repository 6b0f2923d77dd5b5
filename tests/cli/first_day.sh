#!/usr/bin/env bash
# What somebody meets on the first day with a pool: a part of it put elsewhere, a key that has no effect, a limit reached, an
# answer that was not quite what was asked for. Each is said with what to do, and nothing is made or lost by looking.
. "$(dirname "$0")/lib.bash"
bench=$O/firn-bench
[ -x "$bench" ] || { echo "skip: $bench is not built"; exit 77; }

# --dev without its journal: a part is missing, and nobody is sent to make the pool anew.
start_dev
stop
listing() { (cd "$T/p" && find . | sort); }
lost() { # lost WHAT: each way of looking says that the journal is missing
    local before
    before=$(listing)
    exits 1 "$firnd" --check --dev "$T/p"
    has "--check: $1" "$out" "journal device \"$T/p/journal\": No such file"
    has "--check, what to do: $1" "$out" "^firnd: connect what is missing, or put it back into $T/p\$"
    exits 1 timeout 10 "$firnd" --dev "$T/p" $small
    has "start: $1" "$out" "cannot start.*journal device .* is missing.*do=\"connect what is missing, or put it back into $T/p\"\$"
    is "no word of force: $1" "$(grep -ciE 'force|not formatted' <<<"$out")" 0
    exits 1 "$firnctl" check --dev "$T/p"
    has "check: $1" "$out" "journal device .* is missing.*; connect what is missing, or put it back into $T/p\$"
    is "nothing was made: $1" "$(listing)" "$before"
}
mv "$T/p/journal" "$T/away-journal"
lost "the journal"
mv "$T/p/capacity" "$T/away-capacity"
lost "all but the metadata"
mv "$T/p/meta" "$T/away-meta"
exits 0 "$firnd" --check --dev "$T/p"
has "an empty directory" "$out" "not formatted yet: the first start with --dev"
mv "$T/away-capacity" "$T/p/capacity"
lost "the journal and the metadata"
mv "$T/away-meta" "$T/p/meta"
mv "$T/away-journal" "$T/p/journal"
exits 0 "$firnd" --check --dev "$T/p"
has "whole again" "$out" "devices: good"
has "what was not looked at is said" "$out" "^log: not looked at: .* firnctl check"
mkdir "$T/fresh"
truncate -s 256M "$T/fresh/capacity"
exits 0 "$firnd" --check --dev "$T/fresh"
has "an empty file that is laid there is for the first format" "$out" "not formatted yet"

# Too little room: the option that helps has a name.
mkdir "$T/small"
mounted="unshare -m sh -c 'mount -t tmpfs -o size=96m none $T/small && exec \"\$0\" \"\$@\"'"
if eval "$mounted true" 2>/dev/null; then
    exits 1 eval "$mounted timeout 20 $firnd --dev $T/small/p --journal-size 256MiB"
    has "too small a disk" "$out" 'do="make room, .* with --journal-size'
fi

# Answers: sizes that look alike, a loss that is none, a socket that is somebody else's.
start_dev
log_lines() { grep -c "loss that was accepted" "$log"; }
exits 0 ctl loss clear
has "nothing to clear" "$out" "^there is nothing to clear"
is "and nothing was settled" "$(log_lines)" 0
exits 0 ctl volume create odd --size 1073741825
has "a size that was rounded up" "$out" "^created odd, 1.0 GiB: 1074790400 bytes, rounded up to whole MiB\$"
exits 0 ctl volume create even --size 1GiB
has "and one that was not" "$out" "^created even, 1.0 GiB\$"
exits 1 ctl volume create odd --size 1073741824
has "two that look alike" "$out" "its size is 1074790400 bytes, not 1073741824 bytes"
exits 1 ctl volume create odd --size 2GiB
has "two that do not" "$out" "its size is 1.0 GiB, not 2.0 GiB"
has "--quiet" "$("$firnctl" --help)" "--quiet +no confirmations, headings or notes\$"
has "and in the man page" "$(grep -A1 'B .-.-quiet' etc/man/firnctl.1)" "no confirmations, headings or notes"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    cp "$firnctl" "$T"
    chmod 755 "$T" "$T/firnctl" "$T/p"
    exits 1 setpriv --reuid=65534 --regid=65534 --clear-groups "$T/firnctl" --socket "$sock" status
    has "somebody else's socket" "$out" "firnd.sock: Permission denied as uid 65534: the socket is its owner's; run it as the user that runs firnd, or as root\$"
fi
stop

# Configuration: a number below every range; keys that a pool has no use for; a token that is none, open, or short.
write() { # write KEYS
    cat >"$T/f.conf" <<END
$1
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; }; capacity: ( { path = "$T/c"; size = "512MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
tier: { dirty_start = 1; dirty_max = 2; };
END
}
api='api: { unix = "'$T'/s"; listen = ""; };'
write "reactors = -1; $api"
exits 2 "$firnd" --check --config "$T/f.conf"
has "below 0" "$out" 'reactors: out of range; allowed: 0 to 64$'
write "reactors = 1; $api"
exits 0 "$firnd" --format --config "$T/f.conf"
write "reactors = 3; limits: { connections = 4; }; $api"
sock=$T/s
start --config "$T/f.conf"
has "more reactors than shards: said at the start" "$(cat "$log")" 'level=warn .*reactors=3 shards=1 do="set reactors = 1;'

# limits.connections: who is refused for it, and what to do; not a line each.
ctl volume create v --size 64MiB --quiet || bad create
ctl host allow v '*' --quiet
nqn=$(ctl volume show v --json | jq -r .nqn)
timeout 20 "$bench" run --port "$(ready port)" --nqn "$nqn" --idle --connections 3 --qd 1 --time 15s >"$T/idle" 2>&1 &
idle=$!
for ((i = 0; i < 100; i++)); do
    [ "$(ctl status --json | jq .target.connections)" = 4 ] && break
    sleep 0.05
done
for i in 1 2 3 4 5; do timeout 5 "$bench" run --port "$(ready port)" --nqn "$nqn" --ops 1 >/dev/null 2>&1 && bad "let in"; done
full() { grep -c 'level=warn .*limits.connections.* peer=127.0.0.1.* connections=4 do="raise limits.connections' "$log"; }
[ "$(full)" -ge 1 ] && [ "$(full)" -le 3 ] && ok || bad "refused for limits.connections: $(full) lines: $(tail -n 5 "$log")"
kill $idle
wait $idle 2>/dev/null
stop
is "stopped" $rc 0

# A token that a start would refuse is no good configuration; an open or a short one is warned of.
write "reactors = 1; api: { unix = \"$T/s\"; listen = \"127.0.0.1\"; port = 0; token_file = \"$T/token\"; };"
for text in '' ' \n\t\n'; do
    printf "$text" >"$T/token"
    chmod 600 "$T/token"
    exits 1 "$firnd" --check --config "$T/f.conf"
    has "no token" "$out" "^firnd: api.token_file: $T/token: holds no token"
    has "the rest is looked at" "$out" "devices: good"
done
printf 'fifteen-letters\n' >"$T/token"
chmod 644 "$T/token"
exits 0 "$firnd" --check --config "$T/f.conf"
has "an open token" "$out" "level=warn msg=\"others may read the API's token\" .*chmod 600 $T/token"
has "a short one" "$out" "level=warn msg=\"the API's token is short.*characters=15"
start --config "$T/f.conf"
has "a short one, at the start" "$(cat "$log")" "level=warn msg=\"the API's token is short"
stop
printf 'sixteen--letters\n' >"$T/token"
chmod 600 "$T/token"
exits 0 "$firnd" --check --config "$T/f.conf"
is "a good one" "$(grep -c level=warn <<<"$out")" 0

# An old journal under a newer pool: one line a volume, and the way out with the refusal.
write "reactors = 1; $api"
cp --sparse=always "$T/j" "$T/j.old"
start --config "$T/f.conf"
timeout 60 "$bench" run --port "$(ready port)" --nqn "$nqn" --rw write --bs 64KiB --size 64MiB --bytes 64MiB >"$T/out" 2>&1 || bad "load: $(cat "$T/out")"
for ((i = 0; i < 200; i++)); do
    [ "$(ctl status --json | jq '.pool.capacity.used >= 32 * 1048576')" = true ] && break
    sleep 0.1
done
stop
cp --sparse=always "$T/c" "$T/c.good"
cp --sparse=always "$T/j" "$T/j.good"
cp --sparse=always "$T/j.old" "$T/j"
exits 1 timeout 20 "$firnd" --config "$T/f.conf"
has "refused, with a way out" "$out" "cannot start.*(missing|rolled back).*do=\"put the right journal device and metadata back; if there are none, firnctl check --config $T/f.conf --data tells what is lost, and a start with --accept-loss goes on"
exits 3 "$firnctl" check --config "$T/f.conf"
is "one line a volume" "$(grep -c '^I8 loss: volume' <<<"$out")" 1
has "with what it speaks of" "$out" "^I8 loss: volume v: [0-9]{2} extents \\([0-9]+-[0-9]+.*\\) destaged up to [0-9]+, its log ends at"

# A device that gives other bytes back than were written is not just "ok".
cp --sparse=always "$T/j.good" "$T/j"
start --config "$T/f.conf"
has "all is well" "$(ctl device list)" "^journal +$T/j .* ok +0 +0\$"
stop
python3 - "$T/j" <<'END'
import mmap, sys
f = open(sys.argv[1], "r+b"); m = mmap.mmap(f.fileno(), 0)
for at in range(2 << 20, len(m) - (2 << 20), 4096):
    if at % (16 << 20) > (1 << 20) and at % (16 << 20) < (14 << 20) and (at >> 12) % 5 == 0 and m[at + 20:at + 24] != b"\0\0\0\0":
        m[at + 2000] ^= 1
m.flush()
END
start --config "$T/f.conf" --accept-loss
timeout 60 "$bench" run --port "$(ready port)" --nqn "$nqn" --rw read --bs 4KiB --size 64MiB --bytes 64MiB >"$T/out" 2>&1
has "bad bytes are told of" "$(ctl device list)" "^(journal|capacity) .* bad data +[0-9]+ +[1-9][0-9]*\$"
has "also by the API" "$(ctl status --json | jq -c '[.devices[].checksum_errors] | add > 0')" true
stop
